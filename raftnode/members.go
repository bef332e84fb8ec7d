package raftnode

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// Members are those who belong to a group: a configuration of Raft. Ids ascend. Immutable.
//
// # How members change
//
//  1. Driver.ChangeMembers gives the leader a block that changes the members in the state machine. The
//     entry that carries it is an EntryConfChangeV2 whose Context is the block. Its list of changes
//     only says in Raft's words what the block does.
//  2. The entry is committed by the members before it, and applied like every block. The machine
//     decides whether the block has an effect. Config.Members then says who belongs to the group,
//     and the core takes that over before Raft learns that the entry is applied. A block without
//     effect changes nobody.
//  3. From then on the leader counts the members after it.
//
// So there is one truth about the members, the machine's state, and Raft follows it. No change is
// ever joint: the next configuration differs from the one before by at most one voter, so a quorum
// of each shares a member with a quorum of the other.
//
// # Why two leaders of one term cannot be elected, nor two entries committed at one index
//
// Members that have applied different prefixes of the log count different quorums. Let C1 be the
// change that made the present members, and C2 the next one.
//
//   - A leader proposes C2 only when it has applied C1 (CanChange), and an entry of its own term
//     before (CanPropose). So at most C1 and C2 are in question at a time.
//   - The append that carries C2 carries a commit index that covers C1. A member writes the two in
//     one commit of the log (Core.written.spared). So whoever holds C2 durably knows, after a crash
//     too, that C1 is committed.
//   - Raft does not let a member campaign that knows of a committed change which it has not applied.
//     That is why the entries have a type of their own.
//   - So a candidate counts the members after C1 if it holds C2, and otherwise it needs the vote of a
//     member of the quorum that committed C2, which refuses it: its log is older.
//
// A member may count members that are newer than what it has applied of the log (its machine got the
// blocks in another way): what they follow from is committed, and a quorum of them has a member that
// refuses the candidate whose log does not hold it. A member must never count older ones.
//
// # Where the members are kept
//
// The mark of the log has those at the mark's index (wal.Mark.ConfState), in the same frame as the
// position. A start begins with them, applies the entries behind the mark again, and follows the
// machine as above. A MsgSnap carries those of its index, because it is a mark.
type Members struct {
	Voters, Learners []uint64
}

// MembersOf returns the members that a ConfState names.
func MembersOf(cs *raftpb.ConfState) *Members {
	sorted := func(ids []uint64) []uint64 { return slices.Sorted(slices.Values(ids)) }
	return &Members{Voters: sorted(cs.GetVoters()), Learners: sorted(cs.GetLearners())}
}

// ConfState returns the members in Raft's form.
func (m *Members) ConfState() *raftpb.ConfState {
	return &raftpb.ConfState{Voters: slices.Clone(m.Voters), Learners: slices.Clone(m.Learners)}
}

// All returns the ids of all members.
func (m *Members) All() []uint64 {
	ids := append(slices.Clone(m.Voters), m.Learners...)
	slices.Sort(ids)
	return ids
}

// Has reports whether a node is a member.
func (m *Members) Has(id uint64) bool {
	return slices.Contains(m.Voters, id) || slices.Contains(m.Learners, id)
}

// Equal reports whether two configurations are the same.
func (m *Members) Equal(o *Members) bool {
	return slices.Equal(m.Voters, o.Voters) && slices.Equal(m.Learners, o.Learners)
}

func (m *Members) String() string { return fmt.Sprintf("voters %v, learners %v", m.Voters, m.Learners) }

// changes lists the steps that lead from one configuration to another. Each changes one member, and
// those that take somebody away come last, so that a voter is left at all times.
func changes(from, to *Members) (list []*raftpb.ConfChangeSingle) {
	add := func(t raftpb.ConfChangeType, id uint64) {
		list = append(list, &raftpb.ConfChangeSingle{Type: t.Enum(), NodeId: new(id)})
	}
	for _, id := range to.Voters {
		if !slices.Contains(from.Voters, id) {
			add(raftpb.ConfChangeAddNode, id)
		}
	}
	for _, id := range to.Learners {
		if !slices.Contains(from.Learners, id) {
			add(raftpb.ConfChangeAddLearnerNode, id)
		}
	}
	for _, id := range from.All() {
		if !to.Has(id) {
			add(raftpb.ConfChangeRemoveNode, id)
		}
	}
	return list
}

// votersChanged counts the voters that one configuration has and the other has not.
func votersChanged(from, to *Members) (n int) {
	for _, pair := range [][2]*Members{{from, to}, {to, from}} {
		for _, id := range pair[0].Voters {
			if !slices.Contains(pair[1].Voters, id) {
				n++
			}
		}
	}
	return n
}

// Members returns those that the core counts.
func (c *Core) Members() *Members { return c.members }

// CanChange says whether ProposeChange would be tried now: what CanPropose says, or ErrChanging.
func (c *Core) CanChange() error {
	if c.changing != 0 {
		return ErrChanging
	}
	return c.CanPropose()
}

// ProposeChange is Propose for data that change the members. One change is under way at a time.
func (c *Core) ProposeChange(tag uint64, data []byte, to *Members) error {
	if err := c.CanChange(); err != nil {
		return err
	}
	steps := changes(c.members, to)
	if n := votersChanged(c.members, to); n > 1 || len(steps) == 0 || len(to.Voters) == 0 {
		return errors.Wrapf(ErrDropped, "a change from %s to %s: %d voters differ, want at most one and a voter left", c.members, to, n)
	}
	encoded, err := proto.Marshal(&raftpb.ConfChangeV2{Changes: steps, Context: data})
	if err != nil {
		return errors.Mark(errors.Wrap(err, "encode a change of members"), ErrDropped)
	}
	if err := c.proposeEntry(tag, &raftpb.Entry{Type: raftpb.EntryConfChangeV2.Enum(), Data: encoded}); err != nil {
		return err
	}
	c.changing = tag
	return nil
}

// BlockOf returns the data of the block that an entry carries. What does not parse is data that no
// machine understands.
func BlockOf(e *raftpb.Entry) []byte {
	if e.GetType() == raftpb.EntryNormal {
		return e.GetData()
	}
	cc := &raftpb.ConfChangeV2{}
	if e.GetType() != raftpb.EntryConfChangeV2 || proto.Unmarshal(e.GetData(), cc) != nil {
		return nil
	}
	return cc.GetContext()
}

// follow takes over the members that the machine has after what it has applied.
func (c *Core) follow(to *Members) {
	if to == nil || c.members.Equal(to) {
		return
	}
	c.farewell(to)
	for _, step := range changes(c.members, to) {
		c.rn.ApplyConfChange(&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{step}})
	}
	c.setMembers(to)
}

// setMembers notes who belongs to the group, and who does not any more.
func (c *Core) setMembers(to *Members) {
	if c.former == nil {
		c.former = map[uint64]bool{}
	}
	if c.members != nil {
		for _, id := range c.members.All() {
			c.former[id] = true
		}
	}
	c.members = to
	c.memberSet = make(map[uint64]bool)
	for _, id := range to.All() {
		c.memberSet[id] = true
		delete(c.former, id)
	}
	c.failover.active = c.failover.active && slices.Contains(to.Voters, c.cfg.ID)
}

// farewell tells those who are about to be removed how far the log is committed, as far as this leader
// knows that they hold it: nobody sends them anything afterwards. Who does not hear it stays without a
// leader, and nobody listens to it.
func (c *Core) farewell(to *Members) {
	b := c.rn.BasicStatus()
	if b.RaftState != raft.StateLeader {
		return
	}
	e := Effects{State: c.state}
	c.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id != c.cfg.ID && !to.Has(id) && pr.Match > 0 {
			e.Send = append(e.Send, &raftpb.Message{
				Type: raftpb.MsgHeartbeat.Enum(), From: new(c.cfg.ID), To: new(id), Term: new(b.GetTerm()), Commit: new(min(pr.Match, b.GetCommit())),
			})
		}
	})
	if len(e.Send) > 0 {
		c.queued = append(c.queued, e)
	}
}
