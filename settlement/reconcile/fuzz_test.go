package reconcile

import (
	"regexp"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
	"github.com/cairnledger/cairn/settlement/reconcile/statement/statementtest"
)

// checkReport checks what holds for every report: nothing is counted twice or lost.
func checkReport(t *testing.T, r *Report, book *Book) {
	t.Helper()
	for i := range r.Sections {
		s := &r.Sections[i]
		var effects Amount
		here, there := map[uint64]int{}, map[string]bool{}
		for k := range s.Lines {
			l := &s.Lines[k]
			effects = effects.Add(l.Effect)
			for _, x := range l.Here {
				here[*x.Index]++
			}
			for _, x := range l.There {
				if there[x.Place] && l.Class != AmountDiffers {
					t.Fatalf("%s is in two lines", x.Place)
				}
				there[x.Place] = true
			}
		}
		sums := s.There.Credits.Add(s.There.Debits).Sub(s.Here.Credits).Sub(s.Here.Debits)
		if !effects.Equal(sums) {
			t.Fatalf("the lines come to %s, and the sums of the sides differ by %s", effects, sums)
		}
		for k := range book.Movements {
			m := &book.Movements[k]
			if n := here[m.Index]; m.Currency == s.Currency && (n > 1 || n == 0 && book.in(m.Day)) {
				t.Fatalf("the movement at index %d is in %d lines", m.Index, n)
			}
		}
	}
	if n := r.Summary.LineBreaks + r.Summary.TotalBreaks + r.Summary.FindingBreaks; n != r.Breaks() {
		t.Fatalf("%d breaks, and the summary has %d", r.Breaks(), n)
	}
}

// No statement makes a comparison panic, lose an item or count one twice, whatever of it the ledger
// has.
func FuzzCompare(f *testing.F) {
	for seed := range uint64(12) {
		w := newWorld(seed, true)
		for range seed {
			w.damageOne()
		}
		w.finish()
		f.Add(statementtest.CAMT(w.there), seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte, choice uint64) {
		statements, err := statement.ReadCAMT(raw)
		if err != nil {
			return
		}
		for _, account := range statement.Accounts(statements) {
			joined, err := statement.Join(statement.Select(statements, account))
			if err != nil {
				continue // both reports and statements
			}
			book := bookOf(joined, choice)
			o := DefaultOptions()
			if choice%3 == 0 {
				o.Pattern = regexp.MustCompile(`[0-9]{4,}`)
			}
			o.ByValueDate, o.Mirror = choice%5 == 0, choice%7 == 0
			report, err := Compare(book, joined, o)
			if err != nil {
				t.Fatal(err)
			}
			checkReport(t, report, book)
			slices.Reverse(joined.Entries)
			slices.Reverse(book.Movements)
			again, err := Compare(book, joined, o)
			if err != nil {
				t.Fatal(err)
			}
			a, err := report.JSON()
			if err != nil {
				t.Fatal(err)
			}
			b, err := again.JSON()
			if err != nil || string(a) != string(b) {
				t.Fatalf("backwards the report is another: %v", err)
			}
			if record, err := report.Record(); err != nil || len(record) > MaxRecord {
				t.Fatalf("a record of %d bytes, %v", len(record), err)
			}
		}
	})
}

// bookOf makes a ledger that has some of the transactions, some entries in one sum, and some with
// another amount or day, as the bits of the choice say.
func bookOf(joined *statement.Joined, choice uint64) *Book {
	book := &Book{Account: "fuzz"}
	add := func(e *statement.Entry, t *statement.Transaction, amount Amount) {
		n := len(book.Movements)
		bits := choice >> (n % 60)
		if bits&3 == 3 {
			return
		}
		m := Movement{Index: uint64(n), Day: max(e.Booked, 1), Value: e.Value, Amount: amount, Currency: e.Currency, ServicerRef: e.ServicerRef, Text: e.Text}
		if bits&4 != 0 {
			m.Day += Day(bits % 20)
		}
		if bits&24 == 24 {
			m.Amount = m.Amount.Add(statement.NewAmount(1, 2))
		}
		if t != nil && bits&32 == 0 {
			m.EndToEndID, m.InstructionID, m.TransactionID, m.UETR, m.Batch = t.EndToEndID, t.InstructionID, t.TransactionID, t.UETR, t.PaymentInfoID
			if len(t.CreditorRefs) > 0 {
				m.CreditorRef = t.CreditorRefs[0]
			}
			m.Counterparty = t.Counterparty(e)
		}
		m.Pending = bits&0x1c0 == 0x1c0
		book.Movements = append(book.Movements, m)
	}
	for i := range joined.Entries {
		e := &joined.Entries[i]
		if len(e.Transactions) < 2 || choice>>(i%61)&1 == 0 {
			var t *statement.Transaction
			if len(e.Transactions) > 0 {
				t = &e.Transactions[0]
			}
			add(e, t, e.Amount)
			continue
		}
		for k := range e.Transactions {
			amount := statement.NewAmount(1, 0)
			if a := e.Transactions[k].Amount; a != nil {
				amount = *a
			}
			add(e, &e.Transactions[k], amount)
		}
	}
	return book
}
