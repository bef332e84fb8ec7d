package reconcile

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// Amount and Day are those of the package statement.
type (
	Amount = statement.Amount
	Day    = statement.Day
)

// Book is what the ledger says about one account in a period.
type Book struct {
	Ledger  string // origin of the ledger
	Account string // as the ledger names it
	Size    uint64 // size of the ledger at which the account was read
	// From and To are the period, both days included. A zero Day leaves that end open.
	From, To Day
	Balances []BookBalance // at most one for a currency
	// Movements are those of the period. Movements of days before and after it may be given as well:
	// they are candidates for items that were booked there on another day, and count for nothing
	// else.
	Movements []Movement
}

// BookBalance are the balances of the account in one currency, nil where they are not known.
type BookBalance struct {
	Currency string
	Opening  *Amount // before the first movement of the period
	Closing  *Amount // behind the last one
}

// Movement is one change of the account's balance.
type Movement struct {
	Index uint64    // of the entry in the ledger; one entry may hold several movements
	Time  time.Time // of the entry
	Day   Day       // the business day on which the ledger booked it
	Value Day       // value date, zero when there is none
	// Amount is the effect on the balance. It is positive for a credit, unless Options.Mirror is set.
	Amount   Amount
	Currency string // or another asset, as the statement names it
	Pending  bool   // reserved and not yet posted

	TransferID    string // of the ledger
	EndToEndID    string
	InstructionID string
	TransactionID string
	UETR          string
	ServicerRef   string // reference of the account's keeper, where the ledger learned it
	Batch         string // payment information id or message id of the batch it came with
	CreditorRef   string // structured creditor reference
	Text          string // unstructured remittance information
	Counterparty  statement.Party
}

// in says whether a day belongs to the period.
func (b *Book) in(d Day) bool {
	return (b.From == 0 || d >= b.From) && (b.To == 0 || d <= b.To)
}

// validate says what is wrong with a book.
func (b *Book) validate() error {
	if b.From != 0 && b.To != 0 && b.From > b.To {
		return errors.Newf("the period begins on %s and ends on %s: give the earlier day first", b.From, b.To)
	}
	seen := map[string]bool{}
	for _, x := range b.Balances {
		if x.Currency == "" || seen[x.Currency] {
			return errors.Newf("the book has no currency, or two balances, for %q: give one balance for each currency", x.Currency)
		}
		seen[x.Currency] = true
	}
	for i := range b.Movements {
		m := &b.Movements[i]
		if m.Currency == "" {
			return errors.Newf("the movement at index %d has no currency", m.Index)
		}
		if m.Day == 0 {
			return errors.Newf("the movement at index %d has no booking day", m.Index)
		}
	}
	return nil
}

// compareMovements orders movements by index and, within an entry, by everything that may tell
// them apart. Movements that compare equal are interchangeable.
func compareMovements(a, b *Movement) int {
	return cmp.Or(
		cmp.Compare(a.Index, b.Index), strings.Compare(a.TransferID, b.TransferID), cmp.Compare(a.Day, b.Day),
		a.Amount.Cmp(b.Amount), strings.Compare(a.Currency, b.Currency), strings.Compare(a.EndToEndID, b.EndToEndID),
		strings.Compare(a.InstructionID, b.InstructionID), strings.Compare(a.TransactionID, b.TransactionID),
		strings.Compare(a.UETR, b.UETR), strings.Compare(a.ServicerRef, b.ServicerRef), strings.Compare(a.Batch, b.Batch),
		strings.Compare(a.CreditorRef, b.CreditorRef), strings.Compare(a.Text, b.Text),
		strings.Compare(a.Counterparty.Name, b.Counterparty.Name), strings.Compare(a.Counterparty.Account, b.Counterparty.Account),
		strings.Compare(a.Counterparty.Agent, b.Counterparty.Agent), cmp.Compare(a.Value, b.Value), boolCompare(a.Pending, b.Pending))
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// movements returns the movements in canonical order, with the sign that the statement has.
func (b *Book) movements(mirror bool) []Movement {
	sorted := slices.Clone(b.Movements)
	if mirror {
		for i := range sorted {
			sorted[i].Amount = sorted[i].Amount.Neg()
		}
	}
	slices.SortFunc(sorted, func(x, y Movement) int { return compareMovements(&x, &y) })
	return sorted
}
