package programtest

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

// nodePrincipal is that of a node, as the leader's own entries have it.
const nodePrincipal = "spiffe://example.org/cluster/00000000000000c1/node/n1"

// workTest adds to a history what leaders propose of the program's work: in time and too early, and
// what callers propose of it. It tests what ledger.Timed demands of a program on a ledger of its
// own, which applies every batch of the history as a block.
type workTest struct {
	t       testing.TB
	rng     *rand.Rand
	h       *history
	l       *ledger.Ledger
	applied int // batches of the history
}

// newWorkTest returns nil when the program has no work.
func newWorkTest(t testing.TB, o Options, rng *rand.Rand, h *history) *workTest {
	t.Helper()
	p := o.New()
	if _, timed := p.(ledger.Timed); !timed {
		return nil
	}
	return &workTest{t: t, rng: rng, h: h, l: newWatch(t).open(memstore.New(memstore.Options{}), p, ledger.Summary{})}
}

// maxSteps bounds how many commands the work that is due at one moment may take.
const maxSteps = 10_000

// work catches up with the history and lets leaders and callers propose what the program wants
// done. It returns the time of the newest batch.
func (w *workTest) work() (now int64) {
	w.t.Helper()
	w.catchUp()
	now = w.h.times[len(w.h.times)-1]
	work, ok := w.ask()
	if !ok {
		return now
	}
	switch w.rng.IntN(6) {
	case 0: // a leader whose clock is ahead
		if work.At > now {
			w.propose(now, work, nodePrincipal, false, "before it is due")
		}
	case 1: // as early as can be, and one microsecond earlier
		if work.At > now && work.At-now < 1e12 {
			w.propose(work.At-1, work, nodePrincipal, false, "one microsecond before it is due")
			now = work.At
			w.propose(now, work, nodePrincipal, true, "when it is due")
		}
	case 2:
		w.propose(max(now, min(work.At, now+1e12)), work, "spiffe://example.org/svc/a", false, "by a caller")
		now = w.h.times[len(w.h.times)-1]
	case 3, 4: // everything that is due
		for step := 0; ok && work.At <= now; step++ {
			if step == maxSteps {
				w.t.Fatalf("work is due at %d after %d commands of it: it does not end", now, step)
			}
			w.propose(now, work, nodePrincipal, true, "when it is due")
			if work, ok = w.ask(); !ok {
				break
			}
		}
	}
	return now
}

// ask asks for work, twice.
func (w *workTest) ask() (ledger.Work, bool) {
	w.t.Helper()
	work, ok, err := w.l.Work()
	again, ok2, err2 := w.l.Work()
	if err != nil || err2 != nil {
		w.t.Fatalf("ask for work: %v, %v", err, err2)
	}
	if ok != ok2 || work.At != again.At || !bytes.Equal(work.Command, again.Command) {
		w.t.Fatalf("one state has the work %x at %d, %t, and %x at %d, %t", work.Command, work.At, ok, again.Command, again.At, ok2)
	}
	return work, ok
}

// propose appends work to the history and says what it may do there.
func (w *workTest) propose(time int64, work ledger.Work, principal string, writes bool, when string) {
	w.t.Helper()
	b := ledger.Batch{Principal: principal, Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: work.Command}}}
	if err := b.Validate(w.l.Program()); err != nil {
		w.t.Fatalf("the program does not understand its own work %x: %v", work.Command, err)
	}
	w.h.batches, w.h.times = append(w.h.batches, b), append(w.h.times, time)
	res := w.catchUp()
	if res.Err != nil {
		w.t.Fatalf("the work %x, proposed %s, is refused: %v", work.Command, when, res.Err)
	}
	if res.Wrote != writes {
		w.t.Fatalf("the work %x, due at %d and proposed at %d, %s, puts rows: %t, want %t", work.Command, work.At, time, when, res.Wrote, writes)
	}
}

// catchUp applies the batches of the history that are new, and returns the last one's result.
func (w *workTest) catchUp() (last ledger.Result) {
	w.t.Helper()
	for ; w.applied < len(w.h.batches); w.applied++ {
		n := w.applied
		block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, w.h.times[n], w.h.batches[n:n+1])
		if err != nil {
			w.t.Fatal(err)
		}
		results, err := w.l.ApplyMany([]ledger.Committed{{RaftIndex: uint64(n + 1), RaftTerm: 1, Block: block}})
		if err != nil {
			w.t.Fatalf("a replica stops: %v", err)
		}
		last = results[0][0]
	}
	return last
}
