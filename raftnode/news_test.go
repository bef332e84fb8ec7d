package raftnode

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// appends are what was sent to a member since the last call: for each append the number of entries
// and the commit index.
func (s *stage) appends(to uint64) (seen [][2]uint64) {
	for _, m := range s.sent {
		if m.GetTo() == to && m.GetType() == raftpb.MsgApp {
			seen = append(seen, [2]uint64{uint64(len(m.GetEntries())), m.GetCommit()})
		}
	}
	s.sent = nil
	return seen
}

// commit proposes a block and lets member 2 store it.
func (s *stage) commit() (index uint64) {
	s.t.Helper()
	s.submit(1)
	s.run()
	s.acknowledge()
	if st := s.Status(); st.Commit != st.LastIndex {
		s.t.Fatalf("status %+v, want all committed", st)
	}
	return s.Status().Commit
}

// TestCommitIndexWaits: a commit index alone does not leave at once. The next block brings it, or a
// call of Publish, or the next tick.
func TestCommitIndexWaits(t *testing.T) {
	t.Parallel()
	leader := func(t *testing.T) *stage {
		s := newStage(t, 3, nil)
		s.lead()
		s.hear(msg{typ: raftpb.MsgAppResp, from: 3, index: s.Status().LastIndex})
		s.run()
		s.tick(1)
		s.sent = nil
		return s
	}
	want := func(t *testing.T, s *stage, to uint64, what string, want ...[2]uint64) {
		t.Helper()
		got := s.appends(to)
		if len(got) != len(want) {
			t.Fatalf("%s: member %d was sent the appends %v, want %v", what, to, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: member %d was sent the appends %v, want %v", what, to, got, want)
			}
		}
	}
	t.Run("block", func(t *testing.T) {
		s := leader(t)
		at := s.commit()
		want(t, s, 2, "a block", [2]uint64{1, at - 1})
		s.commit()
		want(t, s, 2, "the next block", [2]uint64{1, at})
	})
	t.Run("tick", func(t *testing.T) {
		s := leader(t)
		at := s.commit()
		s.sent = nil
		s.Tick(false)
		s.run()
		want(t, s, 2, "a tick", [2]uint64{0, at})
		s.Tick(false)
		s.run()
		want(t, s, 2, "another tick")
	})
	t.Run("quiet", func(t *testing.T) {
		s := quietStage(t, nil)
		s.leadQuietly()
		for s.sent = nil; len(s.sent) == 0; { // until heartbeats leave
			s.pass()
		}
		at := s.commit()
		s.hear(msg{typ: raftpb.MsgAppResp, from: 3, index: at})
		s.run()
		if s.quiet() {
			t.Fatal("a member that holds news is quiet")
		}
		s.sent = nil
		s.pass()
		want(t, s, 2, "a tick", [2]uint64{0, at})
	})
	t.Run("publish", func(t *testing.T) {
		s := leader(t)
		at := s.commit()
		s.sent = nil
		s.Publish()
		s.run()
		want(t, s, 2, "Publish", [2]uint64{0, at})
		s.woken[TaskTurn] = false
		if s.Publish(); s.woken[TaskTurn] {
			t.Error("Publish wakes a turn though nothing is held")
		}
	})
	t.Run("follower", func(t *testing.T) {
		s := leader(t)
		s.commit()
		s.sent = nil
		s.hear(msg{typ: raftpb.MsgHeartbeat, from: 2, term: s.core.State().Term + 1})
		s.Tick(false)
		s.run()
		want(t, s, 3, "not a leader any more")
	})
	t.Run("question", func(t *testing.T) {
		s := leader(t)
		at := s.commit()
		s.Tick(false)
		s.run()
		s.sent = nil
		// Member 3 has acknowledged nothing of the block: the leader asks after each heartbeat.
		s.hear(msg{typ: raftpb.MsgHeartbeatResp, from: 3})
		s.run()
		want(t, s, 3, "an answer to a heartbeat", [2]uint64{0, at})
	})
}

// TestHeardInTime: what a finished write or apply puts in wakes a turn only where something follows
// from it. The rest is heard with the next turn.
func TestHeardInTime(t *testing.T) {
	t.Parallel()
	entry := func(i uint64) []*raftpb.Entry {
		return []*raftpb.Entry{{Index: new(i), Term: new(uint64(5)), Data: []byte("x")}}
	}
	follower := func(t *testing.T) *stage {
		s := newStage(t, 3, nil)
		s.hear(msg{typ: raftpb.MsgHeartbeat, from: 2, term: 5})
		s.run()
		s.tick(1)
		return s
	}
	t.Run("store", func(t *testing.T) {
		s := follower(t)
		s.hear(msg{typ: raftpb.MsgApp, from: 2, term: 5, index: 1, logTerm: 1, entries: entry(2)})
		s.Turn()
		s.woken = [tasks]bool{}
		if !s.write() || s.woken[TaskTurn] {
			t.Error("a follower takes a turn for a block that it has only stored")
		}
	})
	t.Run("store what is committed", func(t *testing.T) {
		s := follower(t)
		s.hear(msg{typ: raftpb.MsgApp, from: 2, term: 5, index: 1, logTerm: 1, entries: entry(2), commit: 2})
		s.Turn()
		s.woken = [tasks]bool{}
		if !s.write() || !s.woken[TaskTurn] {
			t.Fatal("a follower that has stored a committed block takes no turn, and so does not apply it")
		}
		s.Turn()
		s.woken = [tasks]bool{}
		if !s.apply() || len(s.applied) != 1 {
			t.Fatalf("%d blocks are applied, want 1", len(s.applied))
		}
	})
	t.Run("own block", func(t *testing.T) {
		s := newStage(t, 1, nil)
		s.lead()
		s.submit(1)
		s.Turn()
		s.woken = [tasks]bool{}
		if !s.write() || !s.woken[TaskTurn] {
			t.Fatal("a leader takes no turn for a block that it has stored")
		}
		s.Turn()
		s.woken = [tasks]bool{}
		if !s.apply() || s.woken[TaskTurn] {
			t.Error("a leader takes a turn for a block that it has applied, though nobody waits")
		}
	})
	t.Run("full", func(t *testing.T) {
		s := newStage(t, 1, func(c *Config) { c.MaxInflightBlocks = 1 })
		s.lead()
		s.submit(1)
		s.Turn()
		s.submit(1)
		s.write()
		s.Turn()
		s.woken = [tasks]bool{}
		if !s.apply() || !s.woken[TaskTurn] {
			t.Error("a request waits for a block that is applied, and no turn takes it")
		}
	})
	t.Run("term", func(t *testing.T) {
		s := newStage(t, 1, nil)
		s.core.Campaign()
		for range 4 {
			s.Turn()
			s.write()
		}
		s.woken = [tasks]bool{}
		if !s.apply() || !s.woken[TaskTurn] {
			t.Error("a new leader that has applied its first entry takes no turn, and so does not serve")
		}
	})
	t.Run("mark", func(t *testing.T) {
		if w := (&AppendWork{Snapshot: &raftpb.Snapshot{}}); !w.awaited(0) {
			t.Error("nobody waits for a mark that takes the place of the log")
		}
	})
}
