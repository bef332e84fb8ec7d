package ledger

import (
	"container/heap"
	"context"
	"sync"
)

// sizeWaiters wakes callers when a size is reached: only those whose size it is, however many wait.
type sizeWaiters struct {
	mu struct {
		sync.Mutex
		reached uint64
		err     error // final; wakes everybody
		heap    waiterHeap
	}
}

type waiter struct {
	size uint64
	at   int // in the heap, -1 when woken
	done chan struct{}
}

// reach says that size was reached. Sizes never decrease.
func (w *sizeWaiters) reach(size uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.reached = max(w.mu.reached, size)
	for len(w.mu.heap) > 0 && w.mu.heap[0].size <= w.mu.reached {
		close(heap.Pop(&w.mu.heap).(*waiter).done)
	}
}

// stop wakes everybody with err, now and later.
func (w *sizeWaiters) stop(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.err == nil {
		w.mu.err = err
	}
	for len(w.mu.heap) > 0 {
		close(heap.Pop(&w.mu.heap).(*waiter).done)
	}
}

// wait returns nil when size was reached, the context's error, or that of stop.
func (w *sizeWaiters) wait(ctx context.Context, size uint64) error {
	w.mu.Lock()
	if w.mu.reached >= size || w.mu.err != nil {
		defer w.mu.Unlock()
		return w.result(size)
	}
	me := &waiter{size: size, done: make(chan struct{})}
	heap.Push(&w.mu.heap, me)
	w.mu.Unlock()

	select {
	case <-me.done:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.at >= 0 {
		heap.Remove(&w.mu.heap, me.at)
		return ctx.Err()
	}
	return w.result(size)
}

func (w *sizeWaiters) result(size uint64) error {
	if w.mu.reached >= size {
		return nil
	}
	return w.mu.err
}

type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].size < h[j].size }
func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *waiterHeap) Push(x any) {
	w := x.(*waiter)
	w.at = len(*h)
	*h = append(*h, w)
}

func (h *waiterHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.at = -1
	return w
}
