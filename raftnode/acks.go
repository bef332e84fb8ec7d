package raftnode

import "go.etcd.io/raft/v3/raftpb"

// acks knows which acknowledgements tell a leader nothing. A follower acknowledges every append of
// its leader, also the one that brings nothing but a new commit index: the leader sends such a one
// for every block, and would be woken by each follower's answer. An acknowledgement is left out if
//
//   - the appends since the newest Ready brought no entry, but the commit index rose. A leader that
//     asks what a follower has, because it lost touch with it, repeats entries that it knows nothing
//     of, or a commit index that the follower knows; and
//   - the leader of this term was told the same index or a higher one before.
//
// So what is left out is not needed while no message is lost. When an earlier acknowledgement was
// lost, the leader asks after each heartbeat. If the first question makes the commit index rise, it
// is the second one that is answered.
type acks struct {
	// entries: an append with entries was stepped since the newest Ready.
	entries bool
	// index is the highest one that the leader of term was told. Within a term a leader's log only
	// grows, and so does what a follower has of it.
	term, index uint64
}

// stepped sees a message that is stepped.
func (a *acks) stepped(m *raftpb.Message) {
	a.entries = a.entries || m.GetType() == raftpb.MsgApp && len(m.GetEntries()) > 0
}

// redundant reports whether a response may be left out, and remembers it if not. rose: the commit
// index rose and nothing else changed.
func (a *acks) redundant(m *raftpb.Message, rose bool) bool {
	if m.GetType() != raftpb.MsgAppResp || m.GetReject() || m.GetIndex() == 0 {
		return false // index 0 tells a leader of an earlier term that there is a newer one
	}
	if m.GetTerm() != a.term {
		a.term, a.index = m.GetTerm(), 0
	}
	if rose && !a.entries && m.GetIndex() <= a.index {
		return true
	}
	a.index = max(a.index, m.GetIndex())
	return false
}
