package reconcile

import (
	"slices"
	"sort"
)

// batches matches what one side booked in one sum: an entry for a whole batch with a movement, an
// entry with the movements of the batch, and a movement with the single entries of the batch. Near
// days come first, because some payers use one reference again and again. At last come different
// amounts: of the sums, and of single payments to one counterparty in one batch.
func (m *matcher) batches() {
	for _, days := range []int{0, m.o.Tolerance, m.o.Window} {
		m.wholeBy(func(w *whole, h *unit) bool { return w.key == h.key && distance(&w.unit, h) <= days })
		for _, g := range m.groups(Batch, open(m.there), open(m.here)) {
			m.sameAmount(Batch, g, days, func(t, h *unit) bool { return t.party.compatible(h.party) && !t.refs.contradict(h.refs) })
		}
		for _, g := range m.groups(Batch, m.untouched(), open(m.here)) {
			m.sums(Batch, g, days)
		}
		for _, g := range m.groups(Batch, open(m.there), open(m.here)) {
			m.sums(Batch, g, days)
		}
	}
	m.wholeBy(func(w *whole, h *unit) bool { return sameSign(&w.unit, h) && distance(&w.unit, h) <= m.o.Window })
	m.differentSums()
	for _, g := range m.groups(Batch, open(m.there), open(m.here)) {
		m.scan(Batch, g.there, g.here, m.o.Window, func(t, h *unit) bool {
			return t.known && sameSign(t, h) && t.party.agrees(h.party) && !t.refs.contradict(h.refs)
		})
	}
}

// untouched returns the batches of which neither the sum nor a part was matched.
func (m *matcher) untouched() []*unit {
	var units []*unit
	for _, w := range m.wholes {
		if w.untouched() {
			units = append(units, &w.unit)
		}
	}
	return units
}

// differentSums matches what is left of a batch when one side has it in one sum: the other side has
// it in parts that do not add up to the sum.
func (m *matcher) differentSums() {
	there := m.untouched()
	for _, u := range open(m.there) {
		if u.whole == nil {
			there = append(there, u)
		}
	}
	for _, g := range m.groups(Batch, there, open(m.here)) {
		there, here := open(g.there), open(g.here)
		if min(len(there), len(here)) != 1 {
			continue
		}
		if len(here) == 1 && m.near(here[0], there, m.o.Window) == len(there) ||
			len(there) == 1 && m.near(there[0], here, m.o.Window) == len(here) {
			m.pair(Batch, there, here)
		}
	}
}

// compatible says whether two counterparties may be the same.
func (p party) compatible(other party) bool {
	return !p.known() || !other.known() || p.agrees(other)
}

// wholeKeys returns the open movements by everything that may name a batch.
func (m *matcher) wholeKeys() map[string][]*unit {
	byKey := map[string][]*unit{}
	for _, h := range open(m.here) {
		var keys []string
		for _, rule := range []Rule{Batch, TransferID, ServicerRef, EndToEndID} {
			keys = append(keys, h.refs[rule]...)
		}
		slices.Sort(keys)
		for _, k := range slices.Compact(keys) {
			byKey[k] = append(byKey[k], h)
		}
	}
	return byKey
}

// wholeBy matches batches of which no part was matched with one movement that names the batch and
// passes the test.
func (m *matcher) wholeBy(test func(w *whole, h *unit) bool) {
	byKey := m.wholeKeys()
	for _, w := range m.wholes {
		if !w.untouched() {
			continue
		}
		var nearest *unit
		for _, k := range w.refs[Batch] {
			candidates := byKey[k]
			for _, h := range candidates[:min(len(candidates), lookAhead)] {
				m.looked++
				if h.done || !test(w, h) {
					continue
				}
				if nearest == nil || distance(&w.unit, h) < distance(&w.unit, nearest) ||
					distance(&w.unit, h) == distance(&w.unit, nearest) && h.rank < nearest.rank {
					nearest = h
				}
			}
		}
		if nearest != nil {
			m.pair(Batch, []*unit{&w.unit}, []*unit{nearest})
		}
	}
}

// sameCounterparty matches units of equal amounts whose counterparties agree, near days first.
func (m *matcher) sameCounterparty() {
	g := group{there: open(m.there), here: open(m.here)}
	for _, days := range []int{0, m.o.Tolerance, m.o.Window} {
		m.sameAmount(AmountDateCounterparty, g, days, func(t, h *unit) bool {
			return t.day != 0 && t.party.agrees(h.party) && !t.refs.contradict(h.refs)
		})
	}
}

// onlyCandidate matches units of equal amounts within the tolerance where each has no other
// candidate, near days first. Batches come before their parts.
func (m *matcher) onlyCandidate() {
	for _, days := range []int{0, m.o.Tolerance} {
		m.unique(m.untouched(), open(m.here), days)
		m.unique(open(m.there), open(m.here), days)
	}
}

func (m *matcher) unique(there, here []*unit, days int) {
	hereBy, thereBy := byAmount(here), byAmount(there)
	candidate := func(t, h *unit) bool { return t.party.compatible(h.party) && !t.refs.contradict(h.refs) }
	for _, t := range there {
		if !t.known || t.day == 0 {
			continue
		}
		only := m.single(hereBy[t.key], t.day, days, func(h *unit) bool { return candidate(t, h) })
		if only != nil && m.single(thereBy[t.key], only.day, days, func(other *unit) bool { return candidate(other, only) }) == t {
			m.pair(AmountDate, []*unit{t}, []*unit{only})
		}
	}
}

// byAmount returns the units with a day by their amounts, each list in the order of days.
func byAmount(units []*unit) map[string][]*unit {
	lists := map[string][]*unit{}
	for _, u := range units {
		if u.known && u.day != 0 {
			lists[u.key] = append(lists[u.key], u)
		}
	}
	for _, list := range lists {
		slices.SortFunc(list, byDay)
	}
	return lists
}

// single returns the only unit within so many days of a day that passes the test, nil when there is
// none, a second one, or too many to look at. Of units with the same content the first is the only
// one. The units are in the order of days.
func (m *matcher) single(units []*unit, day Day, days int, test func(*unit) bool) *unit {
	first := sort.Search(len(units), func(i int) bool { return int(units[i].day) >= int(day)-days })
	var only *unit
	for i, u := range units[first:] {
		if int(u.day) > int(day)+days {
			break
		}
		if m.looked++; i == lookAhead {
			return nil
		}
		if u.done || u.whole != nil && u.whole.done || !test(u) {
			continue
		}
		if only != nil && only.content() != u.content() {
			return nil
		}
		if only == nil {
			only = u
		}
	}
	return only
}
