package settlement

// pair is two instructions that match. What happens to one of them happens to both, in one entry.
type pair struct {
	older, newer *item[State] // by the index of their entries
	// settled is what this entry has moved of what the older one delivers and receives.
	delivered, received Amount
	changed             bool // by this entry
}

// marry makes a pair of two instructions that are unmatched.
func (s *step) marry(a, b *item[State]) *pair {
	a.value.Instruction.Match, b.value.Instruction.Match = b.id, a.id
	p := s.pairOf(a)
	s.setPair(p, Matched, NoReason)
	if date := p.date(); s.in.Time < date.Begin() {
		s.setTimer(dateTimer(date, p.older.id))
	}
	return p
}

// pairOf returns the pair of an instruction that has a match.
func (s *step) pairOf(row *item[State]) *pair {
	other := s.state(row.value.Instruction.Match)
	if other.value.Index < row.value.Index {
		return &pair{older: other, newer: row}
	}
	return &pair{older: row, newer: other}
}

func (p *pair) date() Date { return p.older.value.Instruction.SettlementDate }

func (p *pair) held() bool {
	return p.older.value.Instruction.Held || p.newer.value.Instruction.Held
}

func (p *pair) partial() bool {
	return p.older.value.Instruction.Partial && p.newer.value.Instruction.Partial
}

// isOver reports whether the time of one of the two is over.
func (s *step) pairIsOver(p *pair) bool { return s.isOver(p.older.value) || s.isOver(p.newer.value) }

func (s *step) setPair(p *pair, status Status, reason Reason) {
	for _, row := range []*item[State]{p.older, p.newer} {
		if row.value.Status != status || row.value.Reason != reason {
			row.value.Status, row.value.Reason, row.changed = status, reason, true
			p.changed = true
		}
	}
}

// pairResults adds what became of the two, of first first.
func (s *step) pairResults(p *pair, first *item[State]) {
	second, delivered, received := p.newer, p.delivered, p.received
	if first == p.newer {
		second, delivered, received = p.older, received, delivered
	}
	s.result(Result{Status: first.value.Status, Reason: first.value.Reason, ID: first.id, Index: second.value.Index, Delivered: delivered, Received: received})
	s.result(Result{Status: second.value.Status, Reason: second.value.Reason, ID: second.id, Index: first.value.Index, Delivered: received, Received: delivered})
}

// legPair is a leg of a pair: what the one delivers and the other receives.
type legPair struct {
	debit, credit *item[Account]
	from, to      *LegState // of the one that delivers, of the other one
	rest          Amount    // what is still to be settled
}

// legs returns the legs of a pair: first what the older one delivers.
func (s *step) legs(p *pair) (legs []legPair) {
	older, newer := p.older.value.Instruction, p.newer.value.Instruction
	for _, l := range [][2]*LegState{{&older.Delivers, &newer.Receives}, {&newer.Delivers, &older.Receives}} {
		if from, to := l[0], l[1]; from.Account != "" {
			rest, _ := from.Amount.Sub(from.Settled)
			legs = append(legs, legPair{s.account(from.Account), s.account(to.Account), from, to, rest})
		}
	}
	return legs
}

// proceed takes a pair as far as it can go at the entry's time, which is before the pair is over.
// queued says that the pair is tried because it is next in the queue of the account for which it
// waits.
func (s *step) proceed(p *pair, queued bool) {
	switch {
	case p.held():
		s.leaveQueue(p)
		s.setPair(p, Held, NoReason)
	case s.in.Time < p.date().Begin():
		s.setPair(p, Matched, NoReason)
	default:
		s.settle(p, queued)
	}
}

// settle settles a pair: all its legs, or as much as both allow and there is, or nothing. A pair that
// is not settled waits in the queue of the account that stands in the way.
func (s *step) settle(p *pair, queued bool) {
	legs := s.legs(p)
	if !queued {
		// What comes to an account goes to those first that waited for it.
		for _, l := range legs {
			if s.queueOf(l.debit.id).underway {
				s.wait(p, l.debit.id, BehindQueue)
				return
			}
		}
	}
	account, reason := blocked(legs, wholeRest(legs))
	switch {
	case reason == NoReason:
		s.move(p, legs, wholeRest(legs))
		s.endPair(p, Settled, NoReason)
		return
	case reason == DebitClosed, reason == CreditClosed:
		s.endPair(p, Cancelled, reason)
		return
	case p.partial() && reason.isShortage():
		if amounts := part(legs); !amounts[0].IsZero() {
			s.move(p, legs, amounts)
			legs = s.legs(p)
		}
		account, reason = blocked(legs, leastPart(legs))
	}
	s.wait(p, account, reason)
}

// blocked says what stands against settling so much of all legs, and which account that is. That an
// account takes no transfers comes before that there is not enough.
func blocked(legs []legPair, amounts [2]Amount) (account string, reason Reason) {
	for _, l := range legs {
		switch reason = takes(l.debit.value, l.credit.value); reason {
		case NoReason:
		case CreditClosed, CreditFrozen:
			return l.credit.id, reason
		default:
			return l.debit.id, reason
		}
	}
	for i, l := range legs {
		reason = room(l.debit.value, l.credit.value, amounts[i])
		_, fits := l.debit.value.Balances.debits().Add(amounts[i])
		switch {
		case reason == NoReason:
		case reason == CreditLimitExceeded, reason == AmountOverflow && fits:
			return l.credit.id, reason
		default:
			return l.debit.id, reason
		}
	}
	return "", NoReason
}

func wholeRest(legs []legPair) (amounts [2]Amount) {
	for i, l := range legs {
		amounts[i] = l.rest
	}
	return amounts
}

// move books an amount of every leg. There is room for all of them.
func (s *step) move(p *pair, legs []legPair, amounts [2]Amount) {
	for i, l := range legs {
		d, c := &l.debit.value.Balances, &l.credit.value.Balances
		d.DebitsPosted, _ = d.DebitsPosted.Add(amounts[i])
		c.CreditsPosted, _ = c.CreditsPosted.Add(amounts[i])
		l.debit.changed, l.credit.changed = true, true
		l.from.Settled, _ = l.from.Settled.Add(amounts[i])
		l.to.Settled = l.from.Settled
		if l.from == &p.older.value.Instruction.Delivers {
			p.delivered, _ = p.delivered.Add(amounts[i])
		} else {
			p.received, _ = p.received.Add(amounts[i])
		}
		if l.debit.value.Flags.Has(CreditsLimited) {
			s.relieve(l.debit.id)
		}
		if l.credit.value.Flags.Has(DebitsLimited) {
			s.relieve(l.credit.id)
		}
	}
	p.older.changed, p.newer.changed, p.changed = true, true, true
}

// endPair gives a pair its last status.
func (s *step) endPair(p *pair, status Status, reason Reason) {
	s.leaveQueue(p)
	s.setPair(p, status, reason)
	s.clearTimer(dateTimer(p.date(), p.older.id))
	s.end(p.older)
	s.end(p.newer)
}

// end takes an instruction whose status is its last one off all lists but those of the unmatched.
func (s *step) end(row *item[State]) {
	row.value.Resolved, row.changed = s.in.Index, true
	s.open().leave(row.id)
	s.clearTimer(expiryTimer(row))
}

// endUnmatched gives an instruction that has no match its last status.
func (s *step) endUnmatched(row *item[State], status Status, reason Reason) {
	s.unlist(row)
	row.value.Status, row.value.Reason = status, reason
	s.end(row)
	s.result(Result{Status: status, Reason: reason, ID: row.id})
}

// expire ends an instruction whose time is over, and its match with it.
func (s *step) expire(row *item[State]) {
	if row.value.Instruction.Match == "" {
		s.endUnmatched(row, Expired, InstructionExpired)
		return
	}
	p := s.pairOf(row)
	s.endPair(p, Expired, InstructionExpired)
	s.pairResults(p, p.older)
}
