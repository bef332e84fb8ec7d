package main

import (
	"context"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
)

// What bench measures.
const (
	opAppend = "append"
	opGet    = "get"
	opProof  = "proof"
	opHead   = "head"
	opRange  = "range"
)

var ops = []string{opAppend, opGet, opProof, opHead, opRange}

func (o *benchOptions) reads() bool { return o.Op != opAppend }

// fillBench appends what is to be read. The last append is sealed: every entry has a receipt then.
func (a *app) fillBench(ctx context.Context, profiles []client.Profile, o benchOptions) error {
	fill := o
	fill.Batch = max(1, min(1000, 1_000_000/(o.Size+100)))
	for _, p := range profiles {
		c, err := a.dialBench(ctx, p, o)
		if err != nil {
			return err
		}
		w := &worker{b: &bench{opts: fill}, rng: newRandom(0)}
		w.b.opts.Count = int64(o.Fill)
		w.b.left.Store(int64(o.Fill))
		for entries := w.next(ctx); entries != nil && err == nil; {
			next := w.next(ctx)
			var opts []client.AppendOption
			if next == nil {
				opts = append(opts, client.Sealed())
			}
			_, err = c.AppendBatch(ctx, entries, opts...)
			entries = next
		}
		if err = errors.CombineErrors(err, c.Close()); err != nil {
			return errors.Wrap(err, "append what is to be read")
		}
	}
	return nil
}

// read reads at random places, one request after the other.
func (w *worker) read(ctx context.Context) {
	o := w.b.opts
	head, err := w.c.Head(ctx)
	if err != nil || head.Size < 2 { // entry 0 is the genesis
		w.errors++
		if w.first = err; err == nil {
			w.first = errors.New("the ledger has no entry to read")
		}
		return
	}
	for n := w.batch(ctx); n > 0; n = w.batch(ctx) {
		if o.Op != opRange {
			n = 1
		}
		first := 1 + w.rng.Uint64N(head.Size-1)
		if o.Op == opRange {
			n = int(min(uint64(n), head.Size-1))
			first = 1 + w.rng.Uint64N(head.Size-uint64(n))
		}
		start := w.due(ctx)
		got := 1
		switch o.Op {
		case opGet:
			_, err = w.c.Get(ctx, first)
		case opProof:
			_, err = w.c.Receipt(ctx, first)
		case opHead:
			_, err = w.c.Head(ctx)
		case opRange:
			got = 0
			_, err = w.c.Range(ctx, first, uint64(n), func(client.StoredEntry) error {
				got++
				return nil
			}, client.Local())
			if err == nil && got != n {
				err = errors.Newf("%d entries came instead of %d", got, n)
			}
		}
		if ctx.Err() != nil {
			return
		}
		w.done(start, got, err)
		if err != nil {
			pauseAfterError(ctx)
		}
	}
}
