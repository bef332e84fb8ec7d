package settlement

// Instruction is what the ledger knows of an instruction that was not rejected, beside its State.
type Instruction struct {
	Party, Counterparty       string
	Delivers, Receives        LegState
	TradeDate, SettlementDate Date // a TradeDate of 0 was not given
	Common                    string
	Priority                  uint8
	Partial                   bool
	Held                      bool
	// CancelAsked is the index of the entry that asked to cancel the instruction after it had been
	// matched; 0 when none did.
	CancelAsked uint64
	// Match is the counterparty's instruction, "" until there is one.
	// Invariant: the instruction Match names this one, and has the same Status, Reason, Resolved,
	// Waits, SettlementDate and settled amounts.
	Match string
	// Waits is the account in whose queue the two instructions wait, "" when they wait in none.
	Waits string
}

// LegState is a leg of an instruction in minor units of its asset. There is no leg when Account is
// "".
type LegState struct {
	Account, Asset string
	Amount         Amount
	Settled        Amount // so far
}

const (
	stateHeld = 1 << iota
	statePartial
	stateDelivers
	stateReceives
	allStateFlags = 1<<iota - 1
)

func (i *Instruction) encode(b []byte) []byte {
	b = appendText(appendText(b, i.Party), i.Counterparty)
	b = append(b, boolByte(i.Held)*stateHeld|boolByte(i.Partial)*statePartial|
		boolByte(i.Delivers.Account != "")*stateDelivers|boolByte(i.Receives.Account != "")*stateReceives, i.Priority)
	for _, leg := range []*LegState{&i.Delivers, &i.Receives} {
		if leg.Account != "" {
			b = appendID(appendID(b, leg.Account), leg.Asset)
			b = appendAmount(appendAmount(b, leg.Amount), leg.Settled)
		}
	}
	b = appendU32(appendU32(b, uint32(i.TradeDate)), uint32(i.SettlementDate))
	return appendID(appendID(appendU64(appendText(b, i.Common), i.CancelAsked), i.Match), i.Waits)
}

func (i *Instruction) decode(r *reader) {
	i.Party, i.Counterparty = r.text(MaxParty), r.text(MaxParty)
	flags := r.u8()
	if flags&^allStateFlags != 0 {
		r.fail("the flags %#x of an instruction", flags)
	}
	i.Held, i.Partial, i.Priority = flags&stateHeld != 0, flags&statePartial != 0, r.u8()
	if flags&stateDelivers != 0 {
		i.Delivers = LegState{r.id(), r.id(), r.amount(), r.amount()}
	}
	if flags&stateReceives != 0 {
		i.Receives = LegState{r.id(), r.id(), r.amount(), r.amount()}
	}
	i.TradeDate, i.SettlementDate = Date(r.u32()), Date(r.u32())
	i.Common, i.CancelAsked = r.text(MaxParty), r.u64()
	i.Match, i.Waits = r.optionalID(), r.optionalID()
}

// Final reports whether nothing about a transfer, a set or an instruction of this status changes any
// more.
func (s Status) Final() bool {
	switch s {
	case Posted, Voided, Expired, Rejected, Settled, Cancelled:
		return true
	}
	return false
}

// ReadInstruction returns what became of an instruction; its State.Instruction is nil when the
// instruction was rejected. Its errors: ErrUnknown, the reader's.
func ReadInstruction(r Reader, id string) (*State, error) {
	state, err := readState(r, id)
	if err == nil && state.kind != kindInstruction {
		return nil, ErrUnknown
	}
	return state, err
}

// OpenInstructions calls each with the instructions that are not final, in the order of the entries
// that gave them, as long as it returns true: those behind the instruction after, which is open
// itself; "" is from the first one on. Its errors: ErrUnknown when after is not open, the reader's.
func OpenInstructions(r Reader, after string, each func(id string, state *State) bool) error {
	open := chain{name: []byte{rowOpen}}
	b, _, err := r.Get(open.name)
	if err != nil {
		return err
	}
	id, _ := parseEnds(b)
	if after != "" {
		if b, _, err = r.Get(open.key(after)); err != nil {
			return err
		}
		if len(b) == 0 {
			return ErrUnknown
		}
		id = parseLink(b).after
	}
	for id != "" {
		state, err := ReadInstruction(r, id)
		if err != nil {
			return err
		}
		if !each(id, state) {
			return nil
		}
		if b, _, err = r.Get(open.key(id)); err != nil {
			return err
		}
		id = parseLink(b).after
	}
	return nil
}
