package raftnode

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
)

// applyQueue is what is committed and waits to be applied.
type applyQueue struct {
	mu struct {
		sync.Mutex
		works []*ApplyWork
		ended bool // nothing is accepted any more; what is queued will be applied
	}
	// since is when the machine began with the entry that it applies; 0 when it applies none.
	since atomic.Int64

	// The rest is owned by whoever runs TaskApply.
	work *ApplyWork // under way; nil when none is
	next int        // of its entries
}

func (d *Driver) pushApply(w *ApplyWork) {
	q := &d.applies
	q.mu.Lock()
	q.mu.works = append(q.mu.works, w)
	q.mu.Unlock()
	d.shell.Wake(TaskApply)
}

func (d *Driver) endApplies() {
	d.applies.mu.Lock()
	d.applies.mu.ended = true
	d.applies.mu.Unlock()
	d.shell.Wake(TaskApply)
}

// NextApply returns the committed entry that the machine has to apply now, nil when none waits, and
// whether there can be more later. Every entry has to be followed by Applied. Once the driver has
// failed no entry is handed out any more: the requests that wait are answered instead.
func (d *Driver) NextApply() (e *Committed, more bool) {
	q := &d.applies
	for {
		if q.work == nil {
			q.mu.Lock()
			ended := q.mu.ended
			if len(q.mu.works) > 0 {
				q.work, q.next = q.mu.works[0], 0
				q.mu.works[0] = nil
				q.mu.works = q.mu.works[1:]
			}
			q.mu.Unlock()
			if q.work == nil {
				return nil, !ended
			}
		}
		if q.next == len(q.work.Entries) {
			if w := q.work; d.failure() == nil {
				d.inbox.put(func(m *mail) { m.applied = append(m.applied, w) })
			}
			q.work = nil
			continue
		}
		e := &q.work.Entries[q.next]
		if d.failure() == nil {
			q.since.Store(d.clock())
			return e, true
		}
		d.skip(e)
	}
}

// Applied says how the machine got on with the entry that NextApply handed out. An error ends the
// driver.
func (d *Driver) Applied(err error) {
	q := &d.applies
	q.since.Store(0)
	e := &q.work.Entries[q.next]
	if err != nil {
		d.fail(err, "apply a committed entry")
		d.skip(e)
		return
	}
	q.next++
	d.waiting.advance(e.Index)
}

// skip answers the requests of an entry that the machine did not apply.
func (d *Driver) skip(e *Committed) {
	if len(e.Requests) > 0 {
		d.cfg.Machine.Fail(e.Requests, errors.Wrap(ErrIndefinite, "node failed while applying"))
	}
	d.applies.next++
}

// applyAge is how long the machine has been applying one entry; 0 when it applies none.
func (d *Driver) applyAge() time.Duration { return d.ageOf(&d.applies.since) }
