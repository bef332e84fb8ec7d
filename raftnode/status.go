package raftnode

import "time"

// Status is a snapshot for operators; its parts may be from slightly different moments.
type Status struct {
	State
	ID, Group uint64
	Applied   uint64
	LastIndex uint64

	QueuedRequests int
	QueuedBytes    int
	InflightBlocks int // proposed here and neither applied nor lost
	QueuedAppends  int

	// Stalled: the oldest write to the log, or the machine with one run, has taken
	// longer than StallTimeout. AppendAge and ApplyAge are how long they have taken so
	// far, 0 when nothing is under way.
	Stalled             bool
	AppendAge, ApplyAge time.Duration

	// Progress of all members, at most a heartbeat interval old; nil when not leading.
	Progress []Progress
	// Err is why the node has stopped by itself; nil otherwise.
	Err error
}

// Status returns the member's status. It never waits.
func (d *Driver) Status() Status {
	s := Status{
		State:          *d.state.Load(),
		ID:             d.cfg.ID,
		Group:          d.cfg.Group,
		Applied:        d.waiting.applied(),
		InflightBlocks: int(d.inflight.Load()),
		QueuedAppends:  d.writes.queued(),
		Stalled:        d.stalled.Load(),
		AppendAge:      d.writeAge(),
		ApplyAge:       d.applyAge(),
		Err:            d.failure(),
	}
	if last, err := d.group.LastIndex(); err == nil {
		s.LastIndex = last
	}
	s.QueuedRequests, s.QueuedBytes = d.queue.size()
	d.progress.Lock()
	defer d.progress.Unlock()
	s.Progress = append(s.Progress, d.progress.list...)
	return s
}

// Stalled is Status.Stalled.
func (n *Node) Stalled() bool { return n.driver.stalled.Load() }

// Status is Driver.Status.
func (n *Node) Status() Status { return n.driver.Status() }
