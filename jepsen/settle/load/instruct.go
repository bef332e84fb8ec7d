package load

import (
	"fmt"
	"math/rand/v2"

	"github.com/cairnledger/cairn/settlement"
)

// parties are the names of two banks; account i belongs to parties[i % 2], who is among its owners.
var parties = []string{"BANKCHZZ", "BANKDEFF"}

func partyOf(account int) string { return parties[account%2] }

// instruct gives an instruction: the counterpart of an earlier one, or a new one.
func (l *Load) instruct(rng *rand.Rand) *settlement.Instruct {
	if n := len(l.awaited); n > 0 && rng.IntN(5) < 3 {
		i := rng.IntN(n)
		a := l.awaited[i]
		l.awaited = append(l.awaited[:i:i], l.awaited[i+1:]...)
		a.ID = l.newID()
		l.vary(rng, &a)
		l.instructed = append(l.instructed, a.ID)
		return &a
	}
	today := settlement.DateOf(l.Now())
	a := settlement.Instruct{ID: l.newID(), SettlementDate: today}
	// A party delivers a security or a currency that it has, and receives a currency.
	first := rng.IntN(accounts)
	for first%len(assets) == 0 {
		first = rng.IntN(accounts)
	}
	mine := func(asset, like int) int {
		for {
			if i := asset + len(assets)*rng.IntN(accounts/len(assets)); i%2 == like%2 {
				return i
			}
		}
	}
	asset, cash := first%len(assets), 0
	second := mine(asset, first+1) // gets it
	pays, paid := mine(cash, second), mine(cash, first)
	a.Party, a.Counterparty = partyOf(first), partyOf(second)
	b := a
	b.Party, b.Counterparty = a.Counterparty, a.Party
	goods, money := units(1+rng.Uint64N(60)), amount(rng)
	if money.Coefficient.IsZero() {
		money = units(1)
	}
	leg := func(account, asset int, amount settlement.Decimal) *settlement.Leg {
		return &settlement.Leg{Account: fmt.Sprintf("acct-%d", account), Asset: assets[asset].ID, Amount: amount}
	}
	kind := rng.IntN(10)
	if kind > 0 {
		a.Delivers, b.Receives = leg(first, asset, goods), leg(second, asset, goods)
	}
	if kind < 9 {
		a.Receives, b.Delivers = leg(paid, cash, money), leg(pays, cash, money)
	}
	if rng.IntN(3) == 0 {
		a.TradeDate = today - 1
		if b.TradeDate = a.TradeDate; rng.IntN(2) == 0 {
			b.TradeDate = 0
		}
	}
	if rng.IntN(3) == 0 {
		a.Common = fmt.Sprintf("deal-%d", rng.IntN(5))
		if b.Common = a.Common; rng.IntN(2) == 0 {
			b.Common = ""
		}
	}
	if rng.IntN(6) == 0 {
		a.SettlementDate, b.SettlementDate = today+1, today+1
	}
	if rng.IntN(2) == 0 {
		a.Partial, b.Partial = true, rng.IntN(4) > 0
	}
	l.awaited = append(l.awaited, b)
	if len(l.awaited) > 12 {
		l.awaited = l.awaited[1:]
	}
	l.vary(rng, &a)
	l.instructed = append(l.instructed, a.ID)
	return &a
}

// vary gives an instruction what is its own, and sometimes something wrong.
func (l *Load) vary(rng *rand.Rand, a *settlement.Instruct) {
	a.Priority, a.Held = uint8(max(0, rng.IntN(8)-4)), rng.IntN(6) == 0
	if rng.IntN(5) == 0 {
		a.Expires = l.Now() + l.Grain*rng.Int64N(l.Timeout/l.Grain)
	}
	leg := a.Delivers
	if leg == nil || a.Receives != nil && rng.IntN(2) == 0 {
		leg = a.Receives
	}
	changed := *leg
	switch rng.IntN(40) {
	case 0:
		changed.Account = account(rng.IntN(accounts + 4))
	case 1:
		changed.Asset = assets[rng.IntN(len(assets))].ID
	case 2:
		changed.Amount = settlement.NewDecimal(settlement.AmountOf(rng.Uint64N(100)), uint8(rng.IntN(4)))
	case 3:
		a.Party = pick(rng, "NOBODY", a.Counterparty)
	case 4:
		a.ID = l.oldTransfer(rng).ID
	case 5:
		a.SettlementDate++
	case 6:
		a.Common = "another"
	case 7:
		changed.Amount = settlement.NewDecimal(settlement.Amount{Hi: rng.Uint64(), Lo: 1}, 0)
	case 8:
		a.Delivers = a.Receives
		if a.Receives == nil {
			a.Delivers, a.Receives = leg, leg
		}
	}
	switch leg {
	case a.Delivers:
		a.Delivers = &changed
	case a.Receives:
		a.Receives = &changed
	}
}

// manage holds, releases or cancels an instruction of late.
func (l *Load) manage(rng *rand.Rand) *settlement.Manage {
	a := &settlement.Manage{ID: "t-0", Change: settlement.Change(1 + rng.IntN(3))}
	if rng.IntN(3) == 0 {
		a.Change = settlement.Change(1 + rng.IntN(2))
	}
	if n := len(l.instructed); n > 0 {
		a.ID = l.instructed[n-1-rng.IntN(min(n, 16))]
	}
	switch rng.IntN(12) {
	case 0:
		a.ID = l.oldTransfer(rng).ID
	case 1, 2, 3:
		a.Request = l.newID()
	case 4:
		a.Request = l.oldTransfer(rng).ID
	}
	if a.Request == a.ID {
		a.Request = ""
	}
	return a
}
