package accounts

import (
	"math"

	"github.com/cairnledger/cairn/merkle/accountmap"
)

// Model is what the program is to do, over a map of accounts to balances.
type Model map[uint64]uint64

// Decide returns the outcome of a command that MaxOutcome understands, and changes the balances.
func (m Model) Decide(body []byte) []byte {
	op, n, _ := parse(body)
	balance, found := m[n[0]]
	other, second := m[n[1]]
	switch {
	case op == opOpen && found:
		return []byte{Exists}
	case op == opOpen:
		m[n[0]] = n[1]
		return []byte{Done}
	case op == opSum:
		accounts, sum := uint64(0), uint64(0)
		for account, balance := range m {
			if account >= n[0] && account <= n[1] {
				accounts, sum = accounts+1, sum+balance
			}
		}
		return command(Done, accounts, sum)
	case !found:
		return command(Missing, n[0])
	case !second:
		return command(Missing, n[1])
	case balance < n[2]:
		return command(Overdraft, balance)
	case n[0] != n[1] && other > math.MaxUint64-n[2]:
		return command(Overflow, other)
	case n[0] != n[1]:
		m[n[0]], m[n[1]] = balance-n[2], other+n[2]
	}
	return command(Done, m[n[0]], m[n[1]])
}

// Puts reports whether a program puts rows of accounts for a command whose outcome begins like
// this.
func Puts(body, outcome []byte) bool {
	_, n, _ := parse(body)
	return outcome[0] == Done && body[0] != opSum && !(body[0] == opTransfer && n[0] == n[1])
}

// Map returns the map of the accounts of a ledger.
func (m Model) Map(ledger string) *accountmap.Tree {
	var leaves []accountmap.Leaf
	for account, balance := range m {
		leaves = append(leaves, Leaf(ledger, account, balance))
	}
	return accountmap.Build(leaves)
}
