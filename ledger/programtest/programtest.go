// Package programtest is the conformance test of ledger.Program implementations. Any program must
// pass it:
//
//   - Replicas that cut the entries into other blocks, apply them in other groups, restart, and
//     lose power anywhere have the same results, leaves, roots and rows.
//   - A program knows nothing but the entry and its View: what it was asked before, for this ledger
//     or another one, does not show.
//   - It changes nothing that it was given, and keeps no View.
//   - No outcome is longer than MaxOutcome says, which does not depend on the state.
//   - No bytes make it panic, stop a replica or pass a limit of its writes.
//   - The detail of a ledger.Detailed proves itself, and each replica has the same.
//   - The work of a ledger.Timed does what that interface demands.
//
// The smallest use:
//
//	func TestConformance(t *testing.T) {
//		programtest.Run(t, programtest.Options{
//			New:     func() ledger.Program { return settlement.New() },
//			Command: func(rng *rand.Rand) []byte { return randomTransfer(rng) },
//		})
//	}
package programtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

// Origin is that of the ledgers on which programs are tested.
const Origin = "example.org/program"

// Options of Run.
type Options struct {
	// New returns the program.
	New func() ledger.Program
	// Command returns a random command, of all kinds and so that they meet: few accounts, small
	// amounts. It depends on nothing but rng.
	Command func(rng *rand.Rand) []byte
	// Parameters are those of the genesis that every history begins with, in ascending order.
	Parameters []ledger.Parameter
	// Seeds is how many histories are tested, 0 for 4; Batches how many batches each has, 0 for
	// 300.
	Seeds, Batches int
}

// Run tests what ledger.Program demands.
func Run(t *testing.T, o Options) {
	if o.Seeds == 0 {
		o.Seeds = 4
	}
	if o.Batches == 0 {
		o.Batches = 300
	}
	for seed := range uint64(o.Seeds) {
		h := newHistory(t, o, seed)
		t.Run(fmt.Sprintf("Determinism/seed=%d", seed), func(t *testing.T) { h.determinism(t, o) })
		t.Run(fmt.Sprintf("Crashes/seed=%d", seed), func(t *testing.T) { h.crashes(t, o) })
	}
	t.Run("TwoLedgers", func(t *testing.T) { twoLedgers(t, o) })
}

// history is a random sequence of batches with the time of each, and what came of them.
type history struct {
	seed    uint64
	batches []ledger.Batch
	times   []int64
	want    *state
}

// state is everything that replicas have in common.
type state struct {
	results []string
	root    merkle.Hash
	size    uint64
	rows    string
	details string // of a ledger.Detailed
	work    string // of a ledger.Timed
}

func newHistory(t testing.TB, o Options, seed uint64) *history {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 20))
	h := &history{seed: seed}
	time := int64(1_700_000_000_000_000)
	h.batches, h.times = append(h.batches, genesis(o)), append(h.times, time)
	w := newWorkTest(t, o, rng, h)
	for range o.Batches {
		b := ledger.Batch{Principal: fmt.Sprintf("spiffe://example.org/svc/%c", 'a'+rng.IntN(3))}
		for range 1 + rng.IntN(5) {
			e := ledger.NewEntry{Kind: ledger.KindCommand, Body: o.Command(rng)}
			switch rng.IntN(40) {
			case 0:
				e.Body = nonsense(rng, nil)
			case 1:
				e.Body = nonsense(rng, e.Body)
			case 2:
				e.Kind = ledger.KindPayload
			case 3:
				e.Kind = ledger.KindRecord
			}
			if rng.IntN(3) == 0 {
				e.Key = fmt.Appendf(nil, "key %d", rng.IntN(200))
			}
			b.Entries = append(b.Entries, e)
		}
		if rng.IntN(20) == 0 && len(h.batches) > 1 {
			b = h.batches[1+rng.IntN(len(h.batches)-1)] // a retry
		}
		if time += rng.Int64N(3); rng.IntN(10) == 0 {
			time += rng.Int64N(1e12)
		}
		h.batches, h.times = append(h.batches, b), append(h.times, time)
		if w != nil {
			time = w.work()
		}
	}
	return h
}

// genesis returns the batch that begins a ledger of the program.
func genesis(o Options) ledger.Batch {
	p := o.New()
	g := ledger.Genesis{
		FeatureLevel: ledger.FeatureLevel, Origin: Origin, Program: p.Name(), ProgramVersion: p.Version(), Parameters: o.Parameters,
		LogKeys: []string{"log key"}, Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: "cosigner key"}}, SealQuorum: 1,
	}
	body, err := g.Marshal()
	if err != nil {
		panic(err)
	}
	return ledger.Batch{Principal: "creator", Entries: []ledger.NewEntry{{Kind: ledger.KindRecord, Body: body}}}
}

// nonsense returns random bytes, or a command with a few bytes changed, cut off or added.
func nonsense(rng *rand.Rand, command []byte) []byte {
	b := bytes.Clone(command)
	if len(b) == 0 || rng.IntN(3) == 0 {
		for range rng.IntN(40) {
			b = append(b, byte(rng.Uint32()))
		}
	}
	for range 1 + rng.IntN(3) {
		if len(b) > 0 {
			b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		}
	}
	return b[:len(b)-min(len(b), max(0, rng.IntN(8)-4))]
}

// blocks cuts the batches from first on into blocks and groups of blocks. Batches of one block have
// one time. Cuts, and nothing else, are random.
func (h *history) blocks(t testing.TB, l *ledger.Ledger, first int, rng *rand.Rand) (group []ledger.Committed, sizes []int) {
	t.Helper()
	raft := l.Head().RaftIndex
	for range 1 + rng.IntN(6) {
		n := first
		for n < len(h.batches) && h.times[n] == h.times[first] && (n == first || rng.IntN(3) > 0) {
			n++
		}
		if n == first {
			break
		}
		block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, h.times[first], h.batches[first:n])
		if err != nil {
			t.Fatal(err)
		}
		raft++
		group, sizes = append(group, ledger.Committed{RaftIndex: raft, RaftTerm: 1, Block: block}), append(sizes, n-first)
		first = n
	}
	return group, sizes
}

// open opens a ledger whose program is watched.
func (w *watch) open(store ledger.Store, p ledger.Program, start ledger.Summary) *ledger.Ledger {
	w.t.Helper()
	l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: Origin, Program: w.program(p), Start: start, MovesPerBase: 1 + int(start.Size%50)})
	if err != nil {
		w.t.Fatalf("open a replica: %v", err)
	}
	return l
}

// apply applies what comes next and returns the results as texts, one for each batch.
func apply(t testing.TB, l *ledger.Ledger, group []ledger.Committed) (results []string) {
	t.Helper()
	all, err := l.ApplyMany(group)
	if err != nil {
		t.Fatalf("a replica stops: %v", err)
	}
	for _, block := range all {
		for _, r := range block {
			results = append(results, fmt.Sprint(r.Indexes, r.Duplicate, r.Size, r.Err))
		}
	}
	return results
}

// finish returns the state of a replica, and complains of what no program may do.
func finish(t testing.TB, l *ledger.Ledger, results []string) *state {
	t.Helper()
	for _, reason := range []ledger.RefuseReason{ledger.RefusedOutcome, ledger.RefusedWrites, ledger.RefusedPanic} {
		if n := l.Refused(reason); n > 0 {
			t.Errorf("%d batches were refused because of a bug of the program: %s\n%s", n, reason, l.ProgramPanic())
		}
	}
	var rows bytes.Buffer
	if err := l.State().Range(nil, nil, func(k, v []byte) bool {
		fmt.Fprintf(&rows, "%x = %x\n", k, v)
		return true
	}); err != nil {
		t.Fatalf("read the rows: %v", err)
	}
	head := l.Head()
	var details bytes.Buffer
	for i := range head.Size {
		_, detail, err := l.Detail(i)
		if err != nil {
			t.Errorf("read the detail of entry %d: %v", i, err)
		}
		fmt.Fprintf(&details, "%x\n", detail)
	}
	work, due, err := l.Work()
	if err != nil {
		t.Errorf("ask for work: %v", err)
	}
	return &state{results: results, root: head.Root, size: head.Size, rows: rows.String(), details: details.String(), work: fmt.Sprintf("%d %x %t", work.At, work.Command, due)}
}

// compare compares two replicas.
func (s *state) compare(t testing.TB, want *state) {
	t.Helper()
	for i := range want.results {
		if s.results != nil && s.results[i] != want.results[i] {
			t.Fatalf("batch %d: %s on one replica, %s on another", i, s.results[i], want.results[i])
		}
	}
	if s.root != want.root || s.size != want.size {
		t.Fatalf("two replicas have decided differently: size %d with root %s, and %d with %s", s.size, s.root, want.size, want.root)
	}
	if s.rows != want.rows {
		t.Fatalf("two replicas have other rows:\n%s\n%s", s.rows, want.rows)
	}
	if s.details != want.details {
		t.Fatalf("two replicas have other details:\n%s\n%s", s.details, want.details)
	}
	if s.work != want.work {
		t.Fatalf("two replicas have other work: %s and %s", s.work, want.work)
	}
}

// determinism runs replicas side by side that differ in their blocks, their groups and in how many
// commands the program has seen.
func (h *history) determinism(t testing.TB, o Options) {
	shared := o.New()
	for replica := range 5 {
		rng := rand.New(rand.NewPCG(h.seed, 100+uint64(replica)))
		p := shared
		if replica%2 == 1 {
			p = o.New()
		}
		l := newWatch(t).open(memstore.New(memstore.Options{}), p, ledger.Summary{})
		var results []string
		for n := 0; n < len(h.batches); {
			group, sizes := h.blocks(t, l, n, rng)
			if replica == 0 {
				group, sizes = group[:1], sizes[:1]
			}
			results = append(results, apply(t, l, group)...)
			for _, k := range sizes {
				n += k
			}
		}
		got := finish(t, l, results)
		if h.want == nil {
			h.want = got
		}
		got.compare(t, h.want)
		if got.size <= 1 {
			t.Error("no entry was appended: the commands show nothing")
		}
	}
}

// crashes runs a replica that loses power again and again, with a Raft log that forgets nothing.
func (h *history) crashes(t testing.TB, o Options) {
	if h.want == nil {
		t.Skip("the replicas have no common state")
	}
	rng := rand.New(rand.NewPCG(h.seed, 300))
	store := memstore.New(memstore.Options{MemtableSize: 20 << 10, MaxUnflushed: 1 + int(h.seed%3)})
	var mark ledger.Summary
	var log []ledger.Committed // every block ever made, by Raft index
	w := newWatch(t)
	l := w.open(store, o.New(), mark)
	for made, crashes := 0, 0; ; {
		at := int(l.Head().RaftIndex)
		if at == len(log) {
			if made == len(h.batches) {
				break
			}
			group, sizes := h.blocks(t, l, made, rng)
			log = append(log, group...)
			for _, k := range sizes {
				made += k
			}
		}
		apply(t, l, log[at:min(len(log), at+1+rng.IntN(5))])
		if s, ok := l.Durable(); ok && rng.IntN(3) == 0 {
			mark = s
			l.Marked(s)
		}
		if crashes < 40 && rng.IntN(4) == 0 {
			crashes++
			store = store.PowerLoss(func(_, n int) int {
				switch rng.IntN(3) {
				case 0:
					return 0
				case 1:
					return n
				}
				return rng.IntN(n + 1)
			})
			l = w.open(store, o.New(), mark)
		}
	}
	finish(t, l, nil).compare(t, h.want)
}

// twoLedgers has one program decide two ledgers in turns.
func twoLedgers(t testing.TB, o Options) {
	shared := o.New()
	var histories [2]*history
	var want [2]*state
	run := func(p ledger.Program, which ...int) (got [2]*state) {
		var ledgers [2]*ledger.Ledger
		var next [2]int
		var results [2][]string
		for _, i := range which {
			ledgers[i] = newWatch(t).open(memstore.New(memstore.Options{}), p, ledger.Summary{})
		}
		for more := true; more; {
			more = false
			for _, i := range which {
				h, n := histories[i], next[i]
				if n == len(h.batches) {
					continue
				}
				group, sizes := h.blocks(t, ledgers[i], n, rand.New(rand.NewPCG(9, uint64(n))))
				results[i] = append(results[i], apply(t, ledgers[i], group)...)
				for _, k := range sizes {
					next[i] += k
				}
				more = true
			}
		}
		for _, i := range which {
			got[i] = finish(t, ledgers[i], results[i])
		}
		return got
	}
	for i := range histories {
		histories[i] = newHistory(t, o, 1000+uint64(i))
		want[i] = run(o.New(), i)[i]
	}
	for i, got := range run(shared, 0, 1) {
		got.compare(t, want[i])
	}
}

// Fuzz feeds a command to a replica that a random history has filled. For a fuzz target:
//
//	f.Fuzz(func(t *testing.T, command []byte) { programtest.Fuzz(t, options, command) })
func Fuzz(t testing.TB, o Options, command []byte) {
	t.Helper()
	if len(command) > ledger.MaxBody("p", 0) {
		return
	}
	h := newHistory(t, Options{New: o.New, Command: o.Command, Parameters: o.Parameters, Batches: 20}, 1)
	l := newWatch(t).open(memstore.New(memstore.Options{}), o.New(), ledger.Summary{})
	for n := 0; n < len(h.batches); {
		group, sizes := h.blocks(t, l, n, rand.New(rand.NewPCG(1, uint64(n))))
		apply(t, l, group)
		for _, k := range sizes {
			n += k
		}
	}
	b := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: command}}}
	block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, l.Head().Time, []ledger.Batch{b})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, l, []ledger.Committed{{RaftIndex: l.Head().RaftIndex + 1, RaftTerm: 1, Block: block}})
	finish(t, l, nil)
}
