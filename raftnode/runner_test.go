package raftnode

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnledger/cairn/raftnode/gather"
)

// idle is how many goroutines of w wait for something to do.
func (w *Workers) idle() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mu.idle)
}

// waitIdle waits until so many goroutines of w wait for something to do.
func waitIdle(t *testing.T, w *Workers, want int) {
	t.Helper()
	for deadline := time.Now().Add(testWait); w.idle() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines wait, want %d", w.idle(), want)
		}
	}
}

// TestWorkersAreReused: two Runners that have something to do in turns share one goroutine.
func TestWorkersAreReused(t *testing.T) {
	t.Parallel()
	w := new(Workers)
	defer w.Close()
	ran := make(chan struct{})
	for range 50 {
		for range 2 {
			w.Runner(func() { ran <- struct{}{} }).Wake()
			<-ran
			waitIdle(t, w, 1)
		}
	}
}

// TestFewWorkersWait: what a hundred Runners at a time needed does not stay for ever, and Close ends
// the rest. A Runner works after it, too.
func TestFewWorkersWait(t *testing.T) {
	before := runtime.NumGoroutine()
	w := new(Workers)
	var running, over sync.WaitGroup
	running.Add(100)
	for range 100 {
		over.Add(1)
		w.Runner(func() {
			running.Done()
			running.Wait()
			over.Done()
		}).Wake()
	}
	over.Wait()
	waitIdle(t, w, keptWorkers)
	w.Close()
	over.Add(1)
	w.Runner(over.Done).Wake()
	over.Wait()
	for deadline := time.Now().Add(testWait); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
	if n := w.idle(); n != 0 {
		t.Errorf("%d goroutines wait after Close", n)
	}
}

// TestRunsGather: in a crowd one run serves everybody who is about to ask for one. Without a crowd
// nobody's run waits for the others. Who runs next is the scheduler's choice, and with the race
// detector a matter of chance: the runs of many trials are compared.
func TestRunsGather(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const askers, trials = 20, 400
	runsIn := func(size int) (total int) {
		w := new(Workers)
		defer w.Close()
		crowd := new(gather.Crowd)
		crowd.Add(size)
		for range trials {
			var runs, asked atomic.Int64
			served := make(chan int64, askers)
			r := w.gatherer(crowd, func() {
				runs.Add(1)
				served <- asked.Load()
			})
			for range askers {
				go func() {
					asked.Add(1)
					r.Wake()
				}()
			}
			for <-served < askers {
			}
			for deadline := time.Now().Add(testWait); r.state.Load() != runnerIdle; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("a Runner that nobody asks goes on")
				}
			}
			total += int(runs.Load())
		}
		return total
	}
	alone, together := runsIn(1), runsIn(2)
	if together > 2*trials || alone-together < trials*2/5 {
		t.Errorf("%d askers, %d times: %d runs in a crowd, %d without, want about one each time, and clearly more", askers, trials, together, alone)
	}
}
