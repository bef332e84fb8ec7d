package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

const (
	hour = 3600 * 1_000_000 // µs
	day  = 24 * hour
)

// newDays is a history of a Mapped program over many days.
func newDays(seed uint64) *history {
	h := newMapped(seed)
	h.pace = 2 * hour
	return h
}

// past is what a ledger owes about its past after n entries.
type past struct {
	h    *history
	n    int
	from uint64          // states of this size and larger ones are kept
	ends map[uint64]bool // sizes at the ends of days
}

// newPast is for a ledger that had reached more entries before it lost some of them: what had
// become too old then is gone.
func newPast(h *history, n, reached int) *past {
	p := &past{h: h, n: n, ends: map[uint64]bool{}}
	times := h.model.times[:h.sizes[n-1]]
	p.from = uint64(len(times))
	for size := uint64(1); size < uint64(len(times)); size++ {
		if times[size-1]/day != times[size]/day {
			p.ends[size] = true
		}
		if p.from == uint64(len(times)) && times[size] > h.times[reached-1]-ledger.KeptTime {
			p.from = size
		}
	}
	return p
}

// check reads the state of every size that is kept, and of some that may not be, and compares it
// with the model. It returns how many were gone, and how many ends of days were read.
func (p *past) check(t testing.TB, l *ledger.Ledger, rng *rand.Rand) (gone, days int) {
	t.Helper()
	h := p.h
	for m := range p.n {
		size := h.sizes[m]
		owed := size >= p.from || p.ends[size]
		if m > 0 && size == h.sizes[m-1] || !owed && rng.IntN(10) > 0 || owed && !p.ends[size] && rng.IntN(4) > 0 {
			continue
		}
		s, err := l.StateAt(size)
		got := accounts.Model{}
		if err == nil {
			got, err = readAccounts(s)
		}
		if errors.Is(err, ledger.ErrStateGone) && !owed {
			gone++
			below, above := l.KeptSizes(size)
			for _, kept := range []uint64{below, above} {
				if s, err := l.StateAt(kept); kept > 0 && (err != nil || s.Size() != kept) {
					t.Fatalf("%v: the state at %d is gone, and that at %d, which is said to be kept, is %d, %v", h, size, kept, s.Size(), err)
				}
			}
			nearer := false
			for end := range p.ends {
				nearer = nearer || end > below && end < size || end > size && end < above
			}
			if nearer || below > 0 && below >= size || above <= size {
				t.Fatalf("%v: the state at %d is gone, and %d and %d are said to be the nearest ones", h, size, below, above)
			}
			continue
		}
		if err != nil || s.Size() != size || !maps.Equal(got, h.accounts[m]) {
			t.Fatalf("%v: after %d entries, the state at %d of %d (kept from %d, end of a day: %t): accounts %v at %d, %v; want %v",
				h, p.n, size, h.sizes[p.n-1], p.from, p.ends[size], got, s.Size(), err, h.accounts[m])
		}
		if p.ends[size] {
			days++
		}
		p.checkProof(t, l, size, h.stale[m], rng.Uint64N(14))
		// A size within the next block is rounded down.
		if next, _ := slices.BinarySearch(h.sizes[:p.n], size+1); next < p.n && h.sizes[next] > size+1 {
			s, err := l.StateAt(size + 1)
			if err != nil && !(errors.Is(err, ledger.ErrStateGone) && !owed) || err == nil && s.Size() != size {
				t.Fatalf("%v: the state at %d, within a block: %d, %v", h, size+1, s.Size(), err)
			}
		}
	}
	return gone, days
}

// checkProof verifies the proof of an account as of a size, the end of a block, against the root in
// the leaf. What is proved is what the accounts had when the newest root was published: it may be
// gone when the map has changed since then.
func (p *past) checkProof(t testing.TB, l *ledger.Ledger, size uint64, stale bool, account uint64) {
	t.Helper()
	at, _ := slices.BinarySearch(p.h.model.rooted, size)
	proof, err := l.MapProof(size, accounts.ID(account))
	if at == 0 {
		if !errors.Is(err, ledger.ErrNoMapRoot) {
			t.Fatalf("%v: a proof at %d, before the first root: %v", p.h, size, err)
		}
		return
	}
	index, want := p.h.model.rooted[at-1], p.h.model.published[at-1]
	if stale && index+1 < p.from && !p.ends[index+1] && errors.Is(err, ledger.ErrStateGone) {
		return
	}
	if err != nil {
		t.Fatalf("%v: proof of account %d at %d of %d (kept from %d, end of a day: %t): %v", p.h, account, size, l.Head().Size, p.from, p.ends[size], err)
	}
	leaf := p.h.model.leaves[index]
	key := accountmap.KeyOf(origin, accounts.ID(account))
	record, present, err := proof.Proof.Verify(proof.Root, key)
	balance, found := want[account]
	if err != nil || proof.Index != index || !bytes.Contains(leaf, proof.Root[:]) || proof.Accounts != uint64(len(want)) || proof.Present != found || present != found ||
		found && (record != sha256.Sum256(proof.Record) || !bytes.Equal(proof.Record, accounts.Record(balance))) {
		t.Fatalf("%v: proof of account %d at %d: %+v, %v; want %d, %t below the root of entry %d", p.h, account, size, proof, err, balance, found, index)
	}
	if root, err := l.MapRootAt(size); err != nil || root != proof.MapRoot {
		t.Fatalf("%v: the newest root below %d is %+v, %v; the proof has %+v", p.h, size, root, err, proof.MapRoot)
	}
}

func readAccounts(s ledger.State) (accounts.Model, error) {
	m := accounts.Model{}
	return m, s.Range([]byte{'a'}, []byte{'b'}, func(key, value []byte) bool {
		m[binary.BigEndian.Uint64(key[1:])] = binary.BigEndian.Uint64(value)
		return true
	})
}

// rowsOf counts the rows of a program's state in a store.
func rowsOf(t testing.TB, store ledger.Store, group uint64) int {
	t.Helper()
	prefix := append(binary.BigEndian.AppendUint64(nil, group), 's')
	pairs, err := store.Scan(prefix, prefix, 1<<30, nil)
	if err != nil {
		t.Fatal(err)
	}
	return len(pairs)
}

// TestPastStates: the states of the last 25 hours and of the ends of all days can be read, whatever
// crashes the store has had, and another one is right or gone. Rows are deleted although the ledger
// is opened again and again.
func TestPastStates(t *testing.T) {
	t.Parallel()
	gone, days, crashes, kept, all := 0, 0, 0, 0, 0
	for seed := range uint64(8) {
		h := newDays(3000 + seed)
		h.grow(t, 500, 20)
		r := &replica{t: t, h: h, group: 3, rng: rand.New(rand.NewPCG(seed, 3))}
		store := memstore.New(memstore.Options{MemtableSize: 10 << 10, MaxUnflushed: 1 + int(seed%2)})
		r.open(store)
		reached, power := 0, 0
		for r.next < len(h.entries) {
			r.run(20, 8)
			if r.rng.IntN(3) == 0 {
				store.Flush()
			}
			r.run(20, 8)
			r.advanceMark()
			reached = max(reached, r.next)
			if r.rng.IntN(3) == 0 {
				g, d := newPast(h, r.next, r.next).check(t, r.l, r.rng)
				gone, days = gone+g, days+d
			}
			if power++; power > 20 {
				continue
			}
			crashes++
			if store = store.PowerLoss(func(_, n int) int { return []int{0, n, r.rng.IntN(n + 1)}[r.rng.IntN(3)] }); r.rng.IntN(4) == 0 {
				store = store.ProcessCrash()
			}
			r.open(store)
			if r.next > 0 {
				newPast(h, r.next, reached).check(t, r.l, r.rng)
			}
		}
		r.finish()
		reached = r.next
		newPast(h, r.next, reached).check(t, r.l, r.rng)
		kept += rowsOf(t, store, 3)

		whole := memstore.New(memstore.Options{})
		l, err := ledger.Open(whole, ledger.Config{Group: 1, Origin: origin, Program: h.program(), MovesPerBase: 1})
		if err != nil {
			t.Fatal(err)
		}
		apply(t, h, l, 0, len(h.entries))
		if g, _ := newPast(h, r.next, reached).check(t, l, r.rng); g > 0 {
			t.Fatalf("%v: %d states are gone although no mark was set", h, g)
		}
		all += rowsOf(t, whole, 1)
	}
	t.Logf("%d states were gone, %d ends of days read, %d crashes, %d rows kept of %d", gone, days, crashes, kept, all)
	if gone < 50 || days < 50 || crashes < 50 || kept > all*2/3 {
		t.Errorf("%d states were gone, %d ends of days read, %d crashes, %d rows kept of %d: the test shows little", gone, days, crashes, kept, all)
	}
}

// TestPastStatesInBadger does the same in Badger, with restarts.
func TestPastStatesInBadger(t *testing.T) {
	t.Parallel()
	h := newDays(3100)
	h.grow(t, 400, 20)
	r := &replica{t: t, h: h, group: 3, rng: rand.New(rand.NewPCG(1, 3))}
	o := badgerstore.Options{Dir: t.TempDir(), MemTableSize: 1 << 20, ValueLogSize: 1 << 20, ValueThreshold: 1 << 20}
	gone, days := 0, 0
	for r.next < len(h.entries) {
		store := openBadgerWith(t, o)
		r.open(store)
		r.run(60, 8)
		if err := r.l.Close(); err != nil {
			t.Fatal(err)
		}
		r.mark, _ = r.l.Durable()
		store = openBadgerWith(t, o)
		r.open(store)
		g, d := newPast(h, r.next, r.next).check(t, r.l, r.rng)
		gone, days = gone+g, days+d
		if err := r.l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if gone < 20 || days < 20 {
		t.Errorf("%d states were gone, %d ends of days read: the test shows little", gone, days)
	}
}

// TestWalkAcrossRestarts: rows are deleted although no life of the ledger lasts 25 hours, nor long
// enough to look at all rows; and of one row for every hour, exactly those of 25 hours and of the
// ends of days are readable.
func TestWalkAcrossRestarts(t *testing.T) {
	t.Parallel()
	const cold, hot, days = 300, 10, 20
	p := putter("m/a")
	p.decides["cold"] = func(v ledger.View, _ *ledger.Input) []byte {
		for i := range cold {
			v.Put(fmt.Appendf(nil, "cold %d", i), nil)
		}
		return nil
	}
	p.decides["hot"] = func(v ledger.View, in *ledger.Input) []byte {
		for i := range hot {
			v.Put(fmt.Appendf(nil, "hot %d", i), fmt.Appendf(nil, "at %d", in.Time))
		}
		return nil
	}
	store := memstore.New(memstore.Options{})
	l := openProgram(t, store, p, ledger.Summary{})
	const begin = 19_000 * day
	mustApply(t, l, single(t, l, begin, commands("cold")))
	for n := int64(1); n <= days*24; n++ {
		now := begin + n*hour
		mustApply(t, l, single(t, l, now, commands("hot")))
		head := l.Head()
		mark := ledger.Summary{RaftIndex: head.RaftIndex, RaftTerm: head.RaftTerm, Size: head.Size, Root: head.Root, Time: head.Time}
		l.Marked(mark)
		if n%7 == 0 {
			store = store.ProcessCrash()
			l = openProgram(t, store, p, mark)
		}
		for size := uint64(2); size <= head.Size; size++ {
			at := begin + int64(size-1)*hour // of the newest entry
			s, err := l.StateAt(size)
			var value []byte
			if err == nil {
				value, _, err = s.Get([]byte("hot 3"))
			}
			owed := at >= now-ledger.KeptTime || at%day == 23*hour
			if errors.Is(err, ledger.ErrStateGone) && !owed {
				continue
			}
			if err != nil || string(value) != fmt.Sprint("at ", at) {
				t.Fatalf("hour %d: the state at %d has %q, %v, want that of %d", n, size, value, err, at)
			}
			if !owed && at < now-2*ledger.KeptTime {
				t.Fatalf("hour %d: the state at %d is still kept", n, size)
			}
		}
	}
	const least = cold + hot*(days+26)
	if n := rowsOf(t, store, 1); n < least || n > least*5/4 {
		t.Errorf("%d rows are left, want %d or some more", n, least)
	}
}

// TestStateAtRefuses: sizes beyond the head, and past sizes of a program that is not Mapped.
func TestStateAtRefuses(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]ledger.Program{"mapped": accounts.Mapped{}, "not mapped": accounts.Program{}} {
		l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
		for i := range uint64(3) {
			mustApply(t, l, single(t, l, 1, commands(string(accounts.Open(i, i)))))
		}
		var beyond *ledger.NotFoundError
		if _, err := l.StateAt(4); !errors.As(err, &beyond) {
			t.Errorf("%s: the state beyond the head: %v", name, err)
		}
		for size := range uint64(4) {
			s, err := l.StateAt(size)
			if name == "not mapped" && size < 3 {
				if !errors.Is(err, ledger.ErrStateGone) {
					t.Errorf("%s: the state at %d: %v", name, size, err)
				}
				continue
			}
			got, err2 := readAccounts(s)
			if err != nil || err2 != nil || name == "mapped" && uint64(len(got)) != size {
				t.Errorf("%s: the state at %d has %v, %v, %v", name, size, got, err, err2)
			}
		}
	}
}

// countedScans counts the rows at which scans of a store look.
type countedScans struct {
	ledger.Store
	rows int
}

func (s *countedScans) Scan(key, prefix []byte, limit int, visit func(key []byte) (take bool, next []byte)) ([]ledger.Pair, error) {
	return s.Store.Scan(key, prefix, limit, func(key []byte) (take bool, next []byte) {
		s.rows++
		if visit == nil {
			return true, nil
		}
		return visit(key)
	})
}

// TestNewRowsCostNoWalk: rows under new keys, such as the ids of transfers, replace none. So nothing
// is looked for when they are written.
func TestNewRowsCostNoWalk(t *testing.T) {
	t.Parallel()
	const blocks, perBlock = 20, 200
	p := putter("m/a")
	put := func(from uint64) func(ledger.View, *ledger.Input) []byte {
		return func(v ledger.View, in *ledger.Input) []byte {
			for i := range perBlock {
				v.Put(fmt.Appendf(nil, "row %d of %d", i, min(in.Index, from)), nil)
			}
			return nil
		}
	}
	p.decides["new"], p.decides["again"] = put(1<<63), put(1)
	store := &countedScans{Store: memstore.New(memstore.Options{})}
	l := openProgram(t, store, p, ledger.Summary{})
	now := int64(19_000 * day)
	walked := func(command string) int {
		before := store.rows
		for range blocks {
			now += ledger.KeptTime
			mustApply(t, l, single(t, l, now, commands(command)))
			l.Marked(ledger.Summary{Size: l.Head().Size})
		}
		return store.rows - before
	}
	walked("new")
	h := l.Head()
	l = openProgram(t, store, p, ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}) // at a base
	if n := walked("again"); n < blocks*perBlock {
		t.Errorf("%d rows that replaced others led to a look at %d: the test shows nothing", blocks*perBlock, n)
	}
	if n := walked("new"); n > blocks*perBlock/10 {
		t.Errorf("%d new rows led to a look at %d", blocks*perBlock, n)
	}
}
