package settle

import (
	"cmp"
	"slices"
)

// What an advance does at most.
const (
	maxTried       = 64
	maxTriedOfPass = 32
)

// Kinds of things that are due about instructions, in the order in which they are done.
const (
	dueExpiry = 1
	dueDate   = 2
	dueSearch = 3
	duePass   = 4
)

type dueThing struct {
	at   int64
	kind byte
	id   string
}

// due returns what is due about instructions, in the order in which it is done.
func (m *Model) dueThings(now int64) (all []dueThing) {
	for id, t := range m.live {
		i := t.instruction
		if i == nil {
			continue
		}
		if final(i.now()) {
			delete(m.live, id)
			continue
		}
		if i.expiry > 0 {
			all = append(all, dueThing{i.expiry, dueExpiry, id})
		}
		if i.pair == nil && i.again {
			all = append(all, dueThing{i.searchAt, dueSearch, id})
		}
		if p := i.pair; p != nil && p.older == i && p.early {
			all = append(all, dueThing{i.begins(), dueDate, id})
		}
	}
	for account, q := range m.queues {
		if q.due {
			all = append(all, dueThing{q.at, duePass, account})
		}
	}
	all = slices.DeleteFunc(all, func(d dueThing) bool { return d.at > now })
	slices.SortFunc(all, func(a, b dueThing) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id))
	})
	return all
}

// advanceInstructions does what was due about instructions before the advance.
func (s *step) advanceInstructions(due []dueThing) (results []result) {
	left := maxTried
	for _, d := range due {
		if left == 0 {
			break
		}
		if d.kind == duePass {
			results = append(results, s.pass(d.id, &left)...)
			continue
		}
		i := s.m.ids[d.id].instruction
		if final(i.now()) {
			continue
		}
		left--
		switch {
		case d.kind == dueExpiry && i.pair == nil:
			s.finish(i, expired, instructionExpired)
			results = append(results, result{status: expired, reason: instructionExpired, id: i.id})
		case d.kind == dueExpiry:
			s.finishPair(i.pair, expired, instructionExpired)
			results = append(results, s.report(i.pair, i.pair.older)...)
		case d.kind == dueSearch && i.pair == nil:
			results = append(results, s.searchAgain(i)...)
		case d.kind == dueDate:
			i.pair.early = false
			results = append(results, s.tryAgain(i.pair, "")...)
		}
	}
	return results
}

func (s *step) searchAgain(i *instruction) []result {
	var match *instruction
	if match, i.again = s.search(i); i.again {
		i.searchAt = s.e.time + 1
	}
	if match == nil || toItself(i, match) {
		return nil
	}
	clear(s.booked)
	if match.index < i.index {
		s.pair(match, i)
	} else {
		s.pair(i, match)
	}
	return s.report(i.pair, i.pair.older)
}

// tryAgain tries a pair and reports it if something about it has changed.
func (s *step) tryAgain(p *pair, passing string) []result {
	before := *p
	clear(s.booked)
	s.try(p, passing)
	if len(s.booked) == 0 && p.status == before.status && p.reason == before.reason && p.waits == before.waits {
		return nil
	}
	return s.report(p, p.older)
}

// pass goes on with the pass through a queue, as far as it comes.
func (s *step) pass(account string, left *int) (results []result) {
	q := s.m.queue(account)
	for range maxTriedOfPass {
		if !q.due {
			return results
		}
		for ; q.next == nil && q.rank < len(q.ranks); q.rank++ {
			if r := q.ranks[q.rank]; len(r) > 0 {
				q.next = r[0]
				break
			}
		}
		p := q.next
		if p == nil {
			q.due, q.rank = false, 0
			return results
		}
		if *left == 0 {
			break
		}
		*left--
		q.skip(p)
		results = append(results, s.tryAgain(p, account)...)
	}
	q.at = s.e.time + 1
	return results
}
