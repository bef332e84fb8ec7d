package settlement_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/settlement"
)

// BenchmarkApply applies blocks of transfers between random accounts to a store on disk, as one
// replica does: ns/op is per transfer, and so is cpu-ns/op, processor time of the whole process: a
// busy machine hardly shows in it. last/first is the rate of the last fifth of the transfers divided
// by that of the first, by processor time; heap-MB what the replica holds at the end, the store's
// buffers included, and open-ms how long it takes to open the ledger again.
func BenchmarkApply(b *testing.B) {
	for _, accounts := range []int{10_000, 1_000_000} {
		for _, pack := range []int{1, 50} {
			b.Run(fmt.Sprintf("accounts=%d/pack=%d", accounts, pack), func(b *testing.B) { benchmarkApply(b, accounts, pack) })
		}
	}
}

const benchBlock = 4000 // transfers

func benchmarkApply(b *testing.B, accounts, pack int) {
	dir := b.TempDir()
	store, err := badgerstore.Open(badgerstore.Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { store.Close() }()
	open := func(start ledger.Summary) *ledger.Ledger {
		l, err := ledger.Open(store.Shared(), ledger.Config{Group: 1, Origin: "example.org/bench", Program: settlement.Program{}, Start: start})
		if err != nil {
			b.Fatal(err)
		}
		return l
	}
	l := open(ledger.Summary{})
	raft, now := uint64(0), int64(1_700_000_000_000_000)
	apply := func(batches ...ledger.Batch) {
		raft++
		now++
		block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, now, ledger.WithMapRoot(settlement.Program{}, "spiffe://example.org/node", batches))
		if err != nil {
			b.Fatal(err)
		}
		results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: raft, RaftTerm: 1, Block: block}})
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range results[0][:len(batches)] {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	g := ledger.Genesis{
		FeatureLevel: ledger.FeatureLevel, Origin: "example.org/bench", Program: settlement.ProgramName, ProgramVersion: 1,
		LogKeys: []string{"log key"}, Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: "cosigner key"}}, SealQuorum: 1,
	}
	body, err := g.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	apply(ledger.Batch{Principal: "creator", Entries: []ledger.NewEntry{{Kind: ledger.KindRecord, Body: body}}})
	command := func(a settlement.Action) ledger.NewEntry {
		body, err := (&settlement.Command{Operator: true, Action: a}).Marshal()
		if err != nil {
			b.Fatal(err)
		}
		return ledger.NewEntry{Kind: ledger.KindCommand, Body: body}
	}
	batch := ledger.Batch{Principal: "spiffe://example.org/svc/bench", Entries: []ledger.NewEntry{command(&settlement.CreateAsset{ID: "USD", Scale: 2})}}
	for n := range accounts {
		batch.Entries = append(batch.Entries, command(&settlement.OpenAccount{
			ID: benchAccount(n), Asset: "USD", Flags: settlement.DebitsLimited, Limit: settlement.NewDecimal(settlement.AmountOf(1e15), 0),
		}))
		if len(batch.Entries) == benchBlock || n+1 == accounts {
			apply(batch)
			batch.Entries = batch.Entries[:0]
		}
	}
	mark := func() {
		l.Durable()
		l.Marked(ledger.Summary{Size: l.Head().Size}) // no power failure is to come
	}
	// The ledger is older than ledger.KeptTime, so it looks for rows that may go.
	for range 3 {
		mark()
		mark() // the ledger is quiet, so the accounts become a base
		now += 2 * 60 * 1_000_000
		apply(ledger.Batch{Principal: batch.Principal, Entries: []ledger.NewEntry{command(&settlement.CreateAsset{ID: "USD", Scale: 2})}})
	}
	now += ledger.KeptTime
	rng := rand.New(rand.NewPCG(1, 2))
	transfers := func(n int) ledger.Batch {
		batch.Entries = batch.Entries[:0]
		for n > 0 {
			submit := &settlement.Submit{Transfers: make([]settlement.Transfer, min(n, pack))}
			for i := range submit.Transfers {
				submit.Transfers[i] = settlement.Transfer{
					ID: fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()), Debit: benchAccount(rng.IntN(accounts)), Credit: benchAccount(rng.IntN(accounts)),
					Amount: settlement.NewDecimal(settlement.AmountOf(1+rng.Uint64N(1e6)), 2),
				}
			}
			n -= len(submit.Transfers)
			batch.Entries = append(batch.Entries, command(submit))
		}
		return batch
	}
	b.ReportAllocs()
	b.ResetTimer()
	var fifth [5]time.Duration // processor time that each took
	for done := 0; done < b.N; {
		n := min(benchBlock, b.N-done)
		b.StopTimer()
		next := transfers(n)
		before := processorTime(b)
		b.StartTimer()
		apply(next)
		fifth[done*5/b.N] += processorTime(b) - before
		done += n
		if raft%8 == 0 {
			mark()
		}
	}
	b.StopTimer()
	total := time.Duration(0)
	for _, t := range fifth {
		total += t
	}
	b.ReportMetric(float64(total)/float64(b.N), "cpu-ns/op")
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	b.ReportMetric(float64(memory.HeapAlloc)/1e6, "heap-MB")
	if fifth[4] > 0 {
		b.ReportMetric(float64(fifth[0])/float64(fifth[4]), "last/first")
	}
	h := l.Head()
	if err := errors.Join(l.Close(), store.Close()); err != nil {
		b.Fatal(err)
	}
	if store, err = badgerstore.Open(badgerstore.Options{Dir: dir}); err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	l = open(ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time})
	b.ReportMetric(float64(time.Since(begin).Milliseconds()), "open-ms")
	if l.Head() != h {
		b.Fatalf("opened at %+v, want %+v", l.Head(), h)
	}
}

// processorTime returns the processor time that the process has taken.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchAccount(n int) string { return fmt.Sprintf("account-%07d", n) }
