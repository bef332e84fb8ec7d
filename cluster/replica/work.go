package replica

import (
	"bytes"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// How long a leader waits before it proposes the same work once more: firstPause, then twice as
// long each time up to longestPause. It looks at its clock again after longestWait at the latest,
// because the clock may be set while it waits.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = time.Minute
	longestWait  = time.Minute
)

// worker proposes the work of the ledger's program (ledger.Timed) while this replica leads.
//
//   - A replica proposes only while it serves: it has applied an entry of its own term, and so
//     everything that earlier leaders proposed and that will ever be committed. What they did is in
//     the state that it asks.
//   - At most one proposal is under way. The program is asked again when the proposal was applied
//     or lost.
//   - Work that was proposed and changed nothing is proposed again only after a pause. Either this
//     node's clock is ahead of what it may stamp, or the proposal was lost, or the program has a
//     bug. In none of these cases the leader spins.
type worker struct {
	// timed: the ledger's program has work. A worker of another program does nothing.
	timed bool

	// step is held while Work runs, and guards open, which is true between Bind and StopWorking.
	// Invariant: what hears of a proposal's fate never takes step, because Submit may call it.
	step sync.Mutex
	open bool

	mu struct {
		sync.Mutex
		serves   bool // this replica leads, and serves
		underway bool // a proposal was submitted, and its fate is not known
		tried    attempt
	}
}

// attempt is work that was proposed and changed nothing. The zero value is none.
type attempt struct {
	work  ledger.Work
	pause time.Duration
	// The work is not to be proposed between these moments, on the clock of Clocks.Now. A clock
	// that shows less than since was set back, and the pause is over.
	since, until time.Time
}

func (a *attempt) same(w ledger.Work) bool {
	return a.pause > 0 && a.work.At == w.At && bytes.Equal(a.work.Command, w.Command)
}

// Work asks the ledger's program for work and proposes what is due, if this replica leads. It
// returns when it has to be called again without another wake, on the clock of Clocks.Now; false if
// not.
func (r *Replica) Work() (due time.Time, ok bool) {
	w := &r.worker
	w.step.Lock()
	defer w.step.Unlock()
	if !w.open || !w.free() {
		return time.Time{}, false
	}
	now := r.clocks.Now()
	work, ok, err := r.ledger.Work()
	switch {
	case err != nil:
		if !errors.Is(err, ledger.ErrStateGone) {
			r.shell.WorkProblem(errors.Wrap(err, "ask the program for its work"))
		}
		return w.again(ledger.Work{}, now, 0), true
	case !ok:
		return time.Time{}, false
	}
	if reached := r.clocks.reached(); work.At > reached {
		return now.Add(microseconds(work.At-reached, longestWait)), true
	}
	if until, paused := w.paused(work, now); paused {
		return until, true
	}
	b := ledger.Batch{Principal: r.principal, Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: work.Command}}}
	if err := b.Validate(r.ledger.Program()); err != nil {
		r.shell.WorkProblem(errors.Wrap(err, "the program's own work cannot be proposed"))
		return w.again(work, now, 0), true
	}
	w.submitted()
	r.Submit(b, func(res ledger.Result, err error) { r.worked(work, res, err) })
	return time.Time{}, false
}

// worked hears what became of a proposal.
func (r *Replica) worked(work ledger.Work, res ledger.Result, err error) {
	switch {
	case err == nil && res.Err == nil && res.Wrote:
		r.worker.done()
	case err == nil && res.Err == nil:
		// The entry's time may lie before the work is due: the other clocks have gone back since
		// the proposal.
		r.worker.failed(work, r.clocks.Now(), work.At-res.Time)
	default:
		if err == nil {
			r.shell.WorkProblem(errors.Wrap(res.Err, "the program's own work is refused"))
		}
		r.worker.failed(work, r.clocks.Now(), 0)
	}
	r.shell.WakeWorker()
}

// leads says whether this replica serves as the leader.
func (w *worker) leads(serves bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.serves, w.mu.tried = serves, attempt{}
}

// wanted reports whether somebody has to look for work when the state has changed.
func (w *worker) wanted() bool {
	if !w.timed {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.serves
}

// free reports whether a proposal may be made now.
func (w *worker) free() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.timed && w.mu.serves && !w.mu.underway
}

func (w *worker) submitted() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.underway = true
}

// done: the proposal has changed the state.
func (w *worker) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.underway, w.mu.tried = false, attempt{}
}

// failed: the proposal has changed nothing. early is how far its time lies before the work is due,
// in µs.
func (w *worker) failed(work ledger.Work, now time.Time, early int64) {
	w.again(work, now, early)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.underway = false
}

// again returns when the work may be proposed once more.
func (w *worker) again(work ledger.Work, now time.Time, early int64) (until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &w.mu.tried
	if a.same(work) {
		a.pause = min(2*a.pause, longestPause)
	} else {
		*a = attempt{work: work, pause: firstPause}
	}
	a.since, a.until = now, now.Add(max(a.pause, microseconds(early, longestWait)))
	return a.until
}

// paused returns until when the work is not to be proposed, if it is not.
func (w *worker) paused(work ledger.Work, now time.Time) (until time.Time, paused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := &w.mu.tried
	return a.until, a.same(work) && !now.Before(a.since) && now.Before(a.until)
}

// StopWorking waits for a call of Work that is under way; later ones do nothing.
func (r *Replica) StopWorking() {
	r.worker.step.Lock()
	defer r.worker.step.Unlock()
	r.worker.open = false
}

// microseconds returns us, at most most.
func microseconds(us int64, most time.Duration) time.Duration {
	return time.Duration(min(us, most.Microseconds())) * time.Microsecond
}
