package reconcile

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
	"github.com/cairnledger/cairn/settlement/reconcile/statement/statementtest"
)

// world is a book, the statement that was made from it, and what was damaged on the way.
type world struct {
	rnd       *rand.Rand
	o         Options
	book      Book
	movements []Movement // of the book, before some are dropped
	entries   []cell
	dropped   map[int]bool // movements that the book does not have
	damage    []string     // which kinds were done
	there     statement.Statement
}

// cell is an entry, the movements that it comes from, and the lines that must come of it.
type cell struct {
	entry     *statement.Entry // nil when it was dropped
	movements []int
	// want are the lines: a class and which of entry and movements it names.
	want []wanted
	// repeats is the entry that this one repeats. Of the two the first in the file is matched.
	repeats *statement.Entry
}

type wanted struct {
	class     Class
	there     bool
	tx        int // of a batch, from 1; 0 for the entry
	movements []int
}

const day0 = Day(739922) // 2026-11-02

// newWorld makes movements and the statement that a bank would give about them. Batches are
// among them, but no damage.
func newWorld(seed uint64, batches bool) *world {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 5)), o: DefaultOptions(), dropped: map[int]bool{}}
	w.book = Book{Ledger: "example.org/ledger", Account: "nostro", From: day0, To: day0 + 27, Size: 1000}
	for n := 12 + w.rnd.IntN(30); n > 0; n-- {
		if batches && w.rnd.IntN(8) == 0 {
			w.addBatch()
		} else {
			w.addSingle()
		}
	}
	return w
}

// movement returns a movement with an amount that others may have as well.
func (w *world) movement(day Day) Movement {
	n := len(w.movements)
	units := (1 + w.rnd.Int64N(20)) * 500
	if w.rnd.IntN(3) == 0 {
		units = -units
	}
	if w.rnd.IntN(40) == 0 {
		units = 0
	}
	return Movement{Index: uint64(100 + n), Day: day, Amount: statement.NewAmount(units, 2), Currency: "EUR",
		TransferID: fmt.Sprintf("tr%d", n), Counterparty: statement.Party{Name: fmt.Sprintf("Party %d", n)}}
}

// identify gives a movement and the transaction on the statement a reference in one of the
// carriers, or none.
func (w *world) identify(m *Movement, t *statement.Transaction) {
	id := fmt.Sprintf("ID%d", m.Index)
	t.EndToEndID = "NOTPROVIDED"
	switch w.rnd.IntN(10) {
	case 0, 1, 2:
		m.EndToEndID, t.EndToEndID = id, id
		// Many payments pay one invoice.
		m.CreditorRef = "00004711"
		t.CreditorRefs = []string{"47 11"}
	case 3:
		m.CreditorRef, t.CreditorRefs = id, []string{id}
	case 4:
		m.InstructionID, t.InstructionID = id, id
	case 5:
		m.TransactionID, t.TransactionID = id, id
	case 6:
		t.TransactionID = m.TransferID
	case 7:
		m.ServicerRef, t.ServicerRef = id, id
	case 8:
		// Nothing but amount, date and counterparty.
	default:
		m.EndToEndID, t.EndToEndID = id, id
		t.Text = []string{"some text", "in lines"}
	}
	t.Debtor, t.Creditor = m.Counterparty, m.Counterparty
}

func (w *world) day() Day { return day0 + Day(3+w.rnd.IntN(20)) }

func (w *world) addSingle() {
	m := w.movement(w.day())
	amount := m.Amount
	t := statement.Transaction{Amount: &amount}
	w.identify(&m, &t)
	e := &statement.Entry{Amount: m.Amount, Currency: "EUR", Status: statement.Booked, Code: "NTRF",
		Booked: m.Day + Day(w.rnd.IntN(2*w.o.Tolerance+1)-w.o.Tolerance), Value: m.Day, Transactions: []statement.Transaction{t}}
	if amount.Sign() < 0 && w.rnd.IntN(4) == 0 {
		e.Reversal = true
	}
	w.entries = append(w.entries, cell{entry: e, movements: []int{len(w.movements)}})
	w.movements = append(w.movements, m)
}

func (w *world) addBatch() {
	c := cell{}
	day, batch := w.day(), fmt.Sprintf("BATCH%d", len(w.movements))
	e := &statement.Entry{Currency: "EUR", Status: statement.Booked, Code: "NTRF", Booked: day, Value: day}
	for range 2 + w.rnd.IntN(4) {
		m := w.movement(day)
		if m.Amount.Sign() <= 0 {
			m.Amount = statement.NewAmount(700, 2)
		}
		m.Batch = batch
		amount := m.Amount
		t := statement.Transaction{Amount: &amount}
		w.identify(&m, &t)
		t.PaymentInfoID = batch
		e.Amount = e.Amount.Add(amount)
		e.Transactions = append(e.Transactions, t)
		c.movements = append(c.movements, len(w.movements))
		w.movements = append(w.movements, m)
	}
	total := e.Amount
	e.Batches = []statement.Batch{{PaymentInfoID: batch, Count: len(e.Transactions), Total: &total, Currency: "EUR", End: len(e.Transactions)}}
	c.entry = e
	w.entries = append(w.entries, c)
}

// damageOne does one random damage to an entry that has none yet.
func (w *world) damageOne() {
	i := w.rnd.IntN(len(w.entries))
	c := &w.entries[i]
	if len(c.want) > 0 || c.entry == nil || len(c.movements) == 0 {
		return
	}
	if len(c.movements) > 1 {
		w.damageBatch(c)
		return
	}
	e, k := c.entry, c.movements[0]
	done := func(name string) { w.damage = append(w.damage, name) }
	switch w.rnd.IntN(6) {
	case 0:
		done("entry dropped")
		c.entry = nil
		c.want = []wanted{{class: MissingThere, movements: c.movements}}
	case 1:
		done("movement dropped")
		w.dropped[k] = true
		c.want = []wanted{{class: MissingHere, there: true}}
	case 2:
		done("entry repeated")
		again := *e
		c.want = []wanted{{class: Matched, there: true, movements: c.movements}}
		w.entries = append(w.entries, cell{entry: &again, repeats: e, want: []wanted{{class: Duplicate, there: true}}})
	case 3:
		if e.Amount.IsZero() {
			return // a change of the sign would not be one of the amount
		}
		done("amount changed")
		cent := statement.NewAmount(int64(e.Amount.Sign()), 2)
		e.Amount = e.Amount.Add(cent)
		e.Transactions[0].Amount = &e.Amount
		c.want = []wanted{{class: AmountDiffers, there: true, movements: c.movements}}
		if w.anonymous(e, k) {
			c.want = []wanted{{class: MissingThere, movements: c.movements}, {class: MissingHere, there: true}}
		}
	case 4:
		done("date shifted")
		shift := Day(w.o.Tolerance + 1 + w.rnd.IntN(4))
		if w.rnd.IntN(3) == 0 {
			shift = -shift
		}
		e.Booked = w.movements[k].Day + shift
		c.want = []wanted{{class: Late, there: true, movements: c.movements}}
	case 5:
		done("pending here")
		w.movements[k].Pending = true
		c.want = []wanted{{class: StatusDiffers, there: true, movements: c.movements}}
	}
}

// anonymous says whether an entry shares no reference with the movement.
func (w *world) anonymous(e *statement.Entry, k int) bool {
	refs := movementReferences(&w.movements[k], nil)
	for rule, keys := range itemReferences(e, &e.Transactions[0], nil) {
		for _, key := range keys {
			if slices.Contains(refs[rule], key) {
				return false
			}
		}
	}
	return true
}

func (w *world) damageBatch(c *cell) {
	e := c.entry
	k := w.rnd.IntN(len(c.movements))
	switch w.rnd.IntN(4) {
	case 0:
		w.damage = append(w.damage, "batch in one sum there")
		e.Transactions = nil
		e.Batches[0].End = 0
		c.want = []wanted{{class: Matched, there: true, movements: c.movements}}
	case 1:
		w.damage = append(w.damage, "batch in one sum here")
		for _, m := range c.movements[1:] {
			w.dropped[m] = true
		}
		m := &w.movements[c.movements[0]]
		*m = Movement{Index: m.Index, Day: m.Day, Amount: e.Amount, Currency: "EUR", TransferID: m.TransferID, Batch: m.Batch}
		c.movements = c.movements[:1]
		c.want = []wanted{{class: Matched, there: true, movements: c.movements}}
	case 2:
		w.damage = append(w.damage, "movement of a batch dropped")
		w.dropped[c.movements[k]] = true
		for i, m := range c.movements {
			want := wanted{class: Matched, there: true, tx: i + 1, movements: []int{m}}
			if i == k {
				want = wanted{class: MissingHere, there: true, tx: i + 1}
			}
			c.want = append(c.want, want)
		}
	case 3:
		w.damage = append(w.damage, "amount in a batch changed")
		cent := statement.NewAmount(1, 2)
		changed := e.Transactions[k].Amount.Add(cent)
		e.Transactions[k].Amount = &changed
		e.Amount = e.Amount.Add(cent)
		total := e.Amount
		e.Batches[0].Total = &total
		for i, m := range c.movements {
			class := Matched
			if i == k {
				class = AmountDiffers
			}
			if i == k && e.Transactions[i].PaymentInfoID == "" && w.anonymous(e, m) {
				class = MissingHere
			}
			c.want = append(c.want, wanted{class: class, there: true, tx: i + 1, movements: []int{m}})
		}
	}
}

// finish makes the statement and the balances of both sides.
func (w *world) finish() {
	opening := statement.NewAmount(w.rnd.Int64N(1_000_000), 2)
	w.there = statement.Statement{Kind: statement.EndOfDay, Version: 2 + w.rnd.IntN(7), MessageID: "M", ID: "S", Sequence: 1, LastPage: true,
		From: w.book.From, To: w.book.To, Account: "FI2112345600000785", Currency: "EUR"}
	w.rnd.Shuffle(len(w.entries), func(i, k int) { w.entries[i], w.entries[k] = w.entries[k], w.entries[i] })
	for i := range w.entries {
		for k := i + 1; k < len(w.entries); k++ {
			if a, b := &w.entries[i], &w.entries[k]; a.repeats != nil && a.repeats == b.entry {
				*a, *b = *b, *a
			}
		}
	}
	closing := opening
	for i := range w.entries {
		if e := w.entries[i].entry; e != nil {
			w.there.Entries = append(w.there.Entries, *e)
			closing = closing.Add(e.Amount)
		}
	}
	w.there.Balances = []statement.Balance{
		{Code: "OPBD", Amount: opening, Currency: "EUR", Day: w.book.From},
		{Code: "CLBD", Amount: closing, Currency: "EUR", Day: w.book.To},
	}
	here := opening
	for i, m := range w.movements {
		if w.dropped[i] {
			continue
		}
		w.book.Movements = append(w.book.Movements, m)
		if !m.Pending {
			here = here.Add(m.Amount)
		}
	}
	w.book.Balances = []BookBalance{{Currency: "EUR", Opening: &opening, Closing: &here}}
}

// wantLines returns the lines that the report must have, in the order of the alphabet. place names
// the entry with a number from 1.
func (w *world) wantLines(place func(entry, tx int) string) []string {
	var lines []string
	n := 0
	for _, c := range w.entries {
		if c.entry != nil {
			n++
		}
		want := c.want
		if len(want) == 0 && len(c.movements) > 1 {
			for i, m := range c.movements {
				want = append(want, wanted{class: Matched, there: true, tx: i + 1, movements: []int{m}})
			}
		} else if len(want) == 0 {
			want = []wanted{{class: Matched, there: true, movements: c.movements}}
		}
		for _, x := range want {
			here := []string{}
			for _, m := range x.movements {
				here = append(here, fmt.Sprint(w.movements[m].Index))
			}
			slices.Sort(here)
			there := "none"
			switch {
			case x.there && x.tx == 0 && len(c.entry.Transactions) == 1:
				there = place(n, 1)
			case x.there:
				there = place(n, x.tx)
			}
			lines = append(lines, fmt.Sprintf("%s: %s = %s", x.class, strings.Join(here, " "), there))
		}
	}
	slices.Sort(lines)
	return lines
}

func gotLines(r *Report) []string {
	var lines []string
	for i := range r.Sections {
		for _, l := range r.Sections[i].Lines {
			here := []string{}
			for _, x := range l.Here {
				here = append(here, fmt.Sprint(*x.Index))
			}
			slices.Sort(here)
			there := []string{}
			for _, x := range l.There {
				there = append(there, x.Place)
			}
			lines = append(lines, fmt.Sprintf("%s: %s = %s", l.Class, strings.Join(here, " "), firstOf(strings.Join(there, " "), "none")))
		}
	}
	slices.Sort(lines)
	return lines
}

// A statement that was made from the ledger and then damaged: the report names exactly the damage,
// in all formats, and explains the difference of the balances to the cent.
func TestDamageIsNamed(t *testing.T) {
	done := map[string]int{}
	for seed := range uint64(400) {
		table := seed%4 == 0
		w := newWorld(seed, !table)
		for range w.rnd.IntN(10) {
			w.damageOne()
		}
		w.finish()
		for _, d := range w.damage {
			done[d]++
		}
		var raw, mapping []byte
		place := func(entry, tx int) string {
			if tx == 0 {
				return fmt.Sprintf("entry %d", entry)
			}
			return fmt.Sprintf("entry %d, transaction %d", entry, tx)
		}
		if table {
			raw, mapping = statementtest.CSV(&w.there)
			place = func(entry, tx int) string { return fmt.Sprintf("line %d", entry+2) }
		} else {
			raw = statementtest.CAMT(w.there)
		}
		report := w.compare(t, seed, raw, mapping)
		got, want := gotLines(report), w.wantLines(place)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, damage %q:\n%s\n%s", seed, w.damage, difference(got, want), raw)
		}
		breaks := 0
		for _, line := range want {
			if class, _, _ := strings.Cut(line, ":"); Class(class).Break() {
				breaks++
			}
		}
		if report.Breaks() != breaks {
			t.Fatalf("seed %d: %d breaks, want %d: %+v %+v", seed, report.Breaks(), breaks, report.Summary, report.Findings)
		}
		if b := report.Sections[0].Bridge; b == nil || !b.Unexplained.IsZero() {
			t.Fatalf("seed %d: the bridge is %+v", seed, b)
		}
	}
	for _, kind := range []string{"entry dropped", "movement dropped", "entry repeated", "amount changed", "date shifted", "pending here",
		"batch in one sum there", "batch in one sum here", "movement of a batch dropped", "amount in a batch changed"} {
		if done[kind] < 10 {
			t.Errorf("%s was done %d times in all runs: that proves little", kind, done[kind])
		}
	}
}

func (w *world) compare(t *testing.T, seed uint64, raw, mapping []byte) *Report {
	t.Helper()
	var m *statement.Mapping
	if mapping != nil {
		var err error
		if m, err = statement.ReadMapping(mapping); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	statements, err := statement.Read(raw, m)
	if err != nil {
		t.Fatalf("seed %d: %v\n%s", seed, err, raw)
	}
	joined, err := statement.Join(statements)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	report, err := Compare(&w.book, joined, w.o)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	checkReport(t, report, &w.book)
	w.orders(t, seed, report, joined)
	return report
}

// orders compares again with both sides in another order: the report must have the same bytes.
func (w *world) orders(t *testing.T, seed uint64, report *Report, joined *statement.Joined) {
	t.Helper()
	want, err := report.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		shuffled := *joined
		shuffled.Entries = slices.Clone(joined.Entries)
		w.rnd.Shuffle(len(shuffled.Entries), func(i, k int) {
			shuffled.Entries[i], shuffled.Entries[k] = shuffled.Entries[k], shuffled.Entries[i]
		})
		book := w.book
		book.Movements = slices.Clone(w.book.Movements)
		w.rnd.Shuffle(len(book.Movements), func(i, k int) { book.Movements[i], book.Movements[k] = book.Movements[k], book.Movements[i] })
		again, err := Compare(&book, &shuffled, w.o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := again.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d: another order of the same input gives another report:\n%s", seed, difference(strings.Split(string(got), "\n"), strings.Split(string(want), "\n")))
		}
	}
}

// difference returns the lines of one list only.
func difference(got, want []string) string {
	var b strings.Builder
	for _, line := range got {
		if !slices.Contains(want, line) {
			b.WriteString("got only:  " + line + "\n")
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			b.WriteString("want only: " + line + "\n")
		}
	}
	return b.String()
}
