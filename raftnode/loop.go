package raftnode

import "github.com/cockroachdb/errors"

// loopState is what only the loop goroutine touches, besides the core.
type loopState struct {
	// mail is what the core is stepped with. Its readers and transfers are those that
	// are not yet among those below.
	mail mail
	// blocks are the requests of the proposals that are not committed, by tag.
	blocks  map[uint64][]Request
	nextTag uint64
	// readers wait for the result of a read, by tag.
	readers     map[uint64][]chan<- readAnswer
	nextReadTag uint64
	transfers   []*transfer
	watchdog    watchdog
	refusals    refusals
}

// loop is the goroutine that owns the core. It waits for nothing but its inbox.
func (n *Node) loop() {
	s := &loopState{blocks: make(map[uint64][]Request), readers: make(map[uint64][]chan<- readAnswer)}
	defer n.failOnPanic(s)
	n.dispatch(s)
	for {
		select {
		case <-n.inbox.wake:
		case <-n.failed.ch:
			n.endLoop(s, n.failure())
			return
		case <-n.stopLoop:
			n.endLoop(s, ErrStopped)
			return
		}
		s.mail = n.inbox.take(s.mail)
		n.react(s)
		n.dispatch(s)
		n.propose(s)
		n.checkTransfers(s)
	}
}

// react steps the core with one filling of the inbox. Local responses come
// first: they free what the messages may need.
func (n *Node) react(s *loopState) {
	m := &s.mail
	for _, w := range m.appended {
		n.core.AppendDone(w)
	}
	for _, w := range m.applied {
		n.core.ApplyDone(w)
		if k := len(w.Entries); k > 0 {
			n.applied.Store(w.Entries[k-1].Index)
		}
	}
	for _, id := range m.peersDown {
		n.core.PeerDown(id)
	}
	for _, id := range m.unreachable {
		n.core.Unreachable(id)
	}
	for _, msg := range m.messages {
		// Another error means that Raft has no use for the message.
		var refused *RefusedError
		if err := n.core.Step(msg); errors.As(err, &refused) {
			s.refusals.note(n, refused)
		}
	}
	if m.tick {
		n.core.Tick()
		s.refusals.report(n)
		n.watch(&s.watchdog)
		n.publishProgress()
	}
	for len(m.transfers) > 0 {
		n.startTransfer(s, m.transfers[0])
		m.transfers = m.transfers[1:]
	}
	if len(m.readers) > 0 {
		s.nextReadTag++
		s.readers[s.nextReadTag] = m.readers
		m.readers = nil
		n.core.ReadIndex(s.nextReadTag)
	}
}

// propose makes blocks of what waits, as long as there is room for more in flight.
func (n *Node) propose(s *loopState) {
	for {
		if n.core.CanPropose() != nil {
			return
		}
		reqs := n.queue.take(n.cfg.MaxBlockBytes)
		if reqs == nil {
			return
		}
		block, err := n.cfg.Machine.BuildBlock(reqs)
		if err == nil && (len(block) == 0 || len(block) > MaxBlockSize) {
			err = errors.Wrapf(ErrTooLarge, "machine built a block of %d bytes, allowed are 1 to %d", len(block), MaxBlockSize)
		}
		if err == nil {
			s.nextTag++
			s.blocks[s.nextTag] = reqs // before, so that they are answered whatever happens inside
			if err = n.core.Propose(s.nextTag, block); err != nil {
				delete(s.blocks, s.nextTag)
			}
		}
		if err != nil {
			n.cfg.Machine.Fail(reqs, err)
			continue
		}
		n.dispatch(s) // the appends leave before the next block is built
	}
}

// dispatch does what the core asks for, until it asks for nothing.
func (n *Node) dispatch(s *loopState) {
	for {
		e, ok := n.core.Ready()
		if !ok {
			break
		}
		for _, m := range e.Send {
			if !s.watchdog.mutes(m) {
				n.cfg.Transport.SendRaft(n.cfg.Group, m)
			}
		}
		if e.Append != nil {
			n.appender.push(appendItem{work: e.Append})
		}
		if e.Apply != nil {
			n.applier.push(applyItem{work: e.Apply, reqs: s.claim(e.Apply)})
		}
		for i := range e.Reads {
			r := &e.Reads[i]
			answerAll(s.readers[r.Tag], readAnswer{r.Index, r.Err})
			delete(s.readers, r.Tag)
		}
		for _, l := range e.Lost {
			n.failBlock(s, l)
		}
		if old := n.state.Load(); *old != e.State {
			state := e.State
			n.state.Store(&state)
		}
		if e.StateChanged {
			n.stateChanged(e.State)
		}
	}
	n.inflight.Store(int64(n.core.inflight))
}

// claim takes the requests of the blocks in a work out of s.blocks.
func (s *loopState) claim(w *ApplyWork) [][]Request {
	var out [][]Request
	for i := range w.Entries {
		if tag := w.Entries[i].Tag; tag != 0 {
			if out == nil {
				out = make([][]Request, len(w.Entries))
			}
			out[i] = s.blocks[tag]
			delete(s.blocks, tag)
		}
	}
	return out
}

func (n *Node) failBlock(s *loopState, l LostProposal) {
	reqs := s.blocks[l.Tag]
	delete(s.blocks, l.Tag)
	if l.Definite {
		n.cfg.Machine.Fail(reqs, errors.Wrap(ErrDropped, "another leader's entry was committed in its place"))
	} else {
		n.cfg.Machine.Fail(reqs, ErrIndefinite)
	}
}

func (n *Node) stateChanged(st State) {
	n.cfg.Logf("raft: %s in term %d, leader %d, commit %d, serving %t", st.Role, st.Term, st.Leader, st.Commit, st.Serving)
	if waiting := n.queue.follow(st.Role == RoleLeader, st.Leader); len(waiting) > 0 {
		n.cfg.Machine.Fail(waiting, &NotLeaderError{Leader: st.Leader})
	}
	if st.Role != RoleLeader {
		n.progress.Store(nil)
	}
	n.cfg.Machine.StateChanged(st)
}

func (n *Node) publishProgress() {
	if n.core.State().Role != RoleLeader {
		return
	}
	var list []Progress
	n.core.Progress(func(p Progress) { list = append(list, p) })
	n.progress.Store(&list)
}

// endLoop answers everybody who still waits for the loop.
func (n *Node) endLoop(s *loopState, cause error) {
	for _, left := range []mail{s.mail, n.inbox.stop()} {
		answerAll(left.readers, readAnswer{err: ErrStopped})
		for _, r := range left.transfers {
			r.t.done <- cause
		}
	}
	for _, waiting := range s.readers {
		answerAll(waiting, readAnswer{err: ErrStopped})
	}
	if waiting := n.queue.stop(); len(waiting) > 0 {
		n.cfg.Machine.Fail(waiting, ErrStopped)
	}
	for _, reqs := range s.blocks {
		n.cfg.Machine.Fail(reqs, errors.Wrap(ErrIndefinite, "node stopped"))
	}
	for _, t := range s.transfers {
		t.done <- cause
	}
	st := n.core.State()
	st.Role, st.Leader, st.Serving = RoleFollower, 0, false
	n.state.Store(&st)
	n.progress.Store(nil)
	n.cfg.Machine.StateChanged(st)
	close(n.loopDone)
	n.appender.stop()
	n.applier.stop()
}

func answerAll(waiting []chan<- readAnswer, a readAnswer) {
	for _, ch := range waiting {
		ch <- a // capacity 1, answered once
	}
}
