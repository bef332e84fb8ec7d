package raftnode

import "sync/atomic"

// Runner runs a function soon after each Wake: one run at a time, on a goroutine that lives only
// while there is something to do.
type Runner struct {
	run   func()
	state atomic.Uint32
}

// States of a Runner. A Wake during a run leads to one more run, which sees everything that was
// left before that Wake.
const (
	runnerIdle uint32 = iota
	runnerBusy
	runnerAgain
)

// NewRunner returns a Runner of a function.
func NewRunner(run func()) *Runner { return &Runner{run: run} }

// Wake asks for a run. It never waits, and may be called from inside the run.
func (r *Runner) Wake() {
	for {
		switch {
		case r.state.CompareAndSwap(runnerIdle, runnerBusy):
			go r.loop()
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
		go r.loop()
	}
}

func (r *Runner) loop() {
	for {
		r.run()
		if r.state.CompareAndSwap(runnerBusy, runnerIdle) {
			return
		}
		r.state.Store(runnerBusy) // before the run: what comes from now on asks again
	}
}
