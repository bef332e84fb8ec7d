package sim

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// task is one of the driver's three tasks: in production a goroutine, here events.
type task struct {
	run func()
	// mean is how long it takes on average until a task that was woken runs.
	mean time.Duration
	// woken: an event that runs the task is on its way, or the task is busy and runs again after
	// that.
	woken, busy bool
	// over: the driver has said that there is nothing more to do.
	over bool
}

// initTasks says how the tasks run.
func (p *process) initTasks() {
	p.tasks[raftnode.TaskTurn] = task{run: p.turn, mean: p.w.cfg.loopMean}
	p.tasks[raftnode.TaskWrite] = task{run: p.write, mean: 10 * time.Microsecond}
	p.tasks[raftnode.TaskApply] = task{run: p.apply}
}

// Wake implements raftnode.Shell: the task runs soon, once for everything that has come by then.
func (p *process) Wake(which raftnode.Task) {
	t := &p.tasks[which]
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
func (p *process) busy(which raftnode.Task, d time.Duration, f func()) {
	t := &p.tasks[which]
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

// Now implements raftnode.Shell.
func (p *process) Now() time.Duration { return time.Duration(p.w.now) }

// Failed implements raftnode.Shell.
func (p *process) Failed(err error) { p.fatal(err) }

func (p *process) turn() { p.tasks[raftnode.TaskTurn].over = !p.driver.Turn() }

// write writes what waits to the log.
func (p *process) write() {
	w, more := p.driver.NextWrite()
	if w == nil {
		p.tasks[raftnode.TaskWrite].over = !more
		return
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
	p.busy(raftnode.TaskWrite, d, func() {
		if err == nil {
			p.n.disk.settle()
			p.traceWritten(w)
		}
		p.driver.Written(err)
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
func (p *process) apply() {
	run, more := p.driver.NextApply()
	if len(run) == 0 {
		p.tasks[raftnode.TaskApply].over = !more
		return
	}
	p.busy(raftnode.TaskApply, exp(p.n.rng, p.w.cfg.applyMean), func() {
		p.driver.Applied(p.Apply(run))
		release(&p.behind, p.ledger.Head().Size)
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

// wire is the raftnode.Transport of a process: the simulated network, and the checker.
type wire struct{ p *process }

// Register implements raftnode.Transport.
func (wire) Register(uint64, transport.Handler) {}

// Unregister implements raftnode.Transport.
func (wire) Unregister(uint64) {}

// Flush implements raftnode.Transport: every message is on its way as soon as it is sent.
func (wire) Flush() {}

// SendApp implements raftnode.Transport.
func (w wire) SendApp(_, to uint64, payload []byte) { w.p.w.net.app(w.p.n.id, to, payload) }

// SendRaft implements raftnode.Transport.
func (w wire) SendRaft(_ uint64, m *raftpb.Message) {
	p := w.p
	switch m.GetType() {
	case raftpb.MsgVoteResp:
		if !m.GetReject() {
			p.w.raft.Voted(p.n.id, m.GetTerm(), m.GetTo())
		}
	case raftpb.MsgAppResp:
		if !m.GetReject() {
			p.w.raft.Acknowledged(p.n.id, m.GetTerm(), m.GetIndex())
		}
	}
	p.w.net.raft(m)
}

// observe tells the checker what the core asks for.
func (p *process) observe(e *raftnode.Effects) {
	if e.Append != nil {
		p.w.raft.Appended(p.n.id, e.State.Term, raftEntries(e.Append.Entries))
	}
	if e.State.Commit > p.commit {
		p.w.raft.Committed(p.n.id, e.State.Term, e.State.Commit)
		p.commit = e.State.Commit
	}
}

// messageRefused: every member of the simulation is honest, so one has gone back on its word.
func (p *process) messageRefused(err *raftnode.RefusedError) {
	p.w.fail("raft", 0, "node %d: %v", p.n.id, err)
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

var _ raftnode.Machine = (*process)(nil)
