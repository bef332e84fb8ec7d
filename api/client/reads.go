package client

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// freshness translates read options into what a request says.
func (c *Client) freshness(opts []ReadOption) (cairnv1.Consistency, uint64) {
	var o readOptions
	for _, opt := range opts {
		opt(&o)
	}
	if o.local {
		return cairnv1.Consistency_CONSISTENCY_LOCAL, c.seen.Load()
	}
	return cairnv1.Consistency_CONSISTENCY_LINEARIZABLE, 0
}

// read calls one node after the other until one answers or refuses for good. A read has no effect,
// so every attempt is safe and every error definite.
func read[T any](ctx context.Context, c *Client, call func(ctx context.Context, n *node) (T, error)) (T, *node, error) {
	var zero T
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	for attempt := 1; ; attempt++ {
		n := c.nodes.forRead()
		attemptCtx, cancelAttempt := context.WithTimeout(ctx, attemptTimeout)
		resp, err := call(attemptCtx, n)
		cancelAttempt()
		if err == nil {
			return resp, n, nil
		}
		e := n.errorFrom(err, true)
		e.Definite = true
		if ctx.Err() != nil {
			return zero, n, c.ended(ctx, true).because(e)
		}
		if !e.passing() {
			return zero, n, e
		}
		if no := c.nodes.hopeless(attempt); no != nil {
			return zero, n, no
		}
		c.opts.logf("read: attempt %d: %v", attempt, e)
		c.nodes.skip(n)
		// The next node may be fine: wait only after each has had its turn.
		if attempt%len(c.nodes.names()) == 0 {
			sleep(ctx, pause(attempt, e.RetryAfter))
		}
		if ctx.Err() != nil {
			return zero, n, c.ended(ctx, true).because(e)
		}
	}
}

// because adds the failure of the last attempt, which says more than that time ran out.
func (e *Error) because(last *Error) *Error {
	if last == nil || e.Reason != ReasonDeadline || last.Node == "" && last.Message == e.Message {
		return e
	}
	if last.Reason == ReasonDeadline && last.last != nil {
		last = last.last
	}
	e.last = last
	if last.Node == "" {
		e.Message += "; " + last.Message // no node answered: the sentence says all
	} else if last.Reason != ReasonDeadline {
		e.Message += "; the last attempt failed: " + last.Error()
	}
	return e
}

// skip makes the next read go to another node than n.
func (ns *nodes) skip(n *node) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.mu.list[ns.mu.turn%len(ns.mu.list)] == n {
		ns.mu.turn++
	}
}

// Get returns one entry. The reason of the error is NOT_FOUND if the ledger has no such index.
func (c *Client) Get(ctx context.Context, index uint64, opts ...ReadOption) (StoredEntry, error) {
	consistency, minSize := c.freshness(opts)
	req := &cairnv1.GetRequest{Index: index, Consistency: consistency, MinSize: minSize}
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.GetResponse, error) { return n.ledger.Get(ctx, req) })
	if err != nil {
		return StoredEntry{}, err
	}
	if resp.Index != index || resp.Size <= index {
		return StoredEntry{}, &VerificationError{What: "entry", Node: n.Name, Err: errors.Newf(
			"asked for index %d, got %d of a ledger of size %d", index, resp.Index, resp.Size)}
	}
	c.sawSize(resp.Size)
	return parseStored(index, resp.Leaf)
}

// Head returns size and root of the ledger, by default as of now, with Local as the answering node
// has it.
func (c *Client) Head(ctx context.Context, opts ...ReadOption) (Head, error) {
	consistency, minSize := c.freshness(opts)
	req := &cairnv1.HeadRequest{Consistency: consistency, MinSize: minSize}
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.HeadResponse, error) { return n.ledger.Head(ctx, req) })
	if err != nil {
		return Head{}, err
	}
	h := Head{Size: resp.Size, Node: resp.Node, Leader: resp.Leader}
	if h.Root, err = oneHash(resp.Root); err != nil {
		return Head{}, &VerificationError{What: "head", Node: n.Name, Err: err}
	}
	if resp.Time != 0 {
		h.Time = time.UnixMicro(resp.Time)
	}
	c.sawSize(h.Size)
	return h, nil
}

// Checkpoint returns the newest sealed checkpoint of a node, verified, and consistent with every
// one seen before. The reason of the error is NOT_SEALED if the ledger has no checkpoint yet.
func (c *Client) Checkpoint(ctx context.Context) (*Checkpoint, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	req := &cairnv1.CheckpointRequest{KnownSize: c.tracker.knownSize()}
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.CheckpointResponse, error) {
		return n.ledger.Checkpoint(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	return c.tracker.accept(ctx, n, resp.Sealed, req.KnownSize)
}

// LastCheckpoint returns the newest checkpoint that this client has verified, from memory; nil if
// there is none.
func (c *Client) LastCheckpoint() *Checkpoint { return c.tracker.newest() }

// VerifyOnline asks a node for its verdict on a receipt: does the node's ledger agree with it? The
// verdict is the node's word. VerifyOffline trusts no node.
func (c *Client) VerifyOnline(ctx context.Context, receipt []byte) (Verdict, error) {
	req := &cairnv1.VerifyRequest{Receipt: receipt}
	resp, _, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.VerifyResponse, error) { return n.ledger.Verify(ctx, req) })
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Valid: resp.Valid, Verdict: resp.Verdict, Reason: resp.Reason, Index: resp.Index, Size: resp.Size}
	copy(v.Root[:], resp.Root)
	for _, s := range resp.Cosigners {
		by := tlog.CosignedBy{Name: s.Name}
		if s.Time != 0 && s.Time <= 1<<62 {
			by.Time = time.Unix(int64(s.Time), 0)
		}
		v.Cosigners = append(v.Cosigners, by)
	}
	return v, nil
}
