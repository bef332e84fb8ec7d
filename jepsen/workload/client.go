package workload

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/testbed"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// cl is one client that speaks to the nodes directly.
type cl struct {
	*journal
	rng    *rand.Rand
	user   *user
	node   int
	pinned bool
	// seen is the largest size that this client was told: its session.
	seen uint64
	// shown is the newest checkpoint that this client was shown in answer to a question for one.
	shown tlog.Checkpoint
	// refused counts refusals in a row, for patience.
	refused int
}

func newClient(w *Workload, i int) *cl {
	c := &cl{journal: newJournal(w), rng: w.rng("client", i), user: w.users[i%len(w.users)]}
	c.pinned = i%3 == 0
	c.node = i / 3 % len(c.user.conns)
	return c
}

func (c *cl) run() {
	defer c.end()
	for c.w.stop.Err() == nil {
		c.once()
		c.pause()
	}
}

// pause keeps the rate, and lets a node that refuses come to its senses.
func (c *cl) pause() {
	var d time.Duration
	if c.w.opt.Rate > 0 {
		d = durationOf(c.rng, float64(c.w.opt.Clients)/c.w.opt.Rate)
	}
	if c.refused > 0 {
		d += time.Duration(c.rng.Int64N(int64(2*time.Millisecond) << min(c.refused, 5)))
	}
	c.w.sleep(d)
}

// durationOf draws a duration with this mean, in seconds.
func durationOf(r *rand.Rand, mean float64) time.Duration {
	return time.Duration(r.ExpFloat64() * mean * float64(time.Second))
}

func (w *Workload) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.stop.Done():
	}
}

func (c *cl) conn() *testbed.Conn { return c.user.conns[c.node] }

func (c *cl) once() {
	appends := 48
	if c.pinned { // most nodes do not lead
		appends = 12
	}
	switch k := c.rng.IntN(100); {
	case k < appends:
		c.append()
	case k < appends+14:
		c.get()
	case k < appends+20:
		c.head()
	case k < appends+24:
		c.readRange()
	case k < appends+40:
		c.localHead()
	case k < appends+43:
		c.checkpoint()
	case k < appends+45:
		c.receipt()
	case k < appends+46:
		c.nonsense()
	default:
		c.get()
	}
}

// answered ends an operation that a node answered, or refused.
func (c *cl) answered(id int64, op *history.Op, err error, sent bool) {
	if err == nil {
		c.refused = 0
	} else {
		r := understand(err, sent)
		c.apply(op, r)
	}
	if op.Kind != history.Append && op.Outcome == history.Info {
		// A read has no effect, whatever happened to it.
		op.Outcome, op.Reason = history.Fail, history.Refused
	}
	c.complete(id, op)
}

// apply takes a refusal over into an operation, and learns from it.
func (c *cl) apply(op *history.Op, r refusal) {
	c.w.blame(c.node, op.Call, r)
	if r.accuses() && !absurd(op) {
		c.w.violate("failure", 0, "node %d refuses a question in which nothing is wrong, %s: %s: %s", c.node+1, op.Kind, r.word, r.text)
	}
	op.Outcome, op.Reason, op.Seen = r.outcome, r.reason, r.seen
	switch op.Reason {
	case history.Conflict, history.SizeMismatch:
		c.refused = 0
		return
	}
	c.refused++
	if c.pinned || c.rng.IntN(8) == 0 && r.leader != "" {
		return
	}
	for i, conn := range c.user.conns {
		if conn.Name == r.leader && i != c.node {
			c.node, c.refused = i, 0
			return
		}
	}
	c.node = c.rng.IntN(len(c.user.conns))
}

func (c *cl) timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), c.w.opt.Timeout)
}

func (c *cl) append() {
	b := c.w.draw(c.rng)
	op := history.Op{Kind: history.Append, Keyless: !b.keyed, Entries: b.asked(c.user.principal)}
	req := &cairnv1.AppendRequest{Entries: b.entries}
	if c.rng.IntN(16) == 0 {
		size := c.w.known.Load()
		switch c.rng.IntN(6) {
		case 0:
			size = c.rng.Uint64N(size + 2)
		case 1:
			size = c.nonsenseNumber()
		}
		op.Conditional, op.Size, req.ExpectedSize = true, size, &size
	}
	if c.rng.IntN(40) == 0 {
		req.Wait = cairnv1.Wait_WAIT_SEALED
	}
	id := c.invoke(&op)
	ctx, cancel := c.timeout()
	defer cancel()
	var resp *cairnv1.AppendResponse
	if c.rng.IntN(2) == 0 {
		var r *refusal
		if resp, r = c.user.streams[c.node].append(ctx, req); r != nil {
			c.apply(&op, *r)
			c.complete(id, &op)
			return
		}
	} else {
		ctx, sent := testbed.WithSent(ctx)
		var err error
		if resp, err = c.conn().Ledger.Append(ctx, req); err != nil {
			c.answered(id, &op, err, sent.Load())
			return
		}
	}
	c.refused = 0
	if !c.accept(&op, resp) {
		op.Outcome = history.Info
	}
	c.complete(id, &op)
	if op.Outcome != history.OK {
		return
	}
	if req.Wait == cairnv1.Wait_WAIT_SEALED {
		c.w.seals.waited(op.Call, resp.Sealed != nil)
	}
	if resp.Sealed != nil {
		c.sealed(resp, b)
	}
}

// accept takes the indexes of an acknowledged append over.
func (c *cl) accept(op *history.Op, resp *cairnv1.AppendResponse) bool {
	if len(resp.Indexes) != len(op.Entries) {
		c.w.violate("wrong-answer", 0, "an append of %d entries was answered with %d indexes", len(op.Entries), len(resp.Indexes))
		return false
	}
	op.Outcome = history.OK
	for _, d := range resp.Duplicates {
		if int(d) >= len(op.Entries) {
			c.w.violate("wrong-answer", 0, "entry %d of %d is said to be a duplicate", d, len(op.Entries))
			return false
		}
		op.Entries[d].Duplicate = true
	}
	newest := uint64(0)
	for i, index := range resp.Indexes {
		op.Entries[i].Index = index
		newest = max(newest, index+1)
	}
	// The size is the one right after the batch: new entries are the last ones then.
	if allNew(op.Entries) && resp.Size != newest {
		c.w.violate("wrong-answer", newest, "a new batch that ends before %d was answered with size %d", newest, resp.Size)
	}
	if resp.Size < newest {
		c.w.violate("wrong-answer", newest-1, "an append was answered with index %d and size %d", newest-1, resp.Size)
	}
	c.sees(newest)
	return true
}

func allNew(entries []history.Entry) bool {
	for _, e := range entries {
		if e.Duplicate {
			return false
		}
	}
	return true
}

func (c *cl) sees(size uint64) {
	c.seen = max(c.seen, size)
	c.w.saw(size)
}

// nonsenseNumber is an index, size or limit that no ledger has.
func (c *cl) nonsenseNumber() uint64 {
	switch c.rng.IntN(5) {
	case 0:
		return 1<<64 - 1
	case 1:
		return 1 << 63
	case 2:
		return merkle.MaxSize + c.rng.Uint64N(3) - 1
	case 3:
		return c.w.known.Load() + 1 + c.rng.Uint64N(1<<30)
	}
	return c.rng.Uint64()
}

func (c *cl) index() uint64 {
	switch c.rng.IntN(32) {
	case 0:
		return c.nonsenseNumber()
	case 1, 2, 3, 4:
		return c.w.known.Load() // the entry to come
	}
	return c.rng.Uint64N(c.w.known.Load() + 2)
}

func (c *cl) get() {
	op := history.Op{Kind: history.Get, First: c.index(), Node: uint16(c.node + 1)}
	req := &cairnv1.GetRequest{Index: op.First}
	local := c.rng.IntN(4) == 0
	if local {
		req.Consistency, req.MinSize = cairnv1.Consistency_CONSISTENCY_LOCAL, c.seen
	}
	id := c.invoke(&op)
	ctx, cancel := c.timeout()
	defer cancel()
	resp, err := c.conn().Ledger.Get(ctx, req)
	switch {
	case err == nil && (resp.Index != op.First || resp.Size <= op.First):
		c.w.violate("wrong-answer", op.First, "get of %d was answered with index %d of size %d", op.First, resp.Index, resp.Size)
	case err == nil:
		c.found(&op, resp.Leaf)
	case understand(err, true).word == "NOT_FOUND":
		if local && op.First < req.MinSize {
			c.w.violate("session", op.First, "a local read in a session that has seen size %d does not find entry %d", req.MinSize, op.First)
		}
		if err = nil; !local {
			op.Outcome, op.Reason = history.OK, history.NotFound
		}
	}
	c.answered(id, &op, err, true)
}

// found takes a leaf over.
func (c *cl) found(op *history.Op, leaf []byte) {
	if entries, ok := c.w.readEntries(op.First, [][]byte{leaf}); ok {
		op.Outcome, op.Entries = history.OK, entries
		c.sees(op.First + 1)
	}
}

func (c *cl) head() {
	op := history.Op{Kind: history.Head, Node: uint16(c.node + 1)}
	id := c.invoke(&op)
	ctx, cancel := c.timeout()
	defer cancel()
	resp, err := c.conn().Ledger.Head(ctx, &cairnv1.HeadRequest{})
	if err == nil {
		c.sized(&op, resp)
	}
	c.answered(id, &op, err, true)
}

// sized takes size and root over.
func (c *cl) sized(op *history.Op, resp *cairnv1.HeadResponse) {
	if len(resp.Root) != merkle.HashSize {
		c.w.violate("wrong-answer", resp.Size, "%s was answered with a root of %d bytes", op.Kind, len(resp.Root))
		return
	}
	root := merkle.Hash(resp.Root)
	op.Outcome, op.Size, op.Root = history.OK, resp.Size, &root
	c.sees(resp.Size)
}

// localHead asks within the session, or sometimes outside of any.
func (c *cl) localHead() {
	op := history.Op{Kind: history.LocalHead, First: c.seen, Node: uint16(c.node + 1)}
	switch c.rng.IntN(400) {
	case 0:
		op.First = c.nonsenseNumber()
	case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
		op.First = c.w.known.Load() // what anybody has seen, a node may still have to learn
	case 11, 12, 13, 14, 15, 16, 17, 18, 19, 20:
		op.First = 0
	}
	id := c.invoke(&op)
	ctx, cancel := c.timeout()
	defer cancel()
	resp, err := c.conn().Ledger.Head(ctx, &cairnv1.HeadRequest{Consistency: cairnv1.Consistency_CONSISTENCY_LOCAL, MinSize: op.First})
	if err == nil {
		c.sized(&op, resp)
	}
	c.answered(id, &op, err, true)
}

func (c *cl) readRange() {
	known := c.w.known.Load()
	op := history.Op{Kind: history.Range, First: c.rng.Uint64N(known + 2), Limit: 1 + c.rng.Uint64N(40), Node: uint16(c.node + 1)}
	switch c.rng.IntN(24) {
	case 0: // to the end, wherever that is
		op.First, op.Limit = known-min(known, c.rng.Uint64N(50)), 0
	case 1:
		op.First, op.Limit = known-min(known, c.rng.Uint64N(50)), c.nonsenseNumber()
	case 2:
		op.First = c.nonsenseNumber()
	case 3:
		if known < 3000 { // all of it
			op.First, op.Limit = 0, 0
		}
	}
	id := c.invoke(&op)
	ctx, cancel := c.timeout()
	defer cancel()
	err := c.collect(ctx, &op)
	if understand(err, true).word == "NOT_FOUND" && len(op.Entries) == 0 {
		op.Outcome, op.Reason, err = history.OK, history.NotFound, nil
	}
	c.answered(id, &op, err, true)
}

func (c *cl) collect(ctx context.Context, op *history.Op) error {
	stream, err := c.conn().Ledger.Range(ctx, &cairnv1.RangeRequest{First: op.First, Limit: op.Limit})
	if err != nil {
		return err
	}
	err = eachLeaves(stream, op.First, func(first, size uint64, leaves [][]byte) bool {
		entries, ok := c.w.readEntries(first, leaves)
		op.Entries, op.Seen, op.Outcome = append(op.Entries, entries...), size, history.OK
		return ok
	}, c.w)
	if err != nil {
		op.Seen, op.Outcome = 0, history.Info // what it showed stays true
		return err
	}
	c.sees(op.Seen)
	return nil
}

func (c *cl) checkpoint() {
	op := history.Op{Kind: history.Checkpoint, Node: uint16(c.node + 1)}
	id := c.invoke(&op)
	ctx, cancel := c.timeout()
	defer cancel()
	req := &cairnv1.CheckpointRequest{}
	if c.rng.IntN(2) == 0 {
		req.KnownSize = c.shown.Size
	}
	resp, err := c.conn().Ledger.Checkpoint(ctx, req)
	if err == nil && c.noted(&op, resp.GetSealed().GetNote()) {
		c.extends(req.KnownSize, tlog.Checkpoint{Size: op.Size, Root: *op.Root}, resp.Sealed.Consistency)
	}
	c.answered(id, &op, err, true)
}

// extends demands the proof that a checkpoint extends the one whose size was named in
// the question, if it is a larger one.
func (c *cl) extends(known uint64, next tlog.Checkpoint, proof []byte) {
	if known > 0 && known < next.Size {
		path, ok := hashes(proof)
		if !ok || merkle.VerifyConsistency(known, next.Size, path, c.shown.Root, next.Root) != nil {
			c.w.violate("checkpoint", next.Size, "the proof that the checkpoint of size %d extends the known one of size %d does not hold", next.Size, known)
			return
		}
		c.w.counts.Consistencies.Add(1)
	}
	if next.Size > c.shown.Size {
		c.shown = next
	}
}

// receipt asks for the receipt of some entry: a read of the entry, too.
func (c *cl) receipt() {
	op := history.Op{Kind: history.Get, First: c.index(), Node: uint16(c.node + 1)}
	id := c.invoke(&op)
	ctx, cancel := c.timeout()
	defer cancel()
	resp, err := c.conn().Ledger.Receipt(ctx, &cairnv1.ReceiptRequest{Index: op.First})
	if err == nil {
		if leaf, ok := c.w.Proof.receipt(c.w, op.First, resp.Receipt); ok {
			c.found(&op, leaf)
		}
	} else if understand(err, true).word == "NOT_FOUND" {
		op.Outcome, op.Reason, err = history.OK, history.NotFound, nil
	}
	c.answered(id, &op, err, true)
}

// noted takes a sealed checkpoint over.
func (c *cl) noted(op *history.Op, note []byte) bool {
	cp, ok := c.w.Proof.note(c.w, note)
	if !ok {
		return false
	}
	op.Outcome, op.Size, op.Root = history.OK, cp.Size, &cp.Root
	c.sees(cp.Size)
	return true
}

// sealed collects the receipts of an acknowledged append and compares the leaves
// with what was asked for.
func (c *cl) sealed(resp *cairnv1.AppendResponse, b batch) {
	op := history.Op{Kind: history.Checkpoint, Node: uint16(c.node + 1)}
	if !c.noted(&op, resp.Sealed.Note) {
		return
	}
	c.note(op)
	if len(resp.Leaves) != len(resp.Indexes) {
		c.w.violate("receipt", 0, "%d entries were sealed with %d leaves", len(resp.Indexes), len(resp.Leaves))
		return
	}
	for i, proved := range resp.Leaves {
		e, err := ledger.ParseLeaf(proved.Leaf)
		if err != nil || e.Principal != c.user.principal || string(e.Key) != string(b.entries[i].Key) || string(e.Body) != string(b.entries[i].Payload) {
			c.w.violate("receipt", resp.Indexes[i], "the leaf of a receipt is not the entry that was appended (%v)", err)
			continue
		}
		c.w.Proof.proved(c.w, resp.Indexes[i], proved.Leaf, proved.Proof, resp.Sealed.Note)
	}
}
