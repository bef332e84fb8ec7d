package settlement

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"
)

// Instruct gives an instruction: what a party delivers against what it receives. It settles when the
// counterparty has given the matching one: all legs in one entry, or none. With two currencies this
// is payment versus payment. With one leg it is free of payment.
type Instruct struct {
	ID string
	// Party gives the instruction, and Counterparty is to give the matching one: a BIC, an LEI or
	// another name, of 1 to MaxParty bytes. The party is an owner of the accounts of both legs,
	// unless an operator instructs.
	Party, Counterparty string
	Delivers, Receives  *Leg // one of them may be nil
	TradeDate           Date // 0: not given; it must be the same when both sides give it
	// SettlementDate is the same on both sides. They settle from 00:00 UTC of it on.
	SettlementDate Date
	// Common is a reference that both sides agreed upon. It must be the same when both sides give
	// it; "" is not given.
	Common   string // at most MaxParty bytes
	Held     bool   // on hold from the beginning: it matches and does not settle
	Partial  bool   // may settle in parts, if the other side allows it, too
	Priority uint8  // 0 to MaxPriority; higher ones first where several wait for an account
	// Expires is the ledger time in µs from which on it does not settle any more; 0: never.
	Expires    int64
	References []Reference // ascending by kind, each kind once
	Source     Source
}

// Leg is one side of an exchange.
type Leg struct {
	Account string
	Asset   string // the asset of the account
	Amount  Decimal
}

const (
	// MaxParty is the longest name of a party, and the longest common reference, in bytes.
	MaxParty = 256
	// MaxPriority is the highest priority.
	MaxPriority = 3
)

// Op implements Action.
func (*Instruct) Op() Op { return OpInstruct }

const (
	legDelivers = 1 << iota
	legReceives
	allLegs = 1<<iota - 1
)

const (
	instructHeld = 1 << iota
	instructPartial
	allInstruct = 1<<iota - 1
)

func (a *Instruct) encode(b []byte) []byte { return a.Source.encode(a.encodeContent(b)) }

// encodeContent encodes everything but the source.
func (a *Instruct) encodeContent(b []byte) []byte {
	b = appendText(appendText(appendID(b, a.ID), a.Party), a.Counterparty)
	at := len(b)
	b = append(b, 0)
	if a.Delivers != nil {
		b[at] |= legDelivers
		b = a.Delivers.encode(b)
	}
	if a.Receives != nil {
		b[at] |= legReceives
		b = a.Receives.encode(b)
	}
	b = appendU32(appendU32(b, uint32(a.TradeDate)), uint32(a.SettlementDate))
	b = appendText(b, a.Common)
	b = append(b, boolByte(a.Held)*instructHeld|boolByte(a.Partial)*instructPartial, a.Priority)
	return appendReferences(appendU64(b, uint64(a.Expires)), a.References)
}

func (a *Instruct) decode(r *reader) {
	a.ID, a.Party, a.Counterparty = r.id(), r.text(MaxParty), r.text(MaxParty)
	legs := r.u8()
	if legs == 0 || legs&^allLegs != 0 {
		r.fail("the legs %#x", legs)
	}
	if legs&legDelivers != 0 {
		a.Delivers = r.leg()
	}
	if legs&legReceives != 0 {
		a.Receives = r.leg()
	}
	a.TradeDate, a.SettlementDate = Date(r.u32()), Date(r.u32())
	a.Common = r.text(MaxParty)
	flags := r.u8()
	if flags&^allInstruct != 0 {
		r.fail("the flags %#x of an instruction", flags)
	}
	a.Held, a.Partial = flags&instructHeld != 0, flags&instructPartial != 0
	a.Priority, a.Expires = r.u8(), r.time()
	a.References = r.references()
	a.Source.decode(r)
}

func (a *Instruct) check() error {
	if err := CheckID(a.ID); err != nil {
		return err
	}
	for _, f := range []struct{ name, text string }{{"party", a.Party}, {"counterparty", a.Counterparty}} {
		if f.text == "" {
			return errors.Newf("no %s", f.name)
		}
		if err := checkText(f.text, MaxParty); err != nil {
			return errors.Wrap(err, f.name)
		}
	}
	switch {
	case a.Delivers == nil && a.Receives == nil:
		return errors.New("no leg: say what the party delivers, what it receives, or both")
	case a.TradeDate > MaxDate || a.SettlementDate > MaxDate:
		return errors.Newf("a date after %s", MaxDate)
	case a.SettlementDate == 0:
		return errors.New("no settlement date")
	case a.Priority > MaxPriority:
		return errors.Newf("priority %d; at most %d", a.Priority, MaxPriority)
	case a.Expires < 0:
		return errors.New("it expires before 1970")
	}
	for _, f := range []struct {
		name string
		leg  *Leg
	}{{"delivers", a.Delivers}, {"receives", a.Receives}} {
		if f.leg == nil {
			continue
		}
		if err := CheckID(f.leg.Account); err != nil {
			return errors.Wrapf(err, "%s: account", f.name)
		}
		if err := CheckID(f.leg.Asset); err != nil {
			return errors.Wrapf(err, "%s: asset", f.name)
		}
	}
	if err := checkText(a.Common, MaxParty); err != nil {
		return errors.Wrap(err, "common reference")
	}
	if err := checkReferences(a.References); err != nil {
		return err
	}
	return a.Source.check()
}

// Reference returns the reference of a kind, "" when there is none.
func (a *Instruct) Reference(k ReferenceKind) string { return referenceOf(a.References, k) }

// digest is what a repetition of the instruction must repeat, its principal included, but not the
// source.
func (a *Instruct) digest(principal []byte) Digest {
	return sha256.Sum256(a.encodeContent(contentHead(contentInstruction, principal)))
}

func (l *Leg) encode(b []byte) []byte {
	return appendDecimal(appendID(appendID(b, l.Account), l.Asset), l.Amount)
}

func (r *reader) leg() *Leg { return &Leg{r.id(), r.id(), r.decimal()} }

// The first byte of what a digest covers says of what it is.
const (
	contentInstruction = 4
	contentRequest     = 5
)

func contentHead(what byte, principal []byte) []byte {
	b := binary.BigEndian.AppendUint16(append(make([]byte, 0, 512), what), uint16(len(principal)))
	return append(b, principal...)
}

// Change is what a Manage changes about an instruction.
type Change uint8

// The changes of an instruction.
const (
	// ManageHold: the instruction does not settle until it is released.
	ManageHold Change = 1
	// ManageRelease ends a hold.
	ManageRelease Change = 2
	// ManageCancel ends the instruction: at once while it is unmatched, and otherwise when the other
	// side has asked for it, too.
	ManageCancel Change = 3
)

var changeNames = [...]string{ManageHold: "hold", ManageRelease: "release", ManageCancel: "cancel"}

// String returns the name of the change.
func (c Change) String() string {
	if int(c) < len(changeNames) && changeNames[c] != "" {
		return changeNames[c]
	}
	return "unknown"
}

// ParseChange returns the change of this name.
func ParseChange(name string) (Change, error) {
	if c := slices.Index(changeNames[:], name); c > 0 {
		return Change(c), nil
	}
	return 0, errors.Newf("no change of an instruction is called %q; write hold, release or cancel", name)
}

// Manage holds, releases or cancels an instruction, for the side that gave it.
type Manage struct {
	// Request is the id of the request, used once for ever, so that a retry that arrives late has no
	// effect; "" is a request without an id.
	Request string
	ID      string // of the instruction
	Change  Change
}

// Op implements Action.
func (*Manage) Op() Op { return OpManage }

func (a *Manage) encode(b []byte) []byte {
	return append(appendID(appendID(b, a.Request), a.ID), byte(a.Change))
}

func (a *Manage) decode(r *reader) {
	a.Request, a.ID, a.Change = r.optionalID(), r.id(), Change(r.u8())
}

func (a *Manage) check() error {
	if a.Request != "" && CheckID(a.Request) != nil {
		return errors.Wrap(CheckID(a.Request), "request")
	}
	if err := CheckID(a.ID); err != nil {
		return err
	}
	if a.Request == a.ID {
		return errors.New("the request has the id of the instruction; give it another one, or none")
	}
	if a.Change.String() == "unknown" {
		return errors.Newf("the unknown change %d; hold, release and cancel are 1, 2 and 3", a.Change)
	}
	return nil
}

// digest is what a repetition of the request must repeat, its principal included.
func (a *Manage) digest(principal []byte) Digest {
	return sha256.Sum256(a.encode(contentHead(contentRequest, principal)))
}

const (
	maxInstructionResult = resultSize + MaxID + 2*maxAmountSize
	// maxPairOutcome is the largest outcome of what one entry does to two instructions that match,
	// in bytes.
	maxPairOutcome = 2*maxInstructionResult + 4*maxLine
)

func (a *Instruct) maxOutcome() int { return maxPairOutcome }

func (a *Manage) maxOutcome() int { return maxPairOutcome }
