package sim

import (
	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode"
)

// wake lets the loop run soon, once for everything that has come by then.
func (p *process) wake() {
	if !p.waking {
		p.waking = true
		p.after(exp(p.n.rng, p.w.cfg.loopMean), p.loop)
	}
}

func (p *process) receive(m *raftpb.Message) {
	p.mail.messages = append(p.mail.messages, m)
	p.wake()
}

func (p *process) peerDown(id uint64) {
	if p.running {
		p.mail.down = append(p.mail.down, id)
		p.wake()
	}
}

func (p *process) unreachable(id uint64) {
	if p.running {
		p.mail.lost = append(p.mail.lost, id)
		p.wake()
	}
}

func (p *process) transfer(to uint64) {
	p.mail.transfer = append(p.mail.transfer, to)
	p.wake()
}

func (p *process) loop() {
	p.waking = false
	m := p.mail
	p.mail = mail{}
	for _, w := range m.appended {
		p.core.AppendDone(w)
	}
	for _, w := range m.applied {
		p.core.ApplyDone(w)
	}
	for _, id := range m.down {
		p.core.PeerDown(id)
	}
	for _, id := range m.lost {
		p.core.Unreachable(id)
	}
	for _, msg := range m.messages {
		var refused *raftnode.RefusedError
		if err := p.core.Step(msg); errors.As(err, &refused) {
			// Every member of the simulation is honest, so it has gone back on its word.
			p.w.fail("raft", msg.GetIndex(), "node %d: %v", p.n.id, refused)
		}
	}
	if m.tick {
		p.core.Tick()
	}
	for _, to := range m.transfer {
		p.core.TransferLeader(to)
	}
	if len(m.readers) > 0 {
		p.nextGet++
		p.readers[p.nextGet] = m.readers
		p.core.ReadIndex(p.nextGet)
	}
	p.dispatch()
	p.propose()
}

// dispatch does what the core asks for, until it asks for nothing.
func (p *process) dispatch() {
	for {
		e, ok := p.core.Ready()
		if !ok {
			return
		}
		for _, m := range e.Send {
			p.send(m)
		}
		if e.Append != nil {
			p.w.raft.Appended(p.n.id, e.State.Term, raftEntries(e.Append.Entries))
			p.push(appendItem{work: e.Append})
		}
		if e.State.Commit > p.commit {
			p.w.raft.Committed(p.n.id, e.State.Term, e.State.Commit)
			p.commit = e.State.Commit
		}
		if e.Apply != nil {
			p.applies = append(p.applies, applyItem{e.Apply, p.claim(e.Apply)})
			p.kickApply()
		}
		for _, r := range e.Reads {
			for _, do := range p.readers[r.Tag] {
				do(r.Index, r.Err)
			}
			delete(p.readers, r.Tag)
		}
		for _, l := range e.Lost {
			reqs := p.blocks[l.Tag]
			delete(p.blocks, l.Tag)
			if l.Definite {
				p.refuse(reqs, raftnode.ErrDropped)
			} else {
				p.refuse(reqs, raftnode.ErrIndefinite)
			}
		}
		if e.StateChanged {
			p.stateChanged(e.State)
		}
	}
}

func (p *process) stateChanged(s raftnode.State) {
	old := p.state
	p.state = s
	if s.Role == raftnode.RoleLeader && (old.Role != raftnode.RoleLeader || old.Term != s.Term) {
		p.w.raft.Leads(p.n.id, s.Term)
		p.w.stats.Elections++
		p.w.note(p.n.id, "leader", "leads term %d", s.Term)
	}
	p.accepting, p.lead = s.Role == raftnode.RoleLeader && !p.stopping, s.Leader
	if !p.accepting {
		waiting := p.queue
		p.queue = nil
		p.refuse(waiting, &raftnode.NotLeaderError{Leader: s.Leader})
	}
	if old.Serving != s.Serving || old.Term != s.Term {
		p.leading(s.Serving)
	}
}

func (p *process) claim(w *raftnode.ApplyWork) [][]*request {
	out := make([][]*request, len(w.Entries))
	for i := range w.Entries {
		if tag := w.Entries[i].Tag; tag != 0 {
			out[i] = p.blocks[tag]
			delete(p.blocks, tag)
		}
	}
	return out
}

// propose makes blocks of what waits, as long as there is room for more in flight.
func (p *process) propose() {
	for len(p.queue) > 0 && p.core.CanPropose() == nil {
		n, bytes := 0, 0
		for n < len(p.queue) {
			size := p.queue[n].size
			if n > 0 && bytes+size > p.w.cfg.maxBlockBytes {
				break
			}
			bytes += size
			n++
		}
		reqs := p.queue[:n:n]
		p.queue = p.queue[n:]
		block, err := p.buildBlock(reqs)
		if err == nil {
			p.nextTag++
			err = p.core.Propose(p.nextTag, block)
		}
		if err != nil {
			p.refuse(reqs, err)
			continue
		}
		p.blocks[p.nextTag] = reqs
		p.dispatch()
	}
}

func (p *process) refuse(reqs []*request, err error) {
	for _, r := range reqs {
		r.done(ledger.Result{}, err)
	}
}

// send gives a message to the network and to the checker.
func (p *process) send(m *raftpb.Message) {
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
