package sim

import (
	"slices"
	"time"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode"
)

// The members of a ledger come and go in a third of the ledgers of runs with four nodes or more. Such
// a ledger begins with fewer members than there are nodes. Every node hosts it all the same, as a node
// does that waits to become a member. Nobody becomes a member twice.

// planMembers decides whether the ledger's members change, and who they are at first.
func (g *group) planMembers() {
	g.founders = g.w.opt.Nodes
	r := g.stream("members", 0)
	if change := r.IntN(3) == 0; g.w.opt.Nodes < 4 || !change && !g.w.opt.members {
		return
	}
	g.changes = true
	g.founders = max(3, g.w.opt.Nodes-1-r.IntN(2))
	g.newest = uint64(g.founders)
	gap := pick(r, 300*time.Millisecond, time.Second, 2*time.Second)
	for at := exp(r, gap); at < g.w.opt.Duration; at += exp(r, gap) {
		choice := r.IntN(1 << 30)
		g.w.after(at, func() { g.changeMembers(choice) })
	}
}

func (g *group) founderIDs() (ids []uint64) {
	for id := range g.founders {
		ids = append(ids, uint64(id+1))
	}
	return ids
}

// changeMembers asks the leader for a change. Most of the time it is one that makes sense.
func (g *group) changeMembers(choice int) {
	m := g.leader()
	if m == nil || !m.state.Serving || m.Policy() == nil {
		return
	}
	p := m.Policy().Newest
	c := replica.MemberChange{Force: choice%4 == 0}
	var learners []uint64
	for _, x := range p.Members {
		if x.Learner {
			learners = append(learners, x.ID)
		}
	}
	voters, spare := p.Voters(), g.newest < uint64(g.w.opt.Nodes)
	comes := func() ledger.Member {
		g.newest++ // even if it is refused: an id is never taken twice
		return simKeys().genesis(g.id, int(g.newest), nil).Members[g.newest-1]
	}
	victim := voters[choice/64%len(voters)].ID
	switch kind := choice / 8 % 8; {
	case len(learners) > 0 && kind < 5:
		c.Reason, c.ID = ledger.PolicyPromote, learners[0]
	case kind == 5 && spare && len(voters) > 3 && victim != m.n.id:
		c.Reason, c.ID, c.Comes = ledger.PolicyReplace, victim, comes()
	case len(voters) > 3 && kind > 2:
		c.Reason, c.ID = ledger.PolicyRemove, victim
	case spare:
		c.Reason, c.Comes = ledger.PolicyAdd, comes()
	case len(voters) > 3:
		c.Reason, c.ID = ledger.PolicyRemove, victim
	default:
		return
	}
	g.w.note(m.n.id, "members", "%s of %d, %d comes, force %t", c.Reason, c.ID, c.Comes.ID, c.Force)
	m.ChangeMembers(principalOf(m.n.id), c, func(ledger.Result, error) {})
}

// noteMembers tells the checker of a change that this member is the first to apply.
func (m *member) noteMembers() {
	in := m.Policy()
	if in == nil || m.policy == in.Newest {
		return
	}
	old := m.policy
	m.policy = in.Newest
	block, err := m.ledger.BlockAt(in.Index)
	if err != nil {
		m.g.fail("members", in.Index, "node %d cannot read the change of its members: %v", m.n.id, err)
		return
	}
	members := replica.MembersOf(in.Newest)
	if !m.g.raft.Changed(block.RaftIndex, members.Voters) || old == nil || in.Index == 0 {
		return
	}
	before := replica.MembersOf(old)
	if before.Equal(members) {
		return
	}
	m.w.stats.MemberChanges++
	for _, id := range before.All() {
		if !members.Has(id) {
			m.w.stats.MembersRemoved++
		}
	}
	for _, id := range members.Voters {
		if !slices.Contains(before.Learners, id) {
			continue
		}
		m.w.stats.Promotions++
		// Some entries may have been on their way when the leader proposed it.
		if has := m.g.raft.Holds(id); has+promoteLag < block.RaftIndex {
			m.g.fail("members", block.RaftIndex, "node %d becomes a voter at raft index %d, and its log is durable up to %d", id, block.RaftIndex, has)
		}
	}
}

// promoteLag is how far the log of a learner may end before the change that makes it a voter: the lag
// that a leader accepts, and what is in flight at most.
const promoteLag = 16 + 10

// counts tells the checker whom the core counts.
func (m *member) counts(members *raftnode.Members) {
	if members != m.counted {
		m.counted = members
		m.g.raft.CountsVoters(m.n.id, m.log.Mark().Index, members.Voters)
	}
}

// leave ends the part that the member takes in the group: the node was removed.
func (m *member) leave() {
	m.w.note(m.n.id, "members", "it was removed%s", m.g.label(" from "))
	m.StopSealing()
	m.StopWorking()
	m.driver.Refuse()
	m.driver.Close()
}

// isMember reports whether a node is a member by the newest policy of another one.
func (m *member) isMember(node uint64) bool {
	in := m.Policy()
	return in == nil || in.Newest.Member(node) != nil
}
