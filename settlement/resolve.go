package settlement

// resolve posts or voids what is pending.
func (s *step) resolve(a *Resolve) {
	row := s.state(a.ID)
	if row != nil && !row.value.kind.transfers() {
		row = nil
	}
	switch {
	case row == nil && !s.command.Operator:
		s.reject(NotPermitted)
		return
	case row == nil:
		s.reject(PendingUnknown)
		return
	case !s.ownsDebits(row.value):
		s.reject(NotPermitted)
		return
	case row.value.kind == kindMember:
		s.reject(MemberOfSet)
		return
	}
	state := row.value
	if never := state.Status == Rejected || state.Status == Posted && state.Resolved == state.Index; never {
		s.reject(NotPending)
		return
	}
	members := s.members(a.ID, state)
	amounts, reason := s.amounts(a, state, members)
	switch {
	case reason != NoReason:
		s.reject(reason)
		return
	case state.Status == Posted && !a.Void && sameAmounts(members, amounts), state.Status == Voided && a.Void:
		s.result(Result{Status: Exists, Index: state.Resolved})
		return
	case state.Status == Posted:
		s.reject(AlreadyPosted)
		return
	case state.Status == Voided:
		s.reject(AlreadyVoided)
		return
	case state.Status == Expired || state.Expires > 0 && s.in.Time >= state.Expires:
		s.reject(AlreadyExpired)
		return
	}
	status := Posted
	if a.Void {
		status = Voided
	}
	s.release(a.ID, row, members, status, amounts)
	s.result(Result{Status: status, Index: state.Index})
	s.clearTimer(holdTimer(state.Expires, a.ID))
}

// ownsDebits reports whether the caller may debit all accounts that a transfer or set debits, or that
// an instruction names.
func (s *step) ownsDebits(state *State) bool {
	if s.command.Operator {
		return true
	}
	switch {
	case state.kind == kindInstruction:
		return s.ownsInstruction(state)
	case state.Status == Rejected:
		return false // it debits nothing
	}
	if state.kind != kindSet {
		return s.owns(state.Debit)
	}
	for _, id := range state.Members {
		if !s.owns(s.state(id).value.Debit) {
			return false
		}
	}
	return true
}

// members returns the transfers of a set; of a transfer itself.
func (s *step) members(id string, state *State) []*item[State] {
	if state.kind != kindSet {
		return []*item[State]{s.state(id)}
	}
	members := make([]*item[State], len(state.Members))
	for i, id := range state.Members {
		members[i] = s.state(id)
	}
	return members
}

// amounts returns how much of every member is to be posted.
func (s *step) amounts(a *Resolve, state *State, members []*item[State]) ([]Amount, Reason) {
	amounts := make([]Amount, len(members))
	if a.Void {
		return amounts, NoReason
	}
	for i, m := range members {
		amounts[i] = m.value.Amount
	}
	for _, p := range a.Amounts {
		i := 0
		for i < len(members) && p.ID != members[i].id {
			i++
		}
		if p.ID == "" && state.kind != kindSet {
			i = 0
		}
		if i == len(members) {
			return nil, NotInSet
		}
		scale := s.account(members[i].value.Debit).value.Scale
		amount, ok := p.Amount.Minor(scale)
		switch {
		case amount.IsZero() && p.Amount.Coefficient.IsZero():
			return nil, AmountZero
		case p.Amount.Scale > scale:
			return nil, AmountScale
		case !ok || amount.Cmp(members[i].value.Amount) > 0:
			return nil, ExceedsPending
		}
		amounts[i] = amount
	}
	return amounts, NoReason
}

func sameAmounts(members []*item[State], amounts []Amount) bool {
	for i, m := range members {
		if m.value.Posted != amounts[i] {
			return false
		}
	}
	return true
}

// release ends what is pending: of every member, its part of posted is booked and the rest is
// released.
func (s *step) release(id string, row *item[State], members []*item[State], status Status, posted []Amount) {
	for i, m := range members {
		t := m.value
		debit, credit := s.account(t.Debit), s.account(t.Credit)
		d, c := &debit.value.Balances, &credit.value.Balances
		d.DebitsPending, _ = d.DebitsPending.Sub(t.Amount)
		c.CreditsPending, _ = c.CreditsPending.Sub(t.Amount)
		d.DebitsPosted, _ = d.DebitsPosted.Add(posted[i])
		c.CreditsPosted, _ = c.CreditsPosted.Add(posted[i])
		if t.Original != "" {
			rest, _ := t.Amount.Sub(posted[i])
			original := s.state(t.Original)
			original.value.Returned, _ = original.value.Returned.Sub(rest)
			original.changed = true
		}
		t.Status, t.Posted, t.Resolved = status, posted[i], s.in.Index
		debit.changed, credit.changed, m.changed = true, true, true
	}
	row.value.Status, row.value.Resolved, row.changed = status, s.in.Index, true
}
