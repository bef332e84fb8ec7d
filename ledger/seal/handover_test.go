package seal

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// policyOf is a policy of nodes that sign with these keys of testKeys, node 1 with the first.
func policyOf(epoch uint32, keys ...int) *ledger.Policy {
	p := &ledger.Policy{Epoch: epoch, LogKeys: []string{testKeys()[0].Key().String()}, Quorum: uint32(len(keys)/2 + 1)}
	for i, k := range keys {
		p.Members = append(p.Members, ledger.PolicyMember{Member: ledger.Member{ID: uint64(i + 1), Name: fmt.Sprint("n", i+1), Cosigner: testKeys()[k].Key().String()}})
	}
	return p
}

// rotating is a cluster whose node 2 gets key 4 by the entry 5, and the hand-over ends with the
// entry 20. The node has both keys.
func rotating(t *testing.T) *cluster {
	before, after := policyOf(0, 1, 2, 3), policyOf(1, 1, 4, 3)
	return changing(t, func(size uint64) *ledger.PolicyInForce {
		switch {
		case size <= 5:
			return &ledger.PolicyInForce{Newest: before}
		case size <= 20:
			return &ledger.PolicyInForce{Newest: after, Index: 5, Before: before}
		}
		return &ledger.PolicyInForce{Newest: after, Index: 5}
	})
}

func changing(t *testing.T, inForce func(uint64) *ledger.PolicyInForce) *cluster {
	c := newCluster(t, 3)
	c.inForce = inForce
	for id, nd := range c.nodes {
		nd.cfg.PolicyAt = func(size uint64) (*ledger.PolicyInForce, error) {
			if size > nd.size {
				return nil, &ledger.NotFoundError{Index: size, Size: nd.size}
			}
			return inForce(size), nil
		}
		if id == 2 {
			nd.cfg.More = []Cosigner{testKeys()[4]}
		}
		c.start(id)
	}
	return c
}

// signers returns the keys of testKeys, but for the log's, that signed the newest checkpoint.
func (c *cluster) signers(id uint64) (signed []int) {
	c.t.Helper()
	_, note, err := tlog.ParseCheckpoint(c.nodes[id].newest.Note)
	if err != nil {
		c.t.Fatal(err)
	}
	for k := 1; k < len(testKeys()); k++ {
		if slices.ContainsFunc(note.Signatures, testKeys()[k].Key().Signed) {
			signed = append(signed, k)
		}
	}
	return signed
}

// lose drops what is on its way to and from a node, as settle does otherwise with it.
func (c *cluster) settleWithout(id uint64) {
	for range 200 {
		c.wire = slices.DeleteFunc(c.wire, func(d delivery) bool { return d.to == id || d.from == id })
		if len(c.wire) > 0 {
			d := c.wire[0]
			c.wire = c.wire[1:]
			c.deliver(d)
		}
		for _, other := range slices.Sorted(maps.Keys(c.nodes)) {
			c.sync(other)
		}
	}
}

// TestHandover: a size before the change is sealed by the old keys, one behind it by both policies
// until the ledger says that the hand-over has ended, and then by the new keys. The node whose key
// changes signs with both, so the cluster needs no other node for it than otherwise.
func TestHandover(t *testing.T) {
	t.Parallel()
	for _, down := range []uint64{0, 3} {
		c := rotating(t)
		c.step(1, Leader{true})
		for _, step := range []struct {
			size uint64
			want []int // signers when node 3 is down
		}{{5, []int{1, 2}}, {6, []int{1, 2, 4}}, {20, []int{1, 2, 4}}, {21, []int{1, 4}}} {
			c.growAll(step.size)
			c.tick(DefaultCadence)
			c.settleWithout(down)
			if got := c.nodes[1].newestSize(); got != step.size {
				t.Fatalf("node %d is down: size %d is sealed, want %d; %v", down, got, step.size, c.problems)
			}
			if got := c.signers(1); down == 3 && !slices.Equal(got, step.want) {
				t.Errorf("size %d is signed by the keys %v, want %v", step.size, got, step.want)
			}
		}
		if len(c.problems) > 0 {
			t.Errorf("node %d is down: %v", down, c.problems)
		}
	}
}

// TestHandoverToTheDead: when the new keys cannot sign, nothing that includes the change is sealed.
// A further change that takes its place is, by the keys before and its own.
func TestHandoverToTheDead(t *testing.T) {
	t.Parallel()
	before, dead, back := policyOf(0, 1, 2, 3), policyOf(1, 1, 5, 3), policyOf(2, 1, 2, 3)
	c := changing(t, func(size uint64) *ledger.PolicyInForce {
		switch {
		case size <= 5:
			return &ledger.PolicyInForce{Newest: before}
		case size <= 10:
			return &ledger.PolicyInForce{Newest: dead, Index: 5, Before: before}
		}
		return &ledger.PolicyInForce{Newest: back, Index: 10, Before: before}
	})
	c.step(1, Leader{true})
	for _, step := range [][2]uint64{{5, 5}, {8, 5}, {10, 5}, {12, 12}} {
		c.growAll(step[0])
		for range 3 {
			c.tick(DefaultTimeout)
			c.settleWithout(3)
		}
		if got := c.nodes[1].newestSize(); got != step[1] {
			t.Errorf("at size %d, size %d is sealed, want %d", step[0], got, step[1])
		}
	}
}

// TestSealedByOneSide: a checkpoint that includes the change and lacks one of the two quorums is no
// sealed one, whoever sends it; and behind the hand-over the old keys count no more.
func TestSealedByOneSide(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		size uint64
		keys []int
	}{
		"the old keys alone":                 {8, []int{1, 2}},
		"the new keys alone":                 {8, []int{1, 4}},
		"the old keys, behind the hand-over": {22, []int{1, 2}},
	} {
		c := rotating(t)
		cp := tlog.Checkpoint{Origin: origin, Size: x.size, Root: trueRoot(x.size)}
		note := tlog.Note{Text: cp.Text()}
		for _, k := range append([]int{0}, x.keys...) {
			sig, err := testKeys()[k].Cosign(cp, 1)
			if err != nil {
				t.Fatal(err)
			}
			note.Signatures = append(note.Signatures, sig)
		}
		payload := message{kind: kindSealed, data: note.Marshal()}.marshal()
		c.step(3, Received{1, payload}) // before the entries are there
		c.grow(3, x.size+1)
		c.step(3, Received{1, payload})
		if nd := c.nodes[3]; len(nd.sealed) > 0 || len(c.problems) == 0 || !errors.Is(c.problems[0], ErrForged) {
			t.Errorf("%s: %d sealed, %v", name, len(nd.sealed), c.problems)
		}
	}
}

// TestHandoverSeenEarly: a replica that has not applied the change yet keeps what is sealed and
// signed by keys that it does not know, reports nothing, and takes it over once it has.
func TestHandoverSeenEarly(t *testing.T) {
	t.Parallel()
	c := rotating(t)
	c.step(1, Leader{true})
	c.growAll(4)
	c.settle()
	for _, id := range []uint64{1, 2} {
		c.grow(id, 21)
	}
	c.tick(DefaultCadence)
	c.settle()
	if got := c.nodes[1].newestSize(); got != 21 {
		t.Fatalf("size %d is sealed, want 21", got)
	}
	if !c.nodes[3].AwaitsGrowth() {
		t.Error("node 3 does not await the entries that say whose keys count")
	}
	c.grow(3, 21)
	c.settle()
	c.wantSealed(21)
	if len(c.problems) > 0 {
		t.Error(c.problems)
	}
}

// TestWithoutTheNewKey: a node that has none of the keys that count for a size signs nothing, and
// says so.
func TestWithoutTheNewKey(t *testing.T) {
	t.Parallel()
	c := rotating(t)
	c.nodes[2].cfg.More = nil
	c.start(2)
	c.step(1, Leader{true})
	c.growAll(21)
	c.settle()
	c.wantSealed(21)
	if got := c.signers(1); !slices.Equal(got, []int{1, 3}) {
		t.Errorf("signed by %v, want 1 and 3", got)
	}
	if len(c.problems) == 0 {
		t.Error("node 2 reports nothing")
	}
}
