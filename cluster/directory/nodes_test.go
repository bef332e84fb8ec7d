package directory_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
)

func change(t testing.TB, c directory.NodeChange) []byte {
	t.Helper()
	command, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return command
}

// nodeCommand returns a random command about one of a few nodes.
func nodeCommand(rng *rand.Rand) []byte {
	n := rng.IntN(6)
	c := directory.NodeChange{ID: uint64(1 + n), Op: directory.AddNode + directory.Op(rng.IntN(5))}
	switch c.Op {
	case directory.AddNode:
		c = directory.NodeChange{Op: c.Op, Name: fmt.Sprintf("n%d", n), Cosigner: fmt.Sprintf("key-%d", rng.IntN(2)), Replaces: uint64(rng.IntN(3)), Voter: rng.IntN(2) == 0}
		fallthrough
	case directory.MoveNode:
		at := fmt.Sprintf("host%d:1", rng.IntN(3))
		c.Peer, c.API, c.HTTP = at, at, at
	case directory.RemoveNode:
		c.Force = rng.IntN(2) == 0
	case directory.JoinNode:
		c.Incarnation[0] = byte(1 + rng.IntN(2))
	}
	command, err := c.Marshal()
	if err != nil {
		panic(err)
	}
	return command
}

const node = "spiffe://x/cluster/9f2c11d05e7ab364/node/n1"

// TestNodes: ids and names are used once, a node that was removed never comes back, a command that is
// sent twice changes nothing, and a node is bound to the data directory with which it was met first.
func TestNodes(t *testing.T) {
	l := open(t)
	add := func(name, key string, replaces uint64, voter bool) directory.NodeChange {
		return directory.NodeChange{Op: directory.AddNode, Name: name, Cosigner: key, Peer: name + ":1", API: name + ":2", HTTP: name + ":3", Replaces: replaces, Voter: voter}
	}
	of := func(op directory.Op, id uint64) directory.NodeChange { return directory.NodeChange{Op: op, ID: id} }
	join := func(id uint64, first byte) directory.NodeChange {
		return directory.NodeChange{Op: directory.JoinNode, ID: id, Incarnation: [16]byte{first}}
	}
	move := directory.NodeChange{Op: directory.MoveNode, ID: 2, Peer: "b:1", API: "b:2", HTTP: "b:3"}
	for i, c := range []struct {
		what   string
		who    string
		change directory.NodeChange
		status directory.Status
		id     uint64
	}{
		{"the name of a founder", "p", add("n1", "k", 0, false), directory.NodeTaken, 1},
		{"a new node", "p", add("n4", "k4", 0, false), directory.NodeChanged, 4},
		{"the same one", "p", add("n4", "k4", 0, false), directory.NodeSame, 4},
		{"its name with another key", "p", add("n4", "other", 0, false), directory.NodeTaken, 4},
		{"a client binds it to a data directory", "p", join(4, 1), directory.NodeTaken, 4},
		{"a node binds it", node, join(4, 1), directory.NodeChanged, 4},
		{"again", node, join(4, 1), directory.NodeSame, 4},
		{"to another one", node, join(4, 2), directory.NodeTaken, 4},
		{"a founder is bound by no command", node, join(1, 1), directory.NodeTaken, 1},
		{"promote", "p", of(directory.PromoteNode, 4), directory.NodeChanged, 4},
		{"promote again", "p", of(directory.PromoteNode, 4), directory.NodeSame, 4},
		{"a founder moves", "p", move, directory.NodeChanged, 2},
		{"and is there", "p", move, directory.NodeSame, 2},
		{"remove a founder", "p", of(directory.RemoveNode, 1), directory.NodeChanged, 1},
		{"again", "p", of(directory.RemoveNode, 1), directory.NodeSame, 1},
		{"promote it", "p", of(directory.PromoteNode, 1), directory.NodeGone, 1},
		{"its name", "p", add("n1", "n1+kkkkk", 0, false), directory.NodeTaken, 1},
		{"a node that never was", "p", of(directory.RemoveNode, 9), directory.NodeUnknown, 9},
		{"replace one that never was", "p", add("n5", "k5", 9, false), directory.NodeUnknown, 9},
		{"replace one that is gone", "p", add("n5", "k5", 1, false), directory.NodeGone, 1},
		{"replace", "p", add("n5", "k5", 3, false), directory.NodeChanged, 5},
		{"remove the newest", "p", of(directory.RemoveNode, 5), directory.NodeChanged, 5},
		{"its id is not used again", "p", add("n6", "k6", 0, false), directory.NodeChanged, 6},
		{"remove a voter", "p", of(directory.RemoveNode, 4), directory.NodeChanged, 4},
		{"remove the last voter", "p", of(directory.RemoveNode, 2), directory.NodeLast, 2},
	} {
		if got := decide(t, l, int64(10+i), c.who, change(t, c.change))[0]; got.Status != c.status || got.ID != c.id {
			t.Errorf("%s: %s, node %d; want %s, node %d", c.what, got.Status, got.ID, c.status, c.id)
		}
	}
	founders := []ledger.Member{{ID: 1, Name: "n1"}, {ID: 2, Name: "n2"}, {ID: 3, Name: "n3"}}
	nodes, err := directory.Nodes(l.State(), founders)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range nodes {
		got = append(got, fmt.Sprintf("%d %s %s %s %x %d", n.ID, n.Name, n.Role, n.Peer, n.Incarnation[:1], n.Replaces))
	}
	want := []string{
		"1 n1 removed  00 0", "2 n2 voter b:1 00 0", "3 n3 removed  00 0", "4 n4 removed n4:1 01 0", "5 n5 removed n5:1 00 3", "6 n6 learner n6:1 00 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the nodes are\n%q, want\n%q", got, want)
	}
	changed := 0
	for i := range l.Head().Size {
		leaf, err := l.Leaf(i)
		if err != nil {
			t.Fatal(err)
		}
		is, err := directory.ChangedNode(i, leaf)
		if err != nil {
			t.Fatal(err)
		}
		if is {
			changed++
		}
	}
	if changed != 9 {
		t.Errorf("%d entries changed a node, want 9", changed)
	}
}

// TestFoundersWithoutRows: the genesis alone says who founded the cluster.
func TestFoundersWithoutRows(t *testing.T) {
	l := open(t)
	founders := []ledger.Member{{ID: 7, Name: "a", Cosigner: "x"}, {ID: 2, Name: "b", Cosigner: "y"}}
	nodes, err := directory.Nodes(l.State(), founders)
	if err != nil || len(nodes) != 2 || nodes[0].ID != 2 || nodes[1].Name != "a" || nodes[1].Role != directory.Voter || nodes[1].Cosigner != "x" {
		t.Errorf("%+v, %v; want both founders by their ids", nodes, err)
	}
}

// TestWrongNodeChanges: a command that makes no sense is not understood.
func TestWrongNodeChanges(t *testing.T) {
	for what, c := range map[string]directory.NodeChange{
		"no operation":            {ID: 1},
		"an unknown one":          {Op: 7, ID: 1},
		"no node":                 {Op: directory.PromoteNode},
		"a new node with an id":   {Op: directory.AddNode, ID: 4, Name: "n4", Cosigner: "k", Peer: "a:1", API: "a:2", HTTP: "a:3"},
		"without an address":      {Op: directory.AddNode, Name: "n4", Cosigner: "k", Peer: "a:1", API: "a:2"},
		"a name with a slash":     {Op: directory.AddNode, Name: "n/4", Cosigner: "k", Peer: "a:1", API: "a:2", HTTP: "a:3"},
		"an address with a blank": {Op: directory.MoveNode, ID: 1, Peer: "a: 1", API: "a:2", HTTP: "a:3"},
		"no data directory":       {Op: directory.JoinNode, ID: 4},
		"another name":            {Op: directory.PromoteNode, ID: 4, Name: "n9"},
		"force of what":           {Op: directory.PromoteNode, ID: 4, Force: true},
	} {
		if _, err := c.Marshal(); err == nil {
			t.Errorf("%s: the command was made", what)
		}
	}
}

func FuzzNode(f *testing.F) {
	f.Add(directory.EncodeNode(&directory.Node{ID: 4, Role: directory.Learner, Name: "n4", Cosigner: "k", Peer: "a:1", By: "p", Index: 3, Added: 3}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := directory.ParseNode(b); err == nil && !bytes.Equal(directory.EncodeNode(&n), b) {
			t.Errorf("%x parses and encodes to other bytes", b)
		}
	})
}
