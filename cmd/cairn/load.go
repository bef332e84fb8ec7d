package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/settlement"
)

// bench is one measurement. Each worker owns its numbers until it has ended.
type bench struct {
	opts    benchOptions
	clients [][]*client.Client // by ledger; none is empty

	left  atomic.Int64 // entries that may still be sent, with --count
	start time.Time    // of the first request
	begin time.Time    // of the measurement: what was sent before is warm-up
	end   time.Time    // zero with --count
	acked atomic.Int64 // entries so far, warm-up included
}

// worker is one client that appends.
type worker struct {
	b       *bench
	id      int
	turn    int // how many requests of it were due, with --rate
	c       *client.Client
	rng     *rand.Rand
	lat     *latencies
	line    timeline
	entries int64
	errors  int64
	first   error
}

func newRandom(worker int) *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), uint64(worker))) }

// clientOf returns the connection of a worker. The workers are spread evenly over the ledgers, and
// those of a ledger over its connections.
func (b *bench) clientOf(worker int) *client.Client {
	n := len(b.clients)
	own := b.clients[worker%n]
	return own[worker/n%len(own)]
}

func (b *bench) run(ctx context.Context) (*benchResult, error) {
	o := b.opts
	now := time.Now()
	b.start, b.begin = now, now.Add(o.Warmup)
	if o.Count > 0 {
		b.begin = now
		b.left.Store(o.Count)
	} else {
		b.end = b.begin.Add(o.Duration)
	}
	workers := make([]*worker, o.Clients)
	var wg sync.WaitGroup
	for i := range workers {
		w := &worker{b: b, id: i, c: b.clientOf(i), lat: newLatencies(), rng: newRandom(i)}
		workers[i] = w
		wg.Add(1)
		go func() {
			defer wg.Done()
			switch {
			case o.reads():
				w.read(ctx)
			case o.Messages:
				w.messages(ctx)
			case o.Program == settlement.ProgramName:
				w.transfers(ctx)
			case o.Mode == "stream":
				w.stream(ctx)
			default:
				w.unary(ctx)
			}
		}()
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	took := time.Since(b.begin)
	if !b.end.IsZero() {
		took = o.Duration // what was acknowledged later does not count
	}
	total := newLatencies()
	var line timeline
	r := &benchResult{Options: o, Version: buildVersion().Version, CPUs: cpus(), Seconds: took.Seconds()}
	for _, w := range workers {
		total.merge(w.lat)
		line.merge(w.line)
		r.Entries += w.entries
		r.Errors += w.errors
		if w.first != nil && r.FirstError == "" {
			r.FirstError = w.first.Error()
		}
	}
	r.Latency, r.Histogram, r.Timeline, r.quantiles = total.summary(), total.bars(), line.trimmed(took), total.quantiles()
	r.Requests = r.Latency.Count
	r.EntryRate, r.ByteRate = float64(r.Entries)/r.Seconds, float64(r.Entries)*float64(o.Size)/r.Seconds
	if o.reads() {
		r.ByteRate = 0 // what is read may be of any size
	}
	if r.Entries == 0 && r.FirstError != "" {
		return nil, errors.Newf("every request failed; the first: %s", r.FirstError)
	}
	return r, nil
}

// batch returns how many entries the next request has, 0 when the measurement is over.
func (w *worker) batch(ctx context.Context) int {
	o := w.b.opts
	n := int64(o.Batch)
	switch {
	case ctx.Err() != nil:
		return 0
	case o.Count > 0:
		return int(max(0, min(n, w.b.left.Add(-n)+n)))
	case time.Now().After(w.b.end):
		return 0
	}
	return o.Batch
}

// next makes a batch, or returns nil when the measurement is over.
func (w *worker) next(ctx context.Context) []client.Entry {
	o := w.b.opts
	n := w.batch(ctx)
	if n == 0 {
		return nil
	}
	// One array for the payloads of a batch. Eight random bytes in each make
	// entries differ; what they hold beyond that does not matter to a ledger
	// that neither compresses nor looks at it.
	payloads := make([]byte, n*o.Size)
	entries := make([]client.Entry, n)
	for i := range entries {
		p := payloads[i*o.Size : (i+1)*o.Size : (i+1)*o.Size]
		for at := 0; at+8 <= len(p); at += 64 {
			binary.LittleEndian.PutUint64(p[at:], w.rng.Uint64())
		}
		entries[i].Payload = p
		if o.Keys {
			entries[i].Key = fmt.Appendf(nil, "bench-%016x", w.rng.Uint64())
		}
	}
	return entries
}

func (w *worker) options() []client.AppendOption {
	if w.b.opts.Sealed {
		return []client.AppendOption{client.Sealed()}
	}
	return nil
}

// due waits until the worker's next request is due and returns that moment: now without --rate. A
// worker that is late does not wait, and its requests were due all the same.
func (w *worker) due(ctx context.Context) time.Time {
	o := w.b.opts
	if o.Rate == 0 {
		return time.Now()
	}
	at := w.b.start.Add(time.Duration(float64(w.id+w.turn*o.Clients) / float64(o.Rate) * float64(time.Second)))
	w.turn++
	if wait := time.Until(at); wait > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return at
}

// done counts one request. A request counts by its end: the rate is of what was
// acknowledged within the measured time.
func (w *worker) done(start time.Time, entries int, err error) {
	now := time.Now()
	if err == nil {
		w.b.acked.Add(int64(entries))
	}
	switch {
	case err != nil:
		w.errors++
		if w.first == nil {
			w.first = err
		}
	case now.Before(w.b.begin) || !w.b.end.IsZero() && now.After(w.b.end):
	default:
		w.entries += int64(entries)
		w.lat.record(now.Sub(start))
		w.line.record(now.Sub(w.b.begin), entries, now.Sub(start))
	}
}

func (w *worker) unary(ctx context.Context) {
	opts := w.options()
	for {
		entries := w.next(ctx)
		if entries == nil {
			return
		}
		start := w.due(ctx)
		_, err := w.c.AppendBatch(ctx, entries, opts...)
		if ctx.Err() != nil {
			return
		}
		w.done(start, len(entries), err)
		if err != nil {
			pauseAfterError(ctx)
		}
	}
}

// sentBatch is a batch on its way on a stream.
type sentBatch struct {
	pending *client.Pending
	start   time.Time
	entries int
}

func (w *worker) stream(ctx context.Context) {
	s := w.c.OpenStream(ctx)
	defer s.Close()
	opts := w.options()
	var window []sentBatch
	collect := func() {
		first := window[0]
		window = window[1:]
		_, err := first.pending.Wait(ctx)
		if ctx.Err() == nil {
			w.done(first.start, first.entries, err)
		}
	}
	for {
		entries := w.next(ctx)
		if entries == nil {
			break
		}
		start := time.Now()
		p, err := s.Append(ctx, entries, opts...)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			w.done(start, len(entries), err)
			pauseAfterError(ctx)
			continue
		}
		if window = append(window, sentBatch{p, start, len(entries)}); len(window) == w.b.opts.InFlight {
			collect()
		}
	}
	for len(window) > 0 && ctx.Err() == nil {
		collect()
	}
}

// pauseAfterError keeps a worker from hammering a ledger that refuses.
func pauseAfterError(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}
