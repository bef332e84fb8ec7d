package settlement

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"
)

// Outcome is what came of a command. It stands behind the command in the leaf. With the commands it
// is enough to know every balance: the lines say what each account that the entry touched had
// afterwards.
type Outcome struct {
	Results []Result // one for each thing that was asked for; of an Advance one for each thing done
	Lines   []Line   // the accounts that the entry touched, each once, ascending by id
}

// Result is what came of one thing that a command asked for.
type Result struct {
	Status Status
	// Reason is of Rejected; of Queued and PartlySettled it says what stands against the rest, and of
	// an instruction that the ledger itself ended why it did.
	Reason Reason
	// ID is what the result speaks of where the command does not say it: in the outcome of an
	// Advance, of an Instruct and of a Manage.
	ID string
	// Index is the other entry that the status speaks of: the first one of Exists and Conflict, the
	// counterparty's instruction of a match, the entry that reserved what is Posted, Voided or
	// Expired here.
	Index uint64
	// Member is which transfer of a set, or which condition, is meant by the reason: from 0.
	Member uint16
	// Cause is the reason of the member, when Reason is SetMemberRejected.
	Cause Reason
	// Delivered and Received are what this entry moved for the instruction ID, in minor units; of
	// Settled and PartlySettled alone.
	Delivered, Received Amount
}

// Line is what an account has after an entry.
type Line struct {
	Account  string
	Scale    uint8 // of the account's asset
	Balances Balances
	Sequence uint64 // how many entries have touched the account, this one included
	Previous uint64 // index of the one before this one; of the first: its own index
}

// Balances are the sums of an account, in minor units of its asset.
type Balances struct {
	DebitsPending, DebitsPosted, CreditsPending, CreditsPosted Amount
}

const (
	outcomeVersion = 1
	outcomeHeader  = 1 + 2 + 2

	maxAmountSize = 1 + 16
	resultSize    = 1 + 1 + 1 + 8 + 2 + 1 // without the id
	lineSize      = 1 + 1 + 4*maxAmountSize + 8 + 8
)

// settles reports whether a result of the status says what the entry settled of an instruction.
func (s Status) settles() bool { return s == Settled || s == PartlySettled }

// Marshal returns the outcome's encoding.
func (o *Outcome) Marshal() []byte {
	b := make([]byte, 0, o.size())
	b = binary.BigEndian.AppendUint16(append(b, outcomeVersion), uint16(len(o.Results)))
	for i := range o.Results {
		r := &o.Results[i]
		b = appendID(append(b, byte(r.Status), byte(r.Reason)), r.ID)
		b = append(binary.BigEndian.AppendUint16(appendU64(b, r.Index), r.Member), byte(r.Cause))
		if r.Status.settles() {
			b = appendAmount(appendAmount(b, r.Delivered), r.Received)
		}
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(o.Lines)))
	for i := range o.Lines {
		b = o.Lines[i].Append(b)
	}
	return b
}

// Append appends the line's encoding.
func (l *Line) Append(b []byte) []byte {
	b = l.Balances.encode(append(appendID(b, l.Account), l.Scale))
	return appendU64(appendU64(b, l.Sequence), l.Previous)
}

// ParseLine parses a line. Every byte string is either refused or encodes back to itself.
func ParseLine(b []byte) (Line, error) {
	r := readerOf(b)
	l := r.line()
	return l, r.end("line of an outcome")
}

func (r *reader) line() Line {
	l := Line{Account: r.id(), Scale: r.u8()}
	if l.Scale > MaxScale {
		r.fail("a scale of %d", l.Scale)
	}
	l.Balances.decode(r)
	l.Sequence, l.Previous = r.u64(), r.u64()
	return l
}

func (o *Outcome) size() int {
	n := outcomeHeader + len(o.Results)*resultSize + len(o.Lines)*lineSize
	for i := range o.Results {
		if n += len(o.Results[i].ID); o.Results[i].Status.settles() {
			n += 2 * maxAmountSize
		}
	}
	for i := range o.Lines {
		n += len(o.Lines[i].Account)
	}
	return n
}

// ParseOutcome parses an outcome. Every byte string is either refused or encodes back to itself.
func ParseOutcome(b []byte) (*Outcome, error) {
	r := readerOf(b)
	if v := r.u8(); r.err == nil && v != outcomeVersion {
		return nil, errors.Newf("an outcome of settlement of version %d, this program knows version %d", v, outcomeVersion)
	}
	o := &Outcome{}
	for range r.u16() {
		if r.err != nil {
			break
		}
		result := Result{Status: Status(r.u8()), Reason: Reason(r.u8()), ID: r.optionalID(), Index: r.u64(), Member: uint16(r.u16()), Cause: Reason(r.u8())}
		if result.Status.settles() {
			result.Delivered, result.Received = r.amount(), r.amount()
		}
		o.Results = append(o.Results, result)
	}
	for range r.u16() {
		if r.err != nil {
			break
		}
		l := r.line()
		if n := len(o.Lines); n > 0 && o.Lines[n-1].Account >= l.Account {
			r.fail("the accounts of an outcome do not ascend")
		}
		o.Lines = append(o.Lines, l)
	}
	return o, r.end("outcome of settlement")
}

// Line returns what an account has after the entry, and whether the entry touched it.
func (o *Outcome) Line(account string) (Line, bool) {
	i, found := slices.BinarySearchFunc(o.Lines, account, func(l Line, id string) int { return strings.Compare(l.Account, id) })
	if !found {
		return Line{}, false
	}
	return o.Lines[i], true
}

func (s *Balances) encode(b []byte) []byte {
	return appendAmount(appendAmount(appendAmount(appendAmount(b, s.DebitsPending), s.DebitsPosted), s.CreditsPending), s.CreditsPosted)
}

func (s *Balances) decode(r *reader) {
	s.DebitsPending, s.DebitsPosted, s.CreditsPending, s.CreditsPosted = r.amount(), r.amount(), r.amount(), r.amount()
}
