package node

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/peers"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

const (
	// fillTimeout bounds a question to a peer about its checkpoint, and the time between two parts of
	// its answer about blocks.
	fillTimeout = 10 * time.Second
	// fillPause is how long after an answer that was of no use the next peer is asked; longer after
	// each further one, up to longFillPause.
	fillPause     = 100 * time.Millisecond
	longFillPause = 3 * time.Second
	// fillBlocks is how many blocks are asked for at once.
	fillBlocks = 1024
)

// others are this node's ways to the API of the other members, made when they are needed.
type others struct {
	node *node
	// filling is held while blocks are asked for: one ledger at a time is filled, so that a node that was
	// away for long serves the others meanwhile.
	filling sync.Mutex
	ctx     context.Context // ends when the node stops
	stop    context.CancelFunc
	mu      sync.Mutex
	clients map[uint64]*peers.Client
}

func newOthers(n *node) *others {
	o := &others{node: n, clients: map[uint64]*peers.Client{}}
	o.ctx, o.stop = context.WithCancel(context.Background())
	return o
}

// client returns the way to a member.
func (o *others) client(id uint64) (*peers.Client, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.clients[id]; c != nil {
		return c, nil
	}
	if o.ctx.Err() != nil {
		return nil, o.ctx.Err()
	}
	n := o.node
	want := n.peers.idOf(id)
	if want == "" {
		return nil, errors.Newf("the cluster has no node %d", id)
	}
	c, err := peers.New(n.member(id).API, n.channel.Credentials(func(string) (pki.ID, bool) { return want, true }))
	if err == nil {
		o.clients[id] = c
	}
	return c, err
}

// close ends all questions.
func (o *others) close() {
	o.stop()
	o.filling.Lock() // whoever takes blocks has ended
	defer o.filling.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.clients {
		_ = c.Close()
	}
	o.clients = nil
}

// WakeFiller implements replica.Shell.
func (h *hosted) WakeFiller() { h.filler.Wake() }

// FillProblem implements replica.Shell.
func (h *hosted) FillProblem(peer uint64, err error) {
	h.node.metrics.fillProblems.Inc()
	h.node.log.With("part", "fill", "ledger", h.origin).Warn("a member's answer is of no use", "member", h.node.memberName(peer), "problem", err.Error())
}

// fill brings the replica to the position that the leader's snapshot names, with blocks of any
// member. It runs on a goroutine of the ledger's filler, and waits for the network.
func (h *hosted) fill() {
	o := h.node.others
	ask, ok := h.NextFill()
	if !ok {
		return
	}
	o.filling.Lock()
	defer o.filling.Unlock()
	began, from := time.Now(), h.Filling()
	why := "the Raft log of the others begins behind this replica; it takes the blocks from them"
	if h.Rebuilding() {
		why = "the replica rebuilds its ledger"
	}
	h.node.log.Info(why, "ledger", h.origin, "size", from.Have, "to_size", from.Size, "to_raft_index", from.Index)
	failures := 0
	for ; ok; ask, ok = h.NextFill() {
		if o.ctx.Err() != nil {
			return
		}
		if h.askPeer(o, ask) == nil {
			failures = 0
			continue
		}
		failures++
		select {
		case <-o.ctx.Done():
			return
		case <-time.After(min(fillPause*time.Duration(failures), longFillPause)):
		}
	}
	now := h.Filling()
	h.node.log.Info("the replica takes no more blocks from the others", "ledger", h.origin, "size", h.Replica.Ledger().Head().Size,
		"bytes", now.Received-from.Received, "took", time.Since(began).Round(time.Millisecond).String())
}

// askPeer asks one question and hands in the answer.
func (h *hosted) askPeer(o *others, ask replica.FillAsk) error {
	if ask.Log {
		return h.FillFromLog(ask)
	}
	ctx, cancel := context.WithCancel(o.ctx)
	defer cancel()
	stall := time.AfterFunc(fillTimeout, cancel)
	defer stall.Stop()
	c, err := o.client(ask.Peer)
	if ask.Sealed {
		var p *peers.Position
		if err == nil {
			p, err = c.Sealed(ctx, h.origin, ask.Size)
		}
		if err != nil {
			p = &peers.Position{}
		}
		if o.ctx.Err() == nil {
			h.FillSealed(ask, p.Note, p.Proof, err)
		}
		return err
	}
	if err == nil {
		err = c.Blocks(ctx, h.origin, peers.Request{First: ask.First, Blocks: fillBlocks, ProofSize: ask.Size}, func(b peers.Batch) error {
			stall.Reset(fillTimeout)
			return h.FillBlocks(ask, b.Records, b.Proof)
		})
	}
	if err == nil && h.Replica.Ledger().Head().Size == ask.First {
		err = errors.New("the member has not reached the entry")
	}
	if o.ctx.Err() == nil {
		h.FillEnd(ask, err)
	}
	return err
}
