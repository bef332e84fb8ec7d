package raftnode

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
)

// A run ends before it has more entries, or more bytes of data, than this.
const (
	maxRunEntries = 256
	maxRunBytes   = 2 << 20
)

// applyQueue is what is committed and waits to be applied.
type applyQueue struct {
	mu struct {
		sync.Mutex
		works []*ApplyWork
		ended bool // nothing is accepted any more; what is queued will be applied
	}
	// since is when the machine began with the run that it applies; 0 when it applies none.
	since atomic.Int64

	// The rest is owned by whoever runs TaskApply.
	works []*ApplyWork // handed out in part, or not at all
	done  int          // entries of works[0] that the machine has applied
	term  uint64       // of the newest entry that the machine has applied
	// members are those that the machine named when it had applied the newest run; nil at the start.
	members *Members
	run     []Committed // under way; empty when none is
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

// NextApply returns the committed entries that the machine has to apply now, all that wait up to a
// bound, none when nothing waits, and whether there can be more later. Every run has to be followed
// by Applied, and is valid until then. Once the driver has failed no entry is handed out any more:
// the requests that wait are answered instead.
func (d *Driver) NextApply() (run []Committed, more bool) {
	q := &d.applies
	if len(q.run) > 0 {
		panic("raftnode: NextApply before the last run has ended")
	}
	q.mu.Lock()
	q.works = append(q.works, q.mu.works...)
	clear(q.mu.works)
	q.mu.works = q.mu.works[:0]
	ended := q.mu.ended
	q.mu.Unlock()
	if d.failure() != nil {
		d.skipApplies()
		return nil, !ended
	}
	if !d.behind.Load() {
		q.fillRun()
	}
	if len(q.run) == 0 {
		return nil, !ended
	}
	q.since.Store(d.clock())
	d.cfg.crowd.Add(-q.requests()) // before the machine answers: a caller alone is never two
	return q.run, true
}

// requests is how many requests the run carries.
func (q *applyQueue) requests() (n int) {
	for i := range q.run {
		n += len(q.run[i].Requests)
	}
	return n
}

// fillRun puts what waits into the run.
func (q *applyQueue) fillRun() {
	size, from := 0, q.done
	for _, w := range q.works {
		for _, e := range w.Entries[from:] {
			size += len(e.Data)
			if len(q.run) == maxRunEntries || len(q.run) > 0 && size > maxRunBytes {
				return
			}
			q.run = append(q.run, e)
		}
		from = 0
	}
}

// Applied says how the machine got on with the run that NextApply handed out. An error ends the
// driver, and the requests of the run are answered with ErrIndefinite.
func (d *Driver) Applied(err error) {
	q := &d.applies
	q.since.Store(0)
	n := len(q.run)
	if err != nil {
		d.cfg.crowd.Add(q.requests()) // their failure counts them
		d.fail(err, "apply committed entries")
		d.skipApplies()
		n = 0
	}
	var members *Members
	if n > 0 {
		d.waiting.advance(q.run[n-1].Index)
		if d.cfg.Members != nil {
			members = d.cfg.Members()
		}
	}
	clear(q.run)
	q.run = q.run[:0]
	var finished []*ApplyWork
	var own, newTerm bool
	for q.done += n; len(q.works) > 0 && q.done >= len(q.works[0].Entries); q.works = q.works[1:] {
		q.done -= len(q.works[0].Entries)
		q.works[0].members = members
		finished = append(finished, q.works[0])
		for i := range q.works[0].Entries {
			e := &q.works[0].Entries[i]
			own, newTerm, q.term = own || e.Tag != 0, newTerm || e.Term != q.term, e.Term
		}
	}
	if q.done > 0 {
		q.works[0].members = members
	}
	if len(finished) == 0 {
		return
	}
	// A new term is what a leader waits for to serve, and other members are to be counted at once.
	urgent := newTerm || members != nil && (q.members == nil || !members.Equal(q.members))
	q.members = members
	d.inbox.leave(urgent, func(m *mail) { m.applied = append(m.applied, finished...) })
	if own && !d.queue.resting() { // asked afterwards: a request that comes now wakes a turn that takes it
		d.inbox.wake()
	}
}

// skipApplies answers the requests of everything that the machine did not apply.
func (d *Driver) skipApplies() {
	q := &d.applies
	for _, w := range q.works {
		for i := q.done; i < len(w.Entries); i++ {
			if reqs := w.Entries[i].Requests; len(reqs) > 0 {
				d.failRequests(reqs, errors.Wrap(ErrIndefinite, "node failed while applying"))
			}
		}
		q.done = 0
	}
	q.works = nil
}

// applyAge is how long the machine has been applying one run; 0 when it applies none.
func (d *Driver) applyAge() time.Duration { return d.ageOf(&d.applies.since) }
