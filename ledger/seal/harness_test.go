package seal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

const origin = "example.org/ledger"

// testKeys are made once: the log's and those of five nodes.
var testKeys = sync.OnceValue(func() (keys [6]*tlog.Cosigner) {
	for i := range keys {
		name := origin
		if i > 0 {
			name = fmt.Sprintf("%s/n%d", origin, i)
		}
		seed := sha256.Sum256([]byte(name))
		key, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, seed[:])
		if err == nil {
			keys[i], err = tlog.NewCosigner(name, key)
		}
		if err != nil {
			panic(err)
		}
	}
	return keys
})

// history is a ledger of fixed contents: leaf i is i, and from the fork on the fork's name and i.
type history struct {
	mu     sync.Mutex
	name   string
	fork   uint64
	leaves []merkle.Hash
	roots  []merkle.Hash
}

func (h *history) grow(size uint64) {
	tree := merkle.NewTree()
	tree.Append(h.leaves)
	for i := uint64(len(h.leaves)); i < size; i++ {
		leaf := binary.BigEndian.AppendUint64(nil, i)
		if i >= h.fork {
			leaf = append(leaf, h.name...)
		}
		h.leaves = append(h.leaves, merkle.LeafHash(leaf))
		tree.Append(h.leaves[i:])
		h.roots = append(h.roots, tree.Root())
	}
}

func (h *history) root(size uint64) merkle.Hash {
	h.mu.Lock()
	defer h.mu.Unlock()
	if size == 0 {
		return merkle.EmptyRoot()
	}
	if size > uint64(len(h.leaves)) {
		h.grow(size + 64)
	}
	return h.roots[size-1]
}

func (h *history) prove(oldSize, newSize uint64) ([]merkle.Hash, error) {
	h.root(newSize)
	h.mu.Lock()
	defer h.mu.Unlock()
	return merkle.ConsistencyProof(merkle.TileReaderFunc(func(level uint8, index uint64, width int) ([]merkle.Hash, error) {
		if level != 0 {
			return nil, errors.New("histories have at most one tile")
		}
		return h.leaves[index*merkle.TileWidth:][:width], nil
	}), oldSize, newSize)
}

// trueHistory is the one true ledger.
var trueHistory = &history{}

func trueRoot(size uint64) merkle.Hash { return trueHistory.root(size) }

// cluster is some sealers with a network, disks and a clock, all under the test's control.
type cluster struct {
	t        *testing.T
	now      time.Time
	nodes    map[uint64]*node
	wire     []delivery
	policy   *tlog.Policy
	inForce  func(size uint64) *ledger.PolicyInForce // instead of policy, where it changes
	problems []error
	signed   map[uint64]signed // largest size for which a node's cosignature left it
}

type node struct {
	*Sealer
	cfg      Config
	size     uint64    // applied
	history  *history  // nil for the true one
	disk     []byte    // durable state
	persists []Persist // not yet durable
	sealed   []*ledger.Sealed
	// Outvoted and Restored are the last thing that a node does.
	outvoted       []Outvoted
	restored       []Restored
	contradictions []Contradiction
}

type delivery struct {
	from, to uint64
	payload  []byte
}

func newCluster(t *testing.T, n int, learners ...uint64) *cluster {
	c := &cluster{t: t, now: time.Unix(1_700_000_000, 0), nodes: map[uint64]*node{}, signed: map[uint64]signed{}}
	voters := map[uint64]*tlog.VerifierKey{}
	var keys []*tlog.VerifierKey
	for id := uint64(1); id <= uint64(n); id++ {
		voters[id] = testKeys()[id].Key()
		keys = append(keys, voters[id])
	}
	var err error
	if c.policy, err = tlog.NewPolicy([]*tlog.VerifierKey{testKeys()[0].Key()}, keys, n/2+1); err != nil {
		t.Fatal(err)
	}
	for _, id := range append(slices.Sorted(maps.Keys(voters)), learners...) {
		nd := &node{cfg: Config{Origin: origin, Self: id, Voters: voters, Learners: learners, LogCosigner: testKeys()[0], NodeCosigner: testKeys()[id]}}
		nd.cfg.ConsistencyProof = trueHistory.prove
		nd.cfg.RootAt = func(size uint64) (merkle.Hash, error) {
			if size > nd.size {
				return merkle.Hash{}, errors.New("not applied")
			}
			return trueRoot(size), nil
		}
		c.nodes[id] = nd
		c.start(id)
	}
	return c
}

// start (re)starts a node with what its disk and its ledger hold.
func (c *cluster) start(id uint64) {
	nd := c.nodes[id]
	nd.cfg.State, nd.persists = nd.disk, nil
	nd.cfg.Newest = nil
	if k := len(nd.sealed); k > 0 {
		nd.cfg.Newest = nd.sealed[k-1]
	}
	var err error
	if nd.Sealer, err = New(nd.cfg); err != nil {
		c.t.Fatal(err)
	}
	c.step(id, Applied{nd.size, nd.size})
}

func (c *cluster) step(id uint64, ev Event) {
	nd := c.nodes[id]
	due, ok := nd.Deadline()
	_, grows := ev.(Applied)
	indifferent := grows && !nd.AwaitsGrowth() && (!ok || c.now.Before(due))
	effects := nd.Step(c.now, ev)
	if after, still := nd.Deadline(); indifferent && (len(effects) > 0 || still != ok || !after.Equal(due)) {
		c.t.Errorf("node %d does not await growth, but at size %d it does %v; its deadline was %v, %t and is %v, %t", id, nd.size, effects, due, ok, after, still)
	}
	for _, e := range effects {
		switch e := e.(type) {
		case Send:
			c.checkSent(id, e)
			c.wire = append(c.wire, delivery{id, e.To, e.Payload})
		case Persist:
			nd.persists = append(nd.persists, e)
		case Sealed:
			v, err := c.verify(e.Checkpoint)
			root := trueRoot
			if nd.history != nil {
				root = nd.history.root
			}
			if err != nil || v.Size != e.Checkpoint.Size || v.Root != root(v.Size) || v.Root != e.Checkpoint.Root {
				c.t.Fatalf("node %d sealed %d, which does not verify: %v", id, e.Checkpoint.Size, err)
			}
			if k := len(nd.sealed); k > 0 && nd.sealed[k-1].Size >= v.Size || v.Size > nd.size {
				c.t.Fatalf("node %d with size %d sealed %d out of order", id, nd.size, v.Size)
			}
			nd.sealed = append(nd.sealed, e.Checkpoint)
		case Outvoted:
			nd.outvoted = append(nd.outvoted, e)
			c.checkEvidence(id, e.Evidence)
		case Restored:
			nd.restored = append(nd.restored, e)
		case Contradiction:
			nd.contradictions = append(nd.contradictions, e)
			c.checkEvidence(id, e.Evidence)
		case Problem:
			c.problems = append(c.problems, e.Err)
		}
	}
}

// verify verifies a sealed checkpoint as one who knows all policies does.
func (c *cluster) verify(s *ledger.Sealed) (*tlog.VerifiedCheckpoint, error) {
	if c.inForce == nil {
		return c.policy.Verify(s.Note)
	}
	in := c.inForce(s.Size)
	if err := in.Verify(origin, s.Note); err != nil {
		return nil, err
	}
	p, err := in.Newest.Verifier(origin)
	if err != nil {
		return nil, err
	}
	return p.Verify(s.Note)
}

// checkEvidence wants evidence that a verifier with the policy accepts.
func (c *cluster) checkEvidence(id uint64, e *tlog.Contradiction) {
	c.t.Helper()
	if e == nil {
		return
	}
	if _, err := c.policy.VerifyContradiction(e); err != nil {
		c.t.Errorf("node %d has evidence that does not verify: %v", id, err)
	}
}

// checkSent checks the promise of a voter on everything that leaves it.
func (c *cluster) checkSent(id uint64, e Send) {
	m, err := parseMessage(e.Payload)
	if err != nil {
		c.t.Fatalf("node %d sent garbage: %v", id, err)
	}
	if m.kind != kindCosignature {
		return
	}
	last := c.signed[id]
	if m.size < last.size || m.size == last.size && m.root != last.root {
		c.t.Fatalf("node %d signed size %d with root %v after size %d with root %v", id, m.size, m.root, last.size, last.root)
	}
	onDisk, err := parseState(c.nodes[id].disk)
	if err != nil || onDisk.size < m.size {
		c.t.Fatalf("node %d signed size %d, its disk says %d, %v", id, m.size, onDisk.size, err)
	}
	c.signed[id] = signed{m.size, m.root}
}

// sync makes a node's outstanding state durable.
func (c *cluster) sync(id uint64) {
	nd := c.nodes[id]
	for len(nd.persists) > 0 {
		c.step(id, Tick{}) // time to sign ahead
		p := nd.persists[0]
		nd.persists = nd.persists[1:]
		nd.disk = p.Data
		c.step(id, Persisted{p.Token})
	}
}

// cosignature is a voter's cosignature, made by whoever holds the key.
func (c *cluster) cosignature(id, size uint64, root merkle.Hash) message {
	cp := tlog.Checkpoint{Origin: origin, Size: size, Root: root}
	sig, err := testKeys()[id].Cosign(cp, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	return cosignatureMessage(cp, sig)
}

// sent returns the messages of some kinds that are on their way to a node.
func (c *cluster) sent(to uint64, kinds ...kind) (found []message) {
	for _, d := range c.wire {
		m, err := parseMessage(d.payload)
		if err != nil {
			c.t.Fatal(err)
		}
		if d.to == to && slices.Contains(kinds, m.kind) {
			found = append(found, m)
		}
	}
	return found
}

func (c *cluster) deliver(d delivery) {
	if nd := c.nodes[d.to]; nd != nil {
		c.step(d.to, Received{d.from, d.payload})
	}
}

// settle delivers and syncs until nothing happens any more, without letting time pass.
func (c *cluster) settle() {
	for busy := true; busy; {
		busy = false
		for len(c.wire) > 0 {
			d := c.wire[0]
			c.wire = c.wire[1:]
			c.deliver(d)
			busy = true
		}
		for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
			busy = busy || len(c.nodes[id].persists) > 0
			c.sync(id)
		}
	}
}

func (c *cluster) grow(id, size uint64) {
	c.nodes[id].size = size
	c.step(id, Applied{size, size})
}

func (c *cluster) growAll(size uint64) {
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		c.grow(id, size)
	}
}

func (c *cluster) tick(d time.Duration) {
	c.now = c.now.Add(d)
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		c.step(id, Tick{})
	}
}

func (c *cluster) wantSealed(size uint64) {
	c.t.Helper()
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		if got := c.nodes[id].newestSize(); got != size {
			c.t.Fatalf("node %d knows sealed size %d, want %d", id, got, size)
		}
	}
}
