package reconcile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// unit is what is matched: here a movement; there an entry, one transaction of a batch, or what is
// left of an entry when its transactions do not add up to it.
type unit struct {
	amount Amount
	// known is false for a transaction whose amount the statement does not give; then amount is zero.
	known   bool
	key     string // amount.Key(): equal for equal amounts
	day     Day    // on which it is compared; zero when it is not known
	pending bool
	refs    references
	party   party
	// rank is the position in the canonical order of its side. It depends on no order of the input,
	// as long as places are unique.
	rank int
	done bool // matched

	movement *Movement
	outside  bool // here: the movement is not of the period

	entry *statement.Entry
	tx    *statement.Transaction // nil for an entry without transactions and for a rest
	rest  bool                   // there: what the transactions leave of the entry
	whole *whole                 // there: the batch that it belongs to, nil for none
}

// whole is an entry that stands for several transactions. It is matched either in one sum or by its
// parts, never both.
type whole struct {
	unit
	parts []*unit
}

// untouched says whether neither the sum nor a part has been matched.
func (w *whole) untouched() bool {
	return !w.done && !slices.ContainsFunc(w.parts, func(u *unit) bool { return u.done })
}

// here returns the units of the movements in one currency.
func hereUnits(b *Book, movements []Movement, currency string, o *Options) []*unit {
	var units []*unit
	for i := range movements {
		m := &movements[i]
		if m.Currency != currency {
			continue
		}
		u := &unit{
			amount: m.Amount, known: true, key: m.Amount.Key(), day: m.Day, pending: m.Pending,
			refs: movementReferences(m, o.Pattern), party: partyOf(m.Counterparty),
			rank: len(units), movement: m, outside: !b.in(m.Day),
		}
		if o.ByValueDate && m.Value != 0 {
			u.day = m.Value
		}
		units = append(units, u)
	}
	return units
}

// thereUnits returns the units of the entries in one currency, and the batches among them. Entries
// for information have no effect on the balance: they are left out.
func thereUnits(entries []statement.Entry, currency string, o *Options) (units []*unit, wholes []*whole) {
	for i := range entries {
		e := &entries[i]
		if e.Currency != currency || e.Status == statement.Info {
			continue
		}
		if len(e.Transactions) < 2 {
			var t *statement.Transaction
			if len(e.Transactions) == 1 {
				t = &e.Transactions[0]
			}
			units = append(units, newItem(e, t, o))
			continue
		}
		w := &whole{unit: *newItem(e, nil, o)}
		w.refs = wholeReferences(e)
		rest, known := e.Amount, true
		for k := range e.Transactions {
			t := &e.Transactions[k]
			u := newItem(e, t, o)
			u.whole = w
			u.amount, u.known, u.key = Amount{}, t.Amount != nil, ""
			if u.known {
				u.amount, u.key = *t.Amount, t.Amount.Key()
				rest = rest.Sub(*t.Amount)
			}
			known = known && u.known
			w.parts = append(w.parts, u)
		}
		if known && !rest.IsZero() {
			u := newItem(e, nil, o)
			u.whole, u.rest, u.refs = w, true, references{}
			u.amount, u.key = rest, rest.Key()
			w.parts = append(w.parts, u)
		}
		wholes = append(wholes, w)
		units = append(units, w.parts...)
	}
	slices.SortFunc(units, compareItems)
	for i, u := range units {
		u.rank = i
	}
	slices.SortFunc(wholes, func(a, b *whole) int { return compareItems(&a.unit, &b.unit) })
	for i, w := range wholes {
		w.rank = i
	}
	return units, wholes
}

func newItem(e *statement.Entry, t *statement.Transaction, o *Options) *unit {
	u := &unit{
		amount: e.Amount, known: true, key: e.Amount.Key(), pending: e.Status != statement.Booked,
		refs: itemReferences(e, t, o.Pattern), entry: e, tx: t,
	}
	if t != nil {
		u.party = partyOf(t.Counterparty(e))
	}
	u.day = e.Booked
	if o.ByValueDate && e.Value != 0 || u.day == 0 {
		u.day = e.Value
	}
	return u
}

// compareItems orders items by what they say, and by their place where they say the same.
func compareItems(a, b *unit) int {
	// Most pairs differ here.
	if c := cmp.Or(cmp.Compare(a.day, b.day), a.amount.Cmp(b.amount)); c != 0 {
		return c
	}
	for _, rule := range []Rule{EndToEndID, TransferID, CreditorReference} {
		if c := slices.Compare(a.refs[rule], b.refs[rule]); c != 0 {
			return c
		}
	}
	return cmp.Or(
		boolCompare(a.known, b.known),
		strings.Compare(a.party.account, b.party.account), slices.Compare(a.party.words, b.party.words),
		naturally(a.place(), b.place()), boolCompare(a.rest, b.rest))
}

// place returns where an item stands in the statement.
func (u *unit) place() string {
	if u.tx != nil {
		return u.tx.Place
	}
	return u.entry.Place
}

// byDay orders units by day, then by rank.
func byDay(a, b *unit) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.rank, b.rank)) }

// distance returns how many days lie between the two, 0 when a day is not known.
func distance(a, b *unit) int {
	if a.day == 0 || b.day == 0 {
		return 0
	}
	d := int(a.day) - int(b.day)
	return max(d, -d)
}

// sameSide says whether two amounts have the same sign, or one of them none.
func sameSign(a, b *unit) bool { return a.amount.Sign()*b.amount.Sign() >= 0 }
