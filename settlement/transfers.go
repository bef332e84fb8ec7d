package settlement

import "math"

// submit decides transfers. The order of the checks is part of what the program is:
// docs/settlement.md has it.
func (s *step) submit(a *Submit) {
	if a.Set != "" {
		s.result(s.submitSet(a))
		return
	}
	for i := range a.Transfers {
		s.result(s.submitSingle(a, i))
	}
}

// submitSingle decides a transfer that belongs to no set.
func (s *step) submitSingle(a *Submit, i int) Result {
	t := &a.Transfers[i]
	digest := a.digest(s.in.Principal, i)
	if known := s.state(t.ID); known != nil {
		return repeated(known.value, digest)
	}
	state := s.newState(t.ID, State{kind: kindTransfer, Index: s.in.Index, Position: uint16(i), Resolved: s.in.Index, Digest: digest})
	result := Result{Status: Rejected}
	if failed, ok := s.conditions(a.Conditions); !ok {
		result.Reason, result.Member = ConditionFailed, failed
	} else {
		result.Reason = s.transfer(a, t, state)
	}
	if state.Reason = result.Reason; state.Reason != NoReason {
		state.Status = Rejected
	}
	s.addState(t.ID, state)
	if state.Status == Pending {
		s.setTimer(holdTimer(state.Expires, t.ID))
	}
	result.Status = state.Status
	return result
}

// submitSet decides a set. Either all its transfers are made, or none, and their ids stay free. The
// id of the set is used in any case.
func (s *step) submitSet(a *Submit) Result {
	digest := a.setDigest(s.in.Principal)
	if known := s.state(a.Set); known != nil {
		return repeated(known.value, digest)
	}
	set := &State{kind: kindSet, Index: s.in.Index, Resolved: s.in.Index, Digest: digest}
	s.addState(a.Set, set)
	rejected := func(r Result) Result {
		set.Status, set.Reason, set.Members = Rejected, r.Reason, nil
		r.Status = Rejected
		return r
	}
	if failed, ok := s.conditions(a.Conditions); !ok {
		return rejected(Result{Reason: ConditionFailed, Member: failed})
	}
	accounts, states := s.accounts.save(), s.states.save()
	for i := range a.Transfers {
		t := &a.Transfers[i]
		member := &State{kind: kindMember, Index: s.in.Index, Position: uint16(i), Resolved: s.in.Index, Digest: a.digest(s.in.Principal, i), Set: a.Set}
		reason := NoReason
		switch known := s.state(t.ID); {
		case known != nil && known.value.Index == s.in.Index: // by this set
			reason = IDTwice
		case known != nil:
			reason = IDUsed
		default:
			reason = s.transfer(a, t, member)
		}
		if reason != NoReason {
			s.accounts.restore(accounts)
			s.states.restore(states)
			set = s.state(a.Set).value
			return rejected(Result{Reason: SetMemberRejected, Member: uint16(i), Cause: reason})
		}
		s.addState(t.ID, member)
		set.Members = append(set.Members, t.ID)
		set.Status, set.Expires = member.Status, member.Expires
	}
	if set.Status == Pending {
		s.setTimer(holdTimer(set.Expires, a.Set))
	}
	return Result{Status: set.Status}
}

// transfer makes a transfer, or says why it cannot be made and changes nothing.
func (s *step) transfer(a *Submit, t *Transfer, state *State) Reason {
	switch {
	case t.Debit == t.Credit:
		return SameAccount
	case t.Amount.Coefficient.IsZero():
		return AmountZero
	case !s.owns(t.Debit):
		return NotPermitted
	}
	debit, credit := s.account(t.Debit), s.account(t.Credit)
	switch {
	case debit == nil:
		return DebitUnknown
	case credit == nil:
		return CreditUnknown
	case debit.value.Asset != credit.value.Asset:
		return AssetsDiffer
	case t.Asset != "" && t.Asset != debit.value.Asset:
		return AssetMismatch
	}
	amount, ok := t.Amount.Minor(debit.value.Scale)
	switch {
	case t.Amount.Scale > debit.value.Scale:
		return AmountScale
	case !ok:
		return AmountOverflow
	}
	if reason := s.returnable(t, amount); reason != NoReason {
		return reason
	}
	if reason := takes(debit.value, credit.value); reason != NoReason {
		return reason
	}
	if reason := room(debit.value, credit.value, amount); reason != NoReason {
		return reason
	}
	if a.Timeout > 0 {
		if s.in.Time < 0 || s.in.Time > math.MaxInt64-a.Timeout {
			return TimeOverflow
		}
		state.Expires = s.in.Time + a.Timeout
	}

	state.Debit, state.Credit, state.Amount, state.Original = t.Debit, t.Credit, amount, t.Original
	if t.Original != "" {
		original := s.state(t.Original)
		original.value.Returned, _ = original.value.Returned.Add(amount)
		original.changed = true
	}
	d, c := &debit.value.Balances, &credit.value.Balances
	if a.Pending {
		state.Status = Pending
		d.DebitsPending, _ = d.DebitsPending.Add(amount)
		c.CreditsPending, _ = c.CreditsPending.Add(amount)
	} else {
		state.Status, state.Posted = Posted, amount
		d.DebitsPosted, _ = d.DebitsPosted.Add(amount)
		c.CreditsPosted, _ = c.CreditsPosted.Add(amount)
	}
	debit.changed, credit.changed = true, true
	return NoReason
}

// returnable says why a transfer cannot return its original.
func (s *step) returnable(t *Transfer, amount Amount) Reason {
	if t.Original == "" {
		return NoReason
	}
	row := s.state(t.Original)
	if row == nil {
		return OriginalUnknown
	}
	original := row.value
	switch {
	case original.kind == kindSet || original.Status != Posted:
		return OriginalNotPosted
	case original.Debit != t.Credit || original.Credit != t.Debit:
		return OriginalDiffers
	}
	returned, ok := original.Returned.Add(amount)
	if !ok || returned.Cmp(original.Posted) > 0 {
		return ReturnExceeds
	}
	return NoReason
}

// takes says whether two accounts take part in new transfers.
func takes(debit, credit *Account) Reason {
	switch {
	case debit.Flags.Has(Closed):
		return DebitClosed
	case credit.Flags.Has(Closed):
		return CreditClosed
	case debit.Flags.Has(Frozen):
		return DebitFrozen
	case credit.Flags.Has(Frozen):
		return CreditFrozen
	}
	return NoReason
}

// room says whether the balances of two accounts have room for an amount. It is the only check of
// balances there is: what is reserved counts as if it were booked. So a post cannot fail, and for
// every account pending and posted debits together fit an Amount, and so do the credits.
func room(debit, credit *Account, amount Amount) Reason {
	debits, ok := debit.Balances.debits().Add(amount)
	credits, fits := credit.Balances.credits().Add(amount)
	switch {
	case !ok || !fits:
		return AmountOverflow
	case debit.Flags.Has(DebitsLimited) && debits.Cmp(debit.Balances.CreditsPosted.addCapped(debit.Limit)) > 0:
		if debit.Limit.IsZero() {
			return InsufficientFunds
		}
		return LimitExceeded
	case credit.Flags.Has(CreditsLimited) && credits.Cmp(credit.Balances.DebitsPosted.addCapped(credit.Limit)) > 0:
		return CreditLimitExceeded
	}
	return NoReason
}

// conditions returns the first condition that does not hold.
func (s *step) conditions(all []Condition) (failed uint16, ok bool) {
	for i := range all {
		if !s.holds(&all[i]) {
			return uint16(i), false
		}
	}
	return 0, true
}

// holds reports whether a condition holds. One on an account that the caller may not read, or on
// something that does not exist, does not hold.
func (s *step) holds(c *Condition) bool {
	switch c.Kind {
	case NotBefore:
		return s.in.Time >= int64(c.Number)
	case Deadline:
		return s.in.Time <= int64(c.Number)
	case EntryState:
		state := s.state(c.ID)
		return state != nil && state.value.Status == c.State && s.ownsDebits(state.value)
	}
	if !s.owns(c.ID) {
		return false
	}
	account := s.account(c.ID)
	if account == nil {
		return false
	}
	if c.Kind == AccountVersion {
		return account.value.Sequence == c.Number
	}
	least, ok := c.Amount.Minor(account.value.Scale)
	available, negative := account.value.Available()
	return ok && !negative && available.Cmp(least) >= 0
}
