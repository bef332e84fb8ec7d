package raftnode

import "slices"

// staggerTicks separates the campaigns of members that learn at the same time
// that their leader is gone: an election is one sync and one round trip, so the
// first in line has normally won before the second would start.
const staggerTicks = 3

// failoverAttempts bounds how often a member campaigns because of one PeerDown;
// after that the ordinary election timeout takes over.
const failoverAttempts = 3

// failover is a plan to campaign at given ticks, because the leader's process is
// known to be gone. It is dropped as soon as a leader or a newer term is known.
type failover struct {
	attempts int    // left; 0 = no plan
	at       uint64 // tick of the next attempt
	period   uint64 // ticks between attempts
	term     uint64 // term when the plan was made
}

// PeerDown says that a member's process is gone for certain (its connections
// broke and a new one was refused). If it led, this member forgets it, which lets
// it grant votes at once, and campaigns: the surviving voter with the lowest id
// immediately, the others staggered, so that they do not split the vote.
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
	survivors := slices.DeleteFunc(c.voters(), func(v uint64) bool { return v == id })
	rank := slices.Index(survivors, c.cfg.ID)
	if rank < 0 {
		return // a learner does not campaign
	}
	c.failover = failover{
		attempts: failoverAttempts,
		at:       c.now + uint64(rank*staggerTicks),
		period:   uint64(len(survivors) * staggerTicks),
		term:     b.GetTerm(),
	}
	c.tickFailover()
}

func (c *Core) tickFailover() {
	f := &c.failover
	if f.attempts == 0 || c.now < f.at {
		return
	}
	b := c.rn.BasicStatus()
	if b.Lead != 0 || b.GetTerm() != f.term {
		f.attempts = 0
		return
	}
	f.attempts--
	f.at += f.period
	c.Campaign()
}
