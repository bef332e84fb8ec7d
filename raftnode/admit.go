package raftnode

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
)

// maxTermRise bounds how far messages may raise this member's term within one
// election timeout (CoreConfig.ElectionTicks).
//
// No honest cluster meets the bound. An election raises the term by one and takes
// an election timeout, so a cluster of 300 ms that did nothing but hold elections
// would need ten years to leave an absent member that far behind.
//
// The term cannot overflow either. A lying member raises the term by at most 2^30
// in each election timeout, so it needs 2^34 election timeouts: 163 years at 300 ms.
const maxTermRise = 1 << 30

// Reason is why a message was refused, in one word for metrics.
type Reason string

// The reasons of a RefusedError.
const (
	// ReasonSender: the message is not from another member to this one, or of a type
	// that members do not send.
	ReasonSender Reason = "sender"
	// ReasonTerm: the message would raise the term by more than maxTermRise.
	ReasonTerm Reason = "term"
	// ReasonLeader: the sender acts as leader of a term that another member leads.
	ReasonLeader Reason = "leader"
	// ReasonCommit: the leader believes that this member stores entries that its log lacks.
	ReasonCommit Reason = "commit"
	// ReasonAck: a follower acknowledges what this leader never sent.
	ReasonAck Reason = "ack"
	// ReasonEntry: CoreConfig.Vet refused an entry.
	ReasonEntry Reason = "entry"
)

// RefusedError says that Core.Step did not step a message, because etcd/raft would
// panic, would overflow a counter, or would believe what no honest member says.
// A refused message counts as lost.
type RefusedError struct {
	Reason Reason
	Type   raftpb.MessageType
	From   uint64
	// Why is a sentence with what it means and what to do.
	Why string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s of node %d refused (%s): %s", e.Type, e.From, e.Reason, e.Why)
}

// errStale is matched by errors about messages that an honest member can send and
// that are of no use: they are neither counted nor logged.
var errStale = errors.New("message is of no use any more")

// view is what admit knows of the core that is to be stepped.
type view struct {
	self    uint64
	members map[uint64]bool
	former  map[uint64]bool // those that were members, and are not
	role    Role
	term    uint64
	leader  uint64 // of term; 0 when unknown
	// last is the index of the newest entry in the log.
	last uint64
	// windowTerm is the term that this member had when the present election timeout began.
	windowTerm uint64
	// led is the newest term in which this member led; 0 when it never did.
	led uint64
	// asked is the number of the newest round of reads that this leader has begun.
	asked uint64
	// deafTo is the leader whose entry was refused a moment ago; 0 when there is none.
	deafTo uint64
}

// admit judges a message of another member before etcd/raft is stepped with it. It
// returns nil, a *RefusedError, or an error that matches errStale.
//
// These are the places where etcd/raft v3.7 panics, or goes on with nonsense,
// because of a message that package transport lets pass:
//
//   - raftLog.commitTo, "tocommit is out of range": MsgHeartbeat with a commit index
//     beyond the log. MsgApp is safe: its commit index is cut to its last entry.
//   - raft.send, "term should be set": a campaign after a term of 2^64-1 has term 0.
//     Every message with a higher term raises the term, MsgPreVote and a granting
//     MsgPreVoteResp excepted, and the log keeps it.
//   - raft.send, "message should not be self-addressed": an answer to a message in
//     this member's own name.
//   - readOnly.maybeAdvance, slice bounds out of range: MsgHeartbeatResp of a quorum
//     for rounds of reads that were never begun. One such answer confirms reads too early.
//   - Progress.MaybeUpdate with an index beyond the log: MsgAppResp. The leader then
//     looks for entries that do not exist, and counts later ones as stored by the sender.
//   - an append by a node outside the configuration has an effect. A member that has not applied the
//     change which made the sender a member cannot know it, and would never hear of the change if the
//     sender leads. So who begins a conversation is believed, unless it was a member before;
//     package transport lets nobody through but nodes of the cluster. Raft counts no vote and no
//     acknowledgement of a node outside the configuration.
//   - MsgApp and MsgHeartbeat of a second leader in one term: the follower changes
//     sides, and a former leader of that term takes the other's entries for its own.
//   - MsgTimeoutNow of a member that does not lead starts an election without a pre-vote.
//   - MsgReadIndexResp of a member that does not lead could confirm a read.
//
// The conflict of MsgApp with a committed entry ("conflict with committed entry",
// "after is out of range") cannot be reached: an append that begins below the
// commit index is answered without looking at its entries. Entries have the indexes
// and terms that package transport demands.
func admit(v *view, m *raftpb.Message) error {
	t, from, term := m.GetType(), m.GetFrom(), m.GetTerm()
	refuse := func(r Reason, format string, args ...any) error {
		return &RefusedError{Reason: r, Type: t, From: from, Why: fmt.Sprintf(format, args...)}
	}
	if t == raftpb.MsgReadIndex && from == v.self {
		// A former leader forwards reads, with the name of the reader, to the new one.
		return errors.Wrap(errStale, "a read of this node came back")
	}
	if from == v.self || m.GetTo() != v.self {
		return refuse(ReasonSender, "it is from node %d to node %d, and this is node %d", from, m.GetTo(), v.self)
	}
	if v.former[from] {
		return errors.Wrapf(errStale, "node %d is no member any more", from)
	}
	if !v.members[from] && from != v.leader && !begins(t) {
		return errors.Wrapf(errStale, "node %d is not known to be a member", from)
	}
	if term > v.windowTerm && term-v.windowTerm > maxTermRise {
		return refuse(ReasonTerm, "it has term %d, and this node is in term %d: no honest member is that far ahead. "+
			"Look for the reason on node %d, and stop that node if its data or its binary cannot be trusted", term, v.term, from)
	}
	if term < v.term && t != raftpb.MsgReadIndex {
		return nil // etcd/raft ignores it, or answers with the newer term
	}
	rival := term == v.term && v.leader != 0 && v.leader != from
	switch t {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		switch {
		case rival || term == v.led:
			leader := v.leader
			if term == v.led {
				leader = v.self
			}
			return refuse(ReasonLeader, "node %d acts as leader of term %d, and node %d led that term: a term has one leader. "+
				"Node %d lies, or it runs on a copy of its data", from, term, leader, from)
		case t == raftpb.MsgSnap && !slices.Contains(memberIDs(m.GetSnapshot().GetMetadata().GetConfState()), v.self):
			// The leader's mark is older than the change that made this node a member. It sends a newer one.
			return errors.Wrapf(errStale, "its snapshot does not name this node, %d, among the members", v.self)
		case v.deafTo == from:
			return errors.Wrapf(errStale, "node %d sent an entry a moment ago that was refused", from)
		case t == raftpb.MsgHeartbeat && m.GetCommit() > v.last:
			return refuse(ReasonCommit, "the leader, node %d, believes that this node stores every entry up to raft index %d, and this node's log ends at %d. "+
				"Either this node has lost entries (its disk was replaced, or restored from an older copy), or the leader lies. "+
				"If this node's data were replaced or restored, stop it and leave it stopped: it has forgotten what it acknowledged. "+
				"Otherwise compare the members' roots (cairn status) and stop the one that differs", from, m.GetCommit(), v.last)
		}
	case raftpb.MsgAppResp:
		if v.role == RoleLeader && term == v.term && m.GetIndex() > v.last {
			return refuse(ReasonAck, "it speaks of raft index %d, and this leader's log ends at %d: node %d lies, or it holds the data of another cluster",
				m.GetIndex(), v.last, from)
		}
	case raftpb.MsgHeartbeatResp:
		if c := m.GetContext(); v.role == RoleLeader && term == v.term && len(c) == 8 && binary.LittleEndian.Uint64(c) > v.asked {
			return refuse(ReasonAck, "it confirms round %d of reads, and this leader has begun %d: node %d lies", binary.LittleEndian.Uint64(c), v.asked, from)
		}
	case raftpb.MsgTimeoutNow:
		if rival {
			return refuse(ReasonLeader, "node %d asks this node to take over leadership of term %d, which node %d has", from, term, v.leader)
		}
	case raftpb.MsgReadIndexResp:
		switch {
		case rival:
			return refuse(ReasonLeader, "node %d answers a read of term %d, which node %d leads", from, term, v.leader)
		case v.leader != from || term != v.term:
			return errors.Wrapf(errStale, "answer to a read of node %d, which is not known to lead", from)
		}
	case raftpb.MsgVote, raftpb.MsgPreVote, raftpb.MsgVoteResp, raftpb.MsgPreVoteResp, raftpb.MsgReadIndex:
	default:
		return refuse(ReasonSender, "members do not send each other messages of this type")
	}
	return nil
}

// begins reports whether candidates and leaders send messages of a type without having been asked.
func begins(t raftpb.MessageType) bool {
	switch t {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap, raftpb.MsgVote, raftpb.MsgPreVote:
		return true
	}
	return false
}
