package raftnode

import (
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// watchdog notices why this node should not lead: a disk that stalls (a write to the log
// that does not end, or a machine that does not finish applying a run), or a reason of
// Config.Unfit. A leader with a stalled disk would go on committing with the disks of the
// others and keep its followers loyal, but could not apply and so not answer.
type watchdog struct {
	stalled bool
	// unfit is the reason of Config.Unfit; unfitSince, when that began, on the node's clock.
	unfit      error
	unfitSince int64
	// muted: handing over has not helped within an election timeout, so the
	// followers are to time out.
	muted bool
}

// watch is called with every tick.
func (d *Driver) watch() {
	w := &d.turn.watchdog
	age := max(d.writeAge(), d.applyAge())
	d.watchDisk(w, age)
	w.muted = false
	if !w.keepsOut() || d.core.State().Role != RoleLeader {
		return
	}
	if !d.core.Transferring() {
		d.core.TransferLeader(0)
	}
	election := time.Duration(d.cfg.ElectionTicks) * d.cfg.TickInterval
	w.muted = w.stalled && age > d.cfg.StallTimeout+election ||
		w.unfit != nil && time.Duration(d.clock()-w.unfitSince) > election
}

func (d *Driver) watchDisk(w *watchdog, age time.Duration) {
	stalled := age > d.cfg.StallTimeout
	if stalled == w.stalled {
		return
	}
	w.stalled = stalled
	d.stalled.Store(stalled)
	if stalled {
		d.cfg.Logf("raft: a write to the log or the machine has been under way for %s: disk stalled", age)
	} else {
		d.cfg.Logf("raft: the disk answers again")
	}
}

func (d *Driver) watchFitness() {
	w := &d.turn.watchdog
	err := d.cfg.Unfit()
	switch {
	case err != nil && w.unfit == nil:
		w.unfitSince = d.clock()
		d.cfg.Logf("raft: error: this node does not lead: %v", err)
	case err == nil && w.unfit != nil:
		d.cfg.Logf("raft: this node may lead again")
	}
	w.unfit = err
}

// keepsOut reports whether this member is neither to lead nor to stand for election.
func (w *watchdog) keepsOut() bool { return w.stalled || w.unfit != nil }

// ageOf is how long ago since was, in nanoseconds of the driver's clock; 0 if it is 0.
func (d *Driver) ageOf(since *atomic.Int64) time.Duration {
	if at := since.Load(); at != 0 {
		return time.Duration(d.clock() - at)
	}
	return 0
}

// clock is the shell's clock in nanoseconds; never 0.
func (d *Driver) clock() int64 { return int64(d.shell.Now()) + 1 }

// mutes says which messages a member that is not to lead keeps to itself: those with
// which it would stay or become leader.
func (w *watchdog) mutes(m *raftpb.Message) bool {
	if !w.keepsOut() {
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
