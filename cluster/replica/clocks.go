package replica

import (
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// freshClock is how old a peer's answer may be and still say what its clock shows.
const freshClock = 5 * time.Second

// Clocks are the clocks that a replica knows.
type Clocks struct {
	// Now is this node's wall clock.
	Now func() time.Time
	// Samples are the other members' newest answers. Nil: nothing is known of their clocks.
	Samples func() map[uint64]transport.ClockSample
	// MaxOffset is how far a clock may be away from those of a majority.
	MaxOffset time.Duration
	// Voters is the number of members whose majority counts as long as the ledger has no policy.
	Voters int
}

// clocks compares this node's wall clock with those of the other members. Ledger time is
// the leader's clock, so one clock that is far ahead could move the ledger's time to where
// no honest clock follows: three rules keep it within MaxOffset of a majority.
//
//   - A node whose clock is more than MaxOffset away from those of a majority does not
//     lead (unfit).
//   - A leader stamps no time that lies more than MaxOffset/2 ahead of what a majority's
//     clocks show (ceiling).
//   - A follower does not store a block whose time lies more than MaxOffset ahead of its
//     own clock (vet), so that a leader which breaks the second rule gets nothing committed.
//
// A follower makes two exceptions, because time that a majority has agreed to must not
// stop anybody later: a time that its own ledger has reached already, and a time that the
// ledgers of more members have reached than can lie while a majority is honest.
type clocks struct {
	Clocks
	// policy is the newest one of the ledger; nil when it has none.
	policy func() *ledger.Policy
	// ledgerTime is the time of the newest entry here, µs since the Unix epoch.
	ledgerTime func() int64
	// stored is the newest time of a block that this node has stored or built, and stamped that
	// of the blocks which it has built since it began to lead, µs since the Unix epoch. Both are
	// owned by the group's turns.
	stored, stamped int64
}

// samples returns the fresh answers of the others whose clocks count: those that vote.
func (c *clocks) samples() (fresh []transport.ClockSample) {
	p := c.policy()
	for id, s := range c.Samples() {
		if s.Age > freshClock {
			continue
		}
		if p != nil {
			if m := p.Member(id); m == nil || m.Learner {
				continue
			}
		}
		fresh = append(fresh, s)
	}
	return fresh
}

// voters is how many members vote.
func (c *clocks) voters() int {
	if p := c.policy(); p != nil {
		return len(p.Voters())
	}
	return c.Voters
}

// offsets returns how far the clocks of the members that are known are ahead of this
// node's, which is among them with 0, in ascending order. An uncertainty in this node's
// favour is taken off.
func (c *clocks) offsets() []time.Duration {
	out := []time.Duration{0}
	for _, s := range c.samples() {
		offset := min(max(s.Offset, -1<<62), 1<<62) // 146 years: a lie does not overflow
		switch doubt := s.RoundTrip / 2; {
		case offset > doubt:
			out = append(out, offset-doubt)
		case offset < -doubt:
			out = append(out, offset+doubt)
		default:
			out = append(out, 0)
		}
	}
	slices.Sort(out)
	return out
}

// quorum is a majority of the voters.
func (c *clocks) quorum() int { return c.voters()/2 + 1 }

// ahead returns how far this node's clock is ahead of the median of the clocks that are
// known; negative when it is behind.
func (c *clocks) ahead() time.Duration {
	o := c.offsets()
	return -o[len(o)/2]
}

// unfit says why this node is not to lead: the clocks of a majority of the voters are known, each
// is more than MaxOffset away from this node's, and so is their median. While fewer are known,
// nobody can say whose clock is wrong, and the ceiling keeps the time in order.
func (c *clocks) unfit() error {
	far := 0
	for _, o := range c.offsets() {
		if o.Abs() > c.MaxOffset {
			far++
		}
	}
	ahead, direction := c.ahead(), "ahead of"
	if far < c.quorum() || ahead.Abs() <= c.MaxOffset {
		return nil // of clocks that all differ, the one in the middle leads
	}
	if ahead < 0 {
		direction = "behind"
	}
	return errors.Newf("its clock is %s %s those of a majority, more than clock.max_offset (%s): synchronise the clock",
		ahead.Abs().Round(time.Millisecond), direction, c.MaxOffset)
}

// stamp returns the time of the next block that this node builds, µs since the Unix epoch:
// its clock, but no more than MaxOffset/2 ahead of what a majority's clocks show, and never
// below the ledger's time.
func (c *clocks) stamp() int64 {
	c.stamped = max(c.stamped, c.reached())
	c.stored = max(c.stored, c.stamped)
	return c.stamped
}

// reached returns the time that a block of this node would have at least, µs since the Unix epoch.
// It may be called by any goroutine.
func (c *clocks) reached() int64 {
	o := c.offsets()
	// The quorum-th largest: a majority's clocks show that much or more. With fewer known,
	// the smallest.
	majority := o[max(0, len(o)-c.quorum())]
	now := c.Now().UnixMicro()
	ceiling := now + majority.Microseconds() + (c.MaxOffset / 2).Microseconds()
	return max(c.ledgerTime(), min(now, ceiling))
}

// lead says that this node begins to lead: it has applied everything before its term, so the
// ledger's time covers what it stamped in earlier terms.
func (c *clocks) lead() { c.stamped = 0 }

// vet judges a block that another leader wants this node to store. It reads the first
// bytes of the block only. A malformed block may be stored: it has no effect.
func (c *clocks) vet(block []byte) error {
	t, err := ledger.PeekBlock(block)
	switch {
	case errors.Is(err, ledger.ErrNewerBlock):
		return errors.Wrap(err, "the leader writes blocks of a version that this node cannot apply, so this node stores none of them")
	case err != nil:
		return nil
	}
	now := c.Now().UnixMicro()
	if t > now+c.MaxOffset.Microseconds() && t > max(c.stored, c.ledgerTime()) && !c.agreed(t) {
		return errors.Newf("the time of the block lies %s ahead of this node's clock, more than clock.max_offset (%s), so this node does not store it: "+
			"either the leader's clock is wrong or this node's. Compare the clocks of all members and synchronise them",
			time.UnixMicro(t).Sub(time.UnixMicro(now)).Round(time.Second), c.MaxOffset)
	}
	c.stored = max(c.stored, t)
	return nil
}

// agreed reports whether the ledgers of more other members have reached a time than can
// lie: with a majority of honest members at least one of them is honest.
func (c *clocks) agreed(t int64) bool {
	reached := 0
	for _, s := range c.samples() {
		if s.Mark >= t {
			reached++
		}
	}
	return reached > (c.voters()-1)/2
}
