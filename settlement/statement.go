package settlement

import (
	"crypto/sha256"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// Decided is an entry of a settlement ledger: a command and what came of it.
type Decided struct {
	Index   uint64
	Leaf    []byte
	Entry   ledger.Entry // its time, principal and body; its kind is KindCommand
	Command *Command
	Outcome *Outcome
}

// ParseLeaf parses the leaf of a command. The genesis and other records of the ledger are no
// commands.
func ParseLeaf(index uint64, leaf []byte) (*Decided, error) {
	d := &Decided{Index: index, Leaf: leaf}
	var err error
	if d.Entry, err = ledger.ParseLeaf(leaf); err != nil {
		return nil, errors.Wrapf(err, "entry %d", index)
	}
	if d.Entry.Kind != ledger.KindCommand {
		return nil, errors.Newf("entry %d is a %s, not a command", index, d.Entry.Kind)
	}
	if d.Command, err = ParseCommand(d.Entry.Body); err != nil {
		return nil, errors.Wrapf(err, "entry %d", index)
	}
	if d.Outcome, err = ParseOutcome(d.Entry.Outcome); err != nil {
		return nil, errors.Wrapf(err, "entry %d", index)
	}
	least, most := 1, 1
	switch a := d.Command.Action.(type) {
	case *Submit:
		if a.Set == "" {
			least, most = len(a.Transfers), len(a.Transfers)
		}
	case *Instruct, *Manage:
		most = 2 // the counterparty's instruction has the second one
	case *Advance:
		least, most = 0, len(d.Outcome.Results)
	}
	if n := len(d.Outcome.Results); n < least || n > most {
		return nil, errors.Newf("entry %d: %d results of a command that has %d to %d", index, n, least, most)
	}
	return d, nil
}

// Covered is what the heads of the accounts that the entry touched cover of the leaf: all but what
// the outcome says of these accounts.
func (d *Decided) Covered() []byte { return d.Leaf[:len(d.Leaf)-d.Outcome.touchedLen()] }

// Digest is the SHA-256 of Covered.
func (d *Decided) Digest() [32]byte { return sha256.Sum256(d.Covered()) }

// ParseCovered parses what Decided.Covered returns. The entry then names no accounts.
func ParseCovered(index uint64, covered []byte) (*Decided, error) {
	return ParseLeaf(index, append(slices.Clip(covered), 0, 0))
}

// Repeats returns the entry that may have decided before what this one asks for: all its results say
// so, of one entry. IsRepeatedBy tells whether that entry did.
func (d *Decided) Repeats() (first uint64, repeats bool) {
	switch a := d.Command.Action.(type) {
	case *Submit, *Instruct:
	case *Manage:
		if a.Request == "" {
			return 0, false
		}
	default:
		return 0, false
	}
	for i, r := range d.Outcome.Results {
		if r.Status != Exists || r.Index == d.Index || i > 0 && r.Index != first {
			return 0, false
		}
		first = r.Index
	}
	return first, true
}

// IsRepeatedBy reports whether an entry whose Repeats names this one only found that this one had
// decided the same. A request to cancel may name an entry that cancelled for another request.
func (d *Decided) IsRepeatedBy(later *Decided) bool {
	a, manages := later.Command.Action.(*Manage)
	if !manages {
		return true
	}
	first, ok := d.Command.Action.(*Manage)
	return ok && first.Request == a.Request
}

// Movement is an entry that touched an account, and what the account had before and after it.
type Movement struct {
	Decided
	Before Balances
	Detail Detail // of the account
}

// EntryReader returns the leaf and the detail of an entry, checked, as ledger.Ledger.Detail does.
type EntryReader func(index uint64) (leaf, detail []byte, err error)

// ReadMovement returns what an entry did to an account. It does not say what the account had before.
func ReadMovement(read EntryReader, index uint64, account string) (*Movement, error) {
	leaf, detail, err := read(index)
	if err != nil {
		return nil, err
	}
	d, err := ParseLeaf(index, leaf)
	if err != nil {
		return nil, err
	}
	details, err := d.Details(detail)
	if err != nil {
		return nil, err
	}
	for i := range details {
		if details[i].Line.Account == account {
			return &Movement{Decided: *d, Detail: details[i]}, nil
		}
	}
	return nil, errors.Newf("entry %d did not touch the account %s", index, account)
}

// History calls each with the movements of an account, the newest first: from the entry start on,
// which touched the account, down to the index from, as long as each returns true.
func History(read EntryReader, account string, start, from uint64, each func(*Movement) bool) error {
	m, err := ReadMovement(read, start, account)
	for err == nil && m.Index >= from {
		first := m.Detail.Line.Sequence == 1
		if !first && m.Detail.Line.Previous >= m.Index {
			return errors.Newf("entry %d names %d as the one before it", m.Index, m.Detail.Line.Previous)
		}
		var before *Movement
		if !first {
			if before, err = ReadMovement(read, m.Detail.Line.Previous, account); err != nil {
				break
			}
			m.Before = before.Detail.Line.Balances
		}
		if !each(m) || first {
			return nil
		}
		m = before
	}
	return err
}

// Transfers returns the ids of the transfers and sets that the entry made, posted, voided or let
// expire.
func (d *Decided) Transfers() []string {
	var ids []string
	switch a := d.Command.Action.(type) {
	case *Submit:
		if a.Set != "" && d.Outcome.Results[0].Status.moves() {
			return []string{a.Set}
		}
		for i, r := range d.Outcome.Results {
			if a.Set == "" && r.Status.moves() {
				ids = append(ids, a.Transfers[i].ID)
			}
		}
	case *Resolve:
		if d.Outcome.Results[0].Status.moves() {
			ids = append(ids, a.ID)
		}
	case *Advance:
		for _, r := range d.Outcome.Results {
			if r.Status.moves() && r.Reason != InstructionExpired {
				ids = append(ids, r.ID)
			}
		}
	}
	return ids
}

// moves reports whether a result with this status changed balances.
func (s Status) moves() bool { return s == Posted || s == Pending || s == Voided || s == Expired }
