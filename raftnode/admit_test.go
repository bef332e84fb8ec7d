package raftnode

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// lone is member 1 of a group of three, with the other two played by the test.
type lone struct {
	core    *Core
	storage *raft.MemoryStorage
	appends []*AppendWork
	applies []*ApplyWork
	sent    []*raftpb.Message
	lost    []LostProposal
	tags    map[uint64]string // data of the tags that came back
}

func newLone(t testing.TB, change func(*CoreConfig)) *lone {
	t.Helper()
	s := raft.NewMemoryStorage()
	one := uint64(1)
	err := s.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: &one, Term: &one, ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := CoreConfig{ID: 1, Group: 1, Storage: s, Applied: 1, Incarnation: 7, ElectionTicks: 10, HeartbeatTicks: 3}
	if change != nil {
		change(&cfg)
	}
	c, err := NewCore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &lone{core: c, storage: s, tags: map[uint64]string{}}
	l.settle(t)
	return l
}

// settle does everything that the core asks for.
func (l *lone) settle(t testing.TB) {
	t.Helper()
	for {
		for e, ok := l.core.Ready(); ok; e, ok = l.core.Ready() {
			l.sent = append(l.sent, e.Send...)
			l.lost = append(l.lost, e.Lost...)
			if e.Append != nil {
				l.appends = append(l.appends, e.Append)
			}
			if e.Apply != nil {
				l.applies = append(l.applies, e.Apply)
			}
		}
		if len(l.appends)+len(l.applies) == 0 {
			return
		}
		l.finish(t)
	}
}

func (l *lone) finish(t testing.TB) {
	t.Helper()
	for _, w := range l.appends {
		if err := l.storage.Append(w.Entries); err != nil {
			t.Fatal(err)
		}
		if w.HardState != nil {
			if err := l.storage.SetHardState(w.HardState); err != nil {
				t.Fatal(err)
			}
		}
		l.sent = append(l.sent, w.Remote...)
		l.core.AppendDone(w)
	}
	l.appends = nil
	for _, w := range l.applies {
		for _, c := range w.Entries {
			if c.Tag != 0 {
				l.tags[c.Tag] = string(c.Data)
			}
		}
		l.core.ApplyDone(w)
	}
	l.applies = nil
}

// step steps a message that package transport would let pass.
func (l *lone) step(t testing.TB, m *raftpb.Message) error {
	t.Helper()
	if err := transport.Validate(m); err != nil {
		t.Fatalf("the test made a malformed message: %v", err)
	}
	err := l.core.Step(m)
	l.settle(t)
	return err
}

// msg is a message with the fields that the tests use.
type msg struct {
	typ                                  raftpb.MessageType
	from, to, term, logTerm, index, hint uint64
	commit                               uint64
	reject                               bool
	context                              []byte
	entries                              []*raftpb.Entry
}

func (m msg) proto() *raftpb.Message {
	if m.to == 0 {
		m.to = 1
	}
	return &raftpb.Message{Type: &m.typ, From: &m.from, To: &m.to, Term: &m.term, LogTerm: &m.logTerm, Index: &m.index,
		Commit: &m.commit, Reject: &m.reject, RejectHint: &m.hint, Context: m.context, Entries: m.entries}
}

func entry(term, index uint64, data string) *raftpb.Entry {
	return &raftpb.Entry{Term: &term, Index: &index, Data: []byte(data)}
}

// follow makes the core a follower of node 2 in term 5, with entries 2 and 3, of which 2 is
// committed.
func follow(t testing.TB, l *lone) {
	t.Helper()
	must(t, l.step(t, msg{typ: raftpb.MsgApp, from: 2, term: 5, logTerm: 1, index: 1, commit: 2,
		entries: []*raftpb.Entry{entry(5, 2, "a"), entry(5, 3, "b")}}.proto()))
}

// lead makes the core the leader of a term with its first entry committed, and returns the term.
func lead(t testing.TB, l *lone) uint64 {
	t.Helper()
	l.core.Campaign()
	l.settle(t)
	term := l.core.State().Term + 1
	must(t, l.step(t, msg{typ: raftpb.MsgPreVoteResp, from: 2, term: term}.proto()))
	must(t, l.step(t, msg{typ: raftpb.MsgVoteResp, from: 2, term: term}.proto()))
	must(t, l.step(t, msg{typ: raftpb.MsgAppResp, from: 2, term: term, index: l.core.last}.proto()))
	if s := l.core.State(); !s.Serving || s.Term != term {
		t.Fatalf("state %+v, want a serving leader of term %d", s, term)
	}
	return term
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func round(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

// TestRefusedMessages: what no honest member sends is refused with its reason, changes nothing, and
// the member goes on.
func TestRefusedMessages(t *testing.T) {
	t.Parallel()
	const huge = math.MaxUint64
	for _, x := range []struct {
		name   string
		leader bool // the core leads term 2 after entry 2; otherwise it follows node 2 in term 5 with entries up to 3
		m      msg
		want   Reason
	}{
		{"a heartbeat of a term without successor", false, msg{typ: raftpb.MsgHeartbeat, from: 2, term: huge}, ReasonTerm},
		{"a vote", false, msg{typ: raftpb.MsgVote, from: 3, term: huge, index: 9, logTerm: 9, context: []byte("CampaignTransfer")}, ReasonTerm},
		{"a pre-vote", false, msg{typ: raftpb.MsgPreVote, from: 3, term: huge, index: 9, logTerm: 9}, ReasonTerm},
		{"a refused pre-vote", false, msg{typ: raftpb.MsgPreVoteResp, from: 3, term: huge, reject: true}, ReasonTerm},
		{"an append", false, msg{typ: raftpb.MsgApp, from: 3, term: huge, index: 3, logTerm: 5}, ReasonTerm},
		{"an answer", true, msg{typ: raftpb.MsgAppResp, from: 3, term: huge}, ReasonTerm},
		{"a term just beyond the bound", false, msg{typ: raftpb.MsgVote, from: 3, term: 1 + maxTermRise + 1, index: 9, logTerm: 9}, ReasonTerm},
		{"commit beyond the log", false, msg{typ: raftpb.MsgHeartbeat, from: 2, term: 5, commit: 4}, ReasonCommit},
		{"commit beyond the log in a newer term", false, msg{typ: raftpb.MsgHeartbeat, from: 3, term: 6, commit: huge}, ReasonCommit},
		{"an append of a second leader", false, msg{typ: raftpb.MsgApp, from: 3, term: 5, index: 3, logTerm: 5, entries: []*raftpb.Entry{entry(5, 4, "x")}}, ReasonLeader},
		{"a heartbeat of a second leader", false, msg{typ: raftpb.MsgHeartbeat, from: 3, term: 5}, ReasonLeader},
		{"a heartbeat in our own term", true, msg{typ: raftpb.MsgHeartbeat, from: 3, term: 2}, ReasonLeader},
		{"an append in our own term", true, msg{typ: raftpb.MsgApp, from: 3, term: 2, index: 2, logTerm: 2}, ReasonLeader},
		{"an election ordered by a follower", false, msg{typ: raftpb.MsgTimeoutNow, from: 3, term: 5}, ReasonLeader},
		{"a read answered by a follower", false, msg{typ: raftpb.MsgReadIndexResp, from: 3, term: 5, index: 1, entries: []*raftpb.Entry{entry(0, 0, "r")}}, ReasonLeader},
		{"an acknowledgement beyond the log", true, msg{typ: raftpb.MsgAppResp, from: 3, term: 2, index: 3}, ReasonAck},
		{"an acknowledgement at the end of numbers", true, msg{typ: raftpb.MsgAppResp, from: 3, term: 2, index: huge}, ReasonAck},
		{"a rejection beyond the log", true, msg{typ: raftpb.MsgAppResp, from: 3, term: 2, index: huge, reject: true, hint: huge, logTerm: 1}, ReasonAck},
		{"a round of reads that was not begun", true, msg{typ: raftpb.MsgHeartbeatResp, from: 3, term: 2, context: round(1)}, ReasonAck},
		{"ourselves", false, msg{typ: raftpb.MsgHeartbeat, from: 1, term: 6}, ReasonSender},
		{"for another member", false, msg{typ: raftpb.MsgHeartbeat, from: 2, to: 3, term: 6}, ReasonSender},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			l := newLone(t, nil)
			if x.leader {
				lead(t, l)
			} else {
				follow(t, l)
			}
			before, sent := l.core.State(), len(l.sent)
			err := l.step(t, x.m.proto())
			var refused *RefusedError
			if !errors.As(err, &refused) || refused.Reason != x.want || refused.From != x.m.from || refused.Type != x.m.typ {
				t.Fatalf("error %v, want a refusal of %s by node %d because of %q", err, x.m.typ, x.m.from, x.want)
			}
			if after := l.core.State(); after != before || len(l.sent) != sent {
				t.Errorf("state %+v and %d messages, want %+v and none: a refused message has no effect", after, len(l.sent)-sent, before)
			}
			// The member goes on.
			if x.leader {
				must(t, l.core.Propose(1, []byte("data")))
				l.settle(t)
				must(t, l.step(t, msg{typ: raftpb.MsgAppResp, from: 2, term: 2, index: l.core.last}.proto()))
				if l.tags[1] != "data" {
					t.Error("the leader commits nothing any more")
				}
				return
			}
			must(t, l.step(t, msg{typ: raftpb.MsgHeartbeat, from: 2, term: 5, commit: 3}.proto()))
			if s := l.core.State(); s.Commit != 3 || s.Leader != 2 {
				t.Errorf("state %+v, want commit 3 under leader 2", s)
			}
		})
	}
}

// TestHonestMessagesAreAdmitted at the edge of what is refused.
func TestHonestMessagesAreAdmitted(t *testing.T) {
	t.Parallel()
	for _, m := range []msg{
		{typ: raftpb.MsgVote, from: 3, term: 1 + maxTermRise, index: 9, logTerm: 9, context: []byte("CampaignTransfer")},
		{typ: raftpb.MsgHeartbeat, from: 2, term: 5, commit: 3},
		{typ: raftpb.MsgHeartbeat, from: 3, term: 4, commit: 99}, // of an old leader: answered with the newer term
		{typ: raftpb.MsgHeartbeat, from: 3, term: 6, commit: 3},
		{typ: raftpb.MsgApp, from: 3, term: 6, index: 3, logTerm: 5, commit: 99},
		{typ: raftpb.MsgTimeoutNow, from: 2, term: 5},
	} {
		l := newLone(t, nil)
		follow(t, l)
		if err := l.step(t, m.proto()); err != nil {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

// TestTermRisesSlowly: one large step in each election timeout, however many messages ask for more.
func TestTermRisesSlowly(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	vote := func(term uint64) error {
		return l.step(t, msg{typ: raftpb.MsgVote, from: 3, term: term, index: 9, logTerm: 9, context: []byte("CampaignTransfer")}.proto())
	}
	must(t, vote(1+maxTermRise))
	var refused *RefusedError
	if err := vote(2 + maxTermRise); !errors.As(err, &refused) || refused.Reason != ReasonTerm {
		t.Fatalf("a second step in one election timeout: %v, want a refusal", err)
	}
	for range 10 {
		l.core.Tick(true)
	}
	must(t, vote(1+2*maxTermRise))
}

// TestCommitBeyondATruncatedLog: an append that shortens the log and a heartbeat that still counts
// on the old end come at once, before any Ready has shown the new end.
func TestCommitBeyondATruncatedLog(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	must(t, l.step(t, msg{typ: raftpb.MsgApp, from: 2, term: 5, logTerm: 1, index: 1, commit: 1,
		entries: []*raftpb.Entry{entry(5, 2, "a"), entry(5, 3, "b"), entry(5, 4, "c")}}.proto()))
	must(t, l.core.Step(msg{typ: raftpb.MsgApp, from: 3, term: 6, logTerm: 1, index: 1, commit: 1, entries: []*raftpb.Entry{entry(6, 2, "z")}}.proto()))
	var refused *RefusedError
	if err := l.core.Step(msg{typ: raftpb.MsgHeartbeat, from: 3, term: 6, commit: 4}.proto()); !errors.As(err, &refused) || refused.Reason != ReasonCommit {
		t.Fatalf("commit 4 of a log that ends at 2: %v, want a refusal", err)
	}
	l.settle(t)
}

// TestLostLogSaysWhatToDo: the sentence names both possibilities and both ends.
func TestLostLogSaysWhatToDo(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	follow(t, l)
	err := l.step(t, msg{typ: raftpb.MsgHeartbeat, from: 2, term: 5, commit: 90}.proto())
	for _, want := range []string{"node 2", "up to raft index 90", "ends at 3", "lost entries", "or the leader lies", "leave it stopped", "cairn status"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want it to say %q", err, want)
		}
	}
}

// TestAnothersDataInOurPosition: a lying leader commits other data at the index and term of a
// proposal of ours. The proposal is lost, with an unknown outcome; nobody is told that it was
// committed.
func TestAnothersDataInOurPosition(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	term := lead(t, l)
	must(t, l.core.Propose(7, []byte("ours")))
	l.settle(t)
	at := l.core.last
	// The liar claims that the entry before ours is of an older term, so that both are replaced.
	must(t, l.step(t, msg{typ: raftpb.MsgApp, from: 3, term: term + 1, logTerm: term, index: at - 1, commit: at - 1}.proto()))
	must(t, l.step(t, msg{typ: raftpb.MsgApp, from: 3, term: term + 1, logTerm: term, index: at - 1, commit: at - 1,
		entries: []*raftpb.Entry{entry(term+1, at, "x")}}.proto()))
	must(t, l.step(t, msg{typ: raftpb.MsgApp, from: 3, term: term + 1, logTerm: term, index: at - 1, commit: at,
		entries: []*raftpb.Entry{entry(term, at, "theirs")}}.proto()))
	if data, ok := l.tags[7]; ok {
		t.Fatalf("the proposal came back as committed with %q", data)
	}
	if len(l.lost) != 1 || l.lost[0] != (LostProposal{Tag: 7}) {
		t.Fatalf("lost %+v, want tag 7 with an unknown outcome", l.lost)
	}
}

// TestNobodyActsInATermThatWasOurs: a leader that has stepped down because it heard no quorum is
// still in its term, and no other member has led that term.
func TestNobodyActsInATermThatWasOurs(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	term := lead(t, l)
	for range 2 * l.core.cfg.ElectionTicks {
		l.core.Tick(true)
	}
	l.settle(t)
	if s := l.core.State(); s.Role == RoleLeader || s.Leader != 0 || s.Term != term {
		t.Fatalf("state %+v, want one that knows no leader of term %d", s, term)
	}
	var refused *RefusedError
	for _, typ := range []raftpb.MessageType{raftpb.MsgApp, raftpb.MsgHeartbeat} {
		m := msg{typ: typ, from: 3, term: term, index: 1, logTerm: 1}
		if err := l.step(t, m.proto()); !errors.As(err, &refused) || refused.Reason != ReasonLeader || !strings.Contains(refused.Why, "node 1 led") {
			t.Errorf("%s of node 3 in term %d: %v, want a refusal that names node 1 as the leader", typ, term, err)
		}
	}
	must(t, l.step(t, msg{typ: raftpb.MsgHeartbeat, from: 3, term: term + 1}.proto()))
}

// TestRoundsOfAnotherTerm: rounds of reads begin anew with each term. That this member began as
// many in an earlier one says nothing.
func TestRoundsOfAnotherTerm(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	read := func(term, n uint64) {
		t.Helper()
		l.core.ReadIndex(n)
		l.settle(t)
		if l.core.asked != n {
			t.Fatalf("round %d of reads has begun, want %d", l.core.asked, n)
		}
		must(t, l.step(t, msg{typ: raftpb.MsgHeartbeatResp, from: 2, term: term, context: round(n)}.proto()))
	}
	term := lead(t, l)
	for n := range uint64(3) {
		read(term, n+1)
	}
	must(t, l.step(t, msg{typ: raftpb.MsgHeartbeat, from: 3, term: term + 1}.proto()))
	l.core.Tick(true)
	if err := l.core.rn.ForgetLeader(); err != nil {
		t.Fatal(err)
	}
	term = lead(t, l)
	read(term, 1)
	l.core.ReadIndex(9)
	l.settle(t)
	var refused *RefusedError
	err := l.step(t, msg{typ: raftpb.MsgHeartbeatResp, from: 3, term: term, context: round(3)}.proto())
	if !errors.As(err, &refused) || refused.Reason != ReasonAck {
		t.Errorf("a confirmation of round 3, and 2 have begun: %v, want a refusal", err)
	}
}

// TestVet: an entry that Vet refuses is not stored, and the leader that sent it is not listened to
// for two election timeouts, so that those who refuse elect another.
func TestVet(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	l := newLone(t, func(c *CoreConfig) {
		c.Vet = func(data []byte, _ bool) error {
			if string(data) == "bad" {
				return bad
			}
			return nil
		}
	})
	follow(t, l)
	send := func(from, term uint64, data string) error {
		return l.step(t, msg{typ: raftpb.MsgApp, from: from, term: term, logTerm: 5, index: 3, commit: 3, entries: []*raftpb.Entry{entry(term, 4, data)}}.proto())
	}
	beat := func(from, term uint64) error {
		return l.step(t, msg{typ: raftpb.MsgHeartbeat, from: from, term: term}.proto())
	}
	must(t, send(2, 5, "good"))
	l = newLone(t, func(c *CoreConfig) { c.Vet = l.core.cfg.Vet })
	follow(t, l)
	var refused *RefusedError
	if err := send(2, 5, "bad"); !errors.As(err, &refused) || refused.Reason != ReasonEntry || refused.Why != "bad" {
		t.Fatalf("the entry: %v, want a refusal", err)
	}
	if l.core.last != 3 {
		t.Fatalf("the log ends at %d, want 3", l.core.last)
	}
	if err := beat(2, 5); !errors.Is(err, errStale) {
		t.Errorf("a heartbeat right after: %v, want it to be ignored", err)
	}
	for range 19 {
		l.core.Tick(true)
		l.settle(t)
		if err := beat(2, 5); err == nil {
			t.Fatal("the leader is listened to again too early")
		}
	}
	other := newLone(t, func(c *CoreConfig) { c.Vet = l.core.cfg.Vet })
	follow(t, other)
	must(t, other.core.Step(msg{typ: raftpb.MsgHeartbeat, from: 2, term: 5}.proto()))
	if err := other.step(t, msg{typ: raftpb.MsgApp, from: 2, term: 5, logTerm: 5, index: 3, entries: []*raftpb.Entry{entry(5, 4, "bad")}}.proto()); err == nil {
		t.Fatal("the entry was taken")
	}
	if err := other.step(t, msg{typ: raftpb.MsgHeartbeat, from: 3, term: 6}.proto()); err != nil || other.core.State().Leader != 3 {
		t.Errorf("another leader is not listened to: %v, state %+v", err, other.core.State())
	}
	if s := l.core.State(); s.Role != RolePreCandidate {
		t.Errorf("state %+v, want a member that tries to elect another leader", s)
	}
	l.core.Tick(true)
	must(t, beat(2, 5))
	must(t, send(2, 5, "good"))
	if l.core.last != 4 {
		t.Errorf("the log ends at %d, want 4", l.core.last)
	}
	// What is committed, and what was stored before, is never judged.
	must(t, l.step(t, msg{typ: raftpb.MsgApp, from: 2, term: 5, logTerm: 1, index: 1, commit: 3, entries: []*raftpb.Entry{entry(5, 2, "bad")}}.proto()))
}

// FuzzStep steps a member with whatever package transport lets pass, in any role, and demands that
// nothing panics and that the term stays within its bound.
func FuzzStep(f *testing.F) {
	add := func(ops ...[]byte) {
		var all []byte
		for _, op := range ops {
			all = append(all, op...)
		}
		f.Add(all)
	}
	op := func(kind, typ, from, term, logTerm, index, commit, extra byte) []byte {
		return []byte{kind, typ, from, term, logTerm, index, commit, extra}
	}
	app, beat, resp, beatResp := byte(raftpb.MsgApp), byte(raftpb.MsgHeartbeat), byte(raftpb.MsgAppResp), byte(raftpb.MsgHeartbeatResp)
	add(op(opMessage, beat, 2, 130, 0, 0, 255, 0))
	add(op(opMessage, beat, 2, 255, 0, 0, 0, 0), op(opCampaign, 0, 0, 0, 0, 0, 0, 0), op(opSettle, 0, 0, 0, 0, 0, 0, 0))
	add(op(opMessage, app, 2, 130, 129, 128, 129, 3), op(opMessage, app, 3, 131, 129, 128, 129, 1), op(opMessage, beat, 3, 131, 0, 0, 131, 0))
	add(op(opLead, 0, 0, 0, 0, 0, 0, 0), op(opMessage, beatResp, 2, 128, 0, 0, 0, 255), op(opMessage, beatResp, 3, 128, 0, 0, 0, 255))
	add(op(opLead, 0, 0, 0, 0, 0, 0, 0), op(opMessage, resp, 2, 128, 0, 255, 0, 0), op(opTick, 0, 0, 0, 0, 0, 0, 0), op(opSettle, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, ops []byte) {
		l := newLone(t, nil)
		follow(t, l)
		start := l.core.State().Term
		for n := 0; len(ops) >= 8 && n < 64; n++ {
			runOp(t, l, ops[:8])
			ops = ops[8:]
			if term := l.core.rn.BasicStatus().GetTerm(); term-start > 1000+(1+l.core.now/10)*maxTermRise {
				t.Fatalf("term %d after %d ticks", term, l.core.now)
			}
		}
		l.settle(t)
	})
}

const (
	opMessage byte = iota
	opTick
	opCampaign
	opSettle
	opFinish
	opLead
	opPropose
	opRead
	opPeerDown
	opKinds
)

// runOp does what eight bytes say. A number below 192 stands for one near a number that the core
// knows, so that most messages go deep.
func runOp(t *testing.T, l *lone, b []byte) {
	c := l.core
	near := func(base uint64, x byte) uint64 {
		switch {
		case x == 0:
			return 0
		case x < 192:
			return base + uint64(x) - 128
		case x < 254:
			return 1 << (x - 192)
		}
		return math.MaxUint64 - uint64(255-x)
	}
	switch b[0] % opKinds {
	case opTick:
		c.Tick(true)
	case opCampaign:
		c.Campaign()
	case opSettle:
		l.settle(t)
	case opFinish:
		l.finish(t)
	case opLead:
		c.Campaign()
		l.settle(t)
		term := c.State().Term + 1
		_ = l.step(t, msg{typ: raftpb.MsgPreVoteResp, from: 2, term: term}.proto())
		_ = l.step(t, msg{typ: raftpb.MsgVoteResp, from: 2, term: term}.proto())
	case opPropose:
		_ = c.Propose(1+uint64(b[1]), []byte(fmt.Sprint("data ", b[2])))
	case opRead:
		c.ReadIndex(1 + uint64(b[1]))
	case opPeerDown:
		c.PeerDown(uint64(b[1] % 4))
	case opMessage:
		term := c.rn.BasicStatus().GetTerm()
		m := msg{typ: raftpb.MessageType(b[1] % 24), from: uint64(b[2] % 5), term: near(term, b[3]), logTerm: near(term, b[4]),
			index: near(c.last, b[5]), commit: near(c.last, b[6]), hint: near(c.last, b[7]), reject: b[7]%2 == 1}
		switch m.typ {
		case raftpb.MsgApp:
			for i := range uint64(b[7] % 5) {
				m.entries = append(m.entries, entry(max(m.logTerm, 1)+i/2, m.index+1+i, fmt.Sprint(b[7], i)))
			}
		case raftpb.MsgReadIndex, raftpb.MsgReadIndexResp:
			m.entries = []*raftpb.Entry{entry(0, 0, string(appendReadContext(nil, 7, uint64(b[7]))))}
		case raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp:
			m.context = round(near(c.asked, b[7]))
		case raftpb.MsgVote, raftpb.MsgPreVote:
			m.context = []byte("CampaignTransfer")[:int(b[7]%2)*16]
		}
		if m.typ == raftpb.MsgReadIndex {
			m.term = 0
		}
		if p := m.proto(); transport.Validate(p) == nil {
			_ = c.Step(p)
		}
	}
}
