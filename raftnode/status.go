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

	// Stalled: the oldest write to the log, or the machine with one entry, has taken
	// longer than StallTimeout. AppendAge and ApplyAge are how long they have taken so
	// far, 0 when nothing is under way.
	Stalled             bool
	AppendAge, ApplyAge time.Duration

	// Progress of all members, as of the last tick; nil when not leading.
	Progress []Progress
	// Err is why the node has stopped by itself; nil otherwise.
	Err error
}

// Status returns the node's status. It never waits.
func (n *Node) Status() Status {
	s := Status{
		State:          *n.state.Load(),
		ID:             n.cfg.ID,
		Group:          n.cfg.Group,
		Applied:        n.applier.applied.applied(),
		InflightBlocks: int(n.inflight.Load()),
		QueuedAppends:  n.appender.queued(),
		Stalled:        n.stalled.Load(),
		AppendAge:      n.appender.age(),
		ApplyAge:       n.applier.age(),
		Err:            n.failure(),
	}
	if last, err := n.group.LastIndex(); err == nil {
		s.LastIndex = last
	}
	s.QueuedRequests, s.QueuedBytes = n.queue.size()
	if p := n.progress.Load(); p != nil {
		s.Progress = *p
	}
	return s
}
