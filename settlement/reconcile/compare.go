package reconcile

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// Compare compares the ledger's side with the statements' side. It fails when the book or the
// options contradict themselves; that the sides differ is no error.
func Compare(book *Book, there *statement.Joined, o Options) (*Report, error) {
	if err := book.validate(); err != nil {
		return nil, errors.Wrap(err, "compare with a statement")
	}
	if err := o.validate(); err != nil {
		return nil, errors.Wrap(err, "compare with a statement")
	}
	if o.FlipReversals {
		flipped, err := there.FlipReversals()
		if err != nil {
			return nil, err
		}
		there = flipped
	}
	r := &Report{
		Format: Format, Ledger: book.Ledger, Account: book.Account, Size: book.Size, From: book.From, To: book.To,
		There: there.Account, Owner: there.Owner, Statements: []StatementRef{}, Sections: []Section{},
		Settings: Settings{Tolerance: o.Tolerance, Window: o.Window, ByValueDate: o.ByValueDate, Mirror: o.Mirror,
			FlipReversals: o.FlipReversals},
		Findings: append([]statement.Finding{}, there.Findings...),
	}
	for _, rule := range Rules() {
		if o.has(rule) && (rule != Pattern || o.Pattern != nil) {
			r.Settings.Rules = append(r.Settings.Rules, rule)
		}
	}
	if o.Pattern != nil {
		r.Settings.Pattern = o.Pattern.String()
	}
	for i := range there.Statements {
		s := &there.Statements[i]
		r.Statements = append(r.Statements, StatementRef{Kind: s.Kind, ID: s.ID, Sequence: s.Sequence, Page: s.Page, File: s.Source})
	}
	r.outside(book, there)
	movements := book.movements(o.Mirror)
	currencies := currenciesOf(book, there)
	if len(currencies) > maxCurrencies {
		return nil, errors.Newf("ledger and statements have %d currencies: at most %d are compared", len(currencies), maxCurrencies)
	}
	for _, currency := range currencies {
		r.Sections = append(r.Sections, compareIn(currency, book, movements, there, &o))
	}
	r.summarise()
	return r, nil
}

// outside adds a finding when the statements have entries of days that the book does not cover.
func (r *Report) outside(book *Book, there *statement.Joined) {
	n := 0
	for i := range there.Entries {
		if e := &there.Entries[i]; e.Status == statement.Booked && e.Booked != 0 && !book.in(e.Booked) {
			n++
		}
	}
	if n > 0 {
		r.Findings = append(r.Findings, statement.Finding{Code: OutsidePeriod, Text: fmt.Sprintf(
			"%d booked entries of the statements are of days outside the period of the ledger: compare the period with that of the statements", n)})
	}
}

// OutsidePeriod is the code of the finding that statements and book cover different days.
const OutsidePeriod = "outside_period"

// maxCurrencies bounds the sections of a report.
const maxCurrencies = 200

func currenciesOf(book *Book, there *statement.Joined) []string {
	var all []string
	for _, b := range book.Balances {
		all = append(all, b.Currency)
	}
	for i := range book.Movements {
		all = append(all, book.Movements[i].Currency)
	}
	for i := range there.Statements {
		all = append(all, there.Statements[i].Currencies()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func compareIn(currency string, book *Book, movements []Movement, there *statement.Joined, o *Options) Section {
	m := newMatcher(currency, book, movements, there, o)
	m.run()
	s := Section{Currency: currency, Breaks: []TotalBreak{}, Lines: []Line{}}
	s.Here = hereTotals(book, movements, currency, o.Mirror)
	s.There = thereTotals(there, currency)
	l := liner{m: m, book: book, scale: s.scale(m)}
	s.Lines = append(s.Lines, l.lines()...)
	s.compareTotals()
	return s
}

func newMatcher(currency string, book *Book, movements []Movement, there *statement.Joined, o *Options) *matcher {
	units, wholes := thereUnits(there.Entries, currency, o)
	return &matcher{o: o, here: hereUnits(book, movements, currency, o), there: units, wholes: wholes}
}

// summarise counts the breaks.
func (r *Report) summarise() {
	lines := map[Class]int{}
	for i := range r.Sections {
		s := &r.Sections[i]
		r.Summary.TotalBreaks += len(s.Breaks)
		for k := range s.Lines {
			lines[s.Lines[k].Class]++
		}
	}
	for _, c := range Classes() {
		r.Summary.Classes = append(r.Summary.Classes, ClassCount{Class: c, Lines: lines[c]})
		if c.Break() {
			r.Summary.LineBreaks += lines[c]
		}
	}
	for _, f := range r.Findings {
		if f.Break {
			r.Summary.FindingBreaks++
		}
	}
	r.Summary.Breaks = r.Summary.LineBreaks + r.Summary.TotalBreaks + r.Summary.FindingBreaks
}
