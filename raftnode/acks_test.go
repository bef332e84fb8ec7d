package raftnode

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// TestAcks: of the responses in turn, those that tell a leader nothing are left out.
func TestAcks(t *testing.T) {
	t.Parallel()
	ack := func(term, index uint64) *raftpb.Message {
		return &raftpb.Message{Type: raftpb.MsgAppResp.Enum(), Term: &term, Index: &index}
	}
	reject := ack(2, 5)
	reject.Reject = new(true)
	vote := ack(2, 5)
	vote.Type = raftpb.MsgVoteResp.Enum()
	entries := &raftpb.Message{Type: raftpb.MsgApp.Enum(), Entries: []*raftpb.Entry{{}}}
	var a acks
	for i, x := range []struct {
		name    string
		stepped *raftpb.Message
		m       *raftpb.Message
		rose    bool
		want    bool
	}{
		{"the first of a term", nil, ack(2, 5), true, false},
		{"a new commit index alone", nil, ack(2, 5), true, true},
		{"an old index", nil, ack(2, 4), true, true},
		{"a question", nil, ack(2, 5), false, false},
		{"a rejection", nil, reject, true, false},
		{"a vote", nil, vote, true, false},
		{"to a leader of an earlier term", nil, ack(2, 0), true, false},
		{"a new index", nil, ack(2, 6), true, false},
		{"the new index again", &raftpb.Message{Type: raftpb.MsgApp.Enum()}, ack(2, 6), true, true},
		{"entries that were there", entries, ack(2, 6), true, false},
		{"a new term", nil, ack(3, 6), true, false},
	} {
		a.entries = false
		if x.stepped != nil {
			a.stepped(x.stepped)
		}
		if got := a.redundant(x.m, x.rose); got != x.want {
			t.Errorf("%d, %s: left out: %t, want %t", i, x.name, got, x.want)
		}
	}
}
