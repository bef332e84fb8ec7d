package gather

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestCrowded: one at a time is no crowd, two are, and remain one for a moment after they have
// arrived.
func TestCrowded(t *testing.T) {
	var c Crowd
	want := func(crowded bool, when string) {
		t.Helper()
		if got := c.Crowded(); got != crowded {
			t.Errorf("crowded: %t, want %t %s", got, crowded, when)
		}
	}
	for range 3 {
		c.Add(1)
		want(false, "with one on its way")
		c.Add(-1)
	}
	c.Add(2)
	for range 3 * lastsTicks {
		c.Tick()
		want(true, "with two on their way")
	}
	c.Add(-2)
	want(true, "when two have just arrived")
	c.Tick()
	want(true, "a tick after two have arrived")
	c.Tick()
	want(false, "two ticks after two have arrived")
	var none *Crowd
	if none.Pause(); none.Crowded() {
		t.Error("no Crowd is crowded")
	}
}

// TestPause: in a crowd the others run first. Who is alone goes on at once.
func TestPause(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const others, trials = 10, 50
	for _, n := range []int{1, 2} {
		var c Crowd
		c.Add(n)
		seen := 0
		for range trials {
			var ran atomic.Int64
			done := make(chan bool)
			for range others {
				go func() { ran.Add(1); done <- true }()
			}
			c.Pause()
			seen += int(ran.Load())
			for range others {
				<-done
			}
		}
		// The scheduler interrupts whoever runs now and then, and it may let the pausing goroutine go
		// on before its turn.
		if alone := n == 1; alone != (seen < others*trials/2) {
			t.Errorf("%d on their way: %d of %d goroutines ran during pauses", n, seen, others*trials)
		}
	}
}
