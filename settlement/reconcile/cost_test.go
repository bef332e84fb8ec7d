package reconcile

import (
	"fmt"
	"testing"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// many returns n movements and entries. make sets what one of each has.
func many(t testing.TB, n int, change func(i int, m *Movement, e *statement.Entry, x *statement.Transaction)) (*Book, *statement.Joined) {
	t.Helper()
	book := &Book{Account: "a"}
	s := statement.Statement{Kind: statement.Table, LastPage: true, Account: "a", Currency: "EUR"}
	for i := range n {
		amount := statement.NewAmount(int64(i%1000)+1, 2)
		m := Movement{Index: uint64(i), Day: day0 + Day(i%20), Amount: amount, Currency: "EUR"}
		e := statement.Entry{Place: fmt.Sprintf("entry %d", i), Amount: amount, Currency: "EUR", Status: statement.Booked, Booked: m.Day}
		x := statement.Transaction{Place: e.Place, Amount: &e.Amount}
		change(i, &m, &e, &x)
		e.Transactions = []statement.Transaction{x}
		book.Movements = append(book.Movements, m)
		s.Entries = append(s.Entries, e)
	}
	joined, err := statement.Join([]statement.Statement{s})
	if err != nil {
		t.Fatal(err)
	}
	return book, joined
}

// shapes are inputs that make a rule compare much with much.
var shapes = map[string]func(i int, m *Movement, e *statement.Entry, x *statement.Transaction){
	"identifiers": func(i int, m *Movement, e *statement.Entry, x *statement.Transaction) {
		m.EndToEndID = fmt.Sprint("E", i)
		x.EndToEndID = m.EndToEndID
	},
	"one reference and one amount, all different payments": func(i int, m *Movement, e *statement.Entry, x *statement.Transaction) {
		m.Amount = statement.NewAmount(1, 0)
		e.Amount = m.Amount
		m.CreditorRef, x.CreditorRefs = "1", []string{"1"}
		m.EndToEndID, x.EndToEndID = fmt.Sprint("A", i), fmt.Sprint("B", i)
	},
	"one reference, all amounts": func(i int, m *Movement, e *statement.Entry, x *statement.Transaction) {
		m.CreditorRef, x.CreditorRefs = "1", []string{"1"}
		e.Amount = statement.NewAmount(int64(i)+1_000_000, 2)
	},
	"one batch": func(i int, m *Movement, e *statement.Entry, x *statement.Transaction) {
		m.Batch, x.PaymentInfoID = "P", "P"
		m.EndToEndID, x.EndToEndID = fmt.Sprint("A", i), fmt.Sprint("B", i)
		e.Amount = statement.NewAmount(int64(i)+1_000_000, 2)
	},
	"nothing but one amount": func(i int, m *Movement, e *statement.Entry, x *statement.Transaction) {
		m.Amount = statement.NewAmount(1, 0)
		e.Amount = m.Amount
		m.Text, x.Text = fmt.Sprint(i), []string{fmt.Sprint(i)}
	},
	"one entry again and again": func(i int, m *Movement, e *statement.Entry, x *statement.Transaction) {
		e.Amount, e.Booked = statement.NewAmount(1, 0), day0
		x.EndToEndID = "E"
	},
}

// How many candidates are looked at grows with the input, whatever the input is, and not with its
// square.
func TestCostIsBounded(t *testing.T) {
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			looked := func(n int) int {
				book, joined := many(t, n, shape)
				o := DefaultOptions()
				m := newMatcher("EUR", book, book.movements(false), joined, &o)
				m.run()
				(&liner{m: m, book: book}).lines()
				return m.looked
			}
			small, large := looked(800), looked(8_000)
			if large > 12*small {
				t.Errorf("for 800 movements %d candidates are looked at, for 8,000 %d", small, large)
			}
		})
	}
}

func BenchmarkCompare(b *testing.B) {
	book, joined := many(b, 100_000, shapes["identifiers"])
	for b.Loop() {
		if _, err := Compare(book, joined, DefaultOptions()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/movement")
}
