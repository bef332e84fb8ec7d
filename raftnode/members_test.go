package raftnode

import (
	"slices"
	"testing"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
)

// membersStage is a leader of three voters whose machine has the members that the test says.
func membersStage(t *testing.T) (s *stage, machine **Members) {
	t.Helper()
	machine = new(*Members)
	s = newStage(t, 3, func(c *Config) { c.Members = func() *Members { return *machine } })
	s.lead()
	return s, machine
}

func (s *stage) change(to *Members, check func(State, []Progress) error) {
	s.t.Helper()
	if !s.ChangeMembers(Change{Request: sized(1), To: to, Check: check}) {
		s.t.Fatal("the driver has ended")
	}
}

// sentTo counts the messages of a type to a node.
func (s *stage) sentTo(id uint64, typ raftpb.MessageType) (n int) {
	for _, m := range s.sent {
		if m.GetTo() == id && m.GetType() == typ {
			n++
		}
	}
	return n
}

// TestMembersFollowTheMachine: a change of members is one entry with the block that says it. Raft
// counts the members that the machine has after it, from then on, and not before; a block that the
// machine gives no effect changes nobody.
func TestMembersFollowTheMachine(t *testing.T) {
	t.Parallel()
	s, machine := membersStage(t)
	three, with4 := &Members{Voters: []uint64{1, 2, 3}}, &Members{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}}
	s.change(with4, nil)
	s.run()
	if !s.core.Members().Equal(three) || s.sentTo(4, raftpb.MsgApp) > 0 {
		t.Fatalf("before the entry is committed the members are %s", s.core.Members())
	}
	last := s.Status().LastIndex
	entries, err := s.group.Entries(last, last+1, 1<<20)
	must(t, err)
	if e := entries[0]; e.GetType() != raftpb.EntryConfChangeV2 || string(BlockOf(e)) != "block" {
		t.Errorf("the entry is a %s with %q, want a change of members whose context is the block", e.GetType(), BlockOf(e))
	}
	s.acknowledge() // and the machine refuses
	if len(s.applied) != 1 || string(s.applied[0].Data) != "block" || len(s.applied[0].Requests) != 1 {
		t.Fatalf("applied %v, want the block with its request", s.applied)
	}
	if !s.core.Members().Equal(three) {
		t.Errorf("a refused change leads to %s", s.core.Members())
	}
	s.change(with4, nil)
	s.run()
	*machine = with4
	s.acknowledge()
	if !s.core.Members().Equal(with4) || s.sentTo(4, raftpb.MsgApp) == 0 {
		t.Errorf("members %s, %d appends to the new one", s.core.Members(), s.sentTo(4, raftpb.MsgApp))
	}
}

// TestOneChangeAtATime: a change is refused while another one is not applied, and one of two voters
// always.
func TestOneChangeAtATime(t *testing.T) {
	t.Parallel()
	s, machine := membersStage(t)
	with4 := &Members{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}}
	for _, to := range []*Members{{Voters: []uint64{1}}, {Voters: []uint64{1, 2, 4}}, {}, {Voters: []uint64{1, 2, 3}}} {
		s.change(to, nil)
		s.run()
		if n := len(s.failed); n == 0 || !errors.Is(s.failed[n-1].err, ErrDropped) {
			t.Errorf("a change to %s: %v, want ErrDropped", to, s.failed)
		}
		s.failed = nil
	}
	s.change(with4, nil)
	s.run()
	s.change(&Members{Voters: []uint64{1, 2}}, nil)
	s.run()
	if len(s.failed) != 1 || !errors.Is(s.failed[0].err, ErrChanging) {
		t.Fatalf("a second change: %v, want ErrChanging", s.failed)
	}
	*machine = with4
	s.acknowledge()
	s.change(&Members{Voters: []uint64{1, 2, 3, 4}}, nil)
	s.run()
	if len(s.failed) != 1 {
		t.Errorf("a change after the first one: %v", s.failed)
	}
}

// TestChangeIsChecked: Check sees the leader's members at the moment of the proposal.
func TestChangeIsChecked(t *testing.T) {
	t.Parallel()
	s, _ := membersStage(t)
	no := errors.New("no")
	s.change(&Members{Voters: []uint64{1, 2}}, func(st State, list []Progress) error {
		if st.Role != RoleLeader || len(list) != 3 || !list[1].Heard || list[2].Heard {
			t.Errorf("state %+v, members %+v; want a leader that has heard of 2 and not of 3", st, list)
		}
		return no
	})
	s.run()
	if len(s.failed) != 1 || !errors.Is(s.failed[0].err, no) {
		t.Errorf("failed %v", s.failed)
	}
	s.hear(msg{typ: raftpb.MsgApp, from: 3, term: s.core.State().Term + 1, index: 1, logTerm: 1})
	s.change(&Members{Voters: []uint64{1, 2}}, nil)
	s.run()
	if len(s.failed) != 2 || !errors.Is(s.failed[1].err, ErrNotLeader) {
		t.Errorf("a change on a follower: %v, want ErrNotLeader", s.failed[1:])
	}
}

// TestRemovedMember: a member that leaves is told how far the log is committed, and is not listened to
// afterwards.
func TestRemovedMember(t *testing.T) {
	t.Parallel()
	s, machine := membersStage(t)
	two := &Members{Voters: []uint64{1, 2}}
	s.change(two, nil)
	s.run()
	s.hear(msg{typ: raftpb.MsgAppResp, from: 3, index: s.Status().LastIndex})
	*machine = two
	s.run()
	if !s.core.Members().Equal(two) {
		t.Fatalf("members %s", s.core.Members())
	}
	told := s.sent[slices.IndexFunc(s.sent, func(m *raftpb.Message) bool { return m.GetTo() == 3 && m.GetCommit() == s.Status().LastIndex })]
	if told.GetType() != raftpb.MsgHeartbeat && told.GetType() != raftpb.MsgApp {
		t.Errorf("node 3 hears of its removal by %s", told.GetType())
	}
	term := s.core.State().Term
	for _, typ := range []raftpb.MessageType{raftpb.MsgPreVote, raftpb.MsgVote, raftpb.MsgApp} {
		s.sent = nil
		s.hear(msg{typ: typ, from: 3, term: term + 5, index: 99, logTerm: 1})
		s.run()
		if st := s.core.State(); st.Term != term || st.Role != RoleLeader || slices.ContainsFunc(s.sent, func(m *raftpb.Message) bool { return m.GetTo() == 3 }) {
			t.Errorf("after a %s of a node that was removed: %+v", typ, st)
		}
	}
}

// TestLearner: a member that does not vote does not campaign, and a node that is none does not either.
func TestLearner(t *testing.T) {
	t.Parallel()
	for _, to := range []*Members{{Voters: []uint64{2, 3}, Learners: []uint64{1}}, {Voters: []uint64{2, 3}}} {
		l := newLone(t, nil)
		follow(t, l)
		l.core.follow(to)
		l.settle(t)
		l.sent = nil
		for range 100 {
			l.core.Tick(true)
			l.settle(t)
		}
		l.core.PeerDown(2)
		l.core.Campaign()
		l.settle(t)
		for _, m := range l.sent {
			if t1 := m.GetType(); t1 == raftpb.MsgPreVote || t1 == raftpb.MsgVote {
				t.Errorf("%s: the node campaigns", to)
			}
		}
	}
}

// TestUnknownLeader: a member that has not applied the change that made another one a member follows
// it all the same; it would never hear of the change otherwise.
func TestUnknownLeader(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	follow(t, l)
	must(t, l.step(t, msg{typ: raftpb.MsgApp, from: 9, term: 6, logTerm: 5, index: 3, commit: 4, entries: []*raftpb.Entry{entry(6, 4, "x")}}.proto()))
	if st := l.core.State(); st.Leader != 9 || st.Commit != 4 {
		t.Errorf("state %+v, want leader 9 and commit 4", st)
	}
	if err := l.step(t, msg{typ: raftpb.MsgAppResp, from: 8, term: 6, index: 4}.proto()); !errors.Is(err, errStale) {
		t.Errorf("an answer of a node that was not asked: %v", err)
	}
}

// TestCommitIsWrittenWithEntries: entries are durable only with a commit index that covers everything
// that was known to be committed when they came. So who holds a change holds the news that the change
// before it is committed.
func TestCommitIsWrittenWithEntries(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	follow(t, l)
	must(t, l.step(t, msg{typ: raftpb.MsgHeartbeat, from: 2, term: 5, commit: 3}.proto())) // not written for itself
	must(t, l.core.Step(msg{typ: raftpb.MsgApp, from: 2, term: 5, logTerm: 5, index: 3, commit: 3, entries: []*raftpb.Entry{entry(5, 4, "x")}}.proto()))
	for e, ok := l.core.Ready(); ok; e, ok = l.core.Ready() {
		if w := e.Append; w != nil && len(w.Entries) > 0 {
			if w.HardState.GetCommit() != 3 {
				t.Errorf("entry 4 is written with commit index %d, want 3", w.HardState.GetCommit())
			}
			return
		}
	}
	t.Error("nothing was written")
}
