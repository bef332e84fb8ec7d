package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// liner makes the lines of a section from the matches and from what is left.
type liner struct {
	m     *matcher
	book  *Book
	scale int
	// assumed are the amounts of the movements that transactions without an amount were matched with.
	assumed map[*unit]Amount
}

func (l *liner) lines() []Line {
	l.assumed = map[*unit]Amount{}
	var lines []Line
	for _, x := range l.m.matches {
		lines = append(lines, l.matched(x))
	}
	repeats := newRepeats(l.m)
	wholes := map[*whole]bool{} // those that have a line of their own
	for _, w := range l.m.wholes {
		if of := repeats.ofWhole(w); of != nil {
			wholes[w] = true
			lines = append(lines, l.single(&w.unit, of))
		}
	}
	for _, u := range l.m.there {
		if l.m.isDone(u) || !u.known || wholes[u.whole] {
			continue
		}
		lines = append(lines, l.single(u, repeats.of(u)))
	}
	for _, w := range l.m.wholes {
		if !wholes[w] {
			lines = append(lines, l.unknown(w)...)
		}
	}
	for _, u := range l.m.here {
		// What lies outside the period was a candidate, nothing more.
		if !u.done && !u.outside {
			lines = append(lines, l.single(u, repeats.of(u)))
		}
	}
	slices.SortStableFunc(lines, compareLines)
	return lines
}

// isDone says whether a unit, or the batch that it is a part of, has been matched.
func (m *matcher) isDone(u *unit) bool { return u.done || u.whole != nil && u.whole.done }

// matched makes the line of a match.
func (l *liner) matched(x match) Line {
	line := Line{Class: Matched, Rule: x.rule}
	var sum Amount
	var pendingHere, pendingThere, known bool
	known = true
	for _, u := range x.there {
		line.There = append(line.There, l.item(u))
		known = known && u.known
		pendingThere = pendingThere || u.pending
		sum = sum.Add(u.amount)
		line.Effect = line.Effect.Add(l.effect(u))
	}
	for _, u := range x.here {
		line.Here = append(line.Here, l.item(u))
		pendingHere = pendingHere || u.pending
		sum = sum.Sub(u.amount)
		line.Effect = line.Effect.Sub(l.effect(u))
		for _, t := range x.there {
			if d := int(t.day) - int(u.day); distance(t, u) > max(line.Days, -line.Days) {
				line.Days = d
			}
			line.Remarks = append(line.Remarks, differing(u, t)...)
		}
		if u.outside {
			line.Remarks = append(line.Remarks, fmt.Sprintf("the ledger booked it on %s, outside the period", u.movement.Day))
		}
	}
	if !known {
		// The statement gives no amount: that of the ledger is taken, and the entry as a whole is
		// compared.
		line.Effect = Amount{}
		for _, u := range x.here {
			line.Effect = line.Effect.Sub(l.effect(u))
		}
		l.assumed[x.there[0]] = x.here[0].amount
		if x.there[0].entry.Status == statement.Booked {
			line.Effect = line.Effect.Add(x.here[0].amount)
		}
		line.Remarks = append(line.Remarks, "the statement gives no amount for the transaction")
	} else {
		line.Difference = l.amount(sum)
	}
	line.Effect = line.Effect.WithScale(l.scale)
	switch {
	case known && !sum.IsZero():
		line.Class = AmountDiffers
	case pendingHere != pendingThere:
		line.Class = StatusDiffers
		if pendingHere {
			line.Remarks = append(line.Remarks, "pending in the ledger, booked on the statement")
		} else {
			line.Remarks = append(line.Remarks, "posted in the ledger, pending on the statement")
		}
	case max(line.Days, -line.Days) > l.m.o.Tolerance:
		line.Class = Late
	}
	return line
}

// differing says in which identifiers of the payment a match differs.
func differing(here, there *unit) []string {
	var remarks []string
	for _, rule := range identifiers {
		a, b := here.refs[rule], there.refs[rule]
		if len(a) > 0 && len(b) > 0 && a[0] != b[0] {
			remarks = append(remarks, fmt.Sprintf("%s is %s in the ledger and %s on the statement", rule, statement.Clean(a[0]), b[0]))
		}
	}
	return remarks
}

// single makes the line of a unit that was not matched. of is what it repeats, nil for nothing.
func (l *liner) single(u *unit, of *unit) Line {
	line := Line{Here: []Item{}, There: []Item{}}
	difference := u.amount
	line.Effect = l.effect(u)
	if u.movement != nil {
		line.Class = MissingThere
		line.Here = append(line.Here, l.item(u))
		difference, line.Effect = difference.Neg(), line.Effect.Neg()
		if l.book.To != 0 && int(l.book.To)-int(u.day) < l.m.o.Tolerance {
			line.Remarks = append(line.Remarks, "at the end of the period: the next statement may have it")
		}
	} else {
		line.Class = MissingHere
		line.There = append(line.There, l.item(u))
		if l.book.From != 0 && u.day != 0 && int(u.day)-int(l.book.From) < l.m.o.Tolerance {
			line.Remarks = append(line.Remarks, "at the beginning of the period: the ledger may have it before")
		}
		if u.entry.Reversal {
			line.Remarks = append(line.Remarks, "a reversal")
		}
		if u.rest {
			line.Remarks = append(line.Remarks, "what the transactions of the entry leave of its amount"+chargesOf(u.entry))
		}
	}
	switch {
	case u.pending:
		line.Class = Unconfirmed
	case of != nil:
		line.Class = Duplicate
		line.DuplicateOf = placeOf(of)
		line.Remarks = nil
	}
	line.Difference = l.amount(difference)
	line.Effect = line.Effect.WithScale(l.scale)
	return line
}

func chargesOf(e *statement.Entry) string {
	if e.Charges == nil || e.Charges.IsZero() {
		return ""
	}
	return fmt.Sprintf("; the statement says charges of %s", *e.Charges)
}

// unknown makes the lines of a batch whose transactions have no amounts: what is left of the entry
// belongs to those that were not matched.
func (l *liner) unknown(w *whole) []Line {
	if w.done || !slices.ContainsFunc(w.parts, func(u *unit) bool { return !u.known }) {
		return nil
	}
	rest := w.amount
	line := Line{Class: MissingHere, Here: []Item{}, There: []Item{}}
	for _, u := range w.parts {
		switch {
		case u.known:
			rest = rest.Sub(u.amount)
		case u.done:
			rest = rest.Sub(l.assumed[u])
		default:
			line.There = append(line.There, l.item(u))
		}
	}
	if len(line.There) == 0 {
		if rest.IsZero() {
			return nil
		}
		line.Class = AmountDiffers
		line.There = append(line.There, l.item(&w.unit))
		line.Remarks = append(line.Remarks, "the movements of its transactions do not add up to the entry"+chargesOf(w.entry))
	} else {
		line.Remarks = append(line.Remarks, "the statement gives no amounts for the transactions: the difference is what they leave of the entry")
		if w.pending {
			line.Class = Unconfirmed
		}
	}
	line.Difference = l.amount(rest)
	if !w.pending {
		line.Effect = rest
	}
	line.Effect = line.Effect.WithScale(l.scale)
	return []Line{line}
}

// effect returns what a unit adds to the closing balance of its side.
func (l *liner) effect(u *unit) Amount {
	if u.pending || u.outside {
		return Amount{}
	}
	return u.amount
}

func (l *liner) amount(a Amount) *Amount {
	a = a.WithScale(l.scale)
	return &a
}

func (l *liner) item(u *unit) Item {
	i := Item{Place: placeOf(u), Pending: u.pending}
	if u.known {
		i.Amount = l.amount(u.amount)
	}
	if m := u.movement; m != nil {
		index := m.Index
		i.Index, i.Day, i.Value = &index, m.Day, m.Value
		i.Reference = firstOf(provided(m.EndToEndID), m.CreditorRef, provided(m.InstructionID), provided(m.TransactionID), m.UETR, m.TransferID, m.ServicerRef, m.Batch)
		i.Reference = statement.Clean(i.Reference)
		i.Counterparty = statement.Clean(firstOf(m.Counterparty.Name, m.Counterparty.Account))
		i.Text = statement.Clean(m.Text)
		return i
	}
	e := u.entry
	i.Day, i.Value, i.Reversal, i.Text = e.Booked, e.Value, e.Reversal, e.Text
	if t := u.tx; t != nil {
		i.Reference = firstOf(append(append([]string{provided(t.EndToEndID)}, t.CreditorRefs...),
			provided(t.InstructionID), provided(t.TransactionID), t.UETR, t.ServicerRef)...)
		p := t.Counterparty(e)
		i.Counterparty = firstOf(p.Name, p.Account)
		if len(t.Text) > 0 {
			i.Text = strings.Join(t.Text, " ")
		}
	}
	if i.Reference == "" && !u.rest {
		i.Reference = firstOf(e.ServicerRef, e.Ref)
	}
	if n := len(e.Transactions); u.tx == nil && n > 1 && !u.rest {
		i.Text = firstOf(i.Text, fmt.Sprintf("batch of %d transactions", n))
	}
	return i
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// placeOf names a unit: where it stands in the ledger or in the statement.
func placeOf(u *unit) string {
	if u.movement == nil {
		if u.rest {
			return u.place() + ", rest"
		}
		return u.place()
	}
	if id := statement.Clean(u.movement.TransferID); id != "" {
		return fmt.Sprintf("index %d, transfer %s", u.movement.Index, id)
	}
	return fmt.Sprintf("index %d", u.movement.Index)
}

// compareLines orders lines by class, then by day, then by place.
func compareLines(a, b Line) int {
	rank := func(l Line) int { return slices.Index(Classes(), l.Class) }
	first := func(l Line) Item {
		if len(l.There) > 0 {
			return l.There[0]
		}
		return l.Here[0]
	}
	x, y := first(a), first(b)
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(x.Day, y.Day), boolCompare(len(a.There) == 0, len(b.There) == 0),
		compareIndex(x.Index, y.Index), naturally(x.Place, y.Place))
}

func compareIndex(a, b *uint64) int {
	if a == nil || b == nil {
		return 0
	}
	return cmp.Compare(*a, *b)
}

// naturally compares two places, numbers in them by their value: entry 2 comes before entry 10.
func naturally(a, b string) int {
	digits := func(s string) int {
		n := 0
		for n < len(s) && s[n] >= '0' && s[n] <= '9' {
			n++
		}
		return n
	}
	for a != "" && b != "" {
		if n, k := digits(a), digits(b); n > 0 && k > 0 {
			x, y := strings.TrimLeft(a[:n], "0"), strings.TrimLeft(b[:k], "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[n:], b[k:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}
