package raftnode

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
)

// applier is the apply goroutine: it gives committed entries to the machine, in
// order, and tells who waits for an index.
type applier struct {
	n    *Node
	wake chan struct{} // capacity 1
	done chan struct{}
	// busySince is the time, as in appender, at which the machine began with the entry
	// that it applies; 0 when it applies none.
	busySince atomic.Int64

	mu struct {
		sync.Mutex
		queue   []applyItem
		stopped bool // nothing is accepted any more; what is queued will be applied
	}
	applied waiters
}

// applyItem is a work and, for each of its entries, the requests of its block.
type applyItem struct {
	work *ApplyWork
	reqs [][]Request // nil when no entry has any
}

func newApplier(n *Node, applied uint64) *applier {
	a := &applier{n: n, wake: make(chan struct{}, 1), done: make(chan struct{})}
	a.applied.mu.index = applied
	return a
}

func (a *applier) push(it applyItem) {
	a.mu.Lock()
	a.mu.queue = append(a.mu.queue, it)
	a.mu.Unlock()
	a.signal()
}

func (a *applier) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *applier) stop() {
	a.mu.Lock()
	a.mu.stopped = true
	a.mu.Unlock()
	a.signal()
}

func (a *applier) run() {
	defer close(a.done)
	var spare []applyItem
	for {
		a.mu.Lock()
		items := a.mu.queue
		stopped := a.mu.stopped
		if len(items) > 0 {
			a.mu.queue, spare = spare[:0], nil
		}
		a.mu.Unlock()
		if len(items) == 0 {
			if stopped {
				return
			}
			<-a.wake
			continue
		}
		for i := range items {
			a.apply(items[i])
		}
		clear(items)
		spare = items
	}
}

// age is how long the machine has been applying one entry; 0 when it applies none.
func (a *applier) age() time.Duration { return a.n.ageOf(&a.busySince) }

// apply applies one work. Once the node has failed, only the requests are answered.
func (a *applier) apply(it applyItem) {
	for i := range it.work.Entries {
		e := &it.work.Entries[i]
		var reqs []Request
		if it.reqs != nil {
			reqs = it.reqs[i]
		}
		if a.n.failure() == nil {
			a.busySince.Store(a.n.clock())
			err := a.n.cfg.Machine.Apply(e.Index, e.Term, e.Data, reqs)
			a.busySince.Store(0)
			if err != nil {
				a.n.fail(err, "apply a committed entry")
			} else {
				a.applied.advance(e.Index)
				continue
			}
		}
		if len(reqs) > 0 {
			a.n.cfg.Machine.Fail(reqs, errors.Wrap(ErrIndefinite, "node failed while applying"))
		}
	}
	if a.n.failure() == nil {
		a.n.inbox.put(func(m *mail) { m.applied = append(m.applied, it.work) })
	}
}

// waiters lets callers wait for an applied index.
type waiters struct {
	mu struct {
		sync.Mutex
		index uint64 // applied
		heap  waiterHeap
	}
}

type waiter struct {
	index uint64
	ready chan struct{}
}

type waiterHeap []waiter

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].index < h[j].index }
func (h waiterHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *waiterHeap) Push(x any)        { *h = append(*h, x.(waiter)) }
func (h *waiterHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = waiter{}
	*h = old[:len(old)-1]
	return x
}

func (w *waiters) advance(index uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.index = index
	for len(w.mu.heap) > 0 && w.mu.heap[0].index <= index {
		close(heap.Pop(&w.mu.heap).(waiter).ready)
	}
}

func (w *waiters) applied() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.index
}

func (w *waiters) wait(ctx context.Context, index uint64, stopped <-chan struct{}) error {
	w.mu.Lock()
	if index <= w.mu.index {
		w.mu.Unlock()
		return nil
	}
	ready := make(chan struct{})
	heap.Push(&w.mu.heap, waiter{index: index, ready: ready})
	w.mu.Unlock()
	var err error
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		err = errors.Wrapf(context.Cause(ctx), "wait for index %d to be applied", index)
	case <-stopped:
		err = ErrStopped
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.mu.heap {
		if w.mu.heap[i].ready == ready {
			heap.Remove(&w.mu.heap, i)
			return err
		}
	}
	return nil // it became ready meanwhile
}
