package raftnode

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// Sizes that bound what Raft keeps in flight, in bytes unless named otherwise.
const (
	// maxMessageBytes closes an append message; a larger single entry travels alone.
	maxMessageBytes = 1 << 20
	// maxInflightMessages and maxInflightBytes bound the appends sent to one
	// follower and not yet acknowledged.
	maxInflightMessages = 512
	maxInflightBytes    = 64 << 20
	// maxApplyingBytes bounds the entries handed to apply and not yet applied.
	maxApplyingBytes = 64 << 20
)

// CoreConfig configures a Core. Durations are counted in calls of Tick.
type CoreConfig struct {
	// ID is this node's Raft id, not 0.
	ID uint64
	// Group names the Raft group. It decides whose turn it is first when the leader dies.
	Group uint64
	// Storage holds the durable log. It must serve an entry before AppendDone is
	// called for the work that carries it.
	Storage raft.Storage
	// Applied is the index up to which the state machine needs nothing again. Raft
	// re-delivers from Applied+1. It is known to be committed, even when the
	// durable HardState.Commit is lower.
	Applied uint64
	// Incarnation must differ between any two starts of the same node: it keeps
	// an answer to a read of the previous process from confirming one of this.
	Incarnation uint64

	// HeartbeatTicks between two heartbeats of a leader; 0 means 5.
	HeartbeatTicks int
	// ElectionTicks without a leader's message until an election; the timeout is
	// drawn from [ElectionTicks, 2*ElectionTicks). 0 means 30.
	ElectionTicks int
	// ResolveTicks is how long after the loss of leadership a proposal can still
	// be resolved by what gets committed, before it is reported lost with an
	// unknown outcome; 0 means 2*ElectionTicks.
	ResolveTicks int
	// ReadTimeoutTicks bounds a linearizable read; 0 means 10*ElectionTicks.
	ReadTimeoutTicks int
	// MaxInflightBlocks bounds the proposals that are neither applied nor lost; 0 means 8.
	MaxInflightBlocks int
	// Vet, when not nil, judges the data of an entry of another leader before this
	// member stores it; change says that Raft takes the entry for a change of members.
	// Entries that are known to be committed, and those that the log held at the start,
	// are not judged. An entry that Vet refuses counts as lost with
	// its message, and for two election timeouts this member listens neither to that
	// leader's appends nor to its heartbeats: when a majority refuses, it elects another
	// leader. Vet must be quick; its error is a sentence with what to do.
	Vet func(data []byte, change bool) error
	// Logger receives Raft's own messages; nil discards them.
	Logger raft.Logger
}

func (c CoreConfig) withDefaults() CoreConfig {
	if c.HeartbeatTicks == 0 {
		c.HeartbeatTicks = 5
	}
	if c.ElectionTicks == 0 {
		c.ElectionTicks = 30
	}
	if c.ResolveTicks == 0 {
		c.ResolveTicks = 2 * c.ElectionTicks
	}
	if c.ReadTimeoutTicks == 0 {
		c.ReadTimeoutTicks = 10 * c.ElectionTicks
	}
	if c.MaxInflightBlocks == 0 {
		c.MaxInflightBlocks = 8
	}
	if c.Logger == nil {
		c.Logger = NewLogger(nil)
	}
	return c
}

// Core is one member of a Raft group as a pure state machine: it is stepped by
// Tick, Step, Propose, ReadIndex, AppendDone, ApplyDone …, and Ready says what is
// to be done as a consequence. It has no goroutine, no I/O, no clock and no lock.
// Not safe for concurrent use.
type Core struct {
	cfg     CoreConfig
	rn      *raft.RawNode
	storage *guardedStorage

	// now counts the ticks that were taken since the start. A core that stood still (quiet) takes
	// those that matter.
	now uint64
	// members are those that Raft counts, memberSet their ids.
	// Invariant: they are the members after everything that the machine was known to have applied
	// when Raft last learned of it, or newer ones. ApplyDone takes them over before it tells Raft that
	// the entries are applied, so that no campaign and no further change counts older ones.
	members   *Members
	memberSet map[uint64]bool
	// former were members in the life of this process. Nobody listens to them.
	former map[uint64]bool
	// changing is the tag of the own change of members that is neither applied nor lost; 0 when
	// there is none.
	changing uint64
	// heardFrom has the tick at which the newest message of each member was stepped.
	heardFrom map[uint64]uint64
	// last is the index of the newest entry that a Ready has shown. Invariant: unless
	// appended, it is the last index of Raft's log, or on a leader not above that.
	last uint64
	// appended: an append of another member was stepped since the newest Ready.
	appended bool
	// windowTerm is the term at the tick at which the present election timeout began.
	windowTerm uint64
	// led is the newest term in which this member led.
	led uint64
	// asked is the newest round of reads in a heartbeat of term askedTerm.
	asked, askedTerm uint64
	// sinceBeat counts the ticks of Raft's clock since the newest heartbeat of a leader of term
	// beatTerm, or since it leads.
	sinceBeat int
	beatTerm  uint64
	// heard is the tick at which a message of the leader was stepped last. Raft begins its election
	// timeout at that tick.
	heard uint64
	// deafTo is not listened to until tick deafUntil, because Vet refused its entry.
	deafTo, deafUntil uint64
	// state is what the newest Ready of the RawNode said.
	state State
	// appliedTerm is the term of the last entry acknowledged by ApplyDone.
	// Invariant: state.Serving == (state.Role == leader && appliedTerm == state.Term).
	appliedTerm uint64

	// written is what the append works given out so far leave on disk: the newest
	// term and vote, and whether anything that a response may vouch for comes
	// after the last work that needs a sync.
	written struct {
		term, vote uint64
		unsynced   bool
		// underWay counts the works given out and not done.
		underWay int
		// spared is what the next work writes besides its own: the newest commit
		// index. Its term and vote are those above; nil when nothing was spared.
		// Invariant: entries are never written without the commit index that came with them or
		// before them. Changes of members rest on it (Members).
		spared *raftpb.HardState
	}

	acks      acks
	proposals proposals
	// inflight counts proposals neither applied nor reported lost.
	// Invariant: 0 <= inflight <= cfg.MaxInflightBlocks.
	inflight int
	reads    reads
	failover failover
	// held is the MsgSnap whose position the machine is on its way to; nil as a rule. Raft has not
	// seen it: a member never acknowledges what it does not have.
	held *raftpb.Message

	// queued are effects taken from the RawNode ahead of Ready, oldest first.
	queued []Effects
	// stateChanged, lost, readResults and fill go out with the next Effects.
	stateChanged bool
	fill         *Snapshot
	lost         []LostProposal
	readResults  []ReadResult
}

// NewCore starts a member from what its storage holds.
func NewCore(cfg CoreConfig) (_ *Core, err error) {
	defer recoverLibrary(&err)
	cfg = cfg.withDefaults()
	start, err := newStartStorage(cfg.Storage, cfg.Applied)
	if err != nil {
		return nil, err
	}
	storage := &guardedStorage{Storage: start}
	rn, err := raft.NewRawNode(&raft.Config{
		ID:                        cfg.ID,
		ElectionTick:              cfg.ElectionTicks,
		HeartbeatTick:             cfg.HeartbeatTicks,
		Storage:                   storage,
		Applied:                   cfg.Applied,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             maxMessageBytes,
		MaxCommittedSizePerReady:  maxApplyingBytes,
		MaxInflightMsgs:           maxInflightMessages,
		MaxInflightBytes:          maxInflightBytes,
		CheckQuorum:               true,
		PreVote:                   true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		Logger:                    cfg.Logger,
		DisableProposalForwarding: true,
		StepDownOnRemoval:         true,
		// ProposeChange sees to it. Raft would put an empty entry in the place of a change that comes
		// too early, and proposals are bound to the entries that have data.
		DisableConfChangeValidation: true,
	})
	if err != nil {
		return nil, errors.Wrap(err, "start raft")
	}
	last, err := start.LastIndex()
	if err != nil {
		return nil, errors.Wrap(err, "read last index")
	}
	c := &Core{cfg: cfg, rn: rn, storage: storage, last: last, heardFrom: map[uint64]uint64{}}
	c.setMembers(MembersOf(start.confState))
	b := rn.BasicStatus()
	c.windowTerm = b.GetTerm()
	c.state = State{Role: roleOf(b.RaftState), Leader: b.Lead, Term: b.GetTerm(), Commit: b.GetCommit()}
	c.written.term, c.written.vote = b.GetTerm(), b.GetVote()
	c.stateChanged = true // the first Effects tell where we start
	c.reads.incarnation = cfg.Incarnation
	return c, nil
}

// Tick advances Raft's logical clock by one. A leader's clock stands still while its heartbeat is
// due and round is false, so that heartbeats leave in rounds: the first one of a leader waits for a
// round, and the others keep time with it.
func (c *Core) Tick(round bool) {
	c.now++
	if next := c.beatIsNext(); round || !next {
		c.rn.Tick()
		c.sinceBeat = (c.sinceBeat + 1) % c.cfg.HeartbeatTicks
	}
	if c.now%uint64(c.cfg.ElectionTicks) == 0 {
		c.windowTerm = c.rn.BasicStatus().GetTerm()
	}
	c.tickFailover()
	c.tickReads()
	c.tickSnapshots()
	for _, p := range c.proposals.expire(c.now) {
		c.lose(p.tag, false)
	}
}

// beatIsNext reports whether this member leads and the next tick of Raft's clock has a heartbeat.
func (c *Core) beatIsNext() bool {
	b := c.rn.BasicStatus()
	leads := b.RaftState == raft.StateLeader
	if !leads || b.GetTerm() != c.beatTerm {
		c.sinceBeat, c.beatTerm = 0, b.GetTerm()
	}
	return leads && c.sinceBeat == c.cfg.HeartbeatTicks-1
}

// Step takes a message of another member, one that package transport has validated.
// The message must not be changed afterwards. An error means that the message was
// ignored; a *RefusedError says that no honest member sends it.
func (c *Core) Step(m *raftpb.Message) error {
	if err := c.admit(m); err != nil {
		return err
	}
	if m.GetType() == raftpb.MsgSnap && c.hold(m) {
		return nil
	}
	c.appended = c.appended || m.GetType() == raftpb.MsgApp || m.GetType() == raftpb.MsgSnap
	c.acks.stepped(m)
	if err := c.step(m); err != nil {
		return err
	}
	c.heardFrom[m.GetFrom()] = c.now
	if t := m.GetType(); t == raftpb.MsgApp || t == raftpb.MsgHeartbeat {
		if b := c.rn.BasicStatus(); b.Lead == m.GetFrom() && b.GetTerm() == m.GetTerm() {
			c.heard = c.now
		}
	}
	return nil
}

// admit says whether a message of another member may be stepped.
func (c *Core) admit(m *raftpb.Message) error {
	t, b := m.GetType(), c.rn.BasicStatus()
	if c.appended && (t == raftpb.MsgHeartbeat && m.GetCommit() > b.GetCommit() || t == raftpb.MsgAppResp) {
		c.pull() // shows where the log ends now
		b = c.rn.BasicStatus()
	}
	v := view{
		self: c.cfg.ID, members: c.memberSet, former: c.former, role: roleOf(b.RaftState), term: b.GetTerm(), leader: b.Lead,
		last: c.last, windowTerm: c.windowTerm, led: c.led,
	}
	if v.role == RoleLeader {
		v.led = v.term
	}
	if c.askedTerm == v.term {
		v.asked = c.asked
	}
	if c.now < c.deafUntil {
		v.deafTo = c.deafTo
	}
	if err := admit(&v, m); err != nil {
		return err
	}
	if c.cfg.Vet == nil || t != raftpb.MsgApp || m.GetTerm() < v.term {
		return nil
	}
	for _, e := range m.GetEntries() {
		if len(e.GetData()) == 0 || e.GetIndex() <= b.GetCommit() {
			continue
		}
		if err := c.cfg.Vet(BlockOf(e), e.GetType() != raftpb.EntryNormal); err != nil {
			c.deafTo, c.deafUntil = m.GetFrom(), c.now+2*uint64(c.cfg.ElectionTicks)
			return &RefusedError{Reason: ReasonEntry, Type: t, From: m.GetFrom(), Why: err.Error()}
		}
	}
	return nil
}

// step steps Raft with an admitted message, or with this member's own answer.
func (c *Core) step(m *raftpb.Message) error {
	// A message of a higher term may cut entries off the log that no Ready has
	// shown yet. Learn the positions of our proposals before that.
	if term, ok := c.proposals.unboundTerm(); ok && m.GetTerm() > term {
		c.pull()
	}
	if err := c.rn.Step(m); err != nil {
		return errors.Wrapf(err, "step %s from node %d", m.GetType(), m.GetFrom())
	}
	return nil
}

// CanPropose says whether Propose would be tried now: nil, ErrNotLeader,
// ErrNotServing or ErrInflight.
func (c *Core) CanPropose() error {
	b := c.rn.BasicStatus()
	switch {
	case b.RaftState != raft.StateLeader:
		return ErrNotLeader
	case b.GetTerm() != c.appliedTerm, b.LeadTransferee != raft.None:
		return ErrNotServing
	case c.inflight >= c.cfg.MaxInflightBlocks:
		return ErrInflight
	}
	return nil
}

// Propose appends data, which must not be empty, to the log under a tag of the
// caller's, not 0. Exactly one of these follows: the tag comes back with the
// committed entry in Effects.Apply, or in Effects.Lost. An error is definite: the
// proposal is not in the log and the tag is not used. data must not be changed afterwards.
func (c *Core) Propose(tag uint64, data []byte) error {
	if tag == 0 || len(data) == 0 {
		return errors.AssertionFailedf("propose needs a tag and data, got tag %d and %d bytes", tag, len(data))
	}
	if err := c.CanPropose(); err != nil {
		return err
	}
	return c.proposeEntry(tag, &raftpb.Entry{Data: data})
}

func (c *Core) proposeEntry(tag uint64, e *raftpb.Entry) error {
	term := c.rn.BasicStatus().GetTerm()
	m := &raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(c.cfg.ID), Entries: []*raftpb.Entry{e}}
	if err := c.rn.Step(m); err != nil {
		return errors.Mark(errors.Wrap(err, "propose"), ErrDropped)
	}
	c.proposals.add(tag, term, e.GetData())
	c.inflight++
	return nil
}

// Campaign starts an election now (after a pre-vote).
func (c *Core) Campaign() {
	if err := c.rn.Campaign(); err != nil {
		c.cfg.Logger.Warningf("campaign: %v", err)
	}
}

// TransferLeader asks a leader to hand over to another voter; to = 0 chooses the
// most advanced one that was heard lately. It reports whom it asked, 0 when
// nobody. The transfer is given up after ElectionTicks. Proposals are refused
// meanwhile.
func (c *Core) TransferLeader(to uint64) uint64 {
	if c.rn.BasicStatus().RaftState != raft.StateLeader {
		return 0
	}
	if to == 0 {
		to = c.bestTransferee()
	}
	if to == 0 || to == c.cfg.ID {
		return 0
	}
	c.rn.TransferLeader(to)
	return to
}

// Transferring reports whether a hand-over started here is under way.
func (c *Core) Transferring() bool { return c.rn.BasicStatus().LeadTransferee != raft.None }

// Unreachable says that messages to a member were lost: a leader goes back to
// probing it.
func (c *Core) Unreachable(id uint64) { c.rn.ReportUnreachable(id) }

// Progress calls visit for every member in ascending order of id. Only a
// leader's view is meaningful.
func (c *Core) Progress(visit func(Progress)) {
	c.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		visit(Progress{
			ID: id, Learner: typ == raft.ProgressTypeLearner,
			Match: pr.Match, Next: pr.Next, Active: pr.RecentActive, Heard: pr.RecentActive || c.heardLately(id), State: pr.State.String(),
		})
	})
}

// heardLately reports whether a message of a member was stepped within the last election timeout.
func (c *Core) heardLately(id uint64) bool {
	at, ok := c.heardFrom[id]
	return ok && c.now-at <= uint64(c.cfg.ElectionTicks)
}

// State is the state that the newest Effects showed.
func (c *Core) State() State { return c.state }

func (c *Core) bestTransferee() uint64 {
	var best Progress
	c.Progress(func(p Progress) {
		if p.ID != c.cfg.ID && !p.Learner && p.Active && (best.ID == 0 || p.Match > best.Match) {
			best = p
		}
	})
	return best.ID
}

// voters returns the ids of the voting members in ascending order.
func (c *Core) voters() []uint64 {
	return slices.Sorted(maps.Keys(c.rn.Status().Config.Voters.IDs()))
}

func (c *Core) String() string {
	return fmt.Sprintf("node %d: %s term %d commit %d", c.cfg.ID, c.state.Role, c.state.Term, c.state.Commit)
}
