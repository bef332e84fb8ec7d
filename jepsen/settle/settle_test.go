package settle_test

import (
	"bytes"
	"flag"
	"fmt"
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
		m, ok := agrees(t, seed, 2000)
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
		t.Error("no record publishes a root of the map")
	}
	for status := 1; status <= 16; status++ {
		if all.Statuses[status] == 0 {
			t.Errorf("no result has the status %s", settlement.Status(status))
		}
	}
	for _, r := range settlement.Reasons() {
		if all.Reasons[r] == 0 && r != settlement.TimeOverflow {
			t.Errorf("no rejection has the reason %s", r)
		}
	}
}

// bank is a settlement ledger of its own.
type bank struct {
	t   testing.TB
	l   *ledger.Ledger
	now int64
}

func newBank(t testing.TB) *bank { return openBank(t, memstore.New(memstore.Options{})) }

func openBank(t testing.TB, store ledger.Store) *bank {
	t.Helper()
	l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Program: settlement.Program{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &bank{t: t, l: l, now: 19_676*86_400_000_000 - 30_000} // shortly before midnight, when settlement dates begin
}

// submit appends commands of a principal as one block.
func (b *bank) submit(principal string, commands ...settlement.Command) {
	b.t.Helper()
	batch := ledger.Batch{Principal: principal}
	for _, c := range commands {
		body, err := c.Marshal()
		if err != nil {
			b.t.Fatal(err)
		}
		batch.Entries = append(batch.Entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: body})
	}
	b.apply(batch)
}

func (b *bank) apply(batch ledger.Batch) {
	b.t.Helper()
	batches := ledger.WithMapRoot(settlement.Program{}, node, []ledger.Batch{batch})
	block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, b.now, batches)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.l.ApplyMany([]ledger.Committed{{RaftIndex: b.l.Head().RaftIndex + 1, RaftTerm: 1, Block: block}}); err != nil {
		b.t.Fatal(err)
	}
}

// work lets a leader do what is due, one command of it.
func (b *bank) work() (more bool) {
	b.t.Helper()
	w, ok, err := b.l.Work()
	if err != nil {
		b.t.Fatal(err)
	}
	if ok = ok && w.At <= b.now; ok {
		b.apply(ledger.Batch{Principal: node, Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: w.Command}}})
	}
	return ok
}

// judge compares the ledger with the model.
func (b *bank) judge() (*settle.Model, error) {
	b.t.Helper()
	m := settle.New(origin)
	for m.Size() < b.l.Head().Size {
		leaf, err := b.l.Leaf(m.Size())
		if err != nil {
			b.t.Fatal(err)
		}
		if problems := m.Leaf(leaf); len(problems) > 0 {
			return m, problems[0]
		}
		if detail, err := b.l.DetailOf(m.Size()-1, leaf); err != nil || !bytes.Equal(detail, m.Detail()) {
			return m, fmt.Errorf("entry %d has the detail %x, %v, by the rules it is %x", m.Size()-1, detail, err, m.Detail())
		}
	}
	stored := map[string][]byte{}
	if err := b.l.State().Range([]byte{'a'}, []byte{'b'}, func(k, v []byte) bool {
		stored[string(k[1:])] = bytes.Clone(v)
		return true
	}); err != nil {
		b.t.Fatal(err)
	}
	if want := m.Rows(); !maps.EqualFunc(stored, want, bytes.Equal) {
		return m, fmt.Errorf("the records are\n%x\nby the rules they are\n%x", stored, want)
	}
	return m, m.End()
}

func agrees(t *testing.T, seed uint64, entries int) (*settle.Model, bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 5))
	b := newBank(t)
	commands := &load.Load{Owners: owners, Timeout: 2000, Grain: 20, Now: func() int64 { return b.now }}
	for int(b.l.Head().Size) < entries {
		var some []settlement.Command
		for range 1 + rng.IntN(3) {
			some = append(some, commands.Next(rng))
		}
		b.submit(owners[rng.IntN(2)], some...)
		b.now += 20 * rng.Int64N(6) // so that commands come at the very end of reservations
		if rng.IntN(4) == 0 {
			b.work()
		}
	}
	m, err := b.judge()
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	return m, err == nil
}

// TestManyWait: more pairs wait than one advance tries, for several accounts. When all accounts get
// room at once, each advance does as much as is documented, and in the end all pairs are settled.
func TestManyWait(t *testing.T) {
	const accounts, pairs = 5, 45
	b := newBank(t)
	operator := func(a settlement.Action) settlement.Command { return settlement.Command{Operator: true, Action: a} }
	b.submit(owners[0], operator(&settlement.CreateAsset{ID: "EUR"}), operator(&settlement.OpenAccount{ID: "vault", Asset: "EUR"}), operator(&settlement.OpenAccount{ID: "shop", Asset: "EUR"}))
	today, one := settlement.DateOf(b.now), settlement.NewDecimal(settlement.AmountOf(1), 0)
	fund := &settlement.Submit{}
	for i := range accounts {
		buyer := fmt.Sprintf("buyer-%d", i)
		b.submit(owners[0], operator(&settlement.OpenAccount{ID: buyer, Asset: "EUR", Flags: settlement.DebitsLimited}))
		for k := range pairs {
			common := fmt.Sprintf("%d-%d", i, k)
			pays := &settlement.Instruct{ID: "pays-" + common, Party: "BUYER", Counterparty: "SHOP", SettlementDate: today, Common: common,
				Priority: uint8(k % 4), Delivers: &settlement.Leg{Account: buyer, Asset: "EUR", Amount: one}}
			paid := *pays
			paid.ID, paid.Party, paid.Counterparty = "paid-"+common, "SHOP", "BUYER"
			paid.Delivers, paid.Receives = nil, &settlement.Leg{Account: "shop", Asset: "EUR", Amount: one}
			b.submit(owners[0], operator(pays), operator(&paid))
		}
		fund.Transfers = append(fund.Transfers, settlement.Transfer{ID: "fund-" + buyer, Debit: "vault", Credit: buyer, Amount: settlement.NewDecimal(settlement.AmountOf(100), 0)})
	}
	for b.work() {
	}
	b.now += 100
	before := b.l.Head().Size
	b.submit(owners[0], operator(fund))
	for b.work() {
		b.now++
	}
	m, err := b.judge()
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Counts().Statuses[settlement.Settled]; got != 2*accounts*pairs {
		t.Errorf("%d instructions are settled, want %d", got, 2*accounts*pairs)
	}
	if advances := b.l.Head().Size - before - 1; advances < accounts*pairs/64 {
		t.Errorf("%d advances settled all", advances)
	}
}

// TestManyAreOver: a search for a match does not pass many instructions that are over. The match is
// found once they are off the lists.
func TestManyAreOver(t *testing.T) {
	for _, many := range []int{8, 9, 12} {
		b := newBank(t)
		operator := func(a settlement.Action) settlement.Command { return settlement.Command{Operator: true, Action: a} }
		b.submit(owners[0], operator(&settlement.CreateAsset{ID: "EUR"}), operator(&settlement.OpenAccount{ID: "vault", Asset: "EUR"}), operator(&settlement.OpenAccount{ID: "shop", Asset: "EUR"}))
		leg := func(account string) *settlement.Leg {
			return &settlement.Leg{Account: account, Asset: "EUR", Amount: settlement.NewDecimal(settlement.AmountOf(1), 0)}
		}
		pays := settlement.Instruct{Party: "BUYER", Counterparty: "SHOP", SettlementDate: settlement.DateOf(b.now), Delivers: leg("vault")}
		for i := range many + 1 {
			one := pays
			one.ID = fmt.Sprintf("pays-%d", i)
			if i < many {
				one.Expires = b.now + 10
			}
			b.submit(owners[0], operator(&one))
		}
		b.now += 20
		paid := settlement.Instruct{ID: "paid", Party: "SHOP", Counterparty: "BUYER", SettlementDate: pays.SettlementDate, Receives: leg("shop")}
		b.submit(owners[0], operator(&paid))
		want := 2
		if many > 8 {
			want = 0
		}
		m, err := b.judge()
		if got := m.Counts().Statuses[settlement.Settled]; err != nil || got != want {
			t.Errorf("behind %d that are over: %d are settled at once, %v, want %d", many, got, err, want)
		}
		for b.work() {
		}
		if m, err = b.judge(); err != nil || m.Counts().Statuses[settlement.Settled] != 2 || m.Counts().Statuses[settlement.Expired] != many {
			t.Errorf("behind %d that are over, after the leader's work: %+v, %v; want 2 settled", many, m.Counts(), err)
		}
	}
}
