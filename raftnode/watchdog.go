package raftnode

import (
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// watchdog notices a disk that stalls: a write to the log that does not end, or a
// machine that does not finish applying an entry. A leader with a stalled disk would
// go on committing with the disks of the others and keep its followers loyal, but
// could not apply and so not answer.
type watchdog struct {
	stalled bool
	// muted: handing over has not helped within an election timeout, so the
	// followers are to time out.
	muted bool
}

// watch is called with every tick.
func (d *Driver) watch() {
	w := &d.turn.watchdog
	age := max(d.writeAge(), d.applyAge())
	stalled := age > d.cfg.StallTimeout
	if stalled != w.stalled {
		w.stalled = stalled
		d.stalled.Store(stalled)
		if stalled {
			d.cfg.Logf("raft: a write to the log or the machine has been under way for %s: disk stalled", age)
		} else {
			d.cfg.Logf("raft: the disk answers again")
		}
	}
	w.muted = false
	if !stalled || d.core.State().Role != RoleLeader {
		return
	}
	if !d.core.Transferring() {
		d.core.TransferLeader(0)
	}
	w.muted = age > d.cfg.StallTimeout+time.Duration(d.cfg.ElectionTicks)*d.cfg.TickInterval
}

// ageOf is how long ago since was, in nanoseconds of the driver's clock; 0 if it is 0.
func (d *Driver) ageOf(since *atomic.Int64) time.Duration {
	if at := since.Load(); at != 0 {
		return time.Duration(d.clock() - at)
	}
	return 0
}

// clock is the shell's clock in nanoseconds; never 0.
func (d *Driver) clock() int64 { return int64(d.shell.Now()) + 1 }

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
