package settle_test

import (
	"bytes"
	"flag"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/cairnledger/cairn/jepsen/settle"
	"github.com/cairnledger/cairn/jepsen/settle/load"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/settlement"
)

var (
	histories = flag.Int("histories", 24, "how many random histories to compare")
	firstSeed = flag.Uint64("seed", 1, "seed of the first one")
)

const (
	origin = "example.org/money"
	node   = "spiffe://example.org/cluster/00000000000000c1/node/n1"
)

var owners = []string{"spiffe://example.org/svc/a", "spiffe://example.org/svc/b"}

// TestAgrees: the program and the model agree about every outcome of random histories, and about
// every root of the map.
func TestAgrees(t *testing.T) {
	var all settle.Counts
	for seed := *firstSeed; seed < *firstSeed+uint64(*histories); seed++ {
		m, ok := agrees(t, seed, 1500)
		if !ok {
			return
		}
		c := m.Counts()
		all.Results, all.Roots = all.Results+c.Results, all.Roots+c.Roots
		for i, n := range c.Statuses {
			all.Statuses[i] += n
		}
		for i, n := range c.Reasons {
			all.Reasons[i] += n
		}
	}
	t.Logf("%+v", all)
	if all.Roots == 0 {
		t.Error("no leaf has a root of the map")
	}
	for status := 1; status <= 8; status++ {
		if all.Statuses[status] == 0 {
			t.Errorf("no result has the status %s", settlement.Status(status))
		}
	}
	for _, r := range settlement.Reasons() {
		if r < settlement.InstructionUnknown && all.Reasons[r] == 0 && r != settlement.TimeOverflow {
			t.Errorf("no rejection has the reason %s", r)
		}
	}
}

func agrees(t *testing.T, seed uint64, entries int) (*settle.Model, bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 5))
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: origin, Program: settlement.Program{}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := settle.New(origin, true)
	commands := &load.Load{Owners: owners, Timeout: 2000, Grain: 20}
	now := int64(1_700_000_000_000_000)
	apply := func(b ledger.Batch) {
		t.Helper()
		block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, now, []ledger.Batch{b})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.ApplyMany([]ledger.Committed{{RaftIndex: l.Head().RaftIndex + 1, RaftTerm: 1, Block: block}}); err != nil {
			t.Fatal(err)
		}
	}
	for int(l.Head().Size) < entries {
		b := ledger.Batch{Principal: owners[rng.IntN(2)]}
		for range 1 + rng.IntN(3) {
			c := commands.Next(rng)
			body, err := c.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: body})
		}
		apply(b)
		now += 20 * rng.Int64N(6) // so that commands come at the very end of reservations
		if w, ok, err := l.Work(); err != nil {
			t.Fatal(err)
		} else if ok && w.At <= now && rng.IntN(4) == 0 {
			apply(ledger.Batch{Principal: node, Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: w.Command}}})
		}
	}
	for m.Size() < l.Head().Size {
		leaf, err := l.Leaf(m.Size())
		if err != nil {
			t.Fatal(err)
		}
		if problems := m.Leaf(leaf); len(problems) > 0 {
			t.Errorf("seed %d: %v", seed, problems[0])
			return m, false
		}
	}
	stored := map[string][]byte{}
	if err := l.State().Range([]byte{'a'}, []byte{'b'}, func(k, v []byte) bool {
		stored[string(k[1:])] = bytes.Clone(v)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if want := m.Records(); !maps.EqualFunc(stored, want, bytes.Equal) {
		t.Errorf("seed %d: the records are\n%x\nby the rules they are\n%x", seed, stored, want)
	}
	if err := m.End(); err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	return m, true
}
