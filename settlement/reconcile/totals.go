package reconcile

import (
	"fmt"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

func (t *Totals) add(a Amount) {
	if a.Sign() < 0 {
		t.DebitCount++
		t.Debits = t.Debits.Add(a)
	} else {
		t.CreditCount++
		t.Credits = t.Credits.Add(a)
	}
}

func (t *Totals) compute() {
	if t.Opening != nil {
		computed := t.Opening.Add(t.Credits).Add(t.Debits)
		t.Computed = &computed
	}
}

// closing returns the stated closing balance, or else the computed one, nil when there is neither.
func (t *Totals) closing() *Amount {
	if t.Closing != nil {
		return t.Closing
	}
	return t.Computed
}

// hereTotals adds up the posted movements of the period.
func hereTotals(book *Book, movements []Movement, currency string, mirror bool) Totals {
	var t Totals
	for i := range movements {
		if m := &movements[i]; m.Currency == currency && !m.Pending && book.in(m.Day) {
			t.add(m.Amount)
		}
	}
	for _, b := range book.Balances {
		if b.Currency == currency {
			t.Opening, t.Closing = b.Opening, b.Closing
		}
	}
	if mirror {
		t.Opening, t.Closing = negated(t.Opening), negated(t.Closing)
	}
	t.compute()
	return t
}

func negated(a *Amount) *Amount {
	if a == nil {
		return nil
	}
	n := a.Neg()
	return &n
}

// thereTotals adds up the booked entries. The opening balance is that of the first statement that
// has one in the currency, the closing balance that of the last.
func thereTotals(there *statement.Joined, currency string) Totals {
	var t Totals
	for i := range there.Entries {
		if e := &there.Entries[i]; e.Currency == currency && e.Status == statement.Booked {
			t.add(e.Amount)
		}
	}
	for i := range there.Statements {
		if b, ok := there.Statements[i].Opening(currency); ok && t.Opening == nil {
			t.Opening = &b.Amount
		}
		if b, ok := there.Statements[i].Closing(currency); ok {
			t.Closing = &b.Amount
		}
	}
	t.compute()
	return t
}

// scale returns the largest number of decimal places in a section, so that all its amounts can be
// shown alike.
func (s *Section) scale(m *matcher) int {
	scale := 0
	for _, units := range [][]*unit{m.here, m.there} {
		for _, u := range units {
			scale = max(scale, u.amount.Scale())
		}
	}
	for _, t := range []*Totals{&s.Here, &s.There} {
		for _, a := range []*Amount{t.Opening, t.Closing} {
			if a != nil {
				scale = max(scale, a.Scale())
			}
		}
	}
	for _, t := range []*Totals{&s.Here, &s.There} {
		t.Credits, t.Debits = t.Credits.WithScale(scale), t.Debits.WithScale(scale)
		t.Opening, t.Computed, t.Closing = scaled(t.Opening, scale), scaled(t.Computed, scale), scaled(t.Closing, scale)
	}
	return scale
}

func scaled(a *Amount, scale int) *Amount {
	if a == nil {
		return nil
	}
	b := a.WithScale(scale)
	return &b
}

// compareTotals sets Bridge and Breaks from the totals and the lines. Different closing balances
// are no break of their own: the lines and the opening balances say why they differ.
func (s *Section) compareTotals() {
	add := func(code string, difference Amount, format string, args ...any) {
		if !difference.IsZero() {
			s.Breaks = append(s.Breaks, TotalBreak{Code: code, Difference: difference, Text: fmt.Sprintf(format, args...)})
		}
	}
	sum := func(code, side string, t *Totals) {
		if t.Computed != nil && t.Closing != nil {
			add(code, t.Closing.Sub(*t.Computed), "%s: opening balance and entries give %s %s, and the stated closing balance is %s %s",
				side, *t.Computed, s.Currency, *t.Closing, s.Currency)
		}
	}
	sum(SumBreakHere, "the ledger", &s.Here)
	sum(SumBreakThere, "the statement", &s.There)
	if s.Here.Opening != nil && s.There.Opening != nil {
		add(OpeningDiffers, s.There.Opening.Sub(*s.Here.Opening), "the opening balance is %s %s in the ledger and %s %s on the statement",
			*s.Here.Opening, s.Currency, *s.There.Opening, s.Currency)
	}
	here, there := s.Here.closing(), s.There.closing()
	if here == nil || there == nil {
		return
	}
	s.Bridge = s.bridge(*here, *there)
	// With both opening balances, what is unexplained is what the two sums above have found.
	if s.Here.Opening == nil || s.There.Opening == nil {
		add(Unexplained, s.Bridge.Unexplained, "the closing balance is %s %s in the ledger and %s %s on the statement, and the lines leave %s %s of the difference unexplained",
			*here, s.Currency, *there, s.Currency, s.Bridge.Unexplained, s.Currency)
	}
}

func (s *Section) bridge(here, there Amount) *Bridge {
	b := &Bridge{Here: here, There: there, Steps: []BridgeStep{}}
	rest := there.Sub(here)
	step := func(x BridgeStep) {
		if !x.Effect.IsZero() {
			b.Steps = append(b.Steps, x)
			rest = rest.Sub(x.Effect)
		}
	}
	if s.Here.Opening != nil && s.There.Opening != nil {
		step(BridgeStep{Effect: s.There.Opening.Sub(*s.Here.Opening)})
	}
	for _, c := range Classes() {
		x := BridgeStep{Class: c}
		for i := range s.Lines {
			if l := &s.Lines[i]; l.Class == c && !l.Effect.IsZero() {
				x.Lines++
				x.Effect = x.Effect.Add(l.Effect)
			}
		}
		// Effects of one class may cancel out. The step is then of no use to anybody.
		step(x)
	}
	b.Unexplained = rest
	return b
}
