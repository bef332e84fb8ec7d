package client

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// maxBatchEntries is the most entries that a node takes in one request.
const maxBatchEntries = 8192

// attemptTimeout bounds one attempt of a request that can be repeated. A node that is paused or cut
// off does not answer at all; a request that cannot be repeated waits longer, since giving up makes
// its outcome unknown.
const (
	attemptTimeout    = 3 * time.Second
	onlyAttemptExtent = 10 * time.Second
)

// Append appends one entry. Calls that are made while a request is in flight leave together in the
// next request.
//
// Errors: *Error (IsDefinite says whether the entry may be in the ledger), with reason KEY_CONFLICT
// or SIZE_MISMATCH for what the ledger refused; *VerificationError and *ForkError if the answer
// proves nothing. With reason NOT_SEALED the entry is committed, and its place is returned together
// with the error.
func (c *Client) Append(ctx context.Context, e Entry, opts ...AppendOption) (Appended, error) {
	a, err := c.AppendBatch(ctx, []Entry{e}, opts...)
	if len(a) != 1 {
		return Appended{}, err
	}
	return a[0], err
}

// AppendBatch appends entries atomically: all, next to one another except for those that are
// duplicates, or none. The result is in the order of the entries. At most 8192 entries and 1 MiB of
// leaves.
func (c *Client) AppendBatch(ctx context.Context, entries []Entry, opts ...AppendOption) ([]Appended, error) {
	var o appendOptions
	for _, opt := range opts {
		opt(&o)
	}
	call, err := c.newCall(entries, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	call.ctx = ctx
	switch {
	case o.expectedSize != nil:
		// Others' entries must not ride along, or the size would be theirs to miss.
		c.sendCalls([]*pendingCall{call}, o.sealed, false)
	case o.sealed:
		c.sealed.submit(call)
	default:
		c.committed.submit(call)
	}
	select {
	case r := <-call.done:
		return r.appended, c.inCallersWords(ctx, r.err)
	case <-ctx.Done():
	}
	if call.abandon() {
		return nil, c.ended(ctx, true)
	}
	// The sender gives up too, unless others share the request, and knows whether anything was
	// sent.
	grace := time.NewTimer(answerGrace)
	defer grace.Stop()
	select {
	case r := <-call.done:
		return r.appended, c.inCallersWords(ctx, r.err)
	case <-grace.C:
		return nil, c.ended(ctx, false)
	}
}

// inCallersWords makes the error of a request that was given up say how this caller's context
// ended. The request has a context of its own, shared by all callers in it, which is cancelled
// whatever ended theirs.
func (c *Client) inCallersWords(ctx context.Context, err error) error {
	var e *Error
	if ctx.Err() == nil || !errors.As(err, &e) || e.Reason != ReasonDeadline {
		return err
	}
	return c.ended(ctx, e.Definite).because(e.last)
}

// answerGrace is how long a caller whose time is up waits for the sender's last word.
const answerGrace = 50 * time.Millisecond

// newCall checks what can be checked here, so that one caller's mistake does not fail the request
// it shares with others.
func (c *Client) newCall(entries []Entry, o appendOptions) (*pendingCall, error) {
	if len(entries) == 0 {
		return nil, invalid("no entries")
	}
	if len(entries) > maxBatchEntries {
		return nil, invalid("a batch of %d entries is too large, the most is %d", len(entries), maxBatchEntries)
	}
	call := &pendingCall{done: make(chan outcome, 1), keyed: true, expectedSize: o.expectedSize}
	call.entries = make([]*cairnv1.NewEntry, len(entries))
	batch := ledger.Batch{Principal: c.sizingPrincipal(), Entries: make([]ledger.NewEntry, len(entries))}
	flat := make([]cairnv1.NewEntry, len(entries))
	for i, e := range entries {
		flat[i].Key, flat[i].Payload = e.Key, e.Payload
		call.entries[i] = &flat[i]
		batch.Entries[i] = ledger.NewEntry{Kind: ledger.KindPayload, Key: e.Key, Body: e.Payload}
		call.keyed = call.keyed && len(e.Key) > 0
	}
	if err := batch.Validate(nil); err != nil {
		return nil, invalid("%v", err)
	}
	call.bytes = batch.Size()
	return call, nil
}

// sizingPrincipal is the principal for computing sizes. A client that does not know who it is lets
// the node check.
func (c *Client) sizingPrincipal() string {
	if c.principal == "" {
		return "?"
	}
	return c.principal
}

// exchange sends one request that only the leader takes to the leader, wherever it is, and again
// where that is safe. repeatable says that a repetition cannot have its effect twice; maybe, that
// an earlier attempt may have had its effect.
func exchange[T any](
	ctx context.Context, c *Client, what string, repeatable, maybe bool, call func(ctx context.Context, n *node) (T, error),
) (T, *node, error) {
	var zero T
	hops := 0
	for attempt := 1; ; attempt++ {
		n := c.nodes.forLeader()
		limit := onlyAttemptExtent
		if repeatable {
			limit = attemptTimeout
		}
		attemptCtx, sent := withSent(ctx)
		attemptCtx, cancel := context.WithTimeout(attemptCtx, limit)
		resp, err := call(attemptCtx, n)
		cancel()
		if err == nil {
			c.nodes.leads(n)
			return resp, n, nil
		}
		e := n.errorFrom(err, sent.Load())
		if ctx.Err() != nil {
			return zero, n, c.ended(ctx, e.Definite && !maybe).because(e)
		}
		again := e.passing() && (e.Definite || repeatable)
		maybe = maybe || !e.Definite
		if !again {
			e.Definite = e.Definite && (!maybe || e.excludesEarlier())
			return zero, n, e
		}
		if no := c.nodes.hopeless(attempt); no != nil {
			no.Definite = !maybe
			return zero, n, no
		}
		c.opts.logf(what+": attempt %d: %v", attempt, e)
		if c.nodes.failedAppend(n, e) && hops < 2 {
			hops++ // the leader is known: no need to wait
			continue
		}
		hops = 0
		sleep(ctx, pause(attempt, e.RetryAfter))
		if ctx.Err() != nil {
			return zero, n, c.ended(ctx, !maybe).because(e)
		}
	}
}

// failedAppend is failed, except that a leader that is merely busy stays the leader.
func (ns *nodes) failedAppend(n *node, e *Error) bool {
	if e.busy() {
		return false
	}
	return ns.failed(n, e.Leader)
}

// excludesEarlier says whether this refusal proves that no earlier attempt of the same request had,
// or will have, an effect. A conflict does: what holds the key held it before any later decision
// about the same batch. So does a ledger that has outgrown the expected size, for an earlier
// success would have been recognised as a duplicate. So does another ledger of the same name, which
// is there for ever.
func (e *Error) excludesEarlier() bool {
	return e.Conflict != nil || e.Reason == ReasonLedgerExists || e.SizeMismatch != nil && e.SizeMismatch.Actual > e.SizeMismatch.Expected
}

// check turns a response into results for the entries of the request, having verified everything
// that the response proves. floor is the size of the newest checkpoint that was known before the
// request was sent.
func (c *Client) check(
	ctx context.Context, n *node, req *cairnv1.AppendRequest, floor uint64, resp *cairnv1.AppendResponse,
) ([]Appended, error) {
	bad := func(what, format string, args ...any) error {
		return &VerificationError{What: what, Node: n.Name, Err: errors.Newf(format, args...)}
	}
	count := len(req.Entries)
	if len(resp.Indexes) != count {
		return nil, bad("append response", "%d indexes for %d entries", len(resp.Indexes), count)
	}
	out := make([]Appended, count)
	var blockTime time.Time
	if resp.Time != 0 {
		blockTime = time.UnixMicro(resp.Time)
	}
	for i, index := range resp.Indexes {
		out[i] = Appended{Index: index, Time: blockTime}
		if index >= resp.Size {
			return nil, bad("append response", "index %d in a ledger of size %d", index, resp.Size)
		}
	}
	for _, p := range resp.Duplicates {
		if uint64(p) >= uint64(count) {
			return nil, bad("append response", "duplicate at position %d of %d", p, count)
		}
		if len(req.Entries[p].GetKey()) == 0 {
			return nil, bad("append response", "entry %d has no key, and is called a duplicate", p)
		}
		out[p].Duplicate, out[p].Time = true, time.Time{}
	}
	// Without these two checks one stored entry could acknowledge several equal ones that have no
	// key.
	next, fresh := uint64(0), false
	for i := range out {
		switch {
		case out[i].Duplicate:
			continue
		case out[i].Index < floor:
			return nil, bad("append response", "a new entry at index %d of a ledger that had %d entries before", out[i].Index, floor)
		case fresh && out[i].Index != next:
			return nil, bad("append response", "new entries at index %d after %d", out[i].Index, next-1)
		}
		next, fresh = out[i].Index+1, true
	}
	c.sawSize(resp.Size)
	if req.Wait != cairnv1.Wait_WAIT_SEALED || resp.Sealed == nil {
		return out, nil
	}
	if len(resp.Leaves) != count {
		return nil, bad("append response", "%d leaves for %d entries", len(resp.Leaves), count)
	}
	cp, err := c.tracker.accept(ctx, n, resp.Sealed, req.KnownSize)
	if err != nil {
		return nil, err
	}
	for i, l := range resp.Leaves {
		proof, err := hashes(l.GetProof())
		if err == nil {
			shown := &tlog.Receipt{Extra: l.GetLeaf(), Index: out[i].Index, Proof: proof, Checkpoint: cp.Note}
			out[i].Receipt, err = c.receiptOf(want{out[i].Index, req.Entries[i]}, shown, cp)
		}
		if err != nil {
			return nil, &VerificationError{What: "receipt", Node: n.Name, Err: errors.Wrapf(err, "entry %d at index %d", i, out[i].Index)}
		}
		out[i].Time = out[i].Receipt.entry.Time
	}
	return out, nil
}
