package raftnode

import "slices"

// staggerTicks separates the first campaigns of members that learn at the same
// time that their leader is gone: an election is one sync and one round trip, so
// the first in line has normally won before the second would start.
const staggerTicks = 3

// failoverAttempts bounds how often a member campaigns because of one PeerDown;
// after that the ordinary election timeout takes over.
const failoverAttempts = 4

// failover is a plan to campaign at given ticks, because the leader's process is
// known to be gone. It ends as soon as a leader is known.
//
// Attempt k of the member with rank r among n survivors comes
// staggerTicks * (n*(2^k-1) + r*2^k) ticks after the news: the turns of different
// members never coincide, and their distance doubles from round to round, in
// case an election takes longer than hoped.
type failover struct {
	attempt, rank, survivors int
	active                   bool
	start                    uint64 // tick of the news
	term                     uint64 // newest term seen at a turn
}

func (f *failover) next() uint64 {
	scale := 1 << f.attempt
	return f.start + uint64(staggerTicks*(f.survivors*(scale-1)+f.rank*scale))
}

// PeerDown says that a member's process is gone for certain (its connections
// broke and a new one was refused). If it led, this member forgets it, which lets
// it grant votes at once, and campaigns: one surviving voter immediately, the others
// staggered, so that they do not split the vote. Who is first depends on the group, so
// that one survivor need not take over everything that a dead node has led.
//
// The first attempt can fail because another survivor has not heard of the death
// and still protects its leader; later attempts of everybody cover that.
func (c *Core) PeerDown(id uint64) {
	c.rn.ReportUnreachable(id)
	b := c.rn.BasicStatus()
	if id == c.cfg.ID || b.Lead != id {
		return
	}
	if err := c.rn.ForgetLeader(); err != nil {
		c.cfg.Logger.Warningf("forget leader %d: %v", id, err)
		return
	}
	c.succeed(id)
}

// Begin says that the group has just begun: nobody has led it, and its members begin it at about
// the same time. They campaign in turn, as after the death of a leader, instead of waiting for
// their election timeouts. The first attempts can fail because the others have not begun yet.
func (c *Core) Begin() { c.succeed(0) }

// succeed plans campaigns of the voters but the one that is gone.
func (c *Core) succeed(gone uint64) {
	survivors := slices.DeleteFunc(c.voters(), func(v uint64) bool { return v == gone })
	rank := slices.Index(survivors, c.cfg.ID)
	if rank < 0 {
		return // a learner does not campaign
	}
	n := len(survivors)
	rank = (rank + int((c.cfg.Group-1)%uint64(n))) % n
	c.failover = failover{active: true, rank: rank, survivors: n, start: c.now, term: c.rn.BasicStatus().GetTerm()}
	c.tickFailover()
}

func (c *Core) tickFailover() {
	f := &c.failover
	if !f.active || c.now < f.next() {
		return
	}
	b := c.rn.BasicStatus()
	f.attempt++
	if b.Lead != 0 || f.attempt > failoverAttempts {
		f.active = false
		return
	}
	if b.GetTerm() != f.term {
		f.term = b.GetTerm()
		return // somebody's election is under way: leave it this turn
	}
	c.Campaign()
}
