package raftnode

import "sync/atomic"

// Limits bound, in bytes, what the groups of a process hold in memory for others. Each is one
// budget for all groups, whose number does not change it. A group that is alone can use 7/8 of it.
// Zero values mean the defaults given.
type Limits struct {
	// QueueBytes bounds the requests that wait for a block; Submit refuses what exceeds it. 64 MiB.
	QueueBytes int
	// InflightBytes bounds the blocks proposed here that are neither applied nor lost; the next
	// block waits. 64 MiB.
	InflightBytes int
	// InboxBytes bounds the entries of others that wait for a turn, and all entries that wait for
	// the disk. An append that exceeds it is dropped, and the leader sends it again. 96 MiB, in
	// which the window of one leader fits.
	InboxBytes int
}

// budgetReserve is budget.reserve, in bytes.
const budgetReserve = 64 << 10

// budgets are those of Limits.
type budgets struct{ queue, inflight, inbox budget }

func newBudgets(l Limits) *budgets {
	setDefault(&l.QueueBytes, 64<<20)
	setDefault(&l.InflightBytes, 64<<20)
	setDefault(&l.InboxBytes, 96<<20)
	return &budgets{
		queue:    budget{total: l.QueueBytes, reserve: budgetReserve},
		inflight: budget{total: l.InflightBytes, reserve: budgetReserve},
		inbox:    budget{total: l.InboxBytes, reserve: budgetReserve},
	}
}

// budget is a number of bytes that many parts share.
//
// A part may always have reserve bytes, and it may always have one thing, whatever its size: nobody
// is kept from its work by what others hold, and every group gets on. Beyond that it may have seven
// times what it leaves free for all. So one greedy part leaves 1/8 of the total, two leave 1/15, and
// a part that begins later gets as much as they have, as soon as they let go.
//
// Invariant: used is at most total, and for each part one thing or reserve more.
type budget struct {
	total, reserve int
	used           atomic.Int64 // the sum of all parts
}

// part is what one user has of a budget. Safe for concurrent use. Its used never exceeds what its
// budget allows by more than callers that come at the same time.
type part struct {
	of   *budget
	used atomic.Int64
}

// room is how many bytes the part may take now, beside the one thing that an empty part may take.
func (p *part) room() int {
	mine, all := p.used.Load(), p.of.used.Load()
	// The largest n with mine+n <= 7*(total-all-n).
	free := (7*(int64(p.of.total)-all) - mine) / 8
	return int(max(0, free, int64(p.of.reserve)-mine))
}

// take takes n bytes; false when the part has to do without.
func (p *part) take(n int) bool {
	ok := p.fits(n)
	if ok {
		p.add(n)
	}
	return ok
}

// fits reports whether take would take n bytes.
func (p *part) fits(n int) bool { return p.used.Load() == 0 || n <= p.room() }

// add takes n bytes that the part has already, or gives them back when n is negative.
func (p *part) add(n int) {
	p.used.Add(int64(n))
	p.of.used.Add(int64(n))
}

// clear gives back everything.
func (p *part) clear() { p.of.used.Add(-p.used.Swap(0)) }
