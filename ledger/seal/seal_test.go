package seal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

func TestSealsAtOnceAndEverybodyLearns(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 4)
	c.step(2, Leader{true})
	c.growAll(10)
	c.settle()
	c.wantSealed(10)
	// Without anybody waiting the next one is due at the cadence.
	c.growAll(20)
	c.tick(DefaultCadence - 1)
	c.settle()
	c.wantSealed(10)
	c.tick(1)
	c.settle()
	c.wantSealed(20)
	// With somebody waiting it is due at once.
	c.step(2, Wanted{1})
	c.growAll(30)
	c.settle()
	c.wantSealed(30)
	if len(c.problems) > 0 {
		t.Fatalf("problems: %v", c.problems)
	}
}

func TestOneSealAtATime(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.step(1, Leader{true})
	c.growAll(1)
	for size := uint64(2); size < 50; size++ {
		c.now = c.now.Add(DefaultGather / 2) // 50 of them are less than a timeout
		c.step(1, Wanted{1})
		c.grow(1, size)
	}
	if len(c.wire) != 2 || len(c.nodes[1].persists) != 1 {
		t.Fatalf("%d messages and %d writes for one seal of three voters, want 2 and 1", len(c.wire), len(c.nodes[1].persists))
	}
	c.growAll(50)
	c.settle()
	c.wantSealed(1) // the first took long, and a pause follows
	c.tick(DefaultGather)
	c.settle()
	c.wantSealed(50)
	if n := len(c.nodes[1].sealed); n != 2 {
		t.Fatalf("%d seals, want 2", n)
	}
}

func TestSingleVoter(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	c.step(1, Leader{true})
	c.growAll(3)
	c.settle()
	c.wantSealed(3)
}

func TestLaggingVoterSignsWhenItHasApplied(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.step(1, Leader{true})
	c.grow(1, 5)
	c.settle()
	if len(c.nodes[1].sealed) != 0 {
		t.Fatal("sealed without a majority having applied")
	}
	c.grow(3, 7)
	c.settle()
	if got := c.nodes[1].newestSize(); got != 5 {
		t.Fatalf("sealed %d, want 5", got)
	}
	c.grow(2, 5)
	c.wantSealed(5)
}

// TestBehindLearnerWaitsForGrowth: a learner that has not applied a sealed size takes the checkpoint
// over when it has, and awaits nothing else.
func TestBehindLearnerWaitsForGrowth(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, 4)
	c.step(1, Leader{true})
	for id := uint64(1); id <= 3; id++ {
		c.grow(id, 5)
	}
	if c.nodes[4].AwaitsGrowth() {
		t.Error("the learner awaits growth without a checkpoint")
	}
	c.settle()
	if !c.nodes[4].AwaitsGrowth() {
		t.Error("the learner does not await the growth that its checkpoint needs")
	}
	c.grow(4, 5)
	if n := len(c.nodes[4].sealed); n != 1 || c.nodes[4].AwaitsGrowth() {
		t.Errorf("the learner has %d sealed checkpoints, awaits growth: %t", n, c.nodes[4].AwaitsGrowth())
	}
}

func TestTimeoutTriesAgainWithTheSizeOfThen(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.step(1, Leader{true})
	c.growAll(5)
	c.wire = nil // lost
	c.settle()
	c.growAll(9)
	c.tick(DefaultTimeout - 1)
	c.settle()
	c.wantSealed(0)
	c.tick(1)
	c.settle()
	c.tick(DefaultGather)
	c.settle()
	c.wantSealed(9)
}

func TestNewLeaderGoesOn(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.step(1, Leader{true})
	c.growAll(5)
	c.settle()
	// The old leader is cut off in the middle of a seal; node 2 has signed 8 already.
	c.grow(1, 8)
	c.grow(2, 8)
	c.grow(3, 6)
	c.tick(DefaultCadence)
	c.sync(1)
	for _, d := range c.wire {
		if d.to == 2 {
			c.deliver(d)
		}
	}
	c.sync(2)
	c.wire = nil
	c.step(1, Leader{false})
	c.step(3, Leader{true})
	c.settle()
	// Node 3 asked for 6, which nobody else signs after 8.
	if got := c.nodes[3].newestSize(); got != 5 {
		t.Fatalf("sealed %d, want 5", got)
	}
	c.grow(3, 8)
	c.tick(DefaultTimeout)
	c.settle()
	c.wantSealed(8)
}

func TestRestartedNodeLearnsTheNewest(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.step(1, Leader{true})
	c.growAll(5)
	c.settle()
	c.nodes[3].sealed = nil
	c.start(3)
	c.step(1, PeerUp{3})
	c.settle()
	c.wantSealed(5)
}

func TestStateSurvivesRestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	ask := func(size uint64, root merkle.Hash) []message {
		c.wire = nil
		c.step(2, Received{1, message{kind: kindRequest, size: size, root: root}.marshal()})
		c.step(2, Received{1, c.cosignature(1, size, root).marshal()})
		c.sync(2)
		return c.sent(1, kindCosignature, kindRefusal)
	}
	c.growAll(10)
	if a := ask(8, trueRoot(8)); len(a) != 1 || a[0].kind != kindCosignature {
		t.Fatalf("first request: %+v", a)
	}
	c.start(2)
	if a := ask(7, trueRoot(7)); len(a) != 1 || a[0].kind != kindRefusal || a[0].last != 8 {
		t.Fatalf("smaller size after restart: %+v", a)
	}
	if a := ask(8, trueRoot(8)); len(a) != 1 || a[0].kind != kindCosignature {
		t.Fatalf("same size after restart: %+v", a)
	}
	// Its ledger has another root than it once signed.
	c.nodes[2].cfg.RootAt = func(uint64) (merkle.Hash, error) { return trueRoot(99), nil }
	c.start(2)
	if a := ask(8, trueRoot(99)); len(a) != 0 || len(c.problems) == 0 || !errors.Is(c.problems[0], ErrRootMismatch) {
		t.Fatalf("another root for a signed size: %+v, problems %v", a, c.problems)
	}
}

func TestCrashBeforeTheStateIsDurable(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.step(1, Leader{true})
	c.growAll(5)
	for _, d := range c.wire {
		c.deliver(d)
	}
	c.wire = nil
	if len(c.nodes[2].persists) != 1 {
		t.Fatal("node 2 did not write before signing")
	}
	c.start(2) // the write is lost, and so is the signature: checkSent sees every one
	c.settle()
	c.tick(DefaultTimeout)
	c.settle()
	c.wantSealed(5)
}

func TestForgeries(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 5)
	c.step(1, Leader{true})
	c.growAll(5)
	c.sync(1)
	cp := tlog.Checkpoint{Origin: origin, Size: 5, Root: trueRoot(5)}
	cosign := func(key int, cp tlog.Checkpoint) message {
		sig, err := testKeys()[key].Cosign(cp, 1)
		if err != nil {
			t.Fatal(err)
		}
		return message{kind: kindCosignature, size: 5, root: trueRoot(5), keyID: sig.KeyID, data: sig.Data}
	}
	c.wire = nil
	good := cosign(2, cp)
	flipped := cosign(3, cp)
	flipped.data[100] ^= 1
	otherID := cosign(3, cp)
	otherID.keyID++
	for name, f := range map[string]struct {
		from uint64
		m    message
		ok   bool // not even a problem
	}{
		"flipped":             {3, flipped, false},
		"another key id":      {3, otherID, false},
		"another's signature": {3, good, false},
		"the log's signature": {3, cosign(0, cp), false},
		"another root":        {3, cosign(3, tlog.Checkpoint{Origin: origin, Size: 5, Root: trueRoot(6)}), false},
		"another origin":      {3, cosign(3, tlog.Checkpoint{Origin: origin + "x", Size: 5, Root: trueRoot(5)}), false},
		"as the leader":       {1, good, true},
		"no voter":            {9, good, true},
		"once":                {2, good, true},
		"twice":               {2, good, true},
	} {
		c.problems = nil
		c.step(1, Received{f.from, f.m.marshal()})
		if len(c.nodes[1].sealed) != 0 {
			t.Fatalf("%s: sealed with too few cosignatures", name)
		}
		if f.ok == (len(c.problems) > 0) || !f.ok && !errors.Is(c.problems[0], ErrForged) {
			t.Fatalf("%s: problems %v", name, c.problems)
		}
	}
	c.step(1, Received{4, cosign(4, cp).marshal()})
	if len(c.nodes[1].sealed) != 1 {
		t.Fatal("three good cosignatures of five did not seal")
	}
	// A note with too few lines, and one with a wrong root, change nothing elsewhere.
	note := func(cp tlog.Checkpoint, keys ...int) []byte {
		n := tlog.Note{Text: cp.Text()}
		for _, k := range keys {
			sig, err := testKeys()[k].Cosign(cp, 1)
			if err != nil {
				t.Fatal(err)
			}
			n.Signatures = append(n.Signatures, sig)
		}
		return n.Marshal()
	}
	for name, b := range map[string][]byte{
		"two cosignatures": note(cp, 0, 1, 2),
		"no log line":      note(cp, 1, 2, 3),
		"one three times":  note(cp, 0, 1, 1, 1),
		"garbage":          []byte("no note\n"),
		"another origin":   note(tlog.Checkpoint{Origin: origin + "x", Size: 5, Root: trueRoot(5)}, 0, 1, 2, 3),
	} {
		c.problems = nil
		c.step(5, Received{1, message{kind: kindSealed, data: b}.marshal()})
		if len(c.nodes[5].sealed) != 0 || len(c.problems) != 1 {
			t.Fatalf("%s: sealed %v, problems %v", name, c.nodes[5].sealed, c.problems)
		}
	}
}

// TestRandomFaults loses, repeats and reorders messages, restarts nodes with writes in flight and
// has up to two leaders at once, then heals everything and wants the whole ledger sealed. checkSent
// watches every signature.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			n := 3 + 2*int(seed%2)
			c := newCluster(t, n)
			size := uint64(0)
			for range 400 {
				id := 1 + rng.Uint64N(uint64(n))
				switch rng.IntN(12) {
				case 0, 1:
					size += rng.Uint64N(3)
					c.grow(id, size)
				case 2:
					c.grow(id, min(size, c.nodes[id].size+rng.Uint64N(2)))
				case 3:
					c.step(id, Leader{rng.IntN(3) > 0})
				case 4:
					c.step(id, Wanted{1})
				case 5:
					c.start(id)
				case 6, 7:
					c.sync(id)
				case 8:
					c.tick(time.Duration(rng.IntN(100)) * time.Millisecond)
				default:
					if len(c.wire) == 0 {
						continue
					}
					i := rng.IntN(len(c.wire))
					d := c.wire[i]
					if rng.IntN(4) > 0 { // otherwise it will come again
						c.wire = slices.Delete(c.wire, i, i+1)
					}
					if rng.IntN(4) > 0 {
						c.deliver(d)
					}
				}
			}
			size++
			for id := range c.nodes {
				c.step(id, Leader{false})
			}
			c.growAll(size)
			c.settle()
			c.step(1, Leader{true})
			for range 3 {
				c.settle()
				c.tick(DefaultResend)
			}
			c.settle()
			c.wantSealed(size)
		})
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	if _, ok := c.nodes[1].Deadline(); ok {
		t.Fatal("a follower has a deadline")
	}
	c.step(1, Leader{true})
	c.growAll(5)
	want := func(d time.Duration) {
		t.Helper()
		if at, ok := c.nodes[1].Deadline(); !ok || at.Sub(c.now) != d {
			t.Fatalf("deadline in %v, %v; want %v", at.Sub(c.now), ok, d)
		}
	}
	want(DefaultTimeout)
	c.settle()
	if _, ok := c.nodes[1].Deadline(); ok {
		t.Fatal("a deadline with everything sealed and acknowledged")
	}
	c.growAll(6)
	want(DefaultCadence)
	c.step(1, Wanted{1})
	want(DefaultTimeout)
}

func FuzzMessage(f *testing.F) {
	f.Add(message{kind: kindRequest, size: 1, root: trueRoot(1)}.marshal())
	f.Add(message{kind: kindCosignature, size: 1, keyID: 7, data: []byte("signature")}.marshal())
	f.Add(message{kind: kindRefusal, size: 1, last: 2}.marshal())
	f.Add(message{kind: kindSealed, data: []byte("note\n")}.marshal())
	f.Add(message{kind: kindAck, size: 9}.marshal())
	f.Add(message{kind: kindObjection, size: 9, root: trueRoot(9)}.marshal())
	f.Add(message{kind: kindAsk}.marshal())
	f.Add(message{kind: kindPosition, size: 9, root: trueRoot(9), last: 7}.marshal())
	f.Add(message{kind: kindShown, data: []byte("note\n")}.marshal())
	f.Add(message{kind: kindShown, size: 9, root: trueRoot(9), proof: []merkle.Hash{{1}, {2}}, data: []byte("note\n")}.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		if got := m.marshal(); string(got) != string(b) {
			t.Fatalf("parsed %x, which encodes to %x", b, got)
		}
	})
}

// TestNoVoterDisplacesAnothersRequest: a voter that asks for sizes which do not exist, or for what
// it never signs itself, does not keep the leader's request from its answer.
func TestNoVoterDisplacesAnothersRequest(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	ask := func(from, size uint64) {
		c.step(2, Received{From: from, Payload: message{kind: kindRequest, size: size, root: trueRoot(min(size, 100))}.marshal()})
	}
	c.step(1, Leader{true})
	c.grow(2, 5)
	c.grow(1, 6)
	c.sync(1)
	c.wire = slices.DeleteFunc(c.wire, func(d delivery) bool { // node 3 answers nobody, and the request to node 2 comes by hand
		return d.to == 3 || kind(d.payload[1]) == kindRequest
	})
	ask(1, 6) // waits: node 2 has applied 5
	ask(3, 1<<40)
	c.grow(2, 6)
	c.sync(2) // the promise is durable; the cosignature of node 1 is on its way
	ask(3, 6)
	c.settle()
	if newest := c.nodes[1].Newest(); newest == nil || newest.Size != 6 {
		t.Errorf("node 1 has sealed %+v, want size 6 with the cosignature of node 2", newest)
	}
}

// TestSlowDisks: a seal ends on disks that need longer than Timeout, though the ledger grows all
// the time.
func TestSlowDisks(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	c.step(1, Leader{true})
	deliver := func() { // without any sync
		for len(c.wire) > 0 {
			d := c.wire[0]
			c.wire = c.wire[1:]
			c.deliver(d)
		}
	}
	for size := uint64(1); size <= 16; size++ {
		c.growAll(size)
		deliver()
		c.tick(DefaultTimeout)
		deliver()
		if size%4 > 0 {
			continue // a sync takes four times Timeout
		}
		for id := range uint64(3) {
			nd := c.nodes[id+1]
			if len(nd.persists) > 0 {
				nd.disk = nd.persists[0].Data
				token := nd.persists[0].Token
				nd.persists = nd.persists[1:]
				c.step(id+1, Persisted{token})
			}
		}
	}
	deliver()
	for id, nd := range c.nodes {
		if nd.newestSize() == 0 {
			t.Errorf("node %d knows of no seal", id)
		}
	}
}
