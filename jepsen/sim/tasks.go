package sim

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// task is something that is done for one thing at a time: in production by a goroutine, here by
// events.
type task struct {
	run func()
	// mean is how long it takes on average until a task that was woken runs.
	mean time.Duration
	// woken: an event that runs the task is on its way, or the task is busy and runs again after
	// that.
	woken, busy bool
	// over: a driver has said that there is nothing more to do.
	over bool
}

// wake lets a task run soon, once for everything that has come by then.
func (p *process) wake(t *task) {
	if t.woken {
		return
	}
	t.woken = true
	if !t.busy {
		p.schedule(t)
	}
}

func (p *process) schedule(t *task) {
	p.after(exp(p.n.rng, t.mean), func() {
		t.woken = false
		t.run()
	})
}

// busy keeps a task from running until f, after d, has run.
func (p *process) busy(t *task, d time.Duration, f func()) {
	t.busy = true
	p.after(d, func() {
		t.busy = false
		f()
		if p.dead {
			return
		}
		t.woken = true // there may be more
		p.schedule(t)
	})
}

// Wake implements raftnode.Shell. One task writes for all members, as raftnode.Host does.
func (m *member) Wake(which raftnode.Task) {
	switch which {
	case raftnode.TaskTurn:
		m.p.wake(&m.turns)
	case raftnode.TaskWrite:
		m.p.commit.Want(&m.writer)
		m.p.wake(&m.p.writes)
	case raftnode.TaskApply:
		m.p.wake(&m.applies)
	}
}

// Now implements raftnode.Shell.
func (m *member) Now() time.Duration { return time.Duration(m.w.now) }

// Failed implements raftnode.Shell.
func (m *member) Failed(err error) { m.p.fatal(err) }

func (m *member) turn() { m.turns.over = !m.driver.Turn() }

// write writes what waits to the log.
func (p *process) write() {
	w := p.commit.Next()
	if w == nil {
		return
	}
	if w.Records[0].Group != w.Records[len(w.Records)-1].Group {
		p.w.stats.SharedWrites++
	}
	err := p.log.Append(w.Records, w.Sync)
	d := exp(p.n.rng, 20*time.Microsecond)
	if w.Sync {
		d += p.n.syncLatency()
		if strike := p.n.ambush; strike != nil {
			p.n.ambush = nil
			p.w.after(time.Duration(p.n.rng.Float64()*float64(d)), strike)
		}
	}
	p.busy(&p.writes, d, func() {
		if err == nil {
			p.n.disk.settle()
			p.traceWritten(w)
		}
		p.commit.Written(err)
	})
}

// syncLatency draws how long a sync takes here and now.
func (n *node) syncLatency() time.Duration {
	c := &n.w.cfg
	d := c.syncMin + exp(n.rng, c.syncMean)
	if n.rng.Float64() < c.slowSync {
		d *= 20
	}
	if n.slow > 0 {
		d += exp(n.rng, 150*time.Millisecond)
	}
	return d
}

// apply applies what is committed.
func (m *member) apply() {
	run, more := m.driver.NextApply()
	if len(run) == 0 {
		m.applies.over = !more
		return
	}
	m.p.busy(&m.applies, exp(m.n.rng, m.w.cfg.applyMean), func() {
		m.driver.Applied(m.Apply(run))
		release(&m.behind, m.ledger.Head().Size)
	})
}

// release lets those go on that wait for no more than what is reached. They may wait anew.
func release(waiters *[]waiter, reached uint64) {
	var left []waiter
	waiting := *waiters
	*waiters = nil
	for _, w := range waiting {
		if w.index <= reached {
			w.do()
		} else {
			left = append(left, w)
		}
	}
	*waiters = append(left, *waiters...)
}

// wire is the raftnode.Transport of a member: the simulated network, and the checker.
type wire struct{ m *member }

// Register implements raftnode.Transport.
func (wire) Register(uint64, transport.Handler) {}

// Unregister implements raftnode.Transport.
func (wire) Unregister(uint64) {}

// Flush implements raftnode.Transport: every message is on its way as soon as it is sent.
func (wire) Flush(bool) {}

// SendApp implements raftnode.Transport.
func (w wire) SendApp(_, to uint64, payload []byte) { w.m.w.net.app(w.m.g, w.m.n.id, to, payload) }

// SendBeat implements raftnode.Transport.
func (w wire) SendBeat(_, to uint64, b transport.Beat) {
	w.m.w.net.raft(w.m.g, b.Message(w.m.n.id, to))
}

// SendRaft implements raftnode.Transport.
func (w wire) SendRaft(_ uint64, m *raftpb.Message) {
	raft, self := w.m.g.raft, w.m.n.id
	switch m.GetType() {
	case raftpb.MsgVoteResp:
		if !m.GetReject() {
			raft.Voted(self, m.GetTerm(), m.GetTo())
		}
	case raftpb.MsgAppResp:
		if !m.GetReject() {
			raft.Acknowledged(self, m.GetTerm(), m.GetIndex())
		}
	}
	w.m.w.net.raft(w.m.g, m)
}

// observe tells the checker what the core asks for.
func (m *member) observe(e *raftnode.Effects) {
	m.counts(e.Members)
	if e.Append != nil && e.Append.Snapshot != nil {
		meta := e.Append.Snapshot.GetMetadata()
		m.w.stats.Restored++
		m.g.raft.Restored(m.n.id, meta.GetIndex(), meta.GetTerm())
		if s, _ := m.ledger.Durable(); s.RaftIndex < meta.GetIndex() {
			m.g.fail("fill", meta.GetIndex(), "node %d takes a snapshot at raft index %d, and its ledger is durable up to %d, at %d", m.n.id, meta.GetIndex(), s.RaftIndex, m.ledger.Head().RaftIndex)
		}
	}
	if e.Append != nil {
		m.g.raft.Appended(m.n.id, e.State.Term, raftEntries(e.Append.Entries))
	}
	if e.State.Commit > m.commit {
		m.g.raft.Committed(m.n.id, e.State.Term, e.State.Commit)
		m.commit = e.State.Commit
	}
}

// messageRefused: every member of the simulation is honest, so one has gone back on its word.
func (m *member) messageRefused(err *raftnode.RefusedError) {
	m.g.fail("raft", 0, "node %d: %v", m.n.id, err)
}

// traceWritten tells the checker what is on the disk for good after a write.
func (p *process) traceWritten(w *raftnode.Write) {
	p.unsynced = append(p.unsynced, w.Records...)
	if !w.Sync {
		return
	}
	for i := range p.unsynced {
		p.traceDurable(&p.unsynced[i])
	}
	p.unsynced = nil
}

var _ raftnode.Machine = (*member)(nil)
