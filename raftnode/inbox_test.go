package raftnode

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// TestInboxShares: a member that sends more than a turn can take loses its own messages, and nobody
// else's.
func TestInboxShares(t *testing.T) {
	t.Parallel()
	const total, most = 8 << 20, 7 << 20 // a sender that is alone
	all := &budget{total: total}
	b := &inbox{wake: func() {}, budget: all, unwritten: &part{of: all}}
	small := message("MsgHeartbeat")
	large := &raftpb.Message{Entries: []*raftpb.Entry{entry(1, 1, "")}}
	large.Entries[0].Data = make([]byte, 1<<20)
	count := func(m mail) map[*raftpb.Message]int {
		out := map[*raftpb.Message]int{}
		for _, msg := range m.messages {
			out[msg]++
		}
		return out
	}
	var spare mail
	for round := range 3 { // what a turn takes makes room
		for range 2 * maxShareMessages {
			b.putMessage(2, small)
		}
		for range 2 * most >> 20 {
			b.putMessage(3, large)
		}
		others := message("MsgHeartbeatResp")
		b.putMessage(3, others) // bytes are full, the number is not
		b.putMessage(4, others)
		b.take(&spare, &quiet{})
		got := count(spare)
		if got[small] != maxShareMessages || got[large] != most>>20 || got[others] != 2 {
			t.Errorf("round %d: %d messages of member 2, %d large ones of member 3 and %d others; want %d, %d and 2",
				round, got[small], got[large], got[others], maxShareMessages, most>>20)
		}
	}
}

// TestFloodHidesNoLeader: what a member of the group sends in masses does not keep another one's
// heartbeat out.
func TestFloodHidesNoLeader(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	for range 2 * maxShareMessages {
		s.hear(msg{typ: raftpb.MsgVoteResp, from: 3, term: 1})
	}
	s.hear(msg{typ: raftpb.MsgHeartbeat, from: 2, term: 5})
	s.run()
	if st := s.Status(); st.Leader != 2 || st.Term != 5 {
		t.Errorf("state %+v, want a follower of member 2 in term 5", st.State)
	}
}
