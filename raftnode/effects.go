package raftnode

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/internal/stages"
)

// Role is what a member currently is.
type Role uint8

// The roles, as in etcd/raft.
const (
	RoleFollower Role = iota
	RolePreCandidate
	RoleCandidate
	RoleLeader
)

func (r Role) String() string {
	switch r {
	case RoleFollower:
		return "follower"
	case RolePreCandidate:
		return "pre-candidate"
	case RoleCandidate:
		return "candidate"
	case RoleLeader:
		return "leader"
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

func roleOf(s raft.StateType) Role {
	switch s {
	case raft.StateLeader:
		return RoleLeader
	case raft.StateCandidate:
		return RoleCandidate
	case raft.StatePreCandidate:
		return RolePreCandidate
	}
	return RoleFollower
}

// State is a member's view of its group.
type State struct {
	Role   Role
	Leader uint64 // 0 when unknown
	Term   uint64
	Commit uint64
	// Serving: this node leads and has applied an entry of its own term, so it
	// takes proposals.
	Serving bool
}

// Progress is a leader's view of one member.
type Progress struct {
	ID      uint64
	Learner bool
	Match   uint64 // highest index known to be durable there
	Next    uint64 // next index to send
	Active  bool   // heard since the last quorum check
	Heard   bool   // heard within an election timeout
	State   string // StateProbe, StateReplicate, StateSnapshot
}

// Effects is what one step of a Core asks for. Parts are independent of each
// other, except that Append works and Apply works must each be done in the order
// in which they were given out.
type Effects struct {
	// Send may leave at once, before anything of Append is durable. It vouches for
	// nothing that is not durable already. Order within one receiver matters for
	// speed, not for safety.
	Send []*raftpb.Message
	// Append is to be written; nil when there is nothing.
	Append *AppendWork
	// Apply is to be applied to the state machine; nil when there is nothing.
	Apply *ApplyWork
	// Reads are finished linearizable reads.
	Reads []ReadResult
	// Lost are proposals that will not come back through Apply.
	Lost []LostProposal
	// Fill is a position that the machine has to reach by itself; Core.Filled answers. Nil as a rule.
	Fill *Snapshot
	// State after this step, and whether anything but Commit differs from before.
	State        State
	StateChanged bool
	// Members are those that the core counts.
	Members *Members
}

// AppendWork is one write to the log. When it has been done (and, if NeedsSync,
// synced together with everything before), Remote is sent and every work is handed
// back to Core.AppendDone, both in the order of the works.
type AppendWork struct {
	// Entries are contiguous; an index that exists already cuts the log there.
	Entries []*raftpb.Entry
	// Snapshot, when not nil, is written before the rest, in the same atomic commit of the log: a mark
	// that discards all entries. The machine holds everything up to it, durably.
	Snapshot *raftpb.Snapshot
	// HardState to be written in the same write; nil when unchanged.
	HardState *raftpb.HardState
	// Remote are messages to other members that promise this write's durability.
	Remote []*raftpb.Message
	// NeedsSync: this work and everything before it must be durable before Remote
	// is sent and the work is handed back. It is false when there are no responses,
	// and when they vouch for nothing that an earlier work has not had synced.
	//
	// Responses vouch for entries, term and vote, but not for the commit index,
	// which any member may forget.
	NeedsSync bool
	// local are the answers to this member itself.
	local []*raftpb.Message
}

// awaited reports whether something happens when the core of a member that knows everything up to
// commit to be committed hears that the work has been done: this member's own acknowledgement or vote
// counts then, and what is committed is applied once it is stored. Otherwise the core only forgets
// what it kept in memory.
func (w *AppendWork) awaited(commit uint64) bool {
	if w.Snapshot != nil || len(w.Entries) > 0 && w.Entries[0].GetIndex() <= commit {
		return true
	}
	for _, m := range w.local {
		if m.GetType() != raftpb.MsgStorageAppendResp {
			return true
		}
	}
	return false
}

// ApplyWork is a run of committed entries; hand it back to Core.ApplyDone when
// all are applied. It need not be durable by then.
type ApplyWork struct {
	Entries []Committed
	// members are those that the machine has once it has applied the entries, and perhaps later ones;
	// nil when they are as they were.
	members *Members
	local   []*raftpb.Message
}

// Committed is one committed entry.
type Committed struct {
	Index, Term uint64
	// Data is empty for Raft's own entries. Not to be changed.
	Data []byte
	// Tag of the proposal when it was made here and has not been reported lost; else 0.
	Tag uint64
	// Requests, in the order given to BuildBlock, are those that the block carries when it was
	// built here; nil otherwise. The Driver fills them in.
	Requests []Request
	// Since is when the Driver knew that the entry is committed and durable here.
	Since stages.Moment
}

// LostProposal is a proposal that does not come back through Apply.
type LostProposal struct {
	Tag uint64
	// Definite: another entry was committed in its place. Otherwise leadership was
	// lost and the entry may still be committed.
	Definite bool
}

// ReadResult ends a linearizable read: everything acknowledged before it began is
// at or below Index. Err is nil or ErrReadTimeout.
type ReadResult struct {
	Tag   uint64
	Index uint64
	Err   error
}

// Ready returns what is to be done next, in order; false when there is nothing.
// Call it until it returns false after every step.
func (c *Core) Ready() (Effects, bool) {
	if len(c.queued) == 0 {
		c.pull()
	}
	if len(c.queued) > 0 {
		e := c.queued[0]
		c.queued[0] = Effects{}
		c.queued = c.queued[1:]
		e.Members = c.members
		if len(c.queued) == 0 {
			c.queued = nil
			c.attachOwn(&e)
		}
		return e, true
	}
	if c.stateChanged || c.fill != nil || len(c.lost) > 0 || len(c.readResults) > 0 {
		e := Effects{State: c.state, Members: c.members}
		c.attachOwn(&e)
		return e, true
	}
	return Effects{}, false
}

// AppendDone acknowledges a work of Effects.Append that is durable as demanded.
func (c *Core) AppendDone(w *AppendWork) {
	c.written.underWay--
	if w.Snapshot != nil {
		c.appliedTerm = w.Snapshot.GetMetadata().GetTerm()
	}
	c.stepLocal(w.local)
}

// ApplyDone acknowledges a work of Effects.Apply.
func (c *Core) ApplyDone(w *ApplyWork) {
	for i := range w.Entries {
		if tag := w.Entries[i].Tag; tag != 0 {
			c.inflight--
			c.changed(tag)
		}
	}
	c.follow(w.members) // before Raft knows that they are applied
	if n := len(w.Entries); n > 0 {
		c.appliedTerm = w.Entries[n-1].Term
		c.updateServing()
	}
	c.stepLocal(w.local)
}

func (c *Core) stepLocal(ms []*raftpb.Message) {
	for _, m := range ms {
		if err := c.step(m); err != nil {
			// Cannot happen for a response that Raft itself prepared, except that
			// the sender has left the configuration.
			c.cfg.Logger.Warningf("local response: %v", err)
		}
	}
}

// pull takes one Ready from the RawNode, if there is one, and queues its effects.
func (c *Core) pull() {
	if !c.rn.HasReady() {
		return
	}
	rd := c.rn.Ready()
	c.appended = false
	if !raft.IsEmptySnap(rd.Snapshot) {
		c.restored(rd.Snapshot)
	}
	if n := len(rd.Entries); n > 0 {
		c.last = rd.Entries[n-1].GetIndex()
	}
	e := Effects{}
	var answers []*raftpb.Message // of this member to itself
	for _, m := range rd.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			if e.Append = c.appendWork(m); c.spare(e.Append) {
				c.written.spared = e.Append.HardState
				e.Send = append(e.Send, e.Append.Remote...)
				answers, e.Append = e.Append.local, nil
				break
			}
			c.written.underWay++
		case raft.LocalApplyThread:
			e.Apply = &ApplyWork{local: m.GetResponses()}
		default:
			c.noteAsked(m)
			e.Send = append(e.Send, m)
		}
	}
	c.acks.entries = false
	// Positions first: what is committed in this Ready was appended in it or before.
	c.proposals.bind(rd.Entries)
	c.observe(rd)
	if e.Apply != nil {
		e.Apply.Entries = c.committed(rd.CommittedEntries)
	}
	for i := range rd.ReadStates {
		c.readResults = c.reads.confirm(c.readResults, &rd.ReadStates[i])
	}
	c.issueRead()
	e.State = c.state
	c.queued = append(c.queued, e)
	c.stepLocal(answers)
}

// noteAsked remembers the newest round of reads that a heartbeat of this leader asks to confirm.
func (c *Core) noteAsked(m *raftpb.Message) {
	if m.GetType() != raftpb.MsgHeartbeat || len(m.GetContext()) != 8 {
		return
	}
	if term := m.GetTerm(); term != c.askedTerm {
		c.asked, c.askedTerm = 0, term
	}
	c.asked = max(c.asked, binary.LittleEndian.Uint64(m.GetContext()))
}

// spare reports whether a work need not be written at all: the work carries nothing but
// a new commit index, which the next write carries too, and no earlier work is under way
// that its responses would have to wait for. Every block produces a new commit index on
// every member. Writing each one separately would delay the next block's write.
func (c *Core) spare(w *AppendWork) bool {
	return len(w.Entries) == 0 && w.Snapshot == nil && !w.NeedsSync && !c.written.unsynced && c.written.underWay == 0
}

func (c *Core) attachOwn(e *Effects) {
	e.Reads, e.Lost, e.Fill, e.State, e.StateChanged = c.readResults, c.lost, c.fill, c.state, c.stateChanged
	c.readResults, c.lost, c.fill, c.stateChanged = nil, nil, nil, false
}

func (c *Core) appendWork(m *raftpb.Message) *AppendWork {
	w := &AppendWork{Entries: m.GetEntries(), Snapshot: m.GetSnapshot()}
	rose := false // the commit index, and nothing else
	if m.Term != nil {
		w.HardState = &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
		rose = len(w.Entries) == 0 && w.Snapshot == nil && m.GetTerm() == c.written.term && m.GetVote() == c.written.vote
		if m.GetTerm() != c.written.term || m.GetVote() != c.written.vote {
			c.written.term, c.written.vote, c.written.unsynced = m.GetTerm(), m.GetVote(), true
		}
	}
	if w.HardState == nil {
		w.HardState = c.written.spared
	}
	c.written.spared = nil
	c.written.unsynced = c.written.unsynced || len(w.Entries) > 0 || w.Snapshot != nil
	if len(m.GetResponses()) > 0 && c.written.unsynced {
		w.NeedsSync, c.written.unsynced = true, false
	}
	for _, r := range m.GetResponses() {
		switch {
		case r.GetTo() == c.cfg.ID:
			w.local = append(w.local, r)
		case !c.acks.redundant(r, rose):
			w.Remote = append(w.Remote, r)
		}
	}
	return w
}

// observe follows role, leader, term and commit index.
func (c *Core) observe(rd raft.Ready) {
	s := c.state
	if rd.SoftState != nil {
		s.Role, s.Leader = roleOf(rd.SoftState.RaftState), rd.SoftState.Lead
	}
	if !raft.IsEmptyHardState(rd.HardState) {
		s.Term, s.Commit = rd.HardState.GetTerm(), rd.HardState.GetCommit()
	}
	changed := s.Role != c.state.Role || s.Leader != c.state.Leader || s.Term != c.state.Term
	c.state = s
	if !changed {
		return
	}
	c.stateChanged = true
	c.updateServing()
	leading := uint64(0)
	if s.Role == RoleLeader {
		leading, c.led = s.Term, s.Term
	}
	c.proposals.leadershipChanged(leading, c.now+uint64(c.cfg.ResolveTicks))
	c.reads.retry()
}

func (c *Core) updateServing() {
	serving := c.state.Role == RoleLeader && c.appliedTerm == c.state.Term
	if serving != c.state.Serving {
		c.state.Serving, c.stateChanged = serving, true
	}
	if serving {
		c.issueRead()
	}
}

// committed turns Raft's entries into ours and resolves the proposals they decide.
func (c *Core) committed(ents []*raftpb.Entry) []Committed {
	out := make([]Committed, len(ents))
	for i, e := range ents {
		out[i] = Committed{Index: e.GetIndex(), Term: e.GetTerm(), Data: BlockOf(e)}
		own, overtaken := c.proposals.resolve(e.GetIndex(), e.GetTerm())
		for _, p := range overtaken {
			c.lose(p.tag, true)
		}
		switch {
		case own.tag != 0 && bytes.Equal(own.data, e.GetData()):
			out[i].Tag = own.tag
		case own.tag != 0:
			// Only a leader that lies commits other data in a position and term of ours. What
			// becomes of the proposal on the members that store it is not known here.
			c.lose(own.tag, false)
		}
	}
	return out
}

func (c *Core) lose(tag uint64, definite bool) {
	c.inflight--
	c.changed(tag)
	c.lost = append(c.lost, LostProposal{Tag: tag, Definite: definite})
}

// changed says that a proposal is applied or lost. The next change of members may follow it.
func (c *Core) changed(tag uint64) {
	if tag == c.changing {
		c.changing = 0
	}
}
