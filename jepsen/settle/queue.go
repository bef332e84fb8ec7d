package settle

import (
	"math/big"
	"slices"
)

// queue is the pairs that wait for an account, and the pass through them. A pass has a place: the
// rank that it has come to, and the next pair of that rank; nil is the first one.
type queue struct {
	ranks [4][]*pair
	due   bool  // a pass is due or under way
	at    int64 // when it goes on
	rank  int
	next  *pair
}

func (q *queue) empty() bool {
	n := 0
	for _, r := range q.ranks {
		n += len(r)
	}
	return n == 0
}

// following returns the pair behind one of the same rank; nil when it is the last one.
func (q *queue) following(p *pair) *pair {
	rank := q.ranks[p.rank()]
	if at := slices.Index(rank, p) + 1; at < len(rank) {
		return rank[at]
	}
	return nil
}

// skip moves the place of a pass behind a pair.
func (q *queue) skip(p *pair) {
	if q.next = q.following(p); q.next == nil {
		q.rank++
	}
}

func (p *pair) rank() int { return int(3 - max(p.older.priority, p.newer.priority)) }

func (m *Model) queue(account string) *queue {
	q := m.queues[account]
	if q == nil {
		q = &queue{}
		m.queues[account] = q
	}
	return q
}

// wait lets a pair wait for an account. A pair that waits there already keeps its place.
func (s *step) wait(p *pair, account string, reason byte) {
	p.status, p.reason = queued, reason
	if p.older.someMoved() {
		p.status = partlySettled
	}
	if p.waits == account {
		return
	}
	s.leave(p)
	p.waits = account
	q, rank := s.m.queue(account), p.rank()
	q.ranks[rank] = append(q.ranks[rank], p)
	if q.due && rank < q.rank { // the pass has gone by its place, and comes back for it
		q.rank, q.next = rank, p
	}
}

// leave takes a pair out of its queue.
func (s *step) leave(p *pair) {
	if p.waits == "" {
		return
	}
	q, rank := s.m.queue(p.waits), p.rank()
	if q.next == p {
		q.skip(p)
	}
	at := slices.Index(q.ranks[rank], p)
	q.ranks[rank] = slices.Delete(q.ranks[rank], at, at+1)
	p.waits = ""
}

func (i *instruction) someMoved() bool {
	for _, l := range i.legs() {
		if l.moved.Sign() > 0 {
			return true
		}
	}
	return false
}

// movement is a leg of a pair: who gives to whom.
type movement struct {
	from, to     *leg // of the two instructions: one thing, seen from both sides
	debit        string
	credit       string
	whole, moved *big.Int
}

// movements are the legs of a pair, what the older instruction delivers first.
func (p *pair) movements() (all []movement) {
	for _, x := range [][2]*leg{{p.older.delivers, p.newer.receives}, {p.newer.delivers, p.older.receives}} {
		if from, to := x[0], x[1]; from != nil {
			all = append(all, movement{from, to, from.account, to.account, from.amount, from.moved})
		}
	}
	return all
}

// booking is what an entry moved of a pair.
type booking map[*leg]*big.Int

func (s *step) moved(l *leg) *big.Int {
	if n := s.booked[l]; n != nil {
		return n
	}
	return new(big.Int)
}

// attempt settles a pair as far as it can be settled now.
func (s *step) attempt(p *pair) { s.try(p, "") }

// try is attempt by a pass through the queue of an account; "" for none.
func (s *step) try(p *pair, passing string) {
	switch {
	case over(p.end(), s.e.time):
		s.finishPair(p, expired, instructionExpired)
		return
	case p.older.held || p.newer.held:
		s.leave(p)
		p.status, p.reason = held, 0
		return
	case s.e.time < p.older.begins():
		s.leave(p)
		p.status, p.reason = matched, 0
		return
	}
	moves := p.movements()
	if passing == "" {
		for _, v := range moves {
			if q := s.m.queues[v.debit]; q != nil && q.due {
				s.wait(p, v.debit, behindQueue)
				return
			}
		}
	}
	whole := make([]*big.Int, len(moves))
	for k, v := range moves {
		whole[k] = difference(v.whole, v.moved)
	}
	reason, account := s.obstacle(moves, whole)
	switch {
	case reason == 0:
		s.book(moves, whole)
		s.leave(p)
		p.status, p.reason = settled, 0
		s.finishPair(p, settled, 0)
		return
	case reason == debitClosed || reason == creditClosed:
		s.finishPair(p, cancelled, reason)
		return
	}
	limit := reason == insufficientFunds || reason == limitExceeded || reason == creditLimitExceeded || reason == amountOverflow
	if p.older.partial && p.newer.partial && limit {
		reason, account = s.part(moves)
	}
	s.wait(p, account, reason)
}

// part settles the largest part for which there is room, and says what stands against the smallest
// further one.
func (s *step) part(moves []movement) (reason byte, account string) {
	counted := 0
	if len(moves) == 2 && moves[1].whole.Cmp(moves[0].whole) < 0 {
		counted = 1
	}
	c := moves[counted]
	amounts := func(n *big.Int) []*big.Int {
		out := make([]*big.Int, len(moves))
		for k, v := range moves {
			gone := new(big.Int).Mul(v.whole, sum(c.moved, n))
			out[k] = difference(gone.Div(gone, c.whole), v.moved)
		}
		return out
	}
	fits := func(n *big.Int) bool {
		r, _ := s.obstacle(moves, amounts(n))
		return r == 0
	}
	// The largest n that fits: small ones fit when large ones do.
	low, high := new(big.Int), difference(c.whole, c.moved)
	for one := big.NewInt(1); low.Cmp(high) < 0; {
		middle := sum(sum(low, high), one)
		middle.Rsh(middle, 1)
		if fits(middle) {
			low = middle
		} else {
			high = difference(middle, one)
		}
	}
	if low.Sign() > 0 {
		s.book(moves, amounts(low))
		for k, v := range moves {
			moves[k].moved = v.from.moved
		}
		c = moves[counted]
	}
	return s.obstacle(moves, amounts(big.NewInt(1)))
}

// obstacle says what stands against moving amounts, and on which account.
func (s *step) obstacle(moves []movement, amounts []*big.Int) (reason byte, account string) {
	for _, v := range moves {
		d, c := s.m.accounts[v.debit], s.m.accounts[v.credit]
		switch {
		case d.flags&closed != 0:
			return debitClosed, d.id
		case c.flags&closed != 0:
			return creditClosed, c.id
		case d.flags&frozen != 0:
			return debitFrozen, d.id
		case c.flags&frozen != 0:
			return creditFrozen, c.id
		}
	}
	for k, v := range moves {
		d, c := s.m.accounts[v.debit], s.m.accounts[v.credit]
		debits, credits := sum(sum(d.dp, d.db), amounts[k]), sum(sum(c.cp, c.cb), amounts[k])
		switch {
		case debits.Cmp(largest) > 0:
			return amountOverflow, d.id
		case credits.Cmp(largest) > 0:
			return amountOverflow, c.id
		case d.flags&debitsLimited != 0 && debits.Cmp(sum(d.cb, d.limit)) > 0:
			if d.limit.Sign() == 0 {
				return insufficientFunds, d.id
			}
			return limitExceeded, d.id
		case c.flags&creditsLimited != 0 && credits.Cmp(sum(c.db, c.limit)) > 0:
			return creditLimitExceeded, c.id
		}
	}
	return 0, ""
}

// book moves amounts of the legs of a pair. What it gives to an account with a limit counts as
// room, even where the limit stays passed.
func (s *step) book(moves []movement, amounts []*big.Int) {
	for k, v := range moves {
		n := amounts[k]
		d, c := s.touch(v.debit), s.touch(v.credit)
		d.db, c.cb = sum(d.db, n), sum(c.cb, n)
		if d.flags&creditsLimited != 0 {
			s.relieve(d.id)
		}
		if c.flags&debitsLimited != 0 {
			s.relieve(c.id)
		}
		for _, l := range []*leg{v.from, v.to} {
			l.moved = sum(l.moved, n)
			s.booked[l] = sum(s.moved(l), n)
		}
	}
}

// relieve begins a pass through the queue of an account. What an advance makes due follows in the
// next one.
func (s *step) relieve(account string) {
	q := s.m.queues[account]
	if q == nil || q.empty() {
		return
	}
	if !q.due {
		q.at = s.e.time
	}
	q.due, q.rank, q.next = true, 0, nil
}

// roomier reports whether an entry has given an account room.
func roomier(before, after *account) bool {
	room := func(most, used *big.Int) *big.Int {
		if left := difference(most, used); left.Sign() > 0 {
			return left
		}
		return new(big.Int)
	}
	debits := func(a *account) *big.Int { return room(sum(a.cb, a.limit), sum(a.db, a.dp)) }
	credits := func(a *account) *big.Int { return room(sum(a.db, a.limit), sum(a.cb, a.cp)) }
	return before.flags&frozen != 0 && after.flags&frozen == 0 || after.flags&closed != 0 ||
		sum(after.dp, after.db).Cmp(sum(before.dp, before.db)) < 0 || sum(after.cp, after.cb).Cmp(sum(before.cp, before.cb)) < 0 ||
		after.flags&debitsLimited != 0 && debits(after).Cmp(debits(before)) > 0 || after.flags&creditsLimited != 0 && credits(after).Cmp(credits(before)) > 0
}
