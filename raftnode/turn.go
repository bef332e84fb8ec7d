package raftnode

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/stages"
)

// turnState is what only Turn touches, besides the core.
type turnState struct {
	// mail is what the core is stepped with. Its readers and transfers are those that are not yet
	// among those below.
	mail mail
	// quiet is what the newest quiet time of the member was, or room for the next one.
	quiet quiet
	// blocks are the proposals that are not committed, by tag.
	blocks map[uint64]proposed
	// inflight are the bytes of the proposals that are neither applied nor lost.
	inflight part
	nextTag  uint64
	// readers wait for the result of a read, by tag.
	readers     map[uint64][]func(uint64, error)
	nextReadTag uint64
	transfers   []transfer
	// changes of the members wait until the core takes one.
	changes  []Change
	news     news
	watchdog watchdog
	refusals refusals
	ended    bool
}

// proposed is a block that was proposed here.
type proposed struct {
	reqs []Request
	size int
	// since is when the block was built. 0: it is known that a quorum stores the block.
	since stages.Moment
}

func newTurnState() turnState {
	return turnState{blocks: make(map[uint64]proposed), readers: make(map[uint64][]func(uint64, error))}
}

// Turn takes what has happened, steps the core with it, and does what the core asks for. It returns
// false once the driver has ended: everybody who waited has been answered.
func (d *Driver) Turn() (going bool) {
	if d.turn.ended {
		return false
	}
	defer d.failOnPanic(&going)
	switch err := d.failure(); {
	case err != nil:
		d.end(err)
		return false
	case d.closing.Load():
		d.end(ErrStopped)
		return false
	}
	tick, round := d.inbox.take(&d.turn.mail, &d.turn.quiet)
	if d.turn.quiet.on { // what was noted came before what the inbox has
		d.core.resume(&d.turn.quiet)
		d.watchFitness()
	}
	d.react(tick, round)
	d.dispatch()
	d.propose()
	if tick || d.turn.mail.publish {
		d.publish()
	}
	d.holding.Store(len(d.turn.news.held) > 0)
	d.checkTransfers()
	d.rest()
	return true
}

// react steps the core with one filling of the inbox, and a tick.
func (d *Driver) react(tick, round bool) {
	m := &d.turn.mail
	for _, w := range m.written {
		d.core.AppendDone(w)
		if w.Snapshot != nil {
			d.noteApplied(w.Snapshot.GetMetadata().GetIndex())
		}
	}
	for _, f := range m.filled {
		// An error means that Raft has no use for the message any more.
		_ = d.core.Filled(f.index, f.ok)
	}
	for _, w := range m.applied {
		d.core.ApplyDone(w)
		for i := range w.Entries {
			if e := &w.Entries[i]; e.Tag != 0 {
				d.turn.inflight.add(-len(e.Data))
			}
		}
		if k := len(w.Entries); k > 0 {
			d.noteApplied(w.Entries[k-1].Index)
		}
	}
	for _, msg := range m.messages {
		// Another error means that Raft has no use for the message.
		var refused *RefusedError
		if err := d.core.Step(msg); errors.As(err, &refused) {
			d.noteRefusal(refused)
		}
	}
	// After the messages: they left a dead peer while it lived. In the other order its last
	// heartbeat would make it the leader again, and this node would wait for it.
	for _, id := range m.peersDown {
		d.core.PeerDown(id)
	}
	for _, id := range m.unreachable {
		d.core.Unreachable(id)
	}
	if tick {
		d.core.Tick(round)
		d.reportRefusals()
		if round {
			d.watchFitness()
			d.publishProgress()
		}
		d.watch()
	}
	for len(m.changes) > 0 {
		d.turn.changes = append(d.turn.changes, m.changes[0])
		m.changes = m.changes[1:]
	}
	for len(m.transfers) > 0 {
		d.startTransfer(m.transfers[0])
		m.transfers = m.transfers[1:]
	}
	if len(m.readers) > 0 {
		d.turn.nextReadTag++
		d.turn.readers[d.turn.nextReadTag] = m.readers
		m.readers = nil
		d.core.ReadIndex(d.turn.nextReadTag)
	}
}

// noteApplied says that the core knows everything up to index to be applied. What was on its way
// when a snapshot came may end after it.
func (d *Driver) noteApplied(index uint64) {
	if index > d.applied.Load() {
		d.applied.Store(index)
	}
	d.waiting.advance(index)
}

// propose makes blocks of what waits, as long as there is room for more in flight.
func (d *Driver) propose() {
	d.proposeChanges()
	for {
		if d.core.CanPropose() != nil {
			return
		}
		size := d.cfg.MaxBlockBytes
		if d.turn.inflight.used.Load() > 0 {
			if size = min(size, d.turn.inflight.room()); size == 0 {
				return // until an own block is applied
			}
		}
		reqs, arrived := d.queue.take(size)
		if reqs == nil {
			return
		}
		d.proposeBlock(reqs, arrived, d.core.Propose)
	}
}

// proposeBlock makes a block of requests and proposes it. The appends leave before it returns.
func (d *Driver) proposeBlock(reqs []Request, arrived stages.Moment, propose func(tag uint64, block []byte) error) {
	block, err := d.cfg.Machine.BuildBlock(reqs)
	if err == nil && (len(block) == 0 || len(block) > MaxBlockSize) {
		err = errors.Wrapf(ErrTooLarge, "machine built a block of %d bytes, allowed are 1 to %d", len(block), MaxBlockSize)
	}
	if err == nil {
		d.turn.nextTag++
		// Before, so that they are answered whatever happens inside.
		built := d.cfg.Stages.Now()
		d.cfg.Stages.Observe(stages.Queue, built-arrived)
		d.turn.blocks[d.turn.nextTag] = proposed{reqs, len(block), built}
		d.turn.inflight.add(len(block))
		if err = propose(d.turn.nextTag, block); err != nil {
			delete(d.turn.blocks, d.turn.nextTag)
			d.turn.inflight.add(-len(block))
		}
	}
	if err != nil {
		d.failRequests(reqs, err)
		return
	}
	d.dispatch()
}

// dispatch does what the core asks for, until it asks for nothing.
func (d *Driver) dispatch() {
	for {
		e, ok := d.core.Ready()
		if !ok {
			break
		}
		if d.cfg.Observe != nil {
			seen := e // so that e stays on the stack
			d.cfg.Observe(&seen)
		}
		for _, m := range e.Send {
			switch {
			case d.turn.watchdog.mutes(m):
			case d.turn.news.hold(m):
				d.holding.Store(true) // before the machine gets what is committed, and asks for Publish
			default:
				d.cfg.Transport.SendRaft(d.cfg.Group, m)
			}
		}
		if e.Append != nil {
			d.pushWrite(writeItem{work: e.Append, foreign: e.State.Role != RoleLeader && len(e.Append.Entries) > 0})
		}
		if e.Apply != nil {
			d.claim(e.Apply)
			d.pushApply(e.Apply)
		}
		for i := range e.Reads {
			r := &e.Reads[i]
			answerAll(d.turn.readers[r.Tag], r.Index, r.Err)
			delete(d.turn.readers, r.Tag)
		}
		if e.Fill != nil {
			d.cfg.Machine.Fill(*e.Fill)
		}
		for _, l := range e.Lost {
			d.failBlock(l)
		}
		if old := d.state.Load(); *old != e.State {
			if e.State.Commit > old.Commit && d.cfg.Stages != nil && len(d.turn.blocks) > 0 {
				now := d.cfg.Stages.Now()
				for tag := range d.core.proposals.below(e.State.Commit) {
					d.stored(tag, now)
				}
			}
			state := e.State
			d.state.Store(&state)
		}
		if e.StateChanged {
			d.stateChanged(e.State)
		}
	}
	d.inflight.Store(int64(d.core.inflight))
}

// claim gives the requests of the blocks in a work to its entries.
func (d *Driver) claim(w *ApplyWork) {
	now := d.cfg.Stages.Now()
	for i := range w.Entries {
		e := &w.Entries[i]
		if e.Since = now; e.Tag != 0 {
			d.stored(e.Tag, now)
			e.Requests = d.turn.blocks[e.Tag].reqs
			delete(d.turn.blocks, e.Tag)
		}
	}
}

// stored says that a quorum is known to store an own block, once or more often. A quorum may store
// the block before this member does, and this member applies it only after that.
func (d *Driver) stored(tag uint64, now stages.Moment) {
	if b := d.turn.blocks[tag]; b.since != 0 {
		d.cfg.Stages.Observe(stages.Replicate, now-b.since)
		b.since = 0
		d.turn.blocks[tag] = b
	}
}

func (d *Driver) failBlock(l LostProposal) {
	reqs := d.turn.blocks[l.Tag].reqs
	d.turn.inflight.add(-d.turn.blocks[l.Tag].size)
	delete(d.turn.blocks, l.Tag)
	if l.Definite {
		d.failRequests(reqs, errors.Wrap(ErrDropped, "another leader's entry was committed in its place"))
	} else {
		d.failRequests(reqs, ErrIndefinite)
	}
}

func (d *Driver) stateChanged(st State) {
	d.cfg.Logf("raft: %s in term %d, leader %d, commit %d, serving %t", st.Role, st.Term, st.Leader, st.Commit, st.Serving)
	if waiting := d.queue.follow(st.Role == RoleLeader, st.Leader); len(waiting) > 0 {
		d.failRequests(waiting, &NotLeaderError{Leader: st.Leader})
	}
	if st.Role != RoleLeader {
		d.failChanges(d.turn.changes, &NotLeaderError{Leader: st.Leader})
		d.turn.changes = nil
	}
	d.publishProgress()
	d.cfg.Machine.StateChanged(st)
}

func (d *Driver) publishProgress() {
	p := &d.progress
	p.Lock()
	defer p.Unlock()
	p.list = p.list[:0]
	if d.core.State().Role == RoleLeader {
		d.core.Progress(func(x Progress) { p.list = append(p.list, x) })
	}
}

// end answers everybody who still waits for a turn.
func (d *Driver) end(cause error) {
	d.turn.ended = true
	for _, left := range []mail{d.turn.mail, d.inbox.stop()} {
		answerAll(left.readers, 0, ErrStopped)
		for _, t := range left.transfers {
			t.done(cause)
		}
		d.failChanges(left.changes, ErrStopped)
	}
	d.failChanges(d.turn.changes, ErrStopped)
	d.turn.changes = nil
	for _, waiting := range d.turn.readers {
		answerAll(waiting, 0, ErrStopped)
	}
	if waiting := d.queue.stop(); len(waiting) > 0 {
		d.failRequests(waiting, ErrStopped)
	}
	d.turn.inflight.clear()
	for _, b := range d.turn.blocks {
		d.failRequests(b.reqs, errors.Wrap(ErrIndefinite, "node stopped"))
	}
	for _, t := range d.turn.transfers {
		t.done(cause)
	}
	st := d.core.State()
	st.Role, st.Leader, st.Serving = RoleFollower, 0, false
	d.state.Store(&st)
	d.progress.Lock()
	d.progress.list = nil
	d.progress.Unlock()
	d.cfg.Machine.StateChanged(st)
	d.endWrites()
	d.endApplies()
}

func answerAll(waiting []func(uint64, error), index uint64, err error) {
	for _, done := range waiting {
		done(index, err)
	}
}
