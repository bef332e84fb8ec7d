package raftnode

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// Snapshot is a position that the machine has to reach without the Raft log, because the leader's
// log begins behind what this member needs. It holds no state: the machine finds its own way there.
//
// The order, in which a promise is never forgotten and nothing is acknowledged that is not there:
//
//  1. The leader sends MsgSnap: the position of its log's mark, and what its machine says of itself
//     there (Data). The follower's core holds the message back. Raft has not seen it, and the
//     follower goes on as it was: term, vote and log are the former ones.
//  2. The machine brings itself to the position, makes all of it durable, compares it with Data, and
//     says so: Driver.Filled. A crash before that leaves the former log, so Raft starts as if nothing
//     had been sent, and the leader sends the message again.
//  3. The core steps the message. Raft asks for one write, AppendWork.Snapshot: a mark at the position
//     that discards the log, with term, vote and commit index in the same atomic commit of the log.
//     What is discarded is either in the machine, durably, or not committed and not acknowledged to
//     the leader of this term.
//  4. After the sync the acknowledgement of the position leaves.
type Snapshot struct {
	Index, Term uint64
	// From is the leader that sent it, Members are all members there.
	From    uint64
	Members []uint64
	// Data is the meta of the leader's mark.
	Data []byte
}

// hold keeps a MsgSnap back until the machine has reached its position. It returns false when Raft
// may have the message at once: it is stale, or the log has the position. While one message is held
// the others are lost: the leader sends again.
func (c *Core) hold(m *raftpb.Message) bool {
	meta, b := m.GetSnapshot().GetMetadata(), c.rn.BasicStatus()
	if m.GetTerm() < b.GetTerm() || meta.GetIndex() <= b.GetCommit() {
		return false
	}
	if c.held == nil {
		c.held = m
		c.fill = &Snapshot{
			Index: meta.GetIndex(), Term: meta.GetTerm(), From: m.GetFrom(), Members: memberIDs(meta.GetConfState()), Data: m.GetSnapshot().GetData(),
		}
	}
	return true
}

// Filled says that the machine holds everything up to the index of the Snapshot that Effects.Fill
// asked for, durably; or, with ok false, that it does not get there now.
func (c *Core) Filled(index uint64, ok bool) error {
	m := c.held
	if m == nil || m.GetSnapshot().GetMetadata().GetIndex() != index {
		return nil
	}
	c.held = nil
	if !ok {
		return nil
	}
	c.appended = true
	return c.step(m)
}

// restored follows a snapshot that Raft has taken over.
func (c *Core) restored(s *raftpb.Snapshot) {
	c.last = s.GetMetadata().GetIndex()
	c.setMembers(MembersOf(s.GetMetadata().GetConfState()))
}

func memberIDs(cs *raftpb.ConfState) (ids []uint64) {
	for _, more := range [][]uint64{cs.GetVoters(), cs.GetLearners(), cs.GetVotersOutgoing(), cs.GetLearnersNext()} {
		ids = append(ids, more...)
	}
	return ids
}

// tickSnapshots lets a leader send its snapshot again, at a newer position, to every member that
// has not taken the former one over for an election timeout: the message may be lost, and the
// member may still be on its way. Raft would wait for ever.
func (c *Core) tickSnapshots() {
	if c.now%uint64(c.cfg.ElectionTicks) != 0 || c.rn.BasicStatus().RaftState != raft.StateLeader {
		return
	}
	var waiting []uint64
	c.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if pr.State == tracker.StateSnapshot {
			waiting = append(waiting, id)
		}
	})
	for _, id := range waiting {
		c.rn.ReportSnapshot(id, raft.SnapshotFailure)
	}
}
