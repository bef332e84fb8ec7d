package raftnode

import (
	"maps"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
)

// news holds back a leader's appends that tell a follower of a new commit index and of nothing else.
// Raft makes one for every follower whenever a quorum has stored a block. The next block's append
// says the same, and comes soon while there is work; until then nobody at the follower waits for it,
// except for what publish is called for.
//
// # Invariants
//
//  1. Only an append without entries is held, and only if its commit index is higher than that of
//     every message that the follower was sent in this term. An append that asks what a follower has
//     leaves at once.
//  2. What is held leaves at the next tick at the latest, unless a message that says as much has left
//     before. A member that holds something does not become quiet.
//  3. Losing what is held is losing a message: safety does not rest on it.
type news struct {
	term uint64 // in which this member leads, or led last
	// told is the highest commit index in a message to each member in this term.
	told map[uint64]uint64
	// held is the newest append to each member that waits.
	held map[uint64]*raftpb.Message
}

// hold sees a message that is about to leave, and reports whether it is to wait.
func (n *news) hold(m *raftpb.Message) bool {
	t := m.GetType()
	if t != raftpb.MsgApp && t != raftpb.MsgHeartbeat {
		return false
	}
	if term := m.GetTerm(); term != n.term || n.told == nil {
		*n = news{term: term, told: map[uint64]uint64{}, held: map[uint64]*raftpb.Message{}}
	}
	to, commit := m.GetTo(), m.GetCommit()
	told, known := n.told[to]
	if known && t == raftpb.MsgApp && len(m.GetEntries()) == 0 && commit > told {
		n.held[to] = m
		return true
	}
	n.told[to] = max(told, commit)
	if h := n.held[to]; h != nil && h.GetCommit() <= commit {
		delete(n.held, to)
	}
	return false
}

// publish sends what is held, if this member still leads. What an earlier term held went with the
// first append of the present one.
func (d *Driver) publish() {
	n := &d.turn.news
	for _, to := range slices.Sorted(maps.Keys(n.held)) {
		m := n.held[to]
		delete(n.held, to)
		if d.core.State().Role == RoleLeader && !d.turn.watchdog.mutes(m) {
			n.told[to] = max(n.told[to], m.GetCommit())
			d.cfg.Transport.SendRaft(d.cfg.Group, m)
		}
	}
}

// Publish lets the other members learn the commit index soon, and not with the next block.
func (d *Driver) Publish() {
	if d.holding.Load() {
		d.inbox.put(func(m *mail) { m.publish = true })
	}
}
