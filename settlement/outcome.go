package settlement

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// Outcome is what came of a command. It stands behind the command in the leaf. It says which
// accounts the entry touched, and commits to what each of them had afterwards, without showing it
// (Detail). Whoever has all leaves can compute every balance.
type Outcome struct {
	Results []Result  // one for each thing that was asked for; of an Advance one for each thing done
	Touched []Touched // the accounts that the entry touched, each once, ascending by id
}

// Touched is an account that an entry touched.
type Touched struct {
	Account string
	Head    merkle.Hash // of the account after the entry; it commits to the Detail
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

// Balances are the sums of an account, in minor units of its asset.
type Balances struct {
	DebitsPending, DebitsPosted, CreditsPending, CreditsPosted Amount
}

const (
	outcomeVersion = 1
	outcomeHeader  = 1 + 2 + 2

	maxAmountSize = 1 + 16
	resultSize    = 1 + 1 + 1 + 8 + 2 + 1 // without the id
	touchedSize   = 1 + merkle.HashSize   // without the id
)

// settles reports whether a result of the status says what the entry settled of an instruction.
func (s Status) settles() bool { return s == Settled || s == PartlySettled }

// Marshal returns the outcome's encoding.
func (o *Outcome) Marshal() []byte {
	b := binary.BigEndian.AppendUint16(o.appendResults(make([]byte, 0, o.size())), uint16(len(o.Touched)))
	for i := range o.Touched {
		b = append(appendID(b, o.Touched[i].Account), o.Touched[i].Head[:]...)
	}
	return b
}

// appendResults appends the first part of the encoding, which the heads of the accounts cover.
func (o *Outcome) appendResults(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, outcomeVersion), uint16(len(o.Results)))
	for i := range o.Results {
		r := &o.Results[i]
		b = appendID(append(b, byte(r.Status), byte(r.Reason)), r.ID)
		b = append(binary.BigEndian.AppendUint16(appendU64(b, r.Index), r.Member), byte(r.Cause))
		if r.Status.settles() {
			b = appendAmount(appendAmount(b, r.Delivered), r.Received)
		}
	}
	return b
}

// touchedLen returns the length of the other part of the encoding.
func (o *Outcome) touchedLen() int {
	n := 2 + len(o.Touched)*touchedSize
	for i := range o.Touched {
		n += len(o.Touched[i].Account)
	}
	return n
}

// size is at least the length of the encoding.
func (o *Outcome) size() int {
	n := outcomeHeader - 2 + len(o.Results)*resultSize + o.touchedLen()
	for i := range o.Results {
		if n += len(o.Results[i].ID); o.Results[i].Status.settles() {
			n += 2 * maxAmountSize
		}
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
		t := Touched{Account: r.id()}
		copy(t.Head[:], r.take(len(t.Head)))
		if n := len(o.Touched); n > 0 && o.Touched[n-1].Account >= t.Account {
			r.fail("the accounts of an outcome do not ascend")
		}
		o.Touched = append(o.Touched, t)
	}
	return o, r.end("outcome of settlement")
}

func (s *Balances) encode(b []byte) []byte {
	return appendAmount(appendAmount(appendAmount(appendAmount(b, s.DebitsPending), s.DebitsPosted), s.CreditsPending), s.CreditsPosted)
}

func (s *Balances) decode(r *reader) {
	s.DebitsPending, s.DebitsPosted, s.CreditsPending, s.CreditsPosted = r.amount(), r.amount(), r.amount(), r.amount()
}
