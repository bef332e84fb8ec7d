package raftnode

import (
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/stages"
)

// submitQueue is where requests wait for a block. It is open while this node
// leads. Closing it and taking what waits is one step under the lock, so that no
// request stays behind.
type submitQueue struct {
	maxRequests int
	bytes       part // the sizes of those that wait
	wake        func()

	mu struct {
		sync.Mutex
		open    bool
		stopped bool
		leader  uint64 // hint for callers while closed
		// reqs wait, oldest first. Blocks own disjoint prefixes of its array.
		reqs []Request
		// since are the moments of arrival of reqs.
		since []stages.Moment
	}
}

func (q *submitQueue) add(r Request, now stages.Moment) error {
	size := r.Size()
	if size < 0 || size > MaxRequestSize {
		return errors.Wrapf(ErrTooLarge, "%d bytes, at most %d", size, MaxRequestSize)
	}
	q.mu.Lock()
	switch {
	case q.mu.stopped:
		q.mu.Unlock()
		return ErrStopped
	case !q.mu.open:
		leader := q.mu.leader
		q.mu.Unlock()
		return &NotLeaderError{Leader: leader}
	case len(q.mu.reqs) >= q.maxRequests || !q.bytes.take(size):
		q.mu.Unlock()
		return ErrQueueFull
	}
	q.mu.reqs, q.mu.since = append(q.mu.reqs, r), append(q.mu.since, now)
	first := len(q.mu.reqs) == 1
	q.mu.Unlock()
	if first { // otherwise the loop knows already that something waits
		q.wake()
	}
	return nil
}

// take removes the oldest requests, up to maxBytes but at least one, and says when the first of them
// arrived; nil when nothing waits.
func (q *submitQueue) take(maxBytes int) (out []Request, since stages.Moment) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.mu.reqs) {
		size := q.mu.reqs[n].Size()
		if n > 0 && bytes+size > maxBytes {
			break
		}
		bytes += size
		n++
	}
	if n == 0 {
		return nil, 0
	}
	out, since = q.mu.reqs[:n:n], q.mu.since[0]
	q.mu.reqs, q.mu.since = q.mu.reqs[n:], q.mu.since[n:]
	if len(q.mu.reqs) == 0 {
		q.mu.reqs, q.mu.since = nil, nil
	}
	q.bytes.add(-bytes)
	return out, since
}

// resting reports whether the queue is open and nothing waits: the next request wakes a turn.
func (q *submitQueue) resting() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.mu.open && len(q.mu.reqs) == 0
}

// follow opens the queue (leading) or closes it and returns what waited.
func (q *submitQueue) follow(leading bool, leader uint64) []Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.open, q.mu.leader = leading && !q.mu.stopped, leader
	if q.mu.open {
		return nil
	}
	return q.empty()
}

// stop closes the queue for good and returns what waited.
func (q *submitQueue) stop() []Request {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.open, q.mu.stopped = false, true
	return q.empty()
}

// empty: q.mu must be held.
func (q *submitQueue) empty() []Request {
	out := q.mu.reqs
	q.mu.reqs, q.mu.since = nil, nil
	q.bytes.clear()
	return out
}

func (q *submitQueue) size() (requests, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.mu.reqs), int(q.bytes.used.Load())
}
