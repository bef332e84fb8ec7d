package sim

import (
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// sealing is what the process does for its replica's sealer.
type sealing struct {
	woken bool
	timer int // counts timers: only the newest one counts
}

func (p *process) newReplica() (err error) {
	c, keys := &p.w.cfg, simKeys()
	p.Replica, err = replica.New(replica.Config{
		Ledger: p.ledger, Log: p.group, Shell: p,
		// Clocks jump by days here, and stay there: their bounds would leave nobody to lead.
		Clocks: replica.Clocks{Now: p.n.wall, MaxOffset: 1 << 62, Voters: p.w.opt.Nodes},
		Seal: seal.Config{
			Self: p.n.id, Voters: keys.voters(p.w.opt.Nodes), LogCosigner: keys.log, NodeCosigner: keys.nodes[p.n.id],
			Cadence: c.cadence, MinInterval: c.cadence / 4, Timeout: c.cadence / 2, Show: 4 * c.cadence,
		},
	})
	return err
}

// Apply implements raftnode.Machine: the replica's, with a look at what it does.
func (p *process) Apply(run []raftnode.Committed) error {
	for i := range run {
		e := &run[i]
		p.w.raft.Applied(p.n.id, check.RaftEntry{Index: e.Index, Term: e.Term, Hash: hashOf(e.Data)})
	}
	size := p.ledger.Head().Size
	if err := p.Replica.Apply(run); err != nil {
		return err
	}
	p.applied = run[len(run)-1].Index
	for _, reason := range []ledger.IgnoreReason{ledger.IgnoredMalformed, ledger.IgnoredAnchor, ledger.IgnoredTime} {
		// Every proposer of the simulation is honest.
		if n := p.ledger.Ignored(reason); n > p.ignored[reason] && !p.n.damaged() {
			p.ignored[reason] = n
			p.w.fail("diverged", p.applied, "node %d: a block up to raft index %d has no effect (%s)", p.n.id, p.applied, reason)
		}
	}
	p.checkProgram()
	if p.ledger.Head().Size > size {
		p.deliver()
	}
	return nil
}

// StateChanged implements raftnode.Machine.
func (p *process) StateChanged(s raftnode.State) {
	old := p.state
	p.state = s
	if s.Role == raftnode.RoleLeader && (old.Role != raftnode.RoleLeader || old.Term != s.Term) {
		p.w.raft.Leads(p.n.id, s.Term)
		p.w.stats.Elections++
		p.w.note(p.n.id, "leader", "leads term %d", s.Term)
	}
	p.Replica.StateChanged(s)
}

// keepMark tells the log now and then how far it need not reach back any more.
func (p *process) keepMark() {
	p.after(p.w.cfg.markInterval, func() {
		p.KeepMark()
		p.keepMark()
	})
}

// barrier calls do when this replica has applied everything that was
// acknowledged before the call, or with an error.
func (p *process) barrier(do func(error)) {
	listening := p.driver.ReadIndex(func(index uint64, err error) {
		if err != nil {
			do(err)
			return
		}
		p.driver.WhenApplied(index, func() { do(nil) })
	})
	if !listening {
		do(raftnode.ErrStopped)
	}
}

// transfer hands leadership over; nobody waits for it.
func (p *process) transfer(to uint64) { p.driver.TransferLeadership(to, func(error) {}) }

// stop ends the process cleanly: hand over, finish what is in flight, close. It is
// started again after down.
func (n *node) stop(down time.Duration) {
	p := n.proc
	if p == nil || !p.running || p.stopping {
		return
	}
	p.stopping = true
	p.driver.Refuse()
	p.transfer(0)
	p.after(time.Duration(n.w.cfg.election)*n.w.cfg.tick, func() {
		p.driver.Close()
		p.close(down)
	})
}

// close waits for the disk and closes everything.
func (p *process) close(down time.Duration) {
	if !p.tasks[raftnode.TaskTurn].over || !p.tasks[raftnode.TaskWrite].over || !p.tasks[raftnode.TaskApply].over {
		p.after(time.Millisecond, func() { p.close(down) })
		return
	}
	n := p.n
	p.StopSealing()
	err := p.ledger.Close()
	if err == nil {
		err = p.finalMark()
	}
	err = errors.CombineErrors(err, p.log.Close())
	if err != nil {
		p.fatal(err)
		return
	}
	n.w.note(n.id, "down", "stopped cleanly")
	n.countLog()
	p.dead, n.proc = true, nil
	n.disk.settle()
	n.disk.life++
	n.store = n.store.Reopen()
	p.hangUp()
	n.spreadNews()
	n.startAfter(down)
}

// finalMark spares the next start the replay.
func (p *process) finalMark() error {
	mark, err := p.FinalMark()
	if err != nil || mark == nil {
		return err
	}
	return p.log.Append([]wal.Record{{Group: group, Mark: mark}}, true)
}

// WakeSealer implements replica.Shell.
func (p *process) WakeSealer() {
	if !p.sealing.woken {
		p.sealing.woken = true
		p.after(exp(p.n.rng, p.w.cfg.loopMean), func() {
			p.sealing.woken = false
			p.seal()
		})
	}
}

func (p *process) seal() {
	p.sealing.timer++
	due, ok := p.Seal()
	if !ok || p.dead {
		return
	}
	timer := p.sealing.timer
	d := min(max(due.Sub(p.n.wall()), time.Millisecond), time.Hour)
	p.after(d, func() {
		if timer == p.sealing.timer {
			p.seal()
		}
	})
}

// Halt implements replica.Shell.
func (p *process) Halt(err error, _ *tlog.Contradiction) {
	if !p.dead { // by another reason, which its log has told before
		p.fatal(err)
	}
}

// Sealed implements replica.Shell.
func (p *process) Sealed(c *ledger.Sealed) { p.w.seals.sealed(p.n.id, c) }

// Contradicted implements replica.Shell.
func (p *process) Contradicted(c seal.Contradiction) { p.w.seals.problem(p.n, c.Err()) }

// Problem implements replica.Shell.
func (p *process) Problem(err error) { p.w.seals.problem(p.n, err) }
