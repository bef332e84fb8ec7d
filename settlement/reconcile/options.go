package reconcile

import (
	"regexp"
	"slices"

	"github.com/cockroachdb/errors"
)

// Rule is how a movement and an item were matched.
type Rule string

// Rules in the order in which they are tried.
const (
	EndToEndID             Rule = "end_to_end_id"
	CreditorReference      Rule = "creditor_reference"
	InstructionID          Rule = "instruction_id"
	TransactionID          Rule = "transaction_id"
	UETR                   Rule = "uetr"
	TransferID             Rule = "transfer_id" // an identifier of the item is the ledger's transfer id
	ServicerRef            Rule = "servicer_ref"
	Pattern                Rule = "pattern"
	Batch                  Rule = "batch"
	AmountDateCounterparty Rule = "amount_date_counterparty"
	AmountDate             Rule = "amount_date" // each side has only one candidate
)

// Rules returns all rules in their order.
func Rules() []Rule {
	return []Rule{EndToEndID, CreditorReference, InstructionID, TransactionID, UETR, TransferID, ServicerRef, Pattern, Batch,
		AmountDateCounterparty, AmountDate}
}

// Options say how to compare. Begin with DefaultOptions.
type Options struct {
	// Tolerance is how many calendar days a booking there may be away from that here before it is
	// late.
	Tolerance int
	// Window is how many calendar days apart bookings may be that are matched without a reference,
	// and bookings of which one is the duplicate of the other. It is at least Tolerance.
	Window int
	// ByValueDate compares value dates where both sides have them, instead of booking dates.
	ByValueDate bool
	// Pattern finds references in unstructured text. Its first group counts, or all of it when it
	// has no group. nil switches the rule off.
	Pattern *regexp.Regexp
	// Rules are those that are tried; the order is always that of Rules. nil means all.
	Rules []Rule
	// Mirror turns the signs of the ledger: for an account that is an asset of the ledger's owner
	// and is booked as such, so that what the statement calls a credit is a debit here.
	Mirror bool
	// FlipReversals turns the signs of reversals there; see statement.Statement.FlipReversals.
	FlipReversals bool
}

// DefaultOptions are all rules but the pattern, a tolerance of 3 days, which lets a weekend pass,
// and a window of 10.
func DefaultOptions() Options { return Options{Tolerance: 3, Window: 10} }

// maxDays bounds Tolerance and Window.
const maxDays = 3660

func (o *Options) validate() error {
	if o.Tolerance < 0 || o.Tolerance > maxDays || o.Window < o.Tolerance || o.Window > maxDays {
		return errors.Newf("tolerance of %d and window of %d days: the tolerance must not be negative, nor above the window, nor that above %d",
			o.Tolerance, o.Window, maxDays)
	}
	for _, r := range o.Rules {
		if !slices.Contains(Rules(), r) {
			return errors.Newf("there is no rule %q: the rules are %v", r, Rules())
		}
	}
	return nil
}

func (o *Options) has(r Rule) bool { return len(o.Rules) == 0 || slices.Contains(o.Rules, r) }
