package raftnode

import (
	"sync"
	"sync/atomic"

	"github.com/cairnledger/cairn/raftnode/gather"
)

// keptWorkers bounds the goroutines of a Workers that wait for something to do. One busy group needs
// four at a time: for its turns, its writes, its applies and its sealer.
const keptWorkers = 16

// Workers are goroutines that Runners share. A Runner has a goroutine only while it has something to
// do. That goroutine then waits for the next Runner, because a new goroutine begins with a small
// stack: growing and copying the stacks took a fifth of a single append's processor time.
// The zero value is ready.
type Workers struct {
	mu struct {
		sync.Mutex
		closed bool
		// idle are the goroutines that wait, the one that worked last at the end.
		// Invariant: no more than keptWorkers, none when closed.
		idle []worker
	}
}

// worker gives a goroutine its next Runner, nil when it is to end. Its capacity is 1, so that whoever
// wakes a Runner never waits.
type worker chan *Runner

// Runner returns a Runner of a function. Its runs are on w.
func (w *Workers) Runner(run func()) *Runner { return &Runner{workers: w, run: run} }

// gatherer returns a Runner of a function that does more with one run the more has been asked for:
// its runs begin with a pause.
func (w *Workers) gatherer(crowd *gather.Crowd, run func()) *Runner {
	return &Runner{workers: w, run: run, crowd: crowd}
}

// Close ends the goroutines that wait. Runners go on with goroutines that end with each run.
func (w *Workers) Close() {
	w.mu.Lock()
	idle := w.mu.idle
	w.mu.idle, w.mu.closed = nil, true
	w.mu.Unlock()
	for _, x := range idle {
		x <- nil
	}
}

// start runs a Runner's loop soon.
func (w *Workers) start(r *Runner) {
	if x := w.take(); x != nil {
		x <- r
		return
	}
	go w.work(make(worker, 1), r)
}

// take returns the goroutine that worked last, nil when none waits.
func (w *Workers) take() (x worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.mu.idle); n > 0 {
		x, w.mu.idle = w.mu.idle[n-1], w.mu.idle[:n-1]
	}
	return x
}

// keep reports whether a goroutine that has nothing to do is to wait.
func (w *Workers) keep(x worker) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.closed || len(w.mu.idle) == keptWorkers {
		return false
	}
	w.mu.idle = append(w.mu.idle, x)
	return true
}

func (w *Workers) work(x worker, r *Runner) {
	for r != nil {
		r.loop()
		if !w.keep(x) {
			return
		}
		r = <-x
	}
}

// Runner runs a function soon after each Wake: one run at a time, on a goroutine that is the
// Runner's only while there is something to do.
type Runner struct {
	workers *Workers
	run     func()
	state   atomic.Uint32
	// crowd, when not nil, is given a moment before each run: what is asked for meanwhile is done by
	// that run.
	crowd *gather.Crowd
}

// States of a Runner. A Wake during a run leads to one more run, which sees everything that was
// left before that Wake.
const (
	runnerIdle uint32 = iota
	runnerBusy
	runnerAgain
)

// Wake asks for a run. It never waits, and may be called from inside the run.
func (r *Runner) Wake() {
	for {
		switch {
		case r.state.CompareAndSwap(runnerIdle, runnerBusy):
			r.workers.start(r)
			return
		case r.state.CompareAndSwap(runnerBusy, runnerAgain), r.state.Load() == runnerAgain:
			return
		}
	}
}

// Run is Wake for a caller that has a moment: when nothing runs, one run is the caller's own, with
// own in place of the Runner's function. What comes during that run is left to a goroutine, so that
// a busy function does not keep the caller.
func (r *Runner) Run(own func()) {
	if !r.state.CompareAndSwap(runnerIdle, runnerBusy) {
		r.Wake()
		return
	}
	own()
	if !r.state.CompareAndSwap(runnerBusy, runnerIdle) {
		r.state.Store(runnerBusy)
		r.workers.start(r)
	}
}

func (r *Runner) loop() {
	for {
		if r.crowd != nil {
			r.crowd.Pause()
			r.state.Store(runnerBusy)
		}
		r.run()
		if r.state.CompareAndSwap(runnerBusy, runnerIdle) {
			return
		}
		r.state.Store(runnerBusy) // before the run: what comes from now on asks again
	}
}
