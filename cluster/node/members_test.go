package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// TestMemberSteps: members are added before others are promoted, and removed last; a node that is replaced
// stays until the one in its place votes; a node that has not come yet is not added.
func TestMemberSteps(t *testing.T) {
	policy := func(members ...string) *ledger.Policy { // "1" is a voter, "1l" a learner
		p := &ledger.Policy{}
		for _, m := range members {
			var id uint64
			_, _ = fmt.Sscan(strings.TrimSuffix(m, "l"), &id)
			p.Members = append(p.Members, ledger.PolicyMember{Member: ledger.Member{ID: id}, Learner: strings.HasSuffix(m, "l")})
		}
		return p
	}
	came := [16]byte{1}
	founder := func(id uint64, r directory.Role) clusterNode {
		return clusterNode{Node: directory.Node{ID: id, Role: r}}
	}
	joined := func(id uint64, r directory.Role, replaces uint64, incarnation [16]byte) clusterNode {
		return clusterNode{Node: directory.Node{ID: id, Role: r, Replaces: replaces, Added: 9, Incarnation: incarnation}}
	}
	const v, l, gone = directory.Voter, directory.Learner, directory.Removed
	three := []clusterNode{founder(1, v), founder(2, v), founder(3, v)}
	with := func(more ...clusterNode) []clusterNode { return append(slices.Clone(three), more...) }
	dead := func(more ...clusterNode) []clusterNode {
		return append([]clusterNode{founder(1, v), founder(2, v), founder(3, gone)}, more...)
	}
	for _, c := range []struct {
		what   string
		policy *ledger.Policy
		nodes  []clusterNode
		want   string
	}{
		{"nothing", policy("1", "2", "3"), three, ""},
		{"a node that was not met", policy("1", "2", "3"), with(joined(4, v, 0, [16]byte{})), ""},
		{"a new learner", policy("1", "2", "3"), with(joined(4, l, 0, came)), "add 4"},
		{"a learner stays one", policy("1", "2", "3", "4l"), with(joined(4, l, 0, came)), ""},
		{"a voter begins as a learner", policy("1", "2", "3"), with(joined(4, v, 0, came)), "add 4"},
		{"and is promoted", policy("1", "2", "3", "4l"), with(joined(4, v, 0, came)), "promote 4"},
		{"removed", policy("1", "2", "3"), dead(), "remove 3"},
		{"replaced by one that was not met", policy("1", "2", "3"), dead(joined(4, v, 3, [16]byte{})), ""},
		{"replaced by a newcomer", policy("1", "2", "3"), dead(joined(4, v, 3, came)), "add 4"},
		{"replaced by a learner", policy("1", "2", "3", "4l"), dead(joined(4, v, 3, came)), "promote 4"},
		{"replaced by a voter", policy("1", "2", "3", "4"), dead(joined(4, v, 3, came)), "remove 3!"},
		{"the replacement is removed itself", policy("1", "2", "3", "4l"), dead(joined(4, gone, 3, came)), "remove 3, remove 4"},
		{"all at once", policy("1", "2", "3", "4l"), dead(joined(4, v, 0, came), joined(5, l, 0, came)), "add 5, promote 4, remove 3"},
	} {
		var got []string
		for _, s := range memberSteps(c.policy, c.nodes) {
			force := ""
			if s.Force {
				force = "!"
			}
			got = append(got, fmt.Sprintf("%s %d%s", s.Reason, s.node, force))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q, want %q", c.what, strings.Join(got, ", "), c.want)
		}
	}
}

// TestNodesOfBeforeARestore: what the directory says of nodes that were added before it was restored leads
// to no change of members in the new cluster. Its founders, and whom it has added, are not touched.
func TestNodesOfBeforeARestore(t *testing.T) {
	t.Parallel()
	nodes := []directory.Node{
		{ID: 1, Name: "n1", Role: directory.Voter}, // began the old cluster
		{ID: 4, Name: "n4", Role: directory.Voter, Added: 7, Incarnation: [16]byte{1}},
		{ID: 5, Name: "m1", Role: directory.Voter}, // began the new one
		{ID: 6, Name: "m2", Role: directory.Voter, Added: 30, Incarnation: [16]byte{1}},
	}
	directory.LeaveBehind(nodes, 20, []ledger.Member{{ID: 5, Name: "m1"}})
	var all []clusterNode
	for _, d := range nodes {
		all = append(all, clusterNode{Node: d})
	}
	p := &ledger.Policy{Members: []ledger.PolicyMember{{Member: ledger.Member{ID: 5, Name: "m1"}}}}
	steps := memberSteps(p, all)
	if len(steps) != 1 || steps[0].Reason != ledger.PolicyAdd || steps[0].node != 6 {
		t.Errorf("the steps are %+v, want that node 6 is added", steps)
	}
}

// TestNameOfBeforeARestore: a node of a restored cluster is none that is gone, though one of the cluster
// before had its name and was removed.
func TestNameOfBeforeARestore(t *testing.T) {
	t.Parallel()
	n := &node{cfg: Config{ClusterID: "00000000000000ab", TrustDomain: "example.org"}}
	for _, order := range [][]directory.Node{
		{{ID: 2, Name: "n2", Role: directory.Removed, Added: 7}, {ID: 6, Name: "n2", Role: directory.Voter}},
		{{ID: 6, Name: "n2", Role: directory.Voter}, {ID: 9, Name: "n2", Role: directory.Removed, Added: 7}},
	} {
		list := n.listNodes(order, nil)
		id := pki.NodeID("example.org", 0xab, "n2")
		if list.gone[id] || list.ids[id] != 6 {
			t.Errorf("%+v: gone %t, id %d, want node 6", order, list.gone[id], list.ids[id])
		}
		n.nodesKnown.Store(list)
		if x, err := (memberAdmin{n}).named("n2"); err != nil || x.ID != 6 {
			t.Errorf("%+v: the name is that of %+v, %v; want node 6", order, x, err)
		}
	}
}
