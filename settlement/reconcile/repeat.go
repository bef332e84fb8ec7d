package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// repeats finds what a unit that was not matched repeats: a unit of its own side with the same
// amount and a common reference within the window, or, when it has no reference, with the same
// content on the same day.
type repeats struct {
	m     *matcher
	byKey map[string][]*unit
	whole map[string][]*whole
}

// repeatable are the rules whose keys two units of one side share only when they are about the same
// payment. The number of an entry and the id of a batch are not among them.
var repeatable = []Rule{EndToEndID, CreditorReference, InstructionID, TransactionID, UETR, ServicerRef, Pattern}

func newRepeats(m *matcher) *repeats {
	r := &repeats{m: m, byKey: map[string][]*unit{}, whole: map[string][]*whole{}}
	for _, units := range [][]*unit{m.here, m.there} {
		for _, u := range units {
			for _, k := range r.keys(u) {
				r.byKey[k] = append(r.byKey[k], u)
			}
		}
	}
	for _, list := range r.byKey {
		slices.SortFunc(list, byDay)
	}
	for _, w := range m.wholes {
		for _, k := range wholeContent(w) {
			r.whole[k] = append(r.whole[k], w)
		}
	}
	return r
}

// keys returns what a unit and its duplicate have in common.
func (r *repeats) keys(u *unit) []string {
	if !u.known || u.rest {
		return nil
	}
	side := "there"
	if u.movement != nil {
		side = "here"
	}
	var keys []string
	for _, rule := range repeatable {
		for _, k := range u.refs[rule] {
			keys = append(keys, strings.Join([]string{side, string(rule), k, u.key}, "\x00"))
		}
	}
	if len(keys) == 0 {
		keys = append(keys, side+"\x00"+u.content())
	}
	return keys
}

// content returns what two units have in common that nobody can tell apart, but for their places.
func (u *unit) content() string {
	parts := []string{u.day.String(), u.key, u.party.account, strings.Join(u.party.words, " "), u.text()}
	for _, rule := range Rules() {
		parts = append(parts, strings.Join(u.refs[rule], " "))
	}
	return strings.Join(parts, "\x00")
}

// text returns the unstructured text of a unit.
func (u *unit) text() string {
	switch {
	case u.movement != nil:
		return u.movement.Text
	case u.tx != nil:
		return strings.Join(u.tx.Text, "\n")
	}
	return u.entry.Text
}

// of returns what the unit repeats, nil for nothing: a matched unit, or else the first one that was
// not matched.
func (r *repeats) of(u *unit) *unit {
	var best *unit
	for _, k := range r.keys(u) {
		for i, other := range r.byKey[k] {
			if r.m.looked++; i == lookAhead {
				break
			}
			if other == u || distance(u, other) > r.m.o.Window || u.refs.contradict(other.refs) || u.pending != other.pending {
				continue
			}
			done := r.m.isDone(other)
			if !done && byDay(other, u) > 0 {
				continue
			}
			if best == nil || cmp.Or(boolCompare(r.m.isDone(best), done), cmp.Compare(distance(u, other), distance(u, best)), byDay(other, best)) < 0 {
				best = other
			}
		}
	}
	return best
}

// wholeContent returns what a batch and its duplicate have in common: the references of the entry
// and the amount, or the whole content.
func wholeContent(w *whole) []string {
	var keys []string
	for _, k := range w.refs[Batch] {
		keys = append(keys, k+"\x00"+w.key)
	}
	if len(keys) == 0 {
		keys = append(keys, fmt.Sprintf("%s\x00%s\x00%d\x00%s", w.day, w.key, len(w.parts), w.entry.Text))
	}
	return keys
}

// ofWhole returns the batch that was booked in one sum and that w repeats as a whole, nil for
// nothing. The repetition of a batch that was matched by its parts is found part by part.
func (r *repeats) ofWhole(w *whole) *unit {
	if !w.untouched() || w.pending {
		return nil
	}
	for _, k := range wholeContent(w) {
		for i, other := range r.whole[k] {
			if r.m.looked++; i == lookAhead {
				break
			}
			if other != w && other.done && distance(&w.unit, &other.unit) <= r.m.o.Window && len(other.parts) == len(w.parts) {
				return &other.unit
			}
		}
	}
	return nil
}
