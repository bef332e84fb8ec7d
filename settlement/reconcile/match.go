package reconcile

import (
	"maps"
	"math"
	"slices"
)

// match says that the units here and there are the same. One of the sides has one unit, and the
// other one or several.
type match struct {
	rule        Rule
	here, there []*unit
}

// matcher finds the matches in one currency. It goes through the rules once, in their order, and
// never takes a match back.
type matcher struct {
	o       *Options
	here    []*unit // in canonical order
	there   []*unit // in canonical order, parts of batches among them
	wholes  []*whole
	matches []match
	looked  int // candidates looked at so far: what bounds the cost
}

// lookAhead bounds how many candidates are looked at for one unit, so that a statement that was
// made to be slow is not. It matters only where so many payments share a reference and an amount
// and differ in their identifiers.
const lookAhead = 64

// unlimited is a distance in days that no two days have.
const unlimited = math.MaxInt32

func (m *matcher) run() {
	for _, rule := range Rules() {
		if !m.o.has(rule) {
			continue
		}
		switch rule {
		case Batch:
			m.batches()
		case AmountDateCounterparty:
			m.sameCounterparty()
		case AmountDate:
			m.onlyCandidate()
		default:
			m.byReference(rule)
		}
	}
}

func (m *matcher) pair(rule Rule, there, here []*unit) {
	for _, u := range there {
		u.done = true
	}
	for _, u := range here {
		u.done = true
	}
	m.matches = append(m.matches, match{rule: rule, here: here, there: there})
}

// open returns the units that are not matched yet.
func open(units []*unit) []*unit {
	var rest []*unit
	for _, u := range units {
		if !u.done && (u.whole == nil || !u.whole.done) {
			rest = append(rest, u)
		}
	}
	return rest
}

// group are the open units of both sides that share a key.
type group struct{ there, here []*unit }

// groups returns the groups by the keys of a rule, in the order of the keys. A unit with several
// keys is in several groups.
func (m *matcher) groups(rule Rule, there, here []*unit) []group {
	byKey := map[string]*group{}
	for _, u := range there {
		for _, k := range u.refs[rule] {
			if byKey[k] == nil {
				byKey[k] = &group{}
			}
			byKey[k].there = append(byKey[k].there, u)
		}
	}
	for _, u := range here {
		for _, k := range u.refs[rule] {
			if g := byKey[k]; g != nil {
				g.here = append(g.here, u)
			}
		}
	}
	var groups []group
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		if g := byKey[k]; len(g.here) > 0 {
			groups = append(groups, *g)
		}
	}
	return groups
}

// byReference matches the units that share a reference: first those of equal amounts, then several
// that add up to one, then those whose amount the statement does not give, and what is left with
// different amounts.
func (m *matcher) byReference(rule Rule) {
	for _, g := range m.groups(rule, open(m.there), open(m.here)) {
		for _, days := range []int{0, m.o.Tolerance, unlimited} {
			m.sameAmount(rule, g, days, func(t, h *unit) bool { return !t.refs.contradict(h.refs) })
		}
		m.sums(rule, g, m.o.Window)
		if rule != CreditorReference && rule != Pattern { // those that many payments may share
			m.wholeOf(rule, g)
		}
		agree := func(t, h *unit) bool { return sameSign(t, h) && !t.refs.contradict(h.refs) }
		m.scan(rule, g.there, g.here, unlimited, func(t, h *unit) bool {
			return !t.known && h.amount.Sign()*t.entry.Amount.Sign() >= 0 && !t.refs.contradict(h.refs)
		})
		m.scan(rule, g.there, g.here, unlimited, func(t, h *unit) bool { return t.known && agree(t, h) })
	}
}

// wholeOf matches a batch with a movement of its amount that shares a reference with one of its
// transactions: the ledger has the reference of one for the sum of all.
func (m *matcher) wholeOf(rule Rule, g group) {
	for _, t := range open(g.there) {
		if t.whole == nil || !t.whole.untouched() {
			continue
		}
		for i, h := range g.here {
			if m.looked++; i == lookAhead {
				break
			}
			if !h.done && h.key == t.whole.key && distance(t, h) <= m.o.Window {
				m.pair(rule, []*unit{&t.whole.unit}, []*unit{h})
				break
			}
		}
	}
}

// sameAmount matches the units of a group that have equal amounts, are at most so many days apart
// and pass the test.
func (m *matcher) sameAmount(rule Rule, g group, days int, test func(t, h *unit) bool) {
	if len(g.there) == 1 && len(g.here) == 1 { // most groups
		if g.there[0].known && g.there[0].key == g.here[0].key {
			m.scan(rule, g.there, g.here, days, test)
		}
		return
	}
	byAmount := map[string]*group{}
	for _, t := range open(g.there) {
		if !t.known {
			continue
		}
		if byAmount[t.key] == nil {
			byAmount[t.key] = &group{}
		}
		byAmount[t.key].there = append(byAmount[t.key].there, t)
	}
	for _, h := range open(g.here) {
		if same := byAmount[h.key]; same != nil {
			same.here = append(same.here, h)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(byAmount)) {
		m.scan(rule, byAmount[k].there, byAmount[k].here, days, test)
	}
}

// scan matches units that are at most so many days apart and pass the test, each with the first on
// the other side in the order of days. Of two units with a day, this finds as many matches as there
// can be when the test lets all pass.
func (m *matcher) scan(rule Rule, there, here []*unit, days int, test func(t, h *unit) bool) {
	there, here = open(there), open(here)
	slices.SortFunc(there, byDay)
	slices.SortFunc(here, byDay)
	first := 0
	for _, t := range there {
		for first < len(here) && (here[first].done || int(here[first].day) < int(t.day)-days) {
			first++
		}
		for i := first; i < len(here) && i < first+lookAhead; i++ {
			h := here[i]
			m.looked++
			if int(h.day) > int(t.day)+days {
				break
			}
			if !h.done && test(t, h) {
				m.pair(rule, []*unit{t}, []*unit{h})
				break
			}
		}
	}
}

// maxSums bounds the units of one side whose candidates are added up.
const maxSums = 64

// sums matches a unit of one side with all units of the other that are at most so many days away,
// when they are several and add up to it.
func (m *matcher) sums(rule Rule, g group, days int) {
	there, here := open(g.there), open(g.here)
	slices.SortFunc(there, byDay)
	slices.SortFunc(here, byDay)
	if len(there) <= maxSums && len(here) > 1 {
		for _, t := range there {
			if parts := m.addUp(t, open(here), days); parts != nil && !m.isDone(t) {
				m.pair(rule, []*unit{t}, parts)
			}
		}
	}
	if len(here) <= maxSums && len(there) > 1 {
		for _, h := range here {
			if parts := m.addUp(h, open(there), days); parts != nil && !h.done {
				m.pair(rule, parts, []*unit{h})
			}
		}
	}
}

// addUp returns the units that are near the sum, nil unless they are several and add up to it.
func (m *matcher) addUp(sum *unit, units []*unit, days int) []*unit {
	near := units[:0:0]
	rest := sum.amount
	for _, u := range units {
		if m.near(sum, []*unit{u}, days) == 1 {
			near = append(near, u)
			rest = rest.Sub(u.amount)
		}
	}
	if len(near) < 2 || !rest.IsZero() {
		return nil
	}
	return near
}

// near returns how many of the units may be parts of a sum: those that are at most so many days
// away, have an amount of the same sign, and are not different payments by their identifiers. Zero
// is no sum.
func (m *matcher) near(u *unit, units []*unit, days int) int {
	if !u.known || u.amount.IsZero() {
		return 0
	}
	n := 0
	m.looked += len(units)
	for _, other := range units {
		if other.known && distance(u, other) <= days && sameSign(u, other) && !u.refs.contradict(other.refs) {
			n++
		}
	}
	return n
}
