package settlement

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/ledger"
)

// rows is a ledger.View in memory.
type rows map[string][]byte

func (r rows) Get(key []byte) ([]byte, bool) {
	value, found := r[string(key)]
	return value, found
}

func (r rows) Put(key, value []byte) { r[string(key)] = slices.Clone(value) }

func (rows) Keep([]byte) {}

func (r rows) Range(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for _, key := range slices.Sorted(maps.Keys(r)) {
			if key >= string(from) && (len(to) == 0 || key < string(to)) && !yield([]byte(key), r[key]) {
				return
			}
		}
	}
}

// counted counts the rows that are read and written.
type counted struct {
	ledger.View
	gets, puts int
}

func (c *counted) Get(key []byte) ([]byte, bool) { c.gets++; return c.View.Get(key) }
func (c *counted) Put(key, value []byte)         { c.puts++; c.View.Put(key, value) }

// TestChain: a chain is the list of those that joined and have not left, in their order, and costs
// the same however long it is.
func TestChain(t *testing.T) {
	view := &counted{View: rows{}}
	c, other := chain{view, []byte("w")}, chain{view, []byte("x")}
	other.join("m-1", 1)
	rng := rand.New(rand.NewPCG(1, 2))
	var want []string
	for n := range 3000 {
		view.gets, view.puts = 0, 0
		if id := fmt.Sprintf("m-%d", n); rng.IntN(5) < 3 {
			c.join(id, uint64(n))
			want = append(want, id)
		} else if len(want) > 0 {
			i := []int{0, len(want) - 1, rng.IntN(len(want))}[rng.IntN(3)]
			c.leave(want[i])
			want = slices.Delete(want, i, i+1)
		}
		if view.gets > 4 || view.puts > 4 {
			t.Fatalf("step %d reads %d rows and writes %d, at most 4", n, view.gets, view.puts)
		}
		var got []string
		for id := c.first(); id != ""; id = c.after(id) {
			if l := c.link(id); fmt.Sprintf("m-%d", l.since) != id || len(got) > 0 && l.before != got[len(got)-1] {
				t.Fatalf("step %d: %s has the link %+v", n, id, l)
			}
			got = append(got, id)
		}
		if _, last := c.ends(); !slices.Equal(got, want) || len(want) > 0 && last != want[len(want)-1] {
			t.Fatalf("step %d: the chain is %v, want %v; its last member is %q", n, got, want, last)
		}
	}
	if other.first() != "m-1" {
		t.Error("another chain has changed")
	}
}

// TestPart: the part is the largest for which there is room, and no further one fits after it. All
// parts together are the whole.
func TestPart(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	random := func(most uint64) Amount {
		if rng.IntN(8) == 0 {
			return Amount{rng.Uint64(), rng.Uint64()}
		}
		return AmountOf(1 + rng.Uint64N(most))
	}
	parts, whole := 0, 0
	for n := range 20_000 {
		most := []uint64{3, 50, 1 << 40}[rng.IntN(3)]
		legs := make([]legPair, 2-rng.IntN(4)/3)
		for i := range legs {
			l := &legs[i]
			l.from = &LegState{Account: "a", Amount: random(most)}
			l.to = &LegState{Account: "b"}
			l.rest = l.from.Amount
			limit := random(most)
			l.debit = &item[Account]{value: &Account{Flags: DebitsLimited, Limit: limit}, id: fmt.Sprintf("debit %d", i)}
			l.credit = &item[Account]{value: &Account{}, id: fmt.Sprintf("credit %d", i)}
			if rng.IntN(4) == 0 {
				l.credit.value.Flags, l.credit.value.Limit = CreditsLimited, random(most)
			}
		}
		for {
			if _, reason := blocked(legs, wholeRest(legs)); reason == NoReason {
				whole++
				break
			}
			amounts := part(legs)
			zero := amounts[0].IsZero()
			if len(legs) == 2 && amounts[1].IsZero() != zero {
				t.Fatalf("case %d: a part moves %s and %s", n, amounts[0], amounts[1])
			}
			if _, reason := blocked(legs, amounts); reason != NoReason {
				t.Fatalf("case %d: there is no room for the part %v of %+v: %s", n, amounts, legs, reason)
			}
			for i := range legs {
				l := &legs[i]
				l.from.Settled, _ = l.from.Settled.Add(amounts[i])
				l.rest, _ = l.rest.Sub(amounts[i])
				l.debit.value.Balances.DebitsPosted, _ = l.debit.value.Balances.DebitsPosted.Add(amounts[i])
				l.credit.value.Balances.CreditsPosted, _ = l.credit.value.Balances.CreditsPosted.Add(amounts[i])
			}
			if _, reason := blocked(legs, leastPart(legs)); reason == NoReason {
				t.Fatalf("case %d: after the part %v there is room for %v of %+v", n, amounts, leastPart(legs), legs)
			}
			if !zero {
				parts++
			}
			more := &legs[rng.IntN(len(legs))] // somebody raises a limit
			more.debit.value.Limit = more.debit.value.Limit.addCapped(random(most))
			more.credit.value.Limit = more.credit.value.Limit.addCapped(random(most))
		}
		for i, l := range legs {
			if sum, ok := l.from.Settled.Add(l.rest); !ok || sum != l.from.Amount {
				t.Fatalf("case %d, leg %d: %s settled and %s left of %s", n, i, l.from.Settled, l.rest, l.from.Amount)
			}
		}
	}
	if parts < 5000 || whole < 20_000 {
		t.Errorf("%d parts and %d that settled: the cases show little", parts, whole)
	}
}

func TestDates(t *testing.T) {
	for _, c := range []struct {
		text string
		days Date
	}{{"1970-01-02", 1}, {"2026-03-02", 20514}, {"2024-02-29", 19782}, {"9999-12-31", MaxDate}} {
		d, err := ParseDate(c.text)
		if err != nil || d != c.days || d.String() != c.text || DateOf(d.Begin()) != d || DateOf(d.Begin()-1) != d-1 {
			t.Errorf("%s is %d, %v, written %s, want %d; it begins at %d", c.text, d, err, d, c.days, d.Begin())
		}
	}
	for _, text := range []string{"", "1970-01-01", "1969-12-31", "2026-02-29", "2026-3-2", "20260302", "10000-01-01", "2026-03-02Z"} {
		if d, err := ParseDate(text); err == nil {
			t.Errorf("%q is taken for the date %s", text, d)
		}
	}
}
