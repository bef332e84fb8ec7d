package accounts

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// Mapped is WithHolds with a map of its accounts. Every row of an account is a record of the map.
// The outcome that carries a map root has RootSize bytes more: 32, map root; 8, number of accounts;
// 8, index of the entry that carried the one before, NoRoot when there is none.
type Mapped struct{ WithHolds }

// RootSize is how many bytes a map root takes in an outcome.
const RootSize = merkle.HashSize + 8 + 8

// NoRoot stands for the index of the entry before the first one that carries a map root.
const NoRoot = math.MaxUint64

// Name implements ledger.Program.
func (Mapped) Name() string { return "mapped-accounts" }

// MaxOutcome implements ledger.Program.
func (m Mapped) MaxOutcome(kind ledger.Kind, body []byte) (int, error) {
	n, err := m.WithHolds.MaxOutcome(kind, body)
	if kind == ledger.KindCommand {
		n += RootSize
	}
	return n, err
}

// MapPrefix implements ledger.Mapped.
func (Mapped) MapPrefix() []byte { return []byte{'a'} }

// RootOutcome implements ledger.Mapped.
func (Mapped) RootOutcome(view ledger.View, index uint64, outcome []byte, root merkle.Hash, accounts uint64) []byte {
	previous := uint64(NoRoot)
	if b, found := view.Get([]byte("root")); found {
		previous = number(b)
	}
	view.Put([]byte("root"), binary.BigEndian.AppendUint64(nil, index))
	b := append(append(make([]byte, 0, len(outcome)+RootSize), outcome...), root[:]...)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, accounts), previous)
}

// Root is what an outcome that carries a map root has behind the outcome of the command.
type Root struct {
	Root               merkle.Hash
	Accounts, Previous uint64
}

// CutRoot returns the outcome of the command alone, given how long that is, and the map root behind
// it when there is one.
func CutRoot(outcome []byte, n int) (command []byte, root Root, ok bool) {
	if len(outcome) != n+RootSize {
		return outcome, Root{}, false
	}
	b := outcome[n:]
	return outcome[:n:n], Root{merkle.Hash(b), number(b[merkle.HashSize:]), number(b[merkle.HashSize+8:])}, true
}

// ID returns the id of an account in the map.
func ID(account uint64) []byte { return Key(account)[1:] }

// Record returns the record of an account in the map.
func Record(balance uint64) []byte { return binary.BigEndian.AppendUint64(nil, balance) }

// Leaf returns an account's leaf in the map of a ledger.
func Leaf(ledger string, account, balance uint64) accountmap.Leaf {
	return accountmap.Leaf{Key: accountmap.KeyOf(ledger, ID(account)), Record: sha256.Sum256(Record(balance))}
}
