package seal

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// use gives a node another ledger, of which it has applied size entries.
func (c *cluster) use(id uint64, h *history, size uint64) {
	nd := c.nodes[id]
	nd.history = h
	nd.cfg.RootAt = func(size uint64) (merkle.Hash, error) {
		if size > nd.size {
			return merkle.Hash{}, errors.New("not applied")
		}
		return h.root(size), nil
	}
	nd.cfg.ConsistencyProof = h.prove
	c.start(id)
	c.grow(id, size)
}

// steal asks a node for a cosignature with a stolen key, as the node that the key belongs to.
func (c *cluster) steal(key, victim, size uint64, root merkle.Hash) (tlog.Signature, bool) {
	c.t.Helper()
	c.wire = nil
	c.step(victim, Received{key, message{kind: kindRequest, size: size, root: root}.marshal()})
	c.step(victim, Received{key, c.cosignature(key, size, root).marshal()})
	c.sync(victim)
	got := c.sent(key, kindCosignature)
	c.wire = nil
	if len(got) == 0 {
		return tlog.Signature{}, false
	}
	return tlog.Signature{Name: testKeys()[victim].Key().Name(), KeyID: got[0].keyID, Data: got[0].data}, true
}

// signedBy makes a note with the keys of the log (0) and of nodes.
func (c *cluster) signedBy(size uint64, root merkle.Hash, keys ...int) []byte {
	cp := tlog.Checkpoint{Origin: origin, Size: size, Root: root}
	n := tlog.Note{Text: cp.Text()}
	for _, k := range keys {
		sig, err := testKeys()[k].Cosign(cp, 1)
		if err != nil {
			c.t.Fatal(err)
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal()
}

func (c *cluster) show(from, to uint64, note []byte) {
	c.step(to, Received{from, message{kind: kindShown, data: note}.marshal()})
}

func keyName(id uint64) string { return testKeys()[id].Key().Name() }

// TestTwoSealedTrees: the thief of one node's keys reaches the others at different times, during a
// partition, and gets two trees sealed. When those others connect, all of them stop, and the
// evidence names the stolen key.
func TestTwoSealedTrees(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		nodes        int
		one, two     []uint64 // victims on either side
		sizeA, sizeB uint64
		tell         bool // whether the thief gives the sealed checkpoints to the victims
	}{
		{3, []uint64{2}, []uint64{3}, 8, 10, false},
		{3, []uint64{2}, []uint64{3}, 10, 8, false},
		{3, []uint64{2}, []uint64{3}, 9, 9, false},
		{3, []uint64{2}, []uint64{3}, 8, 10, true},
		{5, []uint64{2, 3}, []uint64{4, 5}, 8, 10, false},
		{5, []uint64{2, 3}, []uint64{4, 5}, 8, 10, true},
	} {
		t.Run(fmt.Sprint(x), func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, x.nodes)
			trueNode := c.nodes[1]
			delete(c.nodes, 1) // partitioned away; its keys are in other hands
			defer func() { c.nodes[1] = trueNode }()
			forkA, forkB := &history{name: "A", fork: 5}, &history{name: "B", fork: 5}
			for _, side := range []struct {
				h       *history
				size    uint64
				victims []uint64
			}{{forkA, x.sizeA, x.one}, {forkB, x.sizeB, x.two}} {
				cp := tlog.Checkpoint{Origin: origin, Size: side.size, Root: side.h.root(side.size)}
				note := tlog.Note{Text: cp.Text()}
				for _, key := range []int{0, 1} {
					sig, err := testKeys()[key].Cosign(cp, 1)
					if err != nil {
						t.Fatal(err)
					}
					note.Signatures = append(note.Signatures, sig)
				}
				for _, victim := range side.victims {
					c.use(victim, side.h, side.size)
					sig, ok := c.steal(1, victim, side.size, cp.Root)
					if !ok {
						t.Fatalf("node %d does not sign its own tree for the thief", victim)
					}
					note.Signatures = append(note.Signatures, sig)
				}
				if _, err := c.policy.Verify(note.Marshal()); err != nil {
					t.Fatalf("the thief's checkpoint is not sealed: %v", err)
				}
				for _, victim := range side.victims {
					if x.tell {
						c.step(victim, Received{1, message{kind: kindSealed, data: note.Marshal()}.marshal()})
					}
				}
			}
			c.wire = nil
			victims := append(slices.Clone(x.one), x.two...)
			for _, id := range victims {
				if nd := c.nodes[id]; len(nd.outvoted)+len(nd.contradictions) > 0 {
					t.Fatalf("node %d has seen something before the partition ended", id)
				}
				for _, other := range victims {
					if other != id {
						c.step(id, PeerUp{other})
					}
				}
			}
			c.settle()
			for _, id := range victims {
				nd := c.nodes[id]
				if len(nd.outvoted) != 1 || nd.outvoted[0].Evidence == nil {
					t.Fatalf("node %d: outvoted %+v, want one with evidence", id, nd.outvoted)
				}
				v, err := c.policy.VerifyContradiction(nd.outvoted[0].Evidence)
				if err != nil || !slices.Contains(v.Both, keyName(1)) {
					t.Errorf("node %d has evidence against %v, %v; want %s", id, v.Both, err, keyName(1))
				}
				if !errors.Is(nd.outvoted[0].Err(1), ErrContradiction) {
					t.Errorf("the reason to stop is %v", nd.outvoted[0].Err(1))
				}
				if e := nd.Step(c.now, Applied{100, 100}); len(e) != 0 {
					t.Errorf("node %d goes on: %v", id, e)
				}
			}
		})
	}
}

// TestOneStolenKeyStopsNobody: a checkpoint of another history that fewer keys than a majority
// signed is reported once, with evidence. The ledger is sealed on, without that key.
func TestOneStolenKeyStopsNobody(t *testing.T) {
	t.Parallel()
	other := &history{name: "X", fork: 5}
	for name, size := range map[string]uint64{"applied": 9, "not applied yet": 12} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 3)
			c.step(2, Leader{true})
			c.growAll(10)
			c.settle()
			c.wantSealed(10)
			for range 3 {
				c.show(1, 2, c.signedBy(size, other.root(size), 1))
				c.show(3, 2, c.signedBy(size, other.root(size), 1)) // whoever shows it
			}
			c.wire = nil
			c.growAll(20)
			nd := c.nodes[2]
			if len(nd.contradictions) != 1 || !slices.Equal(nd.contradictions[0].By, []string{keyName(1)}) || !errors.Is(nd.contradictions[0].Err(), ErrContradiction) {
				t.Fatalf("contradictions %+v, want one by the stolen key", nd.contradictions)
			}
			if e := nd.contradictions[0].Evidence; (e == nil) != (size > 10) {
				t.Errorf("evidence %v for size %d of 10 sealed ones", e, size)
			}
			// Only node 1 answers: with the leader it is a majority, but its key does not count.
			c.tick(DefaultTimeout)
			c.sync(2)
			c.step(2, Received{1, c.cosignature(1, 20, trueRoot(20)).marshal()})
			if got := c.nodes[2].newestSize(); got != 10 {
				t.Fatalf("sealed %d with a key that signed another history", got)
			}
			c.step(2, Received{3, c.cosignature(3, 20, trueRoot(20)).marshal()})
			if got := c.nodes[2].newestSize(); got != 20 {
				t.Fatalf("sealed %d without the stolen key, want 20", got)
			}
		})
	}
}

// TestEquivocation: two valid signatures of one key for one size with different roots prove
// themselves, although this replica knows neither tree.
func TestEquivocation(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.growAll(5)
	one, two := &history{name: "1", fork: 2}, &history{name: "2", fork: 2}
	c.show(1, 2, c.signedBy(50, one.root(50), 1))
	c.show(3, 2, c.signedBy(50, one.root(50), 1))
	if n := len(c.nodes[2].contradictions); n != 0 {
		t.Fatalf("%d contradictions after one root", n)
	}
	c.show(3, 2, c.signedBy(50, two.root(50), 1, 3))
	got := c.nodes[2].contradictions
	if len(got) != 1 || !slices.Equal(got[0].By, []string{keyName(1)}) || got[0].Evidence == nil {
		t.Fatalf("contradictions %+v, want one that names %s", got, keyName(1))
	}
	if v, err := c.policy.VerifyContradiction(got[0].Evidence); err != nil || !slices.Equal(v.Both, []string{keyName(1)}) {
		t.Errorf("the evidence names %+v, %v", v, err)
	}
	c.show(3, 2, c.signedBy(50, (&history{name: "3", fork: 2}).root(50), 1))
	if got := len(c.nodes[2].contradictions); got != 1 {
		t.Errorf("%d reports about one key", got)
	}
	// As a requester the key gets no signature any more.
	if _, ok := c.steal(1, 2, 5, trueRoot(5)); ok {
		t.Error("node 2 signs for a key that signed two roots for one size")
	}
	if _, ok := c.steal(3, 2, 5, trueRoot(5)); !ok {
		t.Error("node 2 signs for nobody any more")
	}
}

// TestNoSignatureWithoutTheRequesters: whoever wants a cosignature leaves his own, on the same size
// and root.
func TestNoSignatureWithoutTheRequesters(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.growAll(10)
	c.step(2, Received{1, message{kind: kindRequest, size: 8, root: trueRoot(8)}.marshal()})
	c.sync(2)
	for name, m := range map[string]delivery{
		"for another size": {from: 1, payload: c.cosignature(1, 7, trueRoot(7)).marshal()},
		"of another voter": {from: 3, payload: c.cosignature(3, 8, trueRoot(8)).marshal()},
		"of another key":   {from: 1, payload: c.cosignature(3, 8, trueRoot(8)).marshal()},
	} {
		m.to = 2
		c.deliver(m)
		c.tick(DefaultShow)
		for _, d := range c.wire {
			if p, _ := parseMessage(d.payload); d.from == 2 && (p.kind == kindCosignature || p.kind == kindShown) {
				t.Fatalf("node 2 signed for a requester whose signature is one %s", name)
			}
		}
	}
	c.deliver(delivery{from: 1, to: 2, payload: c.cosignature(1, 8, trueRoot(8)).marshal()})
	if got := c.sent(1, kindCosignature); len(got) != 1 {
		t.Fatalf("%d cosignatures for a requester that signed, want 1", len(got))
	}
}

// TestRestored: a replica that is shown its own signature on something that it has not promised
// stops.
func TestRestored(t *testing.T) {
	t.Parallel()
	other := &history{name: "X", fork: 5}
	for name, x := range map[string]struct {
		event func(c *cluster)
		want  bool
	}{
		"the leader that it signed for connects": {func(c *cluster) { c.step(1, PeerUp{3}) }, true},
		"sealed, of a size not applied": {func(c *cluster) {
			c.step(3, Received{1, message{kind: kindSealed, data: c.signedBy(900, trueRoot(900), 0, 1, 3)}.marshal()})
		}, true},
		"shown, signed by nobody else":       {func(c *cluster) { c.show(2, 3, c.signedBy(900, trueRoot(900), 3)) }, true},
		"at the promised size, another root": {func(c *cluster) { c.show(2, 3, c.signedBy(4, other.root(4+2), 3)) }, true},
		"below the promise, on another tree": {func(c *cluster) { c.show(2, 3, c.signedBy(3, other.root(6), 3)) }, true},
		"what it promised":                   {func(c *cluster) { c.show(2, 3, c.signedBy(4, trueRoot(4), 3)) }, false},
		"less than it promised":              {func(c *cluster) { c.show(2, 3, c.signedBy(3, trueRoot(3), 1, 3)) }, false},
		"signed by others only":              {func(c *cluster) { c.show(2, 3, c.signedBy(900, trueRoot(900), 1, 2)) }, false},
		"a forged signature": {func(c *cluster) {
			_, other, err := tlog.ParseCheckpoint(c.signedBy(901, trueRoot(901), 3))
			if err != nil {
				t.Fatal(err)
			}
			cp := tlog.Checkpoint{Origin: origin, Size: 900, Root: trueRoot(900)}
			c.show(2, 3, (&tlog.Note{Text: cp.Text(), Signatures: other.Signatures}).Marshal())
			if len(c.problems) != 1 || !errors.Is(c.problems[0], ErrForged) {
				t.Errorf("problems %v", c.problems)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 3)
			c.step(1, Leader{true})
			c.growAll(4)
			c.settle()
			old := c.nodes[3].disk
			c.tick(DefaultCadence)
			c.growAll(10)
			c.settle()
			c.wantSealed(10)
			// Node 3 comes back from a copy of the time before: promise, sealed checkpoint and
			// ledger.
			nd := c.nodes[3]
			nd.disk, nd.sealed, nd.size = old, nil, 4
			c.start(3)
			c.wire = nil
			if p, err := parseState(old); err != nil || p.size != 4 {
				t.Fatalf("the older copy promises %+v, %v", p, err)
			}
			x.event(c)
			c.settle()
			if got := len(nd.restored) > 0; got != x.want || len(nd.outvoted) > 0 {
				t.Fatalf("restored %+v, outvoted %+v; want to stop: %v", nd.restored, nd.outvoted, x.want)
			}
			if x.want && !errors.Is(nd.restored[0].Err(), ErrRestored) {
				t.Errorf("the reason is %v", nd.restored[0].Err())
			}
		})
	}
}

// TestRestoredAtStart: the ledger's newest sealed checkpoint carries a signature that the promise
// does not cover.
func TestRestoredAtStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.growAll(10)
	other := &history{name: "X", fork: 5}
	make := func(promise signed, keys ...int) error {
		cfg := c.nodes[3].cfg
		cfg.State = promise.marshal()
		cfg.Newest = &ledger.Sealed{Size: 8, Root: trueRoot(8), Note: c.signedBy(8, trueRoot(8), keys...)}
		_, err := New(cfg)
		return err
	}
	for name, x := range map[string]struct {
		err  error
		want bool
	}{
		"an older promise":          {make(signed{7, trueRoot(7)}, 0, 1, 3), true},
		"no promise":                {make(signed{}, 0, 1, 3), true},
		"another root":              {make(signed{8, other.root(8)}, 0, 1, 3), true},
		"the same":                  {make(signed{8, trueRoot(8)}, 0, 1, 3), false},
		"a newer promise":           {make(signed{9, trueRoot(9)}, 0, 1, 3), false},
		"sealed without this voter": {make(signed{7, trueRoot(7)}, 0, 1, 2), false},
	} {
		if errors.Is(x.err, ErrRestored) != x.want || !x.want && x.err != nil {
			t.Errorf("%s: %v, want a refusal: %v", name, x.err, x.want)
		}
	}
}

// TestQuorum: a raised quorum seals with that many cosignatures, and a replica that has diverged
// learns it although nothing is sealed without it.
func TestQuorum(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	for _, q := range []int{1, 4, -1} {
		cfg := c.nodes[1].cfg
		if cfg.Quorum = q; q != 0 {
			if _, err := New(cfg); err == nil {
				t.Errorf("a quorum of %d out of 3 is accepted", q)
			}
		}
	}
	raise := func() {
		for id, nd := range c.nodes {
			nd.cfg.Quorum = 3
			c.start(id)
		}
	}
	raise()
	c.step(1, Leader{true})
	c.grow(1, 5)
	c.grow(2, 5)
	c.settle()
	if got := c.nodes[1].newestSize(); got != 0 {
		t.Fatalf("sealed %d with two of three", got)
	}
	c.step(3, Received{1, message{kind: kindSealed, data: c.signedBy(5, trueRoot(5), 0, 1, 2)}.marshal()})
	c.grow(3, 5)
	if len(c.nodes[3].sealed) != 0 || len(c.problems) != 1 {
		t.Fatalf("two of three seal for node 3: %v, problems %v", c.nodes[3].sealed, c.problems)
	}
	c.settle()
	c.wantSealed(5)

	c = newCluster(t, 3)
	raise()
	c.use(3, &history{name: "X", fork: 2}, 5)
	c.step(1, Leader{true})
	c.grow(1, 5)
	c.grow(2, 5)
	c.settle()
	c.tick(DefaultTimeout)
	c.settle()
	if len(c.nodes[3].outvoted) != 1 || len(c.nodes[1].outvoted)+len(c.nodes[2].outvoted) != 0 {
		t.Errorf("outvoted: %v %v %v, want node 3", c.nodes[1].outvoted, c.nodes[2].outvoted, c.nodes[3].outvoted)
	}
}

// TestFalseProof: a proof that does not verify is a forgery, and no evidence against the keys on
// the note.
func TestFalseProof(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.growAll(10)
	proof, err := trueHistory.prove(8, 20)
	if err != nil {
		t.Fatal(err)
	}
	m := message{kind: kindShown, size: 8, root: merkle.LeafHash(nil), proof: proof, data: c.signedBy(20, trueRoot(20), 0, 1, 3)}
	c.step(2, Received{3, m.marshal()})
	if nd := c.nodes[2]; len(nd.outvoted)+len(nd.contradictions) != 0 || len(c.problems) != 1 || !errors.Is(c.problems[0], ErrForged) {
		t.Errorf("outvoted %+v, contradictions %+v, problems %v; want a forgery", nd.outvoted, nd.contradictions, c.problems)
	}
	m.root = trueRoot(8)
	c.step(2, Received{3, m.marshal()})
	if len(c.problems) != 1 {
		t.Errorf("a true proof: %v", c.problems[1:])
	}
}

// TestNoRoundWithoutEnoughTrustedKeys: a leader that cannot reach the quorum with the keys that
// count asks nobody.
func TestNoRoundWithoutEnoughTrustedKeys(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	for id, nd := range c.nodes {
		nd.cfg.Quorum = 3
		c.start(id)
	}
	c.growAll(9)
	c.show(3, 2, c.signedBy(8, (&history{name: "X", fork: 2}).root(8), 1))
	c.wire = nil
	c.step(2, Leader{true})
	c.tick(DefaultTimeout)
	if got := c.sent(3, kindRequest); len(got) != 0 || len(c.nodes[2].contradictions) != 1 {
		t.Errorf("%d requests, contradictions %+v; want none, and one", len(got), c.nodes[2].contradictions)
	}
}

// TestShownIsBounded: nobody fills the memory of a replica with checkpoints, and what is known is
// not shown again.
func TestShownIsBounded(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.growAll(5)
	for size := uint64(10); size < 60; size++ {
		c.show(1, 2, c.signedBy(size, trueRoot(size), 1))
	}
	if n := len(c.nodes[2].seen.pending); n != 1 {
		t.Errorf("%d checkpoints wait, want the newest of one sender", n)
	}
	c.step(1, Leader{true})
	c.settle()
	c.wantSealed(5)
	for range 5 {
		c.tick(2 * DefaultShow)
		c.settle()
	}
	c.wire = nil
	c.tick(2 * DefaultShow)
	for id, nd := range c.nodes {
		if at, ok := nd.Deadline(); ok {
			t.Errorf("node %d of an idle cluster wants to be woken in %v", id, at.Sub(c.now))
		}
	}
	if len(c.wire) != 0 {
		t.Errorf("%d messages in an idle cluster", len(c.wire))
	}
}
