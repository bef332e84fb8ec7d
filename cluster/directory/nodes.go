package directory

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// MaxNodes bounds the nodes of a cluster at one time.
const MaxNodes = 32

// Role is what the directory wants a node to be in every ledger of the cluster. The ledgers follow one
// by one: their policies say what the node is in each.
type Role uint8

// The roles.
const (
	Voter   Role = 1
	Learner Role = 2
	Removed Role = 3 // it never comes back
)

// String returns the role in one word.
func (r Role) String() string {
	switch r {
	case Voter:
		return "voter"
	case Learner:
		return "learner"
	case Removed:
		return "removed"
	}
	return "unknown"
}

// Node is a node of the cluster. The genesis of the directory names the founders; their rows begin
// with the first command about them.
type Node struct {
	ID       uint64
	Name     string
	Cosigner string // C2SP vkey
	Role     Role
	// Peer, API and HTTP are empty for a founder that has not moved: every node has its addresses in
	// its configuration.
	Peer, API, HTTP string
	// Incarnation is that of the data directory of a node that was added, zero until the node has been
	// met. Invariant: once set it never changes.
	Incarnation [16]byte
	// Replaces is the node in whose place this one is; 0 for none. It leaves a ledger once this one votes
	// there.
	Replaces uint64
	// Force: the removal may reduce the failures that the cluster survives.
	Force bool
	// By asked for the newest command about the node but JoinNode, in the entry with Index, at Time, µs
	// since the Unix epoch; "" for a founder about whom there is none. Added is the index of the entry that added
	// the node, 0 for a founder.
	By    string
	Time  int64
	Index uint64
	Added uint64
}

const nodeVersion = 1

// No row of a node is ever removed: ids and names are used once.
const prefixNode = 'm'

func nodeRow(id uint64) []byte { return binary.BigEndian.AppendUint64([]byte{prefixNode}, id) }

func (n *Node) encode() []byte {
	var flags byte
	if n.Force {
		flags = flagForce
	}
	b := []byte{nodeVersion, byte(n.Role), flags}
	for _, v := range []uint64{n.ID, n.Replaces, n.Added, n.Index, uint64(n.Time)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, n.Incarnation[:]...)
	for _, text := range []string{n.Name, n.Cosigner, n.Peer, n.API, n.HTTP, n.By} {
		b = appendText(b, text)
	}
	return b
}

// parseNode parses the row of a node. Every byte string either is refused or encodes back to itself.
func parseNode(b []byte) (n Node, err error) {
	const fixed = 3 + 5*8 + 16
	if len(b) < fixed || b[0] != nodeVersion || b[2]&^flagForce != 0 {
		return n, errors.Newf("a row of a node of %d bytes", len(b))
	}
	n.Role, n.Force = Role(b[1]), b[2] != 0
	for i, v := range []*uint64{&n.ID, &n.Replaces, &n.Added, &n.Index} {
		*v = binary.BigEndian.Uint64(b[3+8*i:])
	}
	n.Time, n.Incarnation = int64(binary.BigEndian.Uint64(b[35:])), [16]byte(b[43:])
	rest, ok := b[fixed:], true
	for _, text := range []*string{&n.Name, &n.Cosigner, &n.Peer, &n.API, &n.HTTP, &n.By} {
		if *text, rest, ok = cutText(rest); !ok {
			return n, errors.New("a row of a node ends too early")
		}
	}
	if len(rest) > 0 || n.ID == 0 || n.Role < Voter || n.Role > Removed {
		return n, errors.Newf("a row of node %d with the role %d and %d bytes too many", n.ID, n.Role, len(rest))
	}
	return n, nil
}

// Nodes returns all nodes that the cluster has or had, by ascending id: the founders, whom the
// genesis of the directory names, and those that were added. Its errors are those of ledger.State,
// and a *ledger.CorruptError.
func Nodes(s ledger.State, founders []ledger.Member) ([]Node, error) {
	rows := map[uint64]Node{}
	var bad error
	err := s.Range([]byte{prefixNode}, []byte{prefixNode + 1}, func(key, value []byte) bool {
		var n Node
		if n, bad = parseNode(value); bad == nil && string(key) != string(nodeRow(n.ID)) {
			bad = errors.Newf("node %d in the row %x", n.ID, key)
		}
		rows[n.ID] = n
		return bad == nil
	})
	switch {
	case err != nil:
		return nil, err
	case bad != nil:
		return nil, &ledger.CorruptError{What: "row of the directory", Index: s.Size(), Err: bad}
	}
	return merge(rows, founders), nil
}

// merge adds the founders about whom there is no row.
func merge(rows map[uint64]Node, founders []ledger.Member) (all []Node) {
	for _, f := range founders {
		if _, known := rows[f.ID]; !known {
			all = append(all, Node{ID: f.ID, Name: f.Name, Cosigner: f.Cosigner, Role: Voter})
		}
	}
	for _, n := range rows {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// LeaveBehind removes the nodes of a cluster whose directory was restored from a backup at an index: they
// are none of the cluster that these founders began, whatever the entries before say of them.
func LeaveBehind(nodes []Node, restored uint64, founders []ledger.Member) {
	for i := range nodes {
		n := &nodes[i]
		founder := slices.ContainsFunc(founders, func(m ledger.Member) bool { return m.ID == n.ID })
		if !founder && n.Added < restored {
			n.Role = Removed
		}
	}
}

// decideNode decides a command about a node.
func decideNode(view ledger.View, in *ledger.Input, c *NodeChange) Outcome {
	var founders []ledger.Member
	restored := uint64(0)
	switch {
	case in.Restored != nil:
		founders, restored = in.Restored.Members, in.Restored.Index
	case in.Genesis != nil:
		founders = in.Genesis.Members
	}
	rows := map[uint64]Node{}
	for _, value := range view.Range([]byte{prefixNode}, []byte{prefixNode + 1}) {
		n, err := parseNode(value)
		if err != nil {
			panic(err)
		}
		rows[n.ID] = n
	}
	nodes := merge(rows, founders)
	LeaveBehind(nodes, restored, founders)
	put := func(n Node) Outcome {
		if c.Op != JoinNode { // which a node does by itself
			n.By, n.Time, n.Index = string(in.Principal), in.Time, in.Index
		}
		view.Put(nodeRow(n.ID), n.encode())
		return Outcome{NodeChanged, n.ID}
	}
	if c.Op == AddNode {
		return addNode(in.Index, nodes, c, put)
	}
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.ID == c.ID })
	if i < 0 {
		return Outcome{NodeUnknown, c.ID}
	}
	n := nodes[i]
	same := Outcome{NodeSame, c.ID}
	switch {
	case n.Role == Removed && c.Op == RemoveNode && (n.Force || !c.Force):
		return same
	case n.Role == Removed && c.Op != RemoveNode:
		return Outcome{NodeGone, c.ID}
	case c.Op == RemoveNode:
		if !slices.ContainsFunc(nodes, func(o Node) bool { return o.ID != n.ID && o.Role == Voter }) {
			return Outcome{NodeLast, c.ID}
		}
		n.Role, n.Force = Removed, c.Force
	case c.Op == PromoteNode:
		if n.Role == Voter {
			return same
		}
		n.Role = Voter
	case c.Op == MoveNode:
		if n.Peer == c.Peer && n.API == c.API && n.HTTP == c.HTTP {
			return same
		}
		n.Peer, n.API, n.HTTP = c.Peer, c.API, c.HTTP
	case c.Op == JoinNode:
		switch {
		case n.Incarnation == c.Incarnation:
			return same
		case !in.ByNode() || n.Added == 0 || n.Incarnation != [16]byte{}:
			return Outcome{NodeTaken, c.ID}
		}
		n.Incarnation = c.Incarnation
	}
	return put(n)
}

func addNode(index uint64, nodes []Node, c *NodeChange, put func(Node) Outcome) Outcome {
	newest, present := uint64(0), 0
	var replaced *Node
	for i, n := range nodes {
		newest = max(newest, n.ID)
		if n.Role != Removed {
			present++
		}
		if n.ID == c.Replaces {
			replaced = &nodes[i]
		}
		switch {
		case n.Name != c.Name:
		case n.Cosigner == c.Cosigner && n.Role != Removed:
			return Outcome{NodeSame, n.ID} // the command was sent twice
		default:
			return Outcome{NodeTaken, n.ID}
		}
	}
	switch {
	case present >= MaxNodes:
		return Outcome{NodeMany, MaxNodes}
	case c.Replaces != 0 && replaced == nil:
		return Outcome{NodeUnknown, c.Replaces}
	case c.Replaces != 0 && replaced.Role == Removed:
		return Outcome{NodeGone, c.Replaces}
	}
	role := Learner
	if c.Voter || c.Replaces != 0 {
		role = Voter
	}
	if replaced != nil {
		gone := *replaced
		gone.Role, gone.Force = Removed, c.Force
		put(gone)
	}
	return put(Node{
		ID: newest + 1, Name: c.Name, Cosigner: c.Cosigner, Role: role, Peer: c.Peer, API: c.API, HTTP: c.HTTP,
		Replaces: c.Replaces, Added: index,
	})
}

// ChangedNode reports whether an entry of the directory changed a node.
func ChangedNode(index uint64, leaf []byte) (bool, error) {
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return false, &ledger.CorruptError{What: "leaf", Index: index, Err: err}
	}
	if e.Kind != ledger.KindCommand || !isNodeChange(e.Body) {
		return false, nil
	}
	o, err := ParseOutcome(e.Outcome)
	return o.Status == NodeChanged, errors.Wrapf(err, "entry %d", index)
}
