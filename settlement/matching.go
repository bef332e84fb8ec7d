package settlement

import "crypto/sha256"

// instruct decides an instruction: whether it is good, whether it matches one that is there, and if
// so whether both settle at once.
func (s *step) instruct(a *Instruct) {
	digest := a.digest(s.in.Principal)
	if known := s.state(a.ID); known != nil {
		s.result(repeated(known.value, digest))
		return
	}
	state := &State{kind: kindInstruction, Status: Unmatched, Index: s.in.Index, Resolved: s.in.Index, Digest: digest}
	s.addState(a.ID, state)
	row := s.state(a.ID)
	reason := s.newInstruction(a, state)
	var match *item[State]
	again := false
	if reason == NoReason {
		match, again = s.candidate(state)
		if match != nil && sameAccounts(state.Instruction, match.value.Instruction) {
			reason = SameAccount
		}
	}
	if reason != NoReason {
		state.Status, state.Reason, state.Instruction, state.Expires = Rejected, reason, nil, 0
		s.reject(reason)
		return
	}
	s.open().join(a.ID, s.in.Index)
	s.setTimer(expiryTimer(row))
	if match == nil {
		for _, name := range lists(state.Instruction) {
			s.list(name).join(a.ID, s.in.Index)
		}
		if again {
			s.setTimer(rematchTimer(s.now(), a.ID))
		}
		s.result(Result{Status: Unmatched, ID: a.ID})
		return
	}
	s.unlist(match)
	p := s.marry(row, match)
	s.proceed(p, false)
	s.pairResults(p, row)
}

// newInstruction checks an instruction by itself and fills in its state. The order of the checks is
// part of what the program is: docs/settlement.md has it.
func (s *step) newInstruction(a *Instruct, state *State) Reason {
	i := &Instruction{
		Party: a.Party, Counterparty: a.Counterparty, TradeDate: a.TradeDate, SettlementDate: a.SettlementDate, Common: a.Common,
		Priority: a.Priority, Partial: a.Partial, Held: a.Held,
	}
	state.Instruction, state.Expires = i, a.Expires
	type side struct {
		leg             *Leg
		state           *LegState
		unknown, closed Reason
	}
	var sides []side
	if a.Delivers != nil {
		sides = append(sides, side{a.Delivers, &i.Delivers, DebitUnknown, DebitClosed})
	}
	if a.Receives != nil {
		sides = append(sides, side{a.Receives, &i.Receives, CreditUnknown, CreditClosed})
	}
	for _, l := range sides {
		if l.leg.Amount.Coefficient.IsZero() {
			return AmountZero
		}
	}
	for _, l := range sides {
		if !s.owns(l.leg.Account) {
			return NotPermitted
		}
	}
	for _, l := range sides {
		account := s.account(l.leg.Account)
		if account == nil {
			return l.unknown
		}
		if !s.command.Operator && !s.isOwner(a.Party, l.leg.Account) {
			return PartyNotOwner
		}
		if account.value.Asset != l.leg.Asset {
			return AssetMismatch
		}
		asset, _ := s.asset(l.leg.Asset)
		amount, ok := l.leg.Amount.Minor(asset.scale)
		switch {
		case l.leg.Amount.Scale > asset.scale:
			return AmountScale
		case !ok:
			return AmountOverflow
		case account.value.Flags.Has(Closed):
			return l.closed
		}
		*l.state = LegState{Account: l.leg.Account, Asset: l.leg.Asset, Amount: amount}
	}
	switch {
	case i.Delivers.Asset == i.Receives.Asset:
		return InstructionLegs
	case a.Expires > 0 && (a.Expires <= s.in.Time || a.Expires <= a.SettlementDate.Begin()):
		return InstructionLate
	}
	return NoReason
}

// Instructions that wait for their match stand in lists. Two instructions match when the mandatory
// fields of the one are the mirror of the other's, and when what is optional does not contradict: a
// trade date or a common reference that one of them does not give matches any. So an unmatched
// instruction stands in four lists: for its own trade date, which may be none, or for any; and for
// its own common reference, which may be none, or for any. A new instruction that gives both looks
// into the lists of its own date and of none, each with its own reference and with none. What it does
// not give it looks for in the list for any. So the oldest one that matches is the first one of at
// most four lists, and no other has to be looked at.
type listName [sha256.Size]byte

// anyValue is the optional field in the name of a list for all its values.
const anyValue = 1

// mandatory is the digest of the mandatory fields of an instruction, or of those that its match has.
func mandatory(i *Instruction, mirror bool) []byte {
	party, counterparty, delivers, receives := i.Party, i.Counterparty, &i.Delivers, &i.Receives
	if mirror {
		party, counterparty, delivers, receives = counterparty, party, receives, delivers
	}
	b := appendText(appendText(make([]byte, 0, 256), party), counterparty)
	for _, leg := range []*LegState{delivers, receives} {
		b = appendAmount(appendID(b, leg.Asset), leg.Amount)
	}
	digest := sha256.Sum256(appendU32(b, uint32(i.SettlementDate)))
	return digest[:]
}

func nameOf(mandatory []byte, anyDate bool, date Date, anyCommon bool, common string) listName {
	b := append(make([]byte, 0, 128), mandatory...)
	if anyDate {
		b = appendU32(append(b, anyValue), 0)
	} else {
		b = appendU32(append(b, 0), uint32(date))
	}
	if anyCommon {
		b = append(b, anyValue)
	} else {
		b = appendText(append(b, 0), common)
	}
	return sha256.Sum256(b)
}

// lists returns the lists in which an instruction stands while it is unmatched.
func lists(i *Instruction) [4]listName {
	m := mandatory(i, false)
	return [4]listName{
		nameOf(m, false, i.TradeDate, false, i.Common), nameOf(m, false, i.TradeDate, true, ""),
		nameOf(m, true, 0, false, i.Common), nameOf(m, true, 0, true, ""),
	}
}

// candidateLists returns the lists in which the match of an instruction stands.
func candidateLists(i *Instruction) (names []listName) {
	m := mandatory(i, true)
	add := func(anyDate bool, date Date) {
		if i.Common == "" {
			names = append(names, nameOf(m, anyDate, date, true, ""))
			return
		}
		names = append(names, nameOf(m, anyDate, date, false, i.Common), nameOf(m, anyDate, date, false, ""))
	}
	if i.TradeDate == 0 {
		add(true, 0)
		return names
	}
	add(false, i.TradeDate)
	add(false, 0)
	return names
}

func (s *step) list(name listName) chain {
	return chain{s.view, append([]byte{rowList}, name[:]...)}
}

// open is the chain of all instructions that are not final.
func (s *step) open() chain { return chain{s.view, []byte{rowOpen}} }

// unlist takes an instruction off the lists of those that are unmatched.
func (s *step) unlist(row *item[State]) {
	for _, name := range lists(row.value.Instruction) {
		s.list(name).leave(row.id)
	}
}

// maxOver bounds how many instructions that are over, but not expired yet, a search for a match
// passes in one list.
const maxOver = 8

// candidate returns the oldest instruction that matches, nil when there is none. again says that the
// search was given up: instructions whose time is over stand in the way until an Advance takes them
// off.
func (s *step) candidate(state *State) (match *item[State], again bool) {
	var oldest uint64
	for _, name := range candidateLists(state.Instruction) {
		list := s.list(name)
		id := list.first()
		for over := 0; id != "" && s.isOver(s.state(id).value); over++ {
			if over == maxOver {
				return nil, true
			}
			id = list.after(id)
		}
		if id == "" {
			continue
		}
		row, since := s.state(id), list.link(id).since
		if match == nil || since < oldest || since == oldest && row.value.Index < match.value.Index {
			match, oldest = row, since
		}
	}
	return match, false
}

// rematch looks once more for the match of an instruction.
func (s *step) rematch(row *item[State]) {
	match, again := s.candidate(row.value)
	switch {
	case again:
		s.setTimer(rematchTimer(s.later(), row.id))
	case match != nil && !sameAccounts(row.value.Instruction, match.value.Instruction):
		s.unlist(match)
		s.unlist(row)
		p := s.marry(row, match)
		s.proceed(p, false)
		s.pairResults(p, p.older)
	}
}

// isOver reports whether the time of an instruction is over, expired already or not.
func (s *step) isOver(state *State) bool { return state.Expires > 0 && s.in.Time >= state.Expires }

// sameAccounts reports whether two instructions that match would move a leg from an account to
// itself.
func sameAccounts(a, b *Instruction) bool {
	return a.Delivers.Account != "" && a.Delivers.Account == b.Receives.Account || a.Receives.Account != "" && a.Receives.Account == b.Delivers.Account
}
