package raftnode

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// quiet is what stands in for the core of a member that has nothing to do.
//
// # Idea
//
// An idle group exchanges the same heartbeats and the same answers round after round. A core that
// is stepped with one of them changes in one respect: a follower restarts its election timeout, a
// leader knows that the follower is active. A quiet member notes such a beat instead of stepping its
// core with it, counts its ticks instead of taking them, and sends the beats that its core would
// send. The core stands still meanwhile. Only the work is saved: what leaves a quiet member is what
// would leave it otherwise, each heartbeat names its group and term, and no member has to know
// whether another one is quiet.
//
// A member becomes quiet at the end of a turn, and the next turn, whatever for, ends it. Before that
// turn does anything else it brings the core up to date: the core is stepped with the newest answer
// of each member and takes the ticks since, in their order (Core.resume). The core is then in a
// state to which it could have come by itself.
//
// # Invariants
//
//  1. Safety does not rest on it. The core is stepped with messages that came and ticks that passed,
//     with nothing else. Votes, appends, reads and their confirmation are never noted.
//  2. A noted beat has no effect but on the time: it is of the present term, a heartbeat is from the
//     leader that the core follows and commits nothing new, and an answer is from a member that
//     stores the whole log. Every other message is mail, and mail is a turn.
//  3. One lock (inbox.mu) covers noting, counting, becoming quiet and the end of it: no beat and no
//     tick falls between a turn and the next one.
//  4. A member becomes quiet only where its core's timers begin: a follower in a turn that heard the
//     leader, with no tick since; a leader after a tick that sent heartbeats. So time that the core
//     has not seen is counted here, all of it.
//  5. Silence ends it in time: the member takes a turn before a counted member (contact.counted) has
//     been silent for an election timeout, and from then on takes every tick as it comes.
//
// # Failures
//
//   - The leader's process dies: the news is mail (PeerDown), so all its followers campaign as others.
//   - The leader falls silent, or a follower cannot hear it: patience ends, the core gets the ticks
//     since the leader was heard, and the election timeout ends when it would have ended.
//   - A leader does not hear a member that was active: patience ends, the core gets the ticks since,
//     and steps down, or goes on without that member, when it would have done so.
//   - A follower restarts, steps down its leader, or follows another one: its messages are of another
//     type or term, or it is silent. Nothing is assumed about a member that is not heard.
//   - A beat is lost, repeated or late: as it is for a core.
//   - This member's disk stalls, or the member becomes unfit: looked at with the rounds (tickQuiet).
//   - The process stands still: ticks that the shell loses are lost here too.
type quiet struct {
	on bool
	// leads: the member leads in term; otherwise it follows the one contact.
	leads bool
	term  uint64
	// commit is the core's commit index. A heartbeat with a higher one has news.
	commit uint64
	// patience is how many ticks a counted contact may be silent.
	patience uint64
	// clock counts the ticks since the member became quiet.
	clock uint64
	// beaten is the clock when a leader sent heartbeats last, looked that when the member's fitness
	// was looked at last. Of a leader both begin at a round, as the clock does.
	beaten, looked uint64
	contacts       []contact
}

// contact is another member. A leader has all of them, a follower its leader.
type contact struct {
	id uint64
	// counted: the member is expected to be heard. A leader does not expect that of a member that
	// was not active when it became quiet; what it hears from that one is mail.
	counted bool
	// commit is what a leader's heartbeats to the member say.
	commit uint64
	// heard is the clock when the newest beat of the member was noted; 0 before the first.
	heard uint64
}

// note notes a beat; false when it has to be stepped.
func (q *quiet) note(from uint64, b transport.Beat) bool {
	if !q.on || b.Term != q.term || b.Answer != q.leads || b.Commit > q.commit {
		return false
	}
	for i := range q.contacts {
		if c := &q.contacts[i]; c.id == from && c.counted {
			c.heard = q.clock
			return true
		}
	}
	return false
}

// impatient reports whether somebody has been silent for too long once the next tick has passed.
func (q *quiet) impatient() bool {
	for i := range q.contacts {
		if c := &q.contacts[i]; c.counted && q.clock+1-c.heard >= q.patience {
			return true
		}
	}
	return false
}

// tickQuiet takes a tick of a quiet member in place of its core; false when a turn has to take it.
// inbox.mu is held, so no turn owns anything of the member.
func (d *Driver) tickQuiet(q *quiet, round bool) bool {
	if q.impatient() {
		return false
	}
	if round {
		if d.writes.since.Load() != 0 || d.applies.since.Load() != 0 {
			return false // the watchdog looks at it
		}
		if q.clock-q.looked >= uint64(d.cfg.ElectionTicks) {
			if q.looked = q.clock; d.cfg.Unfit() != nil {
				return false
			}
		}
	}
	q.clock++
	if q.leads && round && q.clock-q.beaten >= uint64(d.cfg.HeartbeatTicks) {
		q.beaten = q.clock
	}
	return true
}

// due appends the contacts to which the newest tick has a heartbeat.
func (q *quiet) due(to []contact) []contact {
	if !q.leads || q.beaten != q.clock {
		return to
	}
	return append(to, q.contacts...)
}

// rest makes the member quiet if it has nothing to do and nothing is on its way to it.
func (d *Driver) rest() {
	q := &d.turn.quiet
	if d.turn.watchdog.keepsOut() || len(d.turn.news.held) > 0 || !d.core.rest(q) {
		return
	}
	if q.leads {
		d.publishProgress() // stays true for as long as the member is quiet
	}
	b := &d.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mu.any && !b.mu.ticked && !b.mu.stopped {
		b.mu.quiet, *q = *q, b.mu.quiet
	}
}

// rest reports whether the core may stand still, and fills q with what has to be known meanwhile.
func (c *Core) rest(q *quiet) bool {
	beat := uint64(c.cfg.HeartbeatTicks)
	patience := uint64(c.cfg.ElectionTicks) - min(uint64(c.cfg.ElectionTicks), 2*beat)
	if patience <= 2*beat || c.failover.active || c.inflight > 0 || len(c.reads.current)+len(c.reads.next) > 0 ||
		c.written.underWay > 0 || c.now < c.deafUntil {
		return false
	}
	b := c.rn.BasicStatus()
	*q = quiet{on: true, term: b.GetTerm(), commit: b.GetCommit(), patience: patience, contacts: q.contacts[:0]}
	switch b.RaftState {
	case raft.StateFollower:
		q.contacts = append(q.contacts, contact{id: b.Lead, counted: true})
		return b.Lead != raft.None && c.heard == c.now
	case raft.StateLeader:
		q.leads = true
		return b.LeadTransferee == raft.None && c.beatTerm == q.term && c.sinceBeat == 0 && c.others(q)
	}
	return false
}

// others fills q with the other members that a leader knows; false when one that is active does not
// store the whole log, or when the active ones are too few. Otherwise everything is committed.
func (c *Core) others(q *quiet) bool {
	ready, voters, active := true, 0, 0
	c.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		counted := pr.RecentActive || id == c.cfg.ID
		if typ != raft.ProgressTypeLearner {
			voters++
			if counted {
				active++
			}
		}
		if id == c.cfg.ID {
			return
		}
		if counted && (pr.State != tracker.StateReplicate || pr.Match != c.last) {
			ready = false
		}
		q.contacts = append(q.contacts, contact{id: id, counted: counted, commit: min(pr.Match, q.commit)})
	})
	return ready && active > voters/2
}

// resume brings the core up to date after it has stood still.
//
// A follower's election timeout has begun when the leader was heard last. A leader is stepped with
// the newest answers and takes the ticks since the oldest of them, from a round on, so that its
// heartbeats keep the rounds. What came before changes nothing: a quorum check that fell into that
// time has found every counted member active. Fewer ticks than an election timeout are left to take,
// and so at most one quorum check.
func (c *Core) resume(q *quiet) {
	if !q.leads {
		for range q.clock - q.contacts[0].heard {
			c.Tick(false)
		}
		return
	}
	beat := uint64(c.cfg.HeartbeatTicks)
	from := q.clock
	for i := range q.contacts {
		if q.contacts[i].counted {
			from = min(from, q.contacts[i].heard)
		}
	}
	round := q.beaten % beat
	for at := from - min(from, (from+beat-round)%beat); ; at++ {
		for i := range q.contacts {
			if m := &q.contacts[i]; m.counted && m.heard == at && at > 0 {
				answer := transport.Beat{Term: q.term, Answer: true}
				c.stepLocal([]*raftpb.Message{answer.Message(m.id, c.cfg.ID)})
			}
		}
		if at == q.clock {
			return
		}
		c.Tick((at+1)%beat == round)
	}
}
