package workload

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/jepsen/history"
)

// library is a client as programs have it: it finds the leader, repeats what can be
// repeated, verifies what it is given and keeps the newest checkpoint.
type library struct {
	*journal
	rng  *rand.Rand
	api  *client.Client
	seen uint64
	// unproved is what the newest checkpoint that was shown lacked; nil nothing.
	unproved error
}

func newLibrary(w *Workload, i int) (*library, error) {
	api, err := w.cluster.Dial(context.Background(), roles[i%len(roles)], client.WithTimeout(w.opt.Timeout))
	if err != nil {
		return nil, err
	}
	return &library{journal: newJournal(w), rng: w.rng("library", i), api: api}, nil
}

func (l *library) run() {
	defer l.end()
	defer l.api.Close()
	for l.w.stop.Err() == nil {
		switch k := l.rng.IntN(10); {
		case k < 6:
			l.append()
		case k < 8:
			l.get()
		case k == 8:
			l.head()
		default:
			l.checkpoint()
		}
		if l.w.opt.Rate > 0 {
			l.w.sleep(durationOf(l.rng, float64(l.w.opt.Clients)/l.w.opt.Rate))
		}
	}
	l.lastCheckpoint()
}

// lastPatience is how long nodes have to prove that what they show now is consistent
// with what this client was shown before.
const lastPatience = 20 * time.Second

// lastCheckpoint demands what some node could not prove while faults were going on.
func (l *library) lastCheckpoint() {
	for deadline := time.Now().Add(lastPatience); l.unproved != nil; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.w.violate("checkpoint", 0, "never proved: %v", l.unproved)
			return
		}
		l.checkpoint()
	}
}

// answered ends an operation. What does not verify is the worst that can happen:
// the library has kept the evidence.
func (l *library) answered(id int64, op *history.Op, err error) {
	var e *client.Error
	var fork *client.ForkError
	var bad *client.VerificationError
	if errors.As(err, &e) && e.Node != "" {
		r := refusal{word: e.Reason, text: e.Message}
		l.w.blame(l.w.nodeNamed(e.Node), op.Call, r)
		if r.accuses() && !absurd(op) {
			l.w.violate("failure", 0, "%s refuses a question in which nothing is wrong, %s: %s: %s", e.Node, op.Kind, r.word, r.text)
		}
	}
	switch {
	case err == nil:
		op.Outcome = history.OK
	case errors.As(err, &fork):
		l.w.violate("equivocation", fork.Shown.Size, "%v", fork)
	case errors.Is(err, client.ErrNotProved) && op.Kind == history.Checkpoint:
		l.unproved = err // see lastCheckpoint
	case errors.As(err, &bad):
		l.w.violate("receipt", 0, "%v", bad)
	case errors.As(err, &e) && e.Conflict != nil:
		op.Outcome, op.Reason, op.Seen = history.Fail, history.Conflict, e.Conflict.Index
	case errors.As(err, &e) && e.Definite:
		op.Outcome, op.Reason = history.Fail, history.Refused
	}
	if op.Kind != history.Append && op.Outcome == history.Info {
		op.Outcome, op.Reason = history.Fail, history.Refused
	}
	l.complete(id, op)
}

// append appends one batch; every fourth waits for its receipts. The library may
// send it more than once, so the entries may be duplicates of its own.
func (l *library) append() {
	b := l.w.draw(l.rng)
	op := history.Op{Kind: history.Append, Keyless: !b.keyed, Retried: true, Entries: b.asked(l.api.Principal())}
	entries := make([]client.Entry, len(b.entries))
	for i, e := range b.entries {
		entries[i] = client.Entry{Key: e.Key, Payload: e.Payload}
	}
	var opts []client.AppendOption
	if l.rng.IntN(4) == 0 {
		opts = append(opts, client.Sealed())
	}
	id := l.invoke(&op)
	got, err := l.api.AppendBatch(context.Background(), entries, opts...)
	if withoutReceipts(err) && len(got) == len(entries) {
		err = nil // committed
	}
	if err == nil && len(got) != len(entries) {
		l.w.violate("wrong-answer", 0, "an append of %d entries was answered with %d places", len(entries), len(got))
		err = errors.New("no answer")
	}
	if err == nil {
		for i, a := range got {
			op.Entries[i].Index, op.Entries[i].Duplicate = a.Index, a.Duplicate
			l.w.saw(a.Index + 1)
		}
	}
	l.answered(id, &op, err)
	if err != nil {
		return
	}
	if len(opts) > 0 {
		l.w.seals.waited(op.Call, got[0].Receipt != nil)
	}
	for _, a := range got {
		if a.Receipt != nil {
			l.w.Proof.receipt(l.w, a.Index, a.Receipt.Marshal())
		}
	}
}

// withoutReceipts says that an append is committed and has no receipts yet. That it was
// given receipts which do not verify is another matter, whatever the library makes of it.
func withoutReceipts(err error) bool {
	var e *client.Error
	var fork *client.ForkError
	var bad *client.VerificationError
	if errors.As(err, &fork) || errors.As(err, &bad) && !errors.Is(err, client.ErrNotProved) {
		return false
	}
	return errors.As(err, &e) && e.Reason == client.ReasonNotSealed
}

func (l *library) get() {
	op := history.Op{Kind: history.Get, First: l.rng.Uint64N(l.w.known.Load() + 2)}
	id := l.invoke(&op)
	got, err := l.api.Get(context.Background(), op.First)
	var e *client.Error
	switch {
	case err == nil:
		op.Entries = []history.Entry{{Key: KeyOf(got.Principal, got.Key, got.Payload), Body: history.DigestOf(got.Payload), Index: got.Index}}
	case errors.As(err, &e) && e.Reason == "NOT_FOUND":
		op.Reason, err = history.NotFound, nil
	}
	l.answered(id, &op, err)
}

func (l *library) head() {
	op := history.Op{Kind: history.Head}
	var opts []client.ReadOption
	if l.rng.IntN(2) == 0 {
		// The library keeps the session by itself; what this process has seen is a part of it.
		op.Kind, op.First = history.LocalHead, l.seen
		opts = append(opts, client.Local())
	}
	id := l.invoke(&op)
	h, err := l.api.Head(context.Background(), opts...)
	if err == nil {
		op.Size, op.Root = h.Size, &h.Root
		l.seen = max(l.seen, h.Size)
	}
	l.answered(id, &op, err)
}

func (l *library) checkpoint() {
	op := history.Op{Kind: history.Checkpoint}
	id := l.invoke(&op)
	c, err := l.api.Checkpoint(context.Background())
	if err == nil {
		l.unproved = nil
		op.Size, op.Root = c.Checkpoint.Size, &c.Checkpoint.Root
		l.w.Proof.note(l.w, c.Note)
	}
	l.answered(id, &op, err)
}
