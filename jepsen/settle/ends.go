package settle

import (
	"math/big"
)

// How reservations end: posted, voided, expired.

// transfersOf returns the ids of the transfers of a set; of a transfer its own.
func (m *Model) transfersOf(id string) []string {
	if t := m.ids[id]; t.set {
		return t.members
	}
	return []string{id}
}

// ownsDebits reports whether the caller may debit all accounts that a transfer or set debits. What
// was rejected debits none, so that only an operator learns of it.
func (s *step) ownsDebits(id string) bool {
	if s.c.operator || s.m.ids[id].status == rejected {
		return s.c.operator
	}
	for _, one := range s.m.transfersOf(id) {
		if !s.owns(s.m.ids[one].debit) {
			return false
		}
	}
	return true
}

func (s *step) resolve() result {
	c, t := s.c, s.m.ids[s.c.id]
	if t == nil || t.instruction != nil || t.request {
		if c.operator {
			return no(pendingUnknown)
		}
		return no(notPermitted)
	}
	switch {
	case !s.ownsDebits(c.id):
		return no(notPermitted)
	case t.of != "":
		return no(memberOfSet)
	case !t.waited:
		return no(notPending)
	}
	amounts, reason := s.amounts(t)
	if reason != 0 {
		return no(reason)
	}
	same := true
	for id, n := range amounts {
		same = same && s.m.ids[id].posted.Cmp(n) == 0
	}
	switch {
	case t.status == posted && !c.void && same, t.status == voided && c.void:
		return result{status: exists, index: t.ended}
	case t.status == posted:
		return no(alreadyPosted)
	case t.status == voided:
		return no(alreadyVoided)
	case t.status == expired || t.expires > 0 && s.e.time >= t.expires:
		return no(alreadyExpired)
	}
	status := byte(posted)
	if c.void {
		status = voided
		clear(amounts)
	}
	s.end(c.id, status, amounts)
	return result{status: status, index: t.index}
}

// amounts returns how much of every transfer a post books.
func (s *step) amounts(t *thing) (amounts map[string]*big.Int, reason byte) {
	amounts = map[string]*big.Int{}
	transfers := s.m.transfersOf(s.c.id)
	for _, id := range transfers {
		amounts[id] = s.m.ids[id].amount
	}
	for _, p := range s.c.amounts {
		id := p.id
		if !t.set && id == "" {
			id = s.c.id
		}
		reserved, in := amounts[id], false
		for _, x := range transfers {
			in = in || x == id
		}
		if !in {
			return nil, notInSet
		}
		n, digits, fits := p.amount.minor(s.m.accounts[s.m.ids[id].debit].scale)
		switch {
		case p.amount.coefficient.Sign() == 0:
			return nil, amountZero
		case digits:
			return nil, amountScale
		case !fits || n.Cmp(reserved) > 0:
			return nil, exceedsPending
		}
		amounts[id] = n
	}
	return amounts, 0
}

// end ends a reservation. What is not in amounts is booked with nothing.
func (s *step) end(id string, status byte, amounts map[string]*big.Int) {
	for _, one := range s.m.transfersOf(id) {
		x := s.m.ids[one]
		booked := amounts[one]
		if booked == nil {
			booked = new(big.Int)
		}
		d, c := s.touch(x.debit), s.touch(x.credit)
		d.dp, d.db = difference(d.dp, x.amount), sum(d.db, booked)
		c.cp, c.cb = difference(c.cp, x.amount), sum(c.cb, booked)
		if s.c.op == opAdvance {
			s.relieve(d.id)
			s.relieve(c.id)
		}
		if x.original != "" {
			o := s.m.ids[x.original]
			o.returned = sum(difference(o.returned, x.amount), booked)
		}
		x.status, x.posted, x.ended = status, booked, s.index
	}
	t := s.m.ids[id]
	t.status, t.ended = status, s.index
}

// An advance expires what is due, up to what fits into its outcome. The documents do not say how
// much fits, so the outcome in the leaf says how many expired; but it may leave something out only
// when it is large.
const (
	muchResults = 200
	muchBytes   = 16 << 10
)

func (s *step) advance() (results []result) {
	if !nodePattern.MatchString(s.e.principal) {
		return []result{no(notTheLeader)}
	}
	due, things := s.m.due(s.e.time), s.m.dueThings(s.e.time)
	if n := len(s.given.results); n < len(due) && n > 0 && (n >= muchResults || len(s.e.outcome) >= muchBytes) {
		due = due[:n]
	}
	for _, id := range due {
		s.end(id, expired, nil)
		results = append(results, result{status: expired, id: id, index: s.m.ids[id].index})
	}
	return append(results, s.advanceInstructions(things)...)
}
