package raftnode

import (
	"context"
	"runtime"
	"testing"

	"github.com/cockroachdb/errors"
)

// TestWaiterThatGivesUpIsGone: whoever stops waiting for an index leaves nothing behind, and does
// not disturb the others.
func TestWaiterThatGivesUpIsGone(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	n := Node{driver: &Driver{}}
	n.ended[TaskTurn] = stopped
	w := &n.driver.waiting
	wait := func(ctx context.Context, index uint64) chan error {
		before := waiting(w)
		out := make(chan error, 1)
		go func() { out <- n.WaitApplied(ctx, index) }()
		for waiting(w) == before {
			runtime.Gosched()
		}
		return out
	}
	given, giveUp := context.WithCancelCause(context.Background())
	impatient := []chan error{wait(given, 5), wait(given, 7), wait(given, 9)}
	patient, late := wait(context.Background(), 7), wait(context.Background(), 8)
	reason := errors.New("enough")
	giveUp(reason)
	for _, ch := range impatient {
		if err := <-ch; !errors.Is(err, reason) {
			t.Errorf("a waiter that gives up gets %v, want %v", err, reason)
		}
	}
	if left := waiting(w); left != 2 {
		t.Fatalf("%d waiters are left, want the 2 that did not give up", left)
	}
	w.advance(7)
	if err := <-patient; err != nil {
		t.Errorf("index 7 was reached: %v", err)
	}
	close(stopped)
	if err := <-late; !errors.Is(err, ErrStopped) {
		t.Errorf("a waiter of a node that stops gets %v, want ErrStopped", err)
	}
	if left := waiting(w); left != 0 {
		t.Errorf("%d waiters are left, want none", left)
	}
}

func waiting(w *waiters) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mu.heap)
}
