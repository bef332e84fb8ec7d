package accounts

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cairnledger/cairn/merkle/accountmap"
)

// Mapped is WithHolds with a map of its accounts. Every row of an account is a record of the map.
type Mapped struct{ WithHolds }

// Name implements ledger.Program.
func (Mapped) Name() string { return "mapped-accounts" }

// MapPrefix implements ledger.Mapped.
func (Mapped) MapPrefix() []byte { return []byte{'a'} }

// MapRecord implements ledger.Mapped.
func (Mapped) MapRecord(value []byte) []byte { return value }

// ID returns the id of an account in the map.
func ID(account uint64) []byte { return Key(account)[1:] }

// Record returns the record of an account in the map.
func Record(balance uint64) []byte { return binary.BigEndian.AppendUint64(nil, balance) }

// Leaf returns an account's leaf in the map of a ledger.
func Leaf(ledger string, account, balance uint64) accountmap.Leaf {
	return accountmap.Leaf{Key: accountmap.KeyOf(ledger, ID(account)), Record: sha256.Sum256(Record(balance))}
}
