package raftnode

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// watchdog notices a disk that stalls. A leader with a stalled disk would go on
// committing with the disks of the others and keep its followers loyal, but could
// not apply and so not answer.
type watchdog struct {
	stalled bool
	// muted: handing over has not helped within an election timeout, so the
	// followers are to time out.
	muted bool
}

// watch is called with every tick.
func (n *Node) watch(w *watchdog) {
	age := n.appender.age()
	stalled := age > n.cfg.StallTimeout
	if stalled != w.stalled {
		w.stalled = stalled
		n.stalled.Store(stalled)
		if stalled {
			n.cfg.Logf("raft: a write to the log has been under way for %s: disk stalled", age)
		} else {
			n.cfg.Logf("raft: the disk answers again")
		}
	}
	w.muted = false
	if !stalled || n.core.State().Role != RoleLeader {
		return
	}
	if !n.core.Transferring() {
		n.core.TransferLeader(0)
	}
	w.muted = age > n.cfg.StallTimeout+time.Duration(n.cfg.ElectionTicks)*n.cfg.TickInterval
}

// mutes says which messages a stalled node keeps to itself: those with which it
// would stay or become leader.
func (w *watchdog) mutes(m *raftpb.Message) bool {
	if !w.stalled {
		return false
	}
	switch m.GetType() {
	case raftpb.MsgPreVote, raftpb.MsgVote:
		return true
	case raftpb.MsgHeartbeat, raftpb.MsgApp:
		return w.muted
	}
	return false
}
