package statement_test

import (
	"math/rand/v2"
	"testing"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
	"github.com/cairnledger/cairn/settlement/reconcile/statement/statementtest"
)

// No bytes make the parser of camt messages panic. What it reads can be checked, joined, written
// again, and is then the same.
func FuzzReadCAMT(f *testing.F) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		kind := kinds[seed%3]
		f.Add(statementtest.CAMT(statementtest.Random(rnd, kind, 2+int(seed)%7)))
	}
	f.Add([]byte(message(bal("OPBD", "100", "DBIT"), entry("10", "DBIT", batch("<NbOfTxs>3</NbOfTxs>", "4", "6")))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		statements, err := statement.ReadCAMT(raw)
		if err != nil {
			return
		}
		for i := range statements {
			s := &statements[i]
			s.Check()
			for _, currency := range s.Currencies() {
				s.BookedSum(currency)
			}
			if _, err := statement.Join(statements[i : i+1]); err != nil {
				t.Fatalf("a statement alone cannot be joined: %v", err)
			}
			again, err := statement.ReadCAMT(statementtest.CAMT(*s))
			if err != nil {
				t.Fatalf("what was read and written is not read again: %v\n%s", err, statementtest.CAMT(*s))
			}
			if len(again) != 1 || len(again[0].Entries) != len(s.Entries) {
				t.Fatalf("read %d entries, and again %+v", len(s.Entries), again)
			}
			for k := range s.Entries {
				a, b := &s.Entries[k], &again[0].Entries[k]
				if !a.Amount.Equal(b.Amount) || a.Currency != b.Currency || a.Booked != b.Booked || a.Status != b.Status || len(a.Transactions) < len(b.Transactions) {
					t.Fatalf("entry %d is %+v, and again %+v", k, a, b)
				}
			}
		}
	})
}

// No table and no mapping make the parser of tables panic. Every amount that it reads is one that
// the file has: with the mapping's own separators it is read again as the same.
func FuzzReadCSV(f *testing.F) {
	f.Add([]byte("currency: EUR\ncolumns: {booked: d, amount: a, balance: b}\n"), []byte("d,a,b\n2026-11-30,1,11\n"))
	f.Add([]byte("currency: EUR\ndelimiter: ;\ndates: DD.MM.YY\ndecimal: ','\nthousands: .\nsign: columns\ncolumns: {booked: d, credit: c, debit: b, text: [x, y]}\n"),
		[]byte("d;c;b;x;y\n30.11.26;1.234,50;;\"a\nb\";c\n"))
	f.Add([]byte("header: false\nencoding: windows-1252\nsign: indicator\ncolumns: {booked: 1, amount: 2, indicator: 3, currency: 4}\n"), []byte("2026-11-30,1,D,EUR\n"))
	f.Fuzz(func(t *testing.T, yaml, table []byte) {
		m, err := statement.ReadMapping(yaml)
		if err != nil {
			return
		}
		statements, err := statement.ReadCSV(table, m)
		if err != nil {
			return
		}
		for i := range statements {
			s := &statements[i]
			s.Check()
			for k := range s.Entries {
				e := &s.Entries[k]
				if e.Booked == 0 || e.Currency == "" || len(e.Transactions) != 1 || !e.Transactions[0].Amount.Equal(e.Amount) {
					t.Fatalf("entry %+v", e)
				}
				if again, err := statement.ParseAmount(e.Amount.String()); err != nil || !again.Equal(e.Amount) {
					t.Fatalf("the amount %s is read again as %s, %v", e.Amount, again, err)
				}
			}
			if _, err := statement.Join(statements[i : i+1]); err != nil {
				t.Fatalf("a statement alone cannot be joined: %v", err)
			}
		}
	})
}
