package client

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
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

// read calls one node after the other until one answers or refuses for good. A read has no effect, so every attempt is safe and
// every error definite.
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
		e := errorFrom(err, n.Name, true)
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
	if e.Reason == ReasonDeadline && last.Reason != ReasonDeadline {
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

// Head returns size and root of the ledger, by default as of now, with Local as the answering node has it.
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

// Checkpoint returns the newest sealed checkpoint of a node, verified, and consistent with every one seen before.
// The reason of the error is NOT_SEALED if the ledger has no checkpoint yet.
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

// LastCheckpoint returns the newest checkpoint that this client has verified, from memory; nil if there is none.
func (c *Client) LastCheckpoint() *Checkpoint { return c.tracker.newest() }

// Receipt returns the receipt of an entry, verified. It waits until the entry is sealed.
func (c *Client) Receipt(ctx context.Context, index uint64) (*tlog.Receipt, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	req := &cairnv1.ReceiptRequest{Index: index, Wait: true, KnownSize: c.tracker.knownSize()}
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.ReceiptResponse, error) {
		return n.ledger.Receipt(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	r, err := tlog.ParseReceipt(resp.Receipt)
	bad := func(err error) error { return &VerificationError{What: "receipt", Node: n.Name, Err: err} }
	if err != nil {
		return nil, bad(err)
	}
	if r.Index != index {
		return nil, bad(errors.Newf("it is about index %d, not %d", r.Index, index))
	}
	if _, err := ledger.ParseLeaf(r.Extra); err != nil {
		return nil, bad(err)
	}
	shown := &cairnv1.SealedCheckpoint{Note: r.Checkpoint, Consistency: resp.GetSealed().GetConsistency()}
	cp, err := c.tracker.accept(ctx, n, shown, req.KnownSize)
	if err != nil {
		return nil, err
	}
	if !c.opts.unverified {
		if err := merkle.VerifyInclusion(index, cp.Size, merkle.LeafHash(r.Extra), r.Proof, cp.Root); err != nil {
			return nil, bad(err)
		}
	}
	return r, nil
}

// InclusionProof returns the proof that the entry at index is in the ledger of a size; 0 means the newest sealed size.
func (c *Client) InclusionProof(ctx context.Context, index, size uint64) (InclusionProof, error) {
	req := &cairnv1.InclusionProofRequest{Index: index, Size: size}
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.InclusionProofResponse, error) {
		return n.ledger.InclusionProof(ctx, req)
	})
	if err != nil {
		return InclusionProof{}, err
	}
	p := InclusionProof{Index: resp.Index, Size: resp.Size}
	err = firstError(
		func() (err error) { p.LeafHash, err = oneHash(resp.LeafHash); return },
		func() (err error) { p.Root, err = oneHash(resp.Root); return },
		func() (err error) { p.Hashes, err = hashes(resp.Proof); return },
		func() error {
			if p.Index != index || size != 0 && p.Size != size {
				return errors.Newf("it is about index %d and size %d", p.Index, p.Size)
			}
			return nil
		},
		func() error { return merkle.VerifyInclusion(p.Index, p.Size, p.LeafHash, p.Hashes, p.Root) },
		func() error { return c.tracker.agrees(p.Size, p.Root) },
	)
	if err != nil {
		return InclusionProof{}, &VerificationError{What: "inclusion proof", Node: n.Name, Err: err}
	}
	return p, nil
}

// ConsistencyProof returns the proof that the ledger of oldSize is a prefix of that of newSize; newSize 0 means the newest sealed size.
func (c *Client) ConsistencyProof(ctx context.Context, oldSize, newSize uint64) (ConsistencyProof, error) {
	req := &cairnv1.ConsistencyProofRequest{OldSize: oldSize, NewSize: newSize}
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.ConsistencyProofResponse, error) {
		return n.ledger.ConsistencyProof(ctx, req)
	})
	if err != nil {
		return ConsistencyProof{}, err
	}
	p := ConsistencyProof{OldSize: resp.OldSize, NewSize: resp.NewSize}
	err = firstError(
		func() (err error) { p.OldRoot, err = oneHash(resp.OldRoot); return },
		func() (err error) { p.NewRoot, err = oneHash(resp.NewRoot); return },
		func() (err error) { p.Hashes, err = hashes(resp.Proof); return },
		func() error {
			if p.OldSize != oldSize || newSize != 0 && p.NewSize != newSize {
				return errors.Newf("it is about sizes %d and %d", p.OldSize, p.NewSize)
			}
			return nil
		},
		func() error { return verifyConsistency(p) },
		func() error { return c.tracker.agrees(p.OldSize, p.OldRoot) },
		func() error { return c.tracker.agrees(p.NewSize, p.NewRoot) },
	)
	if err != nil {
		return ConsistencyProof{}, &VerificationError{What: "consistency proof", Node: n.Name, Err: err}
	}
	return p, nil
}

func verifyConsistency(p ConsistencyProof) error {
	if p.OldSize == 0 {
		if len(p.Hashes) != 0 || p.OldRoot != merkle.EmptyRoot() {
			return errors.New("a proof from the empty ledger must be empty")
		}
		return nil
	}
	return merkle.VerifyConsistency(p.OldSize, p.NewSize, p.Hashes, p.OldRoot, p.NewRoot)
}

// agrees checks a node's root against the checkpoint of that size, if one was seen.
func (t *tracker) agrees(size uint64, root merkle.Hash) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.mu.roots[size]; ok && known != root {
		return errors.Newf("root %s for size %d contradicts the sealed checkpoint's %s", root, size, known)
	}
	return nil
}

// Verify asks a node for its verdict on a receipt. It is the node's word; to verify without trusting anyone use tlog.Policy.
func (c *Client) Verify(ctx context.Context, receipt []byte) (Verdict, error) {
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

// Status describes a node: the named one, or with "" any that answers.
func (c *Client) Status(ctx context.Context, name string) (*cairnv1.StatusResponse, error) {
	call := func(ctx context.Context, n *node) (*cairnv1.StatusResponse, error) {
		return n.ledger.Status(ctx, &cairnv1.StatusRequest{})
	}
	if name == "" {
		resp, _, err := read(ctx, c, call)
		return resp, err
	}
	n := c.nodes.byName(name)
	if n == nil {
		return nil, invalid("the profile names no node %q", name)
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	resp, err := call(ctx, n)
	if err != nil {
		e := errorFrom(err, n.Name, true)
		e.Definite = true
		return nil, e
	}
	return resp, nil
}

// TransferLeadership makes the named node lead, or with "" the best follower, and returns who leads now. Role: admin.
func (c *Client) TransferLeadership(ctx context.Context, to string) (string, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	for attempt := 1; ; attempt++ {
		n := c.nodes.forLeader()
		attemptCtx, sent := withSent(ctx)
		resp, err := n.admin.TransferLeadership(attemptCtx, &cairnv1.TransferLeadershipRequest{To: to})
		if err == nil {
			c.nodes.failed(n, nil)
			if leader := c.nodes.byName(resp.Leader); leader != nil {
				c.nodes.leads(leader)
			}
			return resp.Leader, nil
		}
		e := errorFrom(err, n.Name, sent.Load())
		if !e.passing() || !e.Definite || ctx.Err() != nil {
			return "", e
		}
		if !c.nodes.failed(n, e.Leader) {
			sleep(ctx, pause(attempt, e.RetryAfter))
		}
		if ctx.Err() != nil {
			return "", c.ended(ctx, true)
		}
	}
}

func oneHash(b []byte) (merkle.Hash, error) {
	var h merkle.Hash
	if len(b) != merkle.HashSize {
		return h, errors.Newf("a hash of %d bytes", len(b))
	}
	copy(h[:], b)
	return h, nil
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
