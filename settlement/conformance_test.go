package settlement_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest"
	"github.com/cairnledger/cairn/settlement"
)

var options = programtest.Options{
	New:     func() ledger.Program { return settlement.Program{} },
	Command: randomCommand,
}

// instructionOptions has commands most of which are about instructions.
var instructionOptions = programtest.Options{
	New:     func() ledger.Program { return settlement.Program{} },
	Command: randomInstructionCommand,
}

func TestConformance(t *testing.T) { programtest.Run(t, options) }

func TestInstructionConformance(t *testing.T) { programtest.Run(t, instructionOptions) }

func FuzzConformance(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		f.Add(randomCommand(rng))
		f.Add(randomInstructionCommand(rng))
	}
	f.Fuzz(func(t *testing.T, command []byte) { programtest.Fuzz(t, options, command) })
}

// randomCommand returns a command about few accounts and ids, so that commands meet.
func randomCommand(rng *rand.Rand) []byte {
	c := settlement.Command{Operator: rng.IntN(4) > 0}
	switch rng.IntN(18) {
	case 16:
		c.Action = randomInstruct(rng)
	case 17:
		c.Action = randomManage(rng)
	case 0:
		c.Action = &settlement.CreateAsset{ID: randomAsset(rng), Scale: uint8(rng.IntN(20) / 10 * 2)}
	case 1, 2, 3:
		a := &settlement.OpenAccount{ID: randomAccount(rng), Asset: randomAsset(rng), Flags: settlement.Flags(rng.IntN(3)), Owners: randomOwners(rng), Key: settlement.Key{byte(rng.IntN(256))}}
		if a.Flags != 0 {
			a.Limit = randomAmount(rng)
		}
		c.Action = a
	case 4:
		a := &settlement.ChangeAccount{ID: randomAccount(rng), Close: rng.IntN(8) == 0}
		if rng.IntN(3) == 0 {
			frozen := rng.IntN(2) == 0
			a.Frozen = &frozen
		}
		if rng.IntN(3) == 0 {
			limit := randomAmount(rng)
			a.Limit = &limit
		}
		if rng.IntN(3) == 0 || a.Frozen == nil && a.Limit == nil && !a.Close {
			a.SetOwners, a.Owners = true, randomOwners(rng)
		}
		c.Action = a
	case 5, 6, 7:
		a := &settlement.Resolve{ID: randomID(rng), Void: rng.IntN(3) == 0}
		if !a.Void && rng.IntN(3) == 0 {
			a.Amounts = []settlement.Partial{{Amount: randomAmount(rng)}}
			if rng.IntN(2) == 0 {
				a.Amounts[0].ID = randomID(rng)
			}
		}
		if rng.IntN(3) == 0 {
			a.Source = settlement.NewSource("pacs.002.001.10", []byte("<Document/>"), rng.IntN(20))
		}
		c.Action = a
	case 8:
		c.Action = &settlement.Advance{}
	default:
		c.Action = randomSubmit(rng)
	}
	b, err := c.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

func randomSubmit(rng *rand.Rand) *settlement.Submit {
	a := &settlement.Submit{Pending: rng.IntN(2) == 0}
	if rng.IntN(3) == 0 {
		a.Set = randomID(rng)
	}
	if a.Pending && rng.IntN(2) == 0 {
		a.Timeout = 1 + rng.Int64N(40)
	}
	if rng.IntN(6) == 0 {
		a.Conditions = append(a.Conditions, randomCondition(rng))
	}
	for range 1 + rng.IntN(3) {
		t := settlement.Transfer{ID: randomID(rng), Debit: randomAccount(rng), Credit: randomAccount(rng), Amount: randomAmount(rng)}
		if rng.IntN(10) == 0 {
			t.Asset = randomAsset(rng)
		}
		if rng.IntN(6) == 0 {
			t.Original = randomID(rng)
		}
		if rng.IntN(4) == 0 {
			t.References = []settlement.Reference{{Kind: settlement.EndToEndID, Value: "E2E"}, {Kind: settlement.Note, Value: "für später"}}
		}
		a.Transfers = append(a.Transfers, t)
	}
	return a
}

func randomCondition(rng *rand.Rand) settlement.Condition {
	c := settlement.Condition{Kind: settlement.ConditionKind(1 + rng.IntN(5))}
	switch c.Kind {
	case settlement.BalanceAtLeast:
		c.ID, c.Amount = randomAccount(rng), randomAmount(rng)
	case settlement.AccountVersion:
		c.ID, c.Number = randomAccount(rng), rng.Uint64N(10)
	case settlement.EntryState:
		c.ID, c.State = randomID(rng), settlement.Status(2+rng.IntN(5))
	default:
		c.Number = 1_700_000_000_000_000 + rng.Uint64N(1000)
	}
	return c
}

func randomAsset(rng *rand.Rand) string { return []string{"USD", "EUR"}[rng.IntN(2)] }

func randomAccount(rng *rand.Rand) string { return fmt.Sprintf("account-%d", rng.IntN(8)) }

func randomID(rng *rand.Rand) string { return fmt.Sprintf("t-%d", rng.IntN(300)) }

func randomAmount(rng *rand.Rand) settlement.Decimal {
	if rng.IntN(50) == 0 {
		return settlement.NewDecimal(settlement.Amount{Hi: rng.Uint64(), Lo: rng.Uint64()}, 0)
	}
	return settlement.NewDecimal(settlement.AmountOf(rng.Uint64N(1000)), uint8(rng.IntN(3)))
}

func randomOwners(rng *rand.Rand) []string {
	var owners []string
	for range rng.IntN(3) {
		owners = append(owners, fmt.Sprintf("spiffe://example.org/svc/%c", 'a'+rng.IntN(3)))
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}
