// Package accounts is a program for tests: accounts that hold an integer, and transfers between
// them that are refused rather than overdraw. Everything that a program can do is in it: outcomes
// that say why something was refused, rows that many entries change, and reads of a range.
//
// Model says the same in a few lines over a map, for tests that compare.
package accounts

import (
	"encoding/binary"
	"math"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// The first byte of a command. Any eight bytes may follow a command, to tell it from equal ones.
const (
	opOpen     = 1 // 8: account; 8: balance
	opTransfer = 2 // 8: from; 8: to; 8: amount
	opSum      = 3 // 8: first account; 8: last account
)

// The first byte of an outcome.
const (
	Done      = 0 // Open: nothing more. Transfer: 8: balance of from; 8: of to. Sum: 8: accounts; 8: balances, modulo 2^64
	Exists    = 1
	Missing   = 2 // 8: the account
	Overdraft = 3 // 8: the balance of from
	Overflow  = 4 // 8: the balance of to
)

// Open returns the command that opens an account.
func Open(account, balance uint64) []byte { return command(opOpen, account, balance) }

// Transfer returns the command that moves an amount.
func Transfer(from, to, amount uint64) []byte { return command(opTransfer, from, to, amount) }

// Sum returns the command that counts the accounts from first to last and adds up their balances.
func Sum(first, last uint64) []byte { return command(opSum, first, last) }

func command(op byte, numbers ...uint64) []byte {
	b := []byte{op}
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// Program implements ledger.Program. It takes payloads, too, and gives them no outcome.
type Program struct{}

// Name implements ledger.Program.
func (Program) Name() string { return "accounts" }

// Version implements ledger.Program.
func (Program) Version() uint32 { return 1 }

// MaxOutcome implements ledger.Program.
func (Program) MaxOutcome(kind ledger.Kind, body []byte) (int, error) {
	if kind == ledger.KindPayload {
		return 0, nil
	}
	_, _, err := parse(body)
	return 1 + 2*8, err
}

func parse(body []byte) (op byte, numbers [3]uint64, err error) {
	want := 2
	if len(body) > 0 && body[0] == opTransfer {
		want = 3
	}
	if len(body) != 1+8*want && len(body) != 1+8*want+8 || body[0] < opOpen || body[0] > opSum {
		return 0, numbers, errors.Newf("no command of accounts: %.32x", body)
	}
	for i := range want {
		numbers[i] = binary.BigEndian.Uint64(body[1+8*i:])
	}
	return body[0], numbers, nil
}

// Key returns the key of the row of an account.
func Key(account uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'a'}, account) }

func number(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// Decide implements ledger.Program.
func (Program) Decide(view ledger.View, in *ledger.Input) []byte {
	if in.Kind == ledger.KindPayload {
		return nil
	}
	op, n, _ := parse(in.Body)
	switch op {
	case opOpen:
		if _, found := view.Get(Key(n[0])); found {
			return []byte{Exists}
		}
		view.Put(Key(n[0]), binary.BigEndian.AppendUint64(nil, n[1]))
		return []byte{Done}
	case opTransfer:
		return transfer(view, n[0], n[1], n[2])
	default:
		accounts, sum := uint64(0), uint64(0)
		to := []byte{'b'}
		if n[1] < math.MaxUint64 {
			to = Key(n[1] + 1)
		}
		for _, value := range view.Range(Key(n[0]), to) {
			accounts, sum = accounts+1, sum+number(value)
		}
		return command(Done, accounts, sum)
	}
}

func transfer(view ledger.View, from, to, amount uint64) []byte {
	debit, found := view.Get(Key(from))
	if !found {
		return command(Missing, from)
	}
	credit, found := view.Get(Key(to))
	if !found {
		return command(Missing, to)
	}
	a, b := number(debit), number(credit)
	switch {
	case a < amount:
		return command(Overdraft, a)
	case from == to:
		return command(Done, a, a)
	case b+amount < b:
		return command(Overflow, b)
	}
	view.Put(Key(from), binary.BigEndian.AppendUint64(nil, a-amount))
	view.Put(Key(to), binary.BigEndian.AppendUint64(nil, b+amount))
	return command(Done, a-amount, b+amount)
}
