package settlement_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/cairnledger/cairn/settlement"
)

// The accounts of random instructions: some of cash and some of securities, so that instructions
// meet.
const randomAccounts = 4

// randomInstructionCommand returns a command about few accounts, most of them instructions and what
// funds them.
func randomInstructionCommand(rng *rand.Rand) []byte {
	c := settlement.Command{Operator: rng.IntN(10) > 0}
	switch rng.IntN(24) {
	case 0:
		c.Action = &settlement.CreateAsset{ID: []string{"USD", "SEC"}[rng.IntN(2)], Scale: 2}
	case 1, 2, 3:
		a := &settlement.OpenAccount{Owners: []string{"BANKA", "BANKB", "spiffe://example.org/svc/a"}}
		a.ID, a.Asset = randomHolding(rng)
		switch rng.IntN(8) {
		case 0:
			a.Flags = settlement.CreditsLimited
			a.Limit = randomAmount(rng)
		case 1, 2:
		default:
			a.Flags = settlement.DebitsLimited
		}
		c.Action = a
	case 4:
		a := &settlement.ChangeAccount{Close: rng.IntN(12) == 0}
		a.ID, _ = randomHolding(rng)
		if frozen := rng.IntN(5) == 0; !a.Close {
			a.Frozen = &frozen
		}
		c.Action = a
	case 5:
		c.Action = &settlement.Resolve{ID: randomID(rng), Void: rng.IntN(2) == 0}
	case 6, 7, 8, 9, 10:
		c.Action = randomFunding(rng)
	case 11, 12:
		c.Action = randomManage(rng)
	default:
		c.Action = randomInstruct(rng)
	}
	b, err := c.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

// randomHolding returns an account and its asset.
func randomHolding(rng *rand.Rand) (account, asset string) {
	asset = []string{"USD", "SEC"}[rng.IntN(2)]
	return fmt.Sprintf("%s-%d", asset, rng.IntN(randomAccounts)), asset
}

// randomFunding returns a transfer between two accounts of one asset.
func randomFunding(rng *rand.Rand) *settlement.Submit {
	_, asset := randomHolding(rng)
	return &settlement.Submit{Pending: rng.IntN(4) == 0, Transfers: []settlement.Transfer{{
		ID: randomID(rng), Debit: fmt.Sprintf("%s-%d", asset, rng.IntN(randomAccounts)), Credit: fmt.Sprintf("%s-%d", asset, rng.IntN(randomAccounts)),
		Amount: settlement.NewDecimal(settlement.AmountOf(1+rng.Uint64N(60)), 0),
	}}}
}

func randomInstruct(rng *rand.Rand) *settlement.Instruct {
	a := &settlement.Instruct{
		ID: randomInstructionID(rng), Party: "BANKA", Counterparty: "BANKB",
		// 2023-11-14, the day on which histories begin, or while they last.
		SettlementDate: 19675 + []settlement.Date{0, 0, 0, 30, 60, 120}[rng.IntN(6)],
		Held:           rng.IntN(8) == 0, Partial: rng.IntN(2) == 0, Priority: uint8(rng.IntN(4)),
	}
	number := rng.IntN(randomAccounts / 2)
	buys := rng.IntN(2) == 0
	if buys != (rng.IntN(40) == 0) {
		number += randomAccounts / 2
	}
	cash := &settlement.Leg{Account: fmt.Sprintf("USD-%d", number), Asset: "USD", Amount: randomQuantity(rng)}
	securities := &settlement.Leg{Account: fmt.Sprintf("SEC-%d", number), Asset: "SEC", Amount: randomQuantity(rng)}
	a.Delivers, a.Receives = securities, cash
	if buys {
		a.Party, a.Counterparty = a.Counterparty, a.Party
		a.Delivers, a.Receives = cash, securities
	}
	if rng.IntN(20) == 0 {
		a.Party = "BANKC"
	}
	switch rng.IntN(12) {
	case 0:
		a.Receives = nil
	case 1:
		a.Delivers = nil
	}
	if rng.IntN(3) == 0 {
		a.TradeDate = 19670 + settlement.Date(rng.IntN(2))
	}
	if rng.IntN(3) == 0 {
		a.Common = fmt.Sprintf("common %d", rng.IntN(2))
	}
	if rng.IntN(4) == 0 {
		a.Expires = 1_700_000_000_000_000 + rng.Int64N(180*24*3600*1e6)
	}
	if rng.IntN(4) == 0 {
		a.References = []settlement.Reference{{Kind: settlement.TransactionID, Value: "TX"}}
	}
	return a
}

func randomQuantity(rng *rand.Rand) settlement.Decimal {
	return settlement.NewDecimal(settlement.AmountOf([]uint64{7, 30}[rng.IntN(2)]), 0)
}

func randomManage(rng *rand.Rand) *settlement.Manage {
	a := &settlement.Manage{ID: randomInstructionID(rng), Change: settlement.Change(1 + rng.IntN(3))}
	if rng.IntN(3) == 0 {
		a.Request = fmt.Sprintf("r-%d", rng.IntN(100))
	}
	return a
}

func randomInstructionID(rng *rand.Rand) string { return fmt.Sprintf("i-%d", rng.IntN(200)) }
