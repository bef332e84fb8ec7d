package raftnode

import (
	"container/heap"
	"sync"
)

// waiters lets callers wait for an applied index.
type waiters struct {
	mu struct {
		sync.Mutex
		index uint64 // applied
		heap  waiterHeap
	}
}

// waiter waits for index. at is its place in the heap, -1 once it has left.
type waiter struct {
	index uint64
	done  func()
	at    int
}

type waiterHeap []*waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].index < h[j].index }
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
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.at = -1
	return w
}

// advance calls everybody who waits for no more than index, without the lock.
func (w *waiters) advance(index uint64) {
	var ready []*waiter
	w.mu.Lock()
	w.mu.index = max(w.mu.index, index)
	for len(w.mu.heap) > 0 && w.mu.heap[0].index <= index {
		ready = append(ready, heap.Pop(&w.mu.heap).(*waiter))
	}
	w.mu.Unlock()
	for _, r := range ready {
		r.done()
	}
}

func (w *waiters) applied() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.index
}

// add calls done when index is applied; at once, without the lock, when it is.
func (w *waiters) add(index uint64, done func()) (cancel func()) {
	w.mu.Lock()
	if index <= w.mu.index {
		w.mu.Unlock()
		done()
		return func() {}
	}
	x := &waiter{index: index, done: done}
	heap.Push(&w.mu.heap, x)
	w.mu.Unlock()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if x.at >= 0 {
			heap.Remove(&w.mu.heap, x.at)
		}
	}
}
