package settlement

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// Movement is an entry that touched an account, and what the account had before and after it.
type Movement struct {
	Index   uint64
	Entry   ledger.Entry // its time, principal and body; its kind is KindCommand
	Command *Command
	Outcome *Outcome
	// Line is that of the account in the outcome.
	Line   Line
	Before Balances
	Leaf   []byte
}

// LeafReader returns the leaf of an entry.
type LeafReader func(index uint64) ([]byte, error)

// ReadMovement returns what an entry did to an account. It does not say what the account had before.
func ReadMovement(read LeafReader, index uint64, account string) (*Movement, error) {
	leaf, err := read(index)
	if err != nil {
		return nil, err
	}
	return ParseMovement(index, leaf, account)
}

// ParseMovement returns what a leaf did to an account. It does not say what the account had before.
func ParseMovement(index uint64, leaf []byte, account string) (*Movement, error) {
	m := &Movement{Index: index, Leaf: leaf}
	entry, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return nil, errors.Wrapf(err, "entry %d", index)
	}
	m.Entry = entry
	if m.Command, err = ParseCommand(entry.Body); err != nil {
		return nil, errors.Wrapf(err, "entry %d", index)
	}
	if m.Outcome, err = ParseOutcome(entry.Outcome); err != nil {
		return nil, errors.Wrapf(err, "entry %d", index)
	}
	for _, line := range m.Outcome.Lines {
		if line.Account == account {
			m.Line = line
			return m, nil
		}
	}
	return nil, errors.Newf("entry %d did not touch the account %s", index, account)
}

// History calls each with the movements of an account, the newest first, from the account's record
// on, down to the index from, as long as each returns true.
func History(read LeafReader, a *Account, from uint64, each func(*Movement) bool) error {
	if a.Last < from {
		return nil
	}
	m, err := ReadMovement(read, a.Last, a.ID)
	for err == nil {
		if m.Line.Sequence == 1 || m.Line.Previous >= m.Index {
			each(m)
			return nil
		}
		var before *Movement
		if before, err = ReadMovement(read, m.Line.Previous, a.ID); err != nil {
			break
		}
		m.Before = before.Line.Balances
		if !each(m) || before.Index < from {
			return nil
		}
		m = before
	}
	return err
}
