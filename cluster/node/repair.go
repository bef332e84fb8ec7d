package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/peers"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

const (
	// fetchTimeout bounds how long one member may take to send a block. A read waits for it.
	fetchTimeout = 3 * time.Second
	// repairAgain is how long a read that finds damage does not ask the members again after they
	// could not help.
	repairAgain = 10 * time.Second
	// repairsOfRead bounds what one read repairs: a block, its tile and the tiles above.
	repairsOfRead = 4
	// hopelessPlaces bounds what is remembered about places that could not be repaired.
	hopelessPlaces = 1000
)

// repairs writes again what the disk has changed or lost, with blocks of other members. One repair
// runs at a time on a node. Its rate is bounded by what a member sends in a second
// (storage.serve_bytes) and, for those of the scrub, by storage.scrub_bytes.
type repairs struct {
	node *node
	// ctx ends with stop, so that nobody waits for a member when the node stops.
	ctx  context.Context
	stop context.CancelFunc
	mu   struct {
		sync.Mutex
		clients map[uint64]*peers.Client
		// hopeless has the places that no member could help with, and when.
		hopeless map[place]time.Time
	}
}

// place is a damaged part of a ledger.
type place struct {
	group uint64
	ledger.Place
}

func placeOf(h *hosted, c *ledger.CorruptError) place {
	return place{h.group, ledger.Place{Part: c.Part, Level: c.Level, Index: c.Index}}
}

func newRepairs(n *node) *repairs {
	r := &repairs{node: n}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.mu.clients, r.mu.hopeless = map[uint64]*peers.Client{}, map[place]time.Time{}
	return r
}

// close ends the connections to the other members. Nothing is repaired afterwards.
func (r *repairs) close() {
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.mu.clients {
		_ = c.Close()
	}
	r.mu.clients = nil
}

// repair writes a damaged part of a ledger again. The ledger proves what the members send before it
// writes or serves it; a member whose blocks do not prove is followed by the next one.
func (r *repairs) repair(h *hosted, damage *ledger.CorruptError, read bool) error {
	if damage.Part == ledger.PartOther {
		return errors.Wrapf(ledger.ErrNotRepairable, "%v", damage)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.clients == nil {
		return ledger.ErrClosed
	}
	at := placeOf(h, damage)
	if read && time.Since(r.mu.hopeless[at]) < repairAgain {
		return errors.Wrapf(ledger.ErrNotRepairable, "no other member could help with %v", damage)
	}
	var err error
	others := r.node.nodes().present()
	for _, x := range others {
		m := x.member()
		if m.ID == r.node.cfg.Self().ID && len(others) > 1 {
			continue
		}
		from := ""
		written, e := h.Replica.Ledger().Repair(damage, func(index uint64) (*ledger.BlockRecord, error) {
			from = m.Name
			return r.fetch(m, h.origin, index)
		})
		for _, p := range written {
			h.repaired[p.Part].Add(1)
			h.node.log.Info("the store is repaired", "ledger", h.origin, "kind", p.Part.String(), "index", p.Index, "peer", from)
		}
		if e == nil {
			delete(r.mu.hopeless, at)
			return nil
		}
		err = errors.CombineErrors(err, errors.Wrapf(e, "with blocks of %s", m.Name))
		if r.ctx.Err() != nil || errors.IsAny(e, ledger.ErrNotRepairable, ledger.ErrClosed) || h.Replica.Ledger().Err() != nil {
			break
		}
	}
	if len(r.mu.hopeless) >= hopelessPlaces {
		clear(r.mu.hopeless)
	}
	r.mu.hopeless[at] = time.Now()
	return err
}

// errNoOtherMember says that the cluster has one node.
var errNoOtherMember = errors.New("the cluster has no other member")

// fetch gets the block of an entry from a member. It is called with the lock.
func (r *repairs) fetch(m Member, origin string, index uint64) (rec *ledger.BlockRecord, err error) {
	if m.ID == r.node.cfg.Self().ID {
		return nil, errNoOtherMember
	}
	c := r.mu.clients[m.ID]
	if c == nil {
		creds := r.node.channel.Credentials(func(string) (pki.ID, bool) { return r.node.peers.idOf(m.ID), true })
		if c, err = peers.New(m.API, creds); err != nil {
			return nil, err
		}
		r.mu.clients[m.ID] = c
	}
	ctx, cancel := context.WithTimeout(r.ctx, fetchTimeout)
	defer cancel()
	err = c.Blocks(ctx, origin, peers.Request{First: index, Blocks: 1}, func(b peers.Batch) error {
		rec = b.Records[0]
		return nil
	})
	if err == nil && rec == nil {
		err = errors.New("the member has not reached the entry")
	}
	return rec, err
}

// repairCounts is how often each part of a ledger was repaired since the start.
type repairCounts [ledger.PartCheckpoint + 1]atomic.Uint64

// reads are the reads of a hosted ledger. A read that finds damage repairs it and reads again, so
// that it is answered with what another member has sent, proved, while the node goes on.
type reads struct {
	*ledger.Ledger
	h *hosted
}

// mend repeats a read after what it found damaged was repaired.
func (r reads) mend(read func() error) error {
	err := read()
	for range repairsOfRead {
		var corrupt *ledger.CorruptError
		if !errors.As(err, &corrupt) || r.h.node.repairs.repair(r.h, corrupt, true) != nil {
			return err
		}
		err = read()
	}
	return err
}

func (r reads) Leaf(index uint64) (leaf []byte, err error) {
	err = r.mend(func() error { leaf, err = r.Ledger.Leaf(index); return err })
	return leaf, err
}

func (r reads) Leaves(first uint64, maxLeaves, maxBytes int) (leaves [][]byte, err error) {
	err = r.mend(func() error { leaves, err = r.Ledger.Leaves(first, maxLeaves, maxBytes); return err })
	return leaves, err
}

func (r reads) InclusionProof(index, size uint64) (proof []merkle.Hash, err error) {
	err = r.mend(func() error { proof, err = r.Ledger.InclusionProof(index, size); return err })
	return proof, err
}

func (r reads) ConsistencyProof(oldSize, newSize uint64) (proof []merkle.Hash, err error) {
	err = r.mend(func() error { proof, err = r.Ledger.ConsistencyProof(oldSize, newSize); return err })
	return proof, err
}

func (r reads) RootAt(size uint64) (root merkle.Hash, err error) {
	err = r.mend(func() error { root, err = r.Ledger.RootAt(size); return err })
	return root, err
}

func (r reads) Tile(level uint8, index uint64, width int) (tile []byte, err error) {
	err = r.mend(func() error { tile, err = r.Ledger.Tile(level, index, width); return err })
	return tile, err
}

func (r reads) EntryBundle(index uint64, width int) (bundle []byte, err error) {
	err = r.mend(func() error { bundle, err = r.Ledger.EntryBundle(index, width); return err })
	return bundle, err
}
