// Package load makes commands for a settlement ledger: a bank with few accounts, deliveries against
// payment, reservations that are posted, voided or left to expire, and everything that can be wrong
// with them. The accounts are few and the ids repeat, so that commands meet.
package load

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/cairnledger/cairn/settlement"
)

// Load makes the commands of one ledger.
type Load struct {
	// Owners are the principals that own accounts, ascending, and behind BANK in the order of
	// bytes. Account i belongs to Owners[i % len], and every fifth account to all.
	Owners []string
	// Timeout is the longest timeout of a reservation, and Grain what all are multiples of, µs.
	Timeout, Grain int64
	// Unmatched leaves out instructions.
	Unmatched bool
	// Now is about the ledger's time, µs since the Unix epoch.
	Now func() int64

	begun, random int // commands of the beginning that were made, and others
	ids           uint64
	held          []string              // ids of what may be pending, lately
	made          []settlement.Transfer // that were asked for, lately
	sent          []settlement.Command  // lately

	awaited    []settlement.Instruct // the counterparts of instructions that were given
	instructed []string              // ids of instructions, lately
}

// The assets are a currency with cents, another one, and a security that is counted in pieces. The
// accounts hold them in turns.
var assets = []settlement.CreateAsset{{ID: "EUR", Scale: 2}, {ID: "USD", Scale: 2}, {ID: "CH0012345678", Scale: 0}}

const accounts = 9

// vault is an account without a limit: where money comes from. deep and far are others, for amounts of
// 128 bits. They are three so that one side of a transfer has no room while the other one has.
func vault(asset int) string { return "vault-" + assets[asset].ID }
func deep(asset int) string  { return "deep-" + assets[asset].ID }
func far(asset int) string   { return "far-" + assets[asset].ID }

func account(i int) string { return fmt.Sprintf("acct-%d", i) }

// holders are two accounts that hold an asset, rarely one and the same.
func holders(rng *rand.Rand, asset int) (debit, credit string) {
	n := accounts / len(assets)
	i := rng.IntN(n)
	k := (i + 1 + rng.IntN(n-1)) % n
	if rng.IntN(30) == 0 {
		k = i
	}
	return account(asset + len(assets)*i), account(asset + len(assets)*k)
}

// Next returns the next command: first those that create assets, vaults and accounts, then random
// ones.
func (l *Load) Next(rng *rand.Rand) settlement.Command {
	if l.begun < beginnings {
		l.begun++
		return l.beginning(l.begun - 1)
	}
	l.random++
	switch k := rng.IntN(24); {
	case k == 0, k < 8 && l.random < 100:
		return l.beginning(rng.IntN(beginnings)) // which may not have arrived the first time
	case k >= 22 && len(l.sent) > 0:
		return l.again(rng)
	}
	c := settlement.Command{Operator: rng.IntN(4) > 0}
	switch rng.IntN(40) {
	case 30, 31, 32, 33, 34, 35, 36:
		if c.Action = l.transfers(rng); !l.Unmatched {
			c.Action = l.instruct(rng)
		}
	case 37, 38, 39:
		if c.Action = l.transfers(rng); !l.Unmatched {
			c.Action = l.manage(rng)
		}
	case 0, 1, 2:
		c.Action = l.resolve(rng)
		if r := c.Action.(*settlement.Resolve); rng.IntN(2) == 0 {
			r.Void, r.Amounts = true, nil
		}
	case 3, 4, 5, 6:
		c.Action = l.resolve(rng)
	case 7:
		if c.Action = l.change(rng); rng.IntN(2) == 0 {
			c.Operator = true
		}
	case 8:
		c.Action = l.open(rng, rng.IntN(accounts+4))
	case 9:
		if rng.IntN(4) == 0 {
			c.Action = &settlement.CreateAsset{ID: pick(rng, "EUR", "GBP", "JPY"), Scale: uint8(rng.IntN(3))}
		} else {
			c.Action = &settlement.Advance{} // which is the leader's
		}
	case 10, 11, 12, 13, 14, 15:
		c.Action = l.dvp(rng)
	case 16, 17:
		c.Action, c.Operator = l.fund(rng), true
	default:
		c.Action = l.transfers(rng)
	}
	l.sent = append(l.sent, c)
	l.sent, l.held, l.made, l.instructed = lately(l.sent), lately(l.held), lately(l.made), lately(l.instructed)
	return c
}

// lately returns the last 40 of a list: nothing looks further back.
func lately[T any](list []T) []T { return list[max(0, len(list)-40):] }

// beginnings is how many commands create what all others need. Repeating one changes nothing.
const beginnings = 3 + 3 + 3 + 3 + accounts + 1

func (l *Load) beginning(n int) settlement.Command {
	c := settlement.Command{Operator: true}
	switch {
	case n < len(assets):
		a := assets[n]
		c.Action = &a
	case n < 2*len(assets):
		c.Action = &settlement.OpenAccount{ID: vault(n - len(assets)), Asset: assets[n-len(assets)].ID, Key: key(n)}
	case n < 3*len(assets):
		c.Action = &settlement.OpenAccount{ID: deep(n - 2*len(assets)), Asset: assets[n-2*len(assets)].ID, Owners: l.Owners, Key: key(n)}
	case n < 4*len(assets):
		c.Action = &settlement.OpenAccount{ID: far(n - 3*len(assets)), Asset: assets[n-3*len(assets)].ID, Owners: l.Owners, Key: key(n)}
	case n < 4*len(assets)+accounts:
		c.Action = l.open(nil, n-4*len(assets))
	default:
		a := &settlement.Submit{}
		for i := range accounts {
			a.Transfers = append(a.Transfers, settlement.Transfer{ID: fmt.Sprintf("fund-%d", i), Debit: vault(i % len(assets)), Credit: account(i), Amount: units(100)})
		}
		c.Action = a
	}
	return c
}

// again repeats a command of late, as it was or with something else in it.
func (l *Load) again(rng *rand.Rand) settlement.Command {
	c := l.sent[rng.IntN(len(l.sent))]
	a, ok := c.Action.(*settlement.Submit)
	if !ok || rng.IntN(3) > 0 {
		return c
	}
	other := *a
	other.Transfers = slices.Clone(a.Transfers)
	switch t := &other.Transfers[rng.IntN(len(other.Transfers))]; rng.IntN(4) {
	case 0:
		t.Amount = amount(rng)
	case 1:
		t.Debit, t.Credit = t.Credit, t.Debit
	case 2:
		other.Set = a.Transfers[0].ID
	case 3:
		other.Set, other.Source = "", settlement.Source{Form: settlement.RawSource, Type: "pacs.008.001.08", Raw: []byte("<Document/>")}
	}
	c.Action = &other
	return c
}

func (l *Load) open(rng *rand.Rand, i int) *settlement.OpenAccount {
	a := &settlement.OpenAccount{ID: account(i), Asset: assets[i%len(assets)].ID, Flags: settlement.DebitsLimited, Owners: []string{partyOf(i), l.Owners[i%len(l.Owners)]}, Key: key(i)}
	switch {
	case i%6 == 0:
		a.Limit = units(50)
	case i%7 == 0:
		a.Flags, a.Limit = settlement.CreditsLimited, units(80)
	case i%5 == 0:
		a.Owners = append([]string{partyOf(i)}, l.Owners...)
	}
	if rng != nil {
		a.Key = key(rng.IntN(100)) // the account keeps the first one
		switch rng.IntN(6) {
		case 0:
			a.Limit = amount(rng)
		case 1:
			a.Asset = "XAU"
		}
	}
	return a
}

func (l *Load) change(rng *rand.Rand) *settlement.ChangeAccount {
	a := &settlement.ChangeAccount{ID: account(rng.IntN(accounts + 2))}
	if rng.IntN(8) == 0 {
		a.ID = vault(0)
	}
	switch rng.IntN(8) {
	case 0, 4:
		a.Close = true
		if rng.IntN(4) > 0 {
			a.ID = account(accounts + rng.IntN(4)) // opened late, and often empty
		}
	case 1:
		a.SetOwners, a.Owners = true, []string{pick(rng, parties...), l.Owners[rng.IntN(len(l.Owners))]}
	case 2, 3:
		limit := amount(rng)
		a.Limit = &limit
	default:
		frozen := rng.IntN(6) == 0
		a.Frozen = &frozen
	}
	return a
}

func (l *Load) fund(rng *rand.Rand) *settlement.Submit {
	i := rng.IntN(accounts)
	return &settlement.Submit{Transfers: []settlement.Transfer{{ID: l.newID(), Debit: vault(i % len(assets)), Credit: account(i), Amount: amount(rng)}}}
}

// dvp delivers a security against a payment: two transfers, of which both are made or none.
func (l *Load) dvp(rng *rand.Rand) *settlement.Submit {
	currency := rng.IntN(2)
	a := &settlement.Submit{Set: l.newID(), Transfers: make([]settlement.Transfer, 2)}
	security, cash := &a.Transfers[0], &a.Transfers[1]
	security.ID, security.Asset, security.Amount = l.newID(), assets[2].ID, units(1+rng.Uint64N(4))
	security.Debit, security.Credit = holders(rng, 2)
	cash.ID, cash.Amount = l.newID(), amount(rng)
	cash.Debit, cash.Credit = holders(rng, currency)
	for range max(0, rng.IntN(5)-2) {
		a.Transfers = append(a.Transfers, l.transfer(rng))
	}
	if rng.IntN(20) == 0 {
		a.Transfers[1].ID = pick(rng, a.Transfers[0].ID, a.Set, l.oldTransfer(rng).ID)
	}
	l.made = append(l.made, a.Transfers[:2]...)
	l.reserve(rng, a)
	return a
}

func (l *Load) transfers(rng *rand.Rand) *settlement.Submit {
	a := &settlement.Submit{}
	n := 1
	if rng.IntN(4) == 0 {
		n += rng.IntN(6)
	}
	for range n {
		a.Transfers = append(a.Transfers, l.transfer(rng))
	}
	l.reserve(rng, a)
	return a
}

// reserve makes some commands pending, and gives some conditions.
func (l *Load) reserve(rng *rand.Rand, a *settlement.Submit) {
	if rng.IntN(5) < 2 {
		a.Pending = true
		if rng.IntN(3) > 0 {
			a.Timeout = l.Grain * (1 + rng.Int64N(l.Timeout/l.Grain))
		}
		if l.held = append(l.held, a.Set); a.Set == "" {
			l.held[len(l.held)-1] = a.Transfers[0].ID
		}
	}
	for range max(0, rng.IntN(10)-8) {
		c := settlement.Condition{Kind: settlement.ConditionKind(1 + rng.IntN(3))}
		switch c.Kind {
		case settlement.BalanceAtLeast:
			c.ID, c.Amount = account(rng.IntN(accounts+1)), amount(rng)
		case settlement.AccountVersion:
			c.ID, c.Number = account(rng.IntN(accounts)), rng.Uint64N(12)
		default:
			c.ID, c.State = l.oldTransfer(rng).ID, settlement.Status(2+rng.IntN(5))
		}
		a.Conditions = append(a.Conditions, c)
	}
}

func (l *Load) transfer(rng *rand.Rand) settlement.Transfer {
	asset := rng.IntN(len(assets))
	t := settlement.Transfer{ID: l.newID(), Amount: amount(rng)}
	t.Debit, t.Credit = holders(rng, asset)
	switch rng.IntN(25) {
	case 0, 11:
		t.Credit = account(rng.IntN(accounts + 4))
		if rng.IntN(2) == 0 {
			t.Debit, t.Credit = t.Credit, t.Debit
		}
	case 1:
		t.Debit = vault(asset)
	case 2:
		t.Amount = settlement.NewDecimal(settlement.Amount{Hi: rng.Uint64() >> rng.IntN(4), Lo: rng.Uint64()}, assets[asset].Scale)
		without := []string{vault(asset), deep(asset), far(asset)}
		k := rng.IntN(len(without))
		t.Debit, t.Credit = without[k], without[(k+1+rng.IntN(len(without)-1))%len(without)]
		if rng.IntN(4) == 0 {
			t.Debit, t.Credit = holders(rng, asset)
		}
	case 3:
		t.Amount = settlement.NewDecimal(settlement.AmountOf(rng.Uint64N(1000)), 3)
	case 4:
		t.ID = l.oldTransfer(rng).ID
	case 5:
		t.Asset = assets[rng.IntN(len(assets))].ID
	case 6:
		t.Original = l.oldTransfer(rng).ID
	case 7, 8, 9:
		o := l.oldTransfer(rng)
		t.Original, t.Debit, t.Credit = o.ID, o.Credit, o.Debit
		if rng.IntN(2) == 0 {
			t.Amount = o.Amount
		}
	case 10:
		t.References = []settlement.Reference{{Kind: settlement.EndToEndID, Value: "E2E-" + t.ID}, {Kind: settlement.Remittance, Value: "für später"}}
	}
	l.made = append(l.made, t)
	return t
}

func (l *Load) resolve(rng *rand.Rand) *settlement.Resolve {
	a := &settlement.Resolve{ID: l.oldHeld(rng)}
	if rng.IntN(12) == 0 {
		a.ID = l.oldTransfer(rng).ID
	}
	if rng.IntN(3) == 0 {
		p := settlement.Partial{Amount: amount(rng)}
		if rng.IntN(2) == 0 {
			p.ID = l.oldTransfer(rng).ID
		}
		a.Amounts = append(a.Amounts, p)
	}
	if rng.IntN(4) == 0 {
		a.Source = settlement.NewSource("pacs.002.001.10", []byte("<Document/>"), rng.IntN(20))
	}
	return a
}

func (l *Load) newID() string {
	l.ids++
	return fmt.Sprintf("t-%d", l.ids)
}

// oldHeld is the id of a reservation of late.
func (l *Load) oldHeld(rng *rand.Rand) string {
	if len(l.held) == 0 {
		return "t-0"
	}
	return l.held[len(l.held)-1-rng.IntN(min(len(l.held), 15))]
}

// oldTransfer is a transfer of late.
func (l *Load) oldTransfer(rng *rand.Rand) settlement.Transfer {
	if len(l.made) == 0 {
		return settlement.Transfer{ID: "t-0", Debit: account(0), Credit: account(len(assets))}
	}
	return l.made[len(l.made)-1-rng.IntN(min(len(l.made), 20))]
}

func pick(rng *rand.Rand, of ...string) string { return of[rng.IntN(len(of))] }

func units(n uint64) settlement.Decimal { return settlement.NewDecimal(settlement.AmountOf(n), 0) }

// amount is up to 20 units, half of them with cents.
func amount(rng *rand.Rand) settlement.Decimal {
	if rng.IntN(2) == 0 {
		return units(rng.Uint64N(20))
	}
	return settlement.NewDecimal(settlement.AmountOf(rng.Uint64N(2000)), 2)
}

// key makes keys of accounts. Some are all zero.
func key(n int) (k settlement.Key) {
	if n%5 > 0 {
		k = sha256.Sum256([]byte{byte(n)})
	}
	return k
}
