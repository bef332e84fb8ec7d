package accounts

import (
	"maps"
	"math"
	"strings"

	"github.com/cairnledger/cairn/ledger"
)

// HoldsModel is what WithHolds is to do, over maps.
type HoldsModel struct {
	Accounts Model
	Holds    map[uint64]HoldState
}

// HoldState is a hold of a HoldsModel.
type HoldState struct {
	Account, Amount uint64
	Due             int64 // ledger time, µs
	Status          byte
}

// NewHoldsModel returns the model of a ledger that has just begun.
func NewHoldsModel() HoldsModel { return HoldsModel{Model{}, map[uint64]HoldState{}} }

// Equal reports whether two models have the same accounts and holds.
func (m HoldsModel) Equal(o HoldsModel) bool {
	return maps.Equal(m.Accounts, o.Accounts) && maps.Equal(m.Holds, o.Holds)
}

// Decide returns the outcome of an entry that MaxOutcome understands, and changes the model. It
// reads time, principal and body of the entry.
func (m HoldsModel) Decide(e *ledger.Entry) []byte {
	if e.Body[0] < opHold {
		return m.Accounts.Decide(e.Body)
	}
	op, n, _ := parseHold(e.Body)
	h, known := m.Holds[n[0]]
	switch {
	case op == opHold && known:
		return []byte{Exists}
	case op == opHold:
		return m.open(n[0], HoldState{n[1], n[2], e.Time + int64(n[3]), Pending})
	case op == opExpire && !strings.Contains(e.Principal, "/node/"):
		return []byte{Caller}
	case !known:
		return command(Missing, n[0])
	case h.Status != Pending:
		return command(Closed, uint64(h.Status))
	case op == opPay && e.Time >= h.Due:
		return command(Late, uint64(h.Due))
	case op == opExpire && e.Time < h.Due:
		return command(Early, uint64(h.Due))
	case op == opExpire:
		m.Accounts[h.Account] += min(h.Amount, math.MaxUint64-m.Accounts[h.Account])
		h.Status = Expired
		m.Holds[n[0]] = h
		return command(Done, h.Amount, m.Accounts[h.Account])
	}
	balance, known := m.Accounts[n[1]]
	switch {
	case !known:
		return command(Missing, n[1])
	case balance > math.MaxUint64-h.Amount:
		return command(Overflow, balance)
	}
	m.Accounts[n[1]], h.Status = balance+h.Amount, Paid
	m.Holds[n[0]] = h
	return command(Done, h.Amount, balance+h.Amount)
}

func (m HoldsModel) open(id uint64, h HoldState) []byte {
	balance, known := m.Accounts[h.Account]
	switch {
	case !known:
		return command(Missing, h.Account)
	case balance < h.Amount:
		return command(Overdraft, balance)
	}
	m.Accounts[h.Account] -= h.Amount
	m.Holds[id] = h
	return command(Done, balance-h.Amount, uint64(h.Due))
}

// ReadHolds reads the accounts and holds of a ledger whose program is WithHolds.
func ReadHolds(s ledger.State) (HoldsModel, error) {
	m := NewHoldsModel()
	err := s.Range([]byte{'a'}, []byte{'b'}, func(key, value []byte) bool {
		m.Accounts[number(key[1:])] = number(value)
		return true
	})
	if err != nil {
		return m, err
	}
	return m, s.Range([]byte{'h'}, []byte{'i'}, func(key, value []byte) bool {
		h := parseRow(value)
		m.Holds[number(key[1:])] = HoldState{h.account, h.amount, h.due, h.status}
		return true
	})
}

// ExpiredBefore reports whether an outcome says that a hold which is to expire had expired before.
// When leaders alone propose that, it means that two of them did the same work.
func ExpiredBefore(body, outcome []byte) bool {
	return len(body) > 0 && body[0] == opExpire && len(outcome) == 9 && outcome[0] == Closed && number(outcome[1:]) == Expired
}
