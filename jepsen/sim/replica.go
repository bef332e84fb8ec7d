package sim

import (
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// sealNote is the slot of the log that holds what a replica has promised to sign.
const sealNote = 1

// replica is what cluster/node's replica and sealer are in production: it builds
// and applies blocks, sets marks, and carries out what the sealer wants.
type replica struct {
	sealer *seal.Sealer

	contradicted *ledger.Anchor // the newest that the sealer was told of
	ignored      map[ledger.IgnoreReason]uint64

	stamped int64 // µs; newest ledger time given to a block
	marked  uint64

	events    []seal.Event
	sealSize  uint64 // newest applied size, told once for many blocks
	sealTold  uint64
	sealWoken bool
	timer     int // counts timers: only the newest one counts
}

// request is one caller's batch on its way through Raft.
type request struct {
	batch ledger.Batch
	size  int
	done  func(ledger.Result, error)
}

// Size implements raftnode.Request.
func (r *request) Size() int { return r.size }

func (p *process) beginReplica() (err error) {
	p.marked = p.group.Mark().Index
	p.ignored = map[ledger.IgnoreReason]uint64{}
	keys := simKeys()
	p.sealer, err = seal.New(seal.Config{
		Origin: origin, Self: p.n.id, Voters: keys.voters(p.w.opt.Nodes),
		LogCosigner: keys.log, NodeCosigner: keys.nodes[p.n.id], RootAt: p.ledger.RootAt,
		ConsistencyProof: p.ledger.ConsistencyProof,
		Cadence:          p.w.cfg.cadence, MinInterval: p.w.cfg.cadence / 4, Timeout: p.w.cfg.cadence / 2, Show: 4 * p.w.cfg.cadence,
		State: p.group.Note(sealNote), Newest: p.ledger.Sealed(),
	})
	if err != nil {
		return err
	}
	p.sealSize = p.ledger.Head().Size
	p.wakeSealer()
	return nil
}

// BuildBlock implements raftnode.Machine: one block with a time that never goes back.
func (p *process) BuildBlock(reqs []raftnode.Request) ([]byte, error) {
	head := p.ledger.Head()
	p.stamped = max(p.stamped, head.Time, p.n.wall().UnixMicro())
	batches := make([]ledger.Batch, len(reqs))
	for i, r := range reqs {
		batches[i] = r.(*request).batch
	}
	return ledger.EncodeBlock(p.ledger.Anchor(), p.stamped, batches)
}

// Apply implements raftnode.Machine.
func (p *process) Apply(e *raftnode.Committed) error {
	results, err := p.ledger.Apply(e.Index, e.Term, e.Data)
	if err != nil {
		return errors.Wrapf(err, "apply raft entry %d", e.Index)
	}
	for _, reason := range []ledger.IgnoreReason{ledger.IgnoredMalformed, ledger.IgnoredAnchor, ledger.IgnoredTime} {
		// Every proposer of the simulation is honest.
		if n := p.ledger.Ignored(reason); n > p.ignored[reason] && !p.n.damaged() {
			p.ignored[reason] = n
			p.w.fail("diverged", e.Index, "node %d: the block at raft index %d has no effect (%s)", p.n.id, e.Index, reason)
		}
	}
	if c := p.ledger.Contradicted(); c != nil && c != p.contradicted {
		p.contradicted = c
		p.post(seal.Contradicted{Size: c.Size, Root: c.Root})
	}
	for i, r := range e.Requests {
		r.(*request).done(results[i], nil)
	}
	if len(results) > 0 {
		p.sealSize = p.ledger.Head().Size
		p.wakeSealer()
		p.deliver()
	}
	return nil
}

// Fail implements raftnode.Machine.
func (p *process) Fail(reqs []raftnode.Request, err error) {
	for _, r := range reqs {
		r.(*request).done(ledger.Result{}, err)
	}
}

// HandleApp implements raftnode.Machine.
func (p *process) HandleApp(from uint64, payload []byte) {
	p.post(seal.Received{From: from, Payload: payload})
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
	if old.Serving != s.Serving || old.Term != s.Term {
		p.leading(s.Serving)
	}
}

// keepMark tells the log now and then how far it need not reach back any more.
func (p *process) keepMark() {
	p.after(p.w.cfg.markInterval, func() {
		s, ok := p.ledger.Durable()
		if ok && s.RaftIndex > p.marked && p.driver.SetMark(wal.Mark{Index: s.RaftIndex, Term: s.RaftTerm, Meta: s.Marshal()}) {
			p.marked = s.RaftIndex
		}
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
	h := p.ledger.Head()
	if h.RaftIndex <= p.group.Mark().Index {
		return nil
	}
	_, conf, err := p.group.InitialState()
	if err != nil {
		return err
	}
	s := ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
	mark := wal.Mark{Index: h.RaftIndex, Term: h.RaftTerm, ConfState: conf, Meta: s.Marshal()}
	return p.log.Append([]wal.Record{{Group: group, Mark: &mark}}, true)
}

// What follows is the sealer's shell.

func (p *process) leading(is bool) { p.post(seal.Leader{Is: is}) }
func (p *process) peerUp(id uint64) {
	p.post(seal.PeerUp{ID: id})
}

func (p *process) post(e seal.Event) {
	p.events = append(p.events, e)
	p.wakeSealer()
}

func (p *process) wakeSealer() {
	if !p.sealWoken {
		p.sealWoken = true
		p.after(exp(p.n.rng, p.w.cfg.loopMean), p.runSealer)
	}
}

func (p *process) runSealer() {
	p.sealWoken = false
	if p.sealSize > p.sealTold {
		p.sealTold = p.sealSize
		p.stepSealer(seal.Applied{Size: p.sealSize})
	}
	events := p.events
	p.events = nil
	for _, e := range events {
		p.stepSealer(e)
	}
	p.armSealer()
}

func (p *process) armSealer() {
	p.timer++
	at, ok := p.sealer.Deadline()
	if !ok {
		return
	}
	timer := p.timer
	d := min(max(at.Sub(p.n.wall()), time.Millisecond), time.Hour)
	p.after(d, func() {
		if timer == p.timer {
			p.stepSealer(seal.Tick{})
			p.armSealer()
		}
	})
}

func (p *process) stepSealer(e seal.Event) {
	if p.dead {
		return
	}
	for _, effect := range p.sealer.Step(p.n.wall(), e) {
		switch e := effect.(type) {
		case seal.Send:
			p.w.net.app(p.n.id, e.To, e.Payload)
		case seal.Persist:
			p.driver.AppendNote(sealNote, e.Data, func(err error) {
				if err == nil {
					p.post(seal.Persisted{Token: e.Token})
				}
			})
		case seal.Sealed:
			if err := p.ledger.SetSealed(e.Checkpoint); err != nil {
				p.fatal(errors.Wrapf(err, "store sealed checkpoint of size %d", e.Checkpoint.Size))
				return
			}
			p.w.seals.sealed(p.n.id, e.Checkpoint)
		case seal.Outvoted:
			p.fatal(e.Err(p.ledger.Head().RaftIndex))
			return
		case seal.Restored:
			p.fatal(e.Err())
			return
		case seal.Contradiction:
			p.w.seals.problem(p.n, e.Err())
		case seal.Problem:
			p.w.seals.problem(p.n, e.Err)
		}
	}
}
