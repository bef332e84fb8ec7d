package settlement

// manage holds, releases or cancels an instruction. The id of the request, if it has one, is used
// whatever comes of it.
func (s *step) manage(a *Manage) {
	if a.Request == "" {
		if reason := s.change(a); reason != NoReason {
			s.reject(reason)
		}
		return
	}
	digest := a.digest(s.in.Principal)
	if known := s.state(a.Request); known != nil {
		s.result(repeated(known.value, digest))
		return
	}
	state := &State{kind: kindRequest, Status: Done, Index: s.in.Index, Resolved: s.in.Index, Digest: digest}
	if state.Reason = s.change(a); state.Reason != NoReason {
		state.Status = Rejected
		s.reject(state.Reason)
	}
	s.addState(a.Request, state)
}

// change makes a change of an instruction, or says why it cannot be made and changes nothing.
func (s *step) change(a *Manage) Reason {
	row := s.state(a.ID)
	known := row != nil && row.value.kind == kindInstruction
	switch {
	case !known && s.command.Operator:
		return InstructionUnknown
	case !known, !s.ownsInstruction(row.value):
		return NotPermitted
	}
	state := row.value
	if a.Change == ManageCancel && state.Status == Cancelled {
		s.result(Result{Status: Exists, Index: state.Resolved})
		return NoReason
	}
	if state.Status.Final() {
		return InstructionFinal
	}
	i := state.Instruction
	var p *pair
	if i.Match != "" {
		p = s.pairOf(row)
	}
	switch {
	case s.isOver(state), p != nil && s.pairIsOver(p):
		return InstructionFinal
	case a.Change == ManageCancel && i.CancelAsked != 0:
		s.result(Result{Status: Exists, Index: i.CancelAsked})
		return NoReason
	case a.Change == ManageHold && i.Held:
		return InstructionHeld
	case a.Change == ManageRelease && !i.Held:
		return InstructionNotHeld
	case a.Change == ManageCancel && p == nil:
		s.endUnmatched(row, Cancelled, NoReason)
	case a.Change == ManageCancel:
		s.cancel(p, row)
	default:
		i.Held, row.changed = a.Change == ManageHold, true
		if p == nil {
			s.result(Result{Status: state.Status, ID: row.id})
			break
		}
		s.proceed(p, false)
		s.pairResults(p, row)
	}
	return NoReason
}

// cancel asks on behalf of one side to cancel a pair. It may settle until the other side has asked
// for it, too.
func (s *step) cancel(p *pair, row *item[State]) {
	row.value.Instruction.CancelAsked, row.changed = s.in.Index, true
	if p.older.value.Instruction.CancelAsked != 0 && p.newer.value.Instruction.CancelAsked != 0 {
		s.endPair(p, Cancelled, NoReason)
		s.pairResults(p, row)
		return
	}
	other := row.value.Instruction.Match
	s.result(Result{Status: CancelRequested, ID: row.id, Index: s.state(other).value.Index})
	s.result(Result{Status: CancelRequested, ID: other, Index: row.value.Index})
}

// ownsInstruction reports whether the caller owns all accounts of an instruction. Nobody owns those
// of one that was rejected.
func (s *step) ownsInstruction(state *State) bool {
	if s.command.Operator {
		return true
	}
	i := state.Instruction
	if i == nil {
		return false
	}
	for _, leg := range []*LegState{&i.Delivers, &i.Receives} {
		if leg.Account != "" && !s.owns(leg.Account) {
			return false
		}
	}
	return true
}
