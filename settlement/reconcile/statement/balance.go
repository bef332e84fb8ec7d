package statement

import (
	"slices"

	"github.com/cockroachdb/errors"
)

// Opening returns the balance before the first entry of the statement, or of the page, in a
// currency, and whether it is given. A statement with nothing but available balances has them for
// booked ones.
func (s *Statement) Opening(currency string) (Balance, bool) {
	if b, ok := s.balance(currency, "OPBD", "OIBD", "PRCD"); ok {
		return b, true
	}
	// Some banks give both ends of a middle page as ITBD, in the order of time.
	first, last := s.interim(currency)
	_, closed := s.balance(currency, "CLBD")
	if first >= 0 && (first != last || closed) {
		return s.Balances[first], true
	}
	if first < 0 && !closed {
		return s.balance(currency, "OPAV")
	}
	return Balance{}, false
}

// Closing returns the balance behind the last entry of the statement, or of the page, in a
// currency, and whether it is given.
func (s *Statement) Closing(currency string) (Balance, bool) {
	if b, ok := s.balance(currency, "CLBD"); ok {
		return b, true
	}
	first, last := s.interim(currency)
	_, opened := s.balance(currency, "OPBD", "OIBD", "PRCD")
	if first >= 0 && (first != last || opened || s.Kind == Intraday) {
		return s.Balances[last], true
	}
	if first < 0 && !opened {
		return s.balance(currency, "CLAV")
	}
	return Balance{}, false
}

// FlipReversals gives reversals the other sign: for a keeper of accounts that gives a reversal the
// sign of what it undoes, against ISO 20022. Check finds such a statement by its net total.
func (s *Statement) FlipReversals() {
	for i := range s.Entries {
		e := &s.Entries[i]
		if !e.Reversal {
			continue
		}
		e.Amount = e.Amount.Neg()
		for j := range e.Transactions {
			if amount := e.Transactions[j].Amount; amount != nil {
				flipped := amount.Neg()
				e.Transactions[j].Amount = &flipped
			}
		}
		for j := range e.Batches {
			if total := e.Batches[j].Total; total != nil {
				flipped := total.Neg()
				e.Batches[j].Total = &flipped
			}
		}
	}
}

// balance returns the first balance in a currency with the first of the codes that has one.
func (s *Statement) balance(currency string, codes ...string) (Balance, bool) {
	for _, code := range codes {
		for _, b := range s.Balances {
			if b.Code == code && b.Currency == currency {
				return b, true
			}
		}
	}
	return Balance{}, false
}

// interim returns the positions of the first and the last ITBD in a currency, -1 for none.
func (s *Statement) interim(currency string) (first, last int) {
	first, last = -1, -1
	for i, b := range s.Balances {
		if b.Code == "ITBD" && b.Currency == currency {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	return first, last
}

// Currencies returns the currencies of the account, its balances and its entries: that of the
// account first, the others in the order of the alphabet.
func (s *Statement) Currencies() []string {
	var all []string
	add := func(currency string) {
		if currency != "" && currency != s.Currency && !slices.Contains(all, currency) {
			all = append(all, currency)
		}
	}
	for _, b := range s.Balances {
		add(b.Currency)
	}
	for i := range s.Entries {
		add(s.Entries[i].Currency)
	}
	slices.Sort(all)
	if s.Currency != "" {
		all = slices.Insert(all, 0, s.Currency)
	}
	return all
}

// maxCurrencies bounds the currencies of one statement.
const maxCurrencies = 50

// checkCurrencies refuses a statement whose currencies are too many to be an account's.
func (s *Statement) checkCurrencies() error {
	seen := map[string]bool{}
	for _, x := range s.Balances {
		seen[x.Currency] = true
	}
	for i := range s.Entries {
		seen[s.Entries[i].Currency] = true
	}
	if len(seen) > maxCurrencies {
		return errors.Newf("the statement has %d currencies: at most %d are read; look whether the right element or column was taken for the currency", len(seen), maxCurrencies)
	}
	return nil
}

// BookedSum returns the sum of the booked entries in a currency.
func (s *Statement) BookedSum(currency string) Amount {
	var sum Amount
	for i := range s.Entries {
		if e := &s.Entries[i]; e.Status == Booked && e.Currency == currency {
			sum = sum.Add(e.Amount)
		}
	}
	return sum
}
