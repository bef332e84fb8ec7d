package ledger

import (
	"context"
	"errors"
	"runtime"
	"testing"
)

// waiting returns how many callers the heap holds.
func (w *sizeWaiters) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mu.heap)
}

// TestWaitersThatGiveUpLeave: a caller whose context ends is removed from the heap, wherever in the
// heap the caller stands. Otherwise the memory of a ledger that stands still would grow with every
// call that ran out of time.
func TestWaitersThatGiveUpLeave(t *testing.T) {
	t.Parallel()
	var w sizeWaiters
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for size := uint64(100); size > 0; size-- {
		if err := w.wait(ended, size); !errors.Is(err, context.Canceled) {
			t.Fatalf("wait for size %d with a context that has ended: %v", size, err)
		}
	}
	if n := w.waiting(); n != 0 {
		t.Fatalf("%d callers wait after all have given up, want 0", n)
	}

	// Two callers give up around one that stays.
	stays := make(chan error, 1)
	go func() { stays <- w.wait(context.Background(), 5) }()
	leaving, leave := context.WithCancel(context.Background())
	left := make(chan error, 2)
	for _, size := range []uint64{3, 8} {
		go func() { left <- w.wait(leaving, size) }()
	}
	for w.waiting() != 3 {
		runtime.Gosched() // the goroutines are on their way to the heap
	}
	leave()
	for range 2 {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that gave up got %v", err)
		}
	}
	if n := w.waiting(); n != 1 {
		t.Errorf("%d callers wait, want 1", n)
	}
	w.reach(5)
	if err := <-stays; err != nil {
		t.Errorf("the caller that stayed got %v", err)
	}
	if n := w.waiting(); n != 0 {
		t.Errorf("%d callers wait after all were answered, want 0", n)
	}
}
