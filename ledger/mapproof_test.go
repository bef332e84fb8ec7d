package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// scannedStore counts the scans of a store.
type scannedStore struct {
	ledger.Store
	scans *int
}

func (s scannedStore) Scan(key, prefix []byte, limit int, visit func([]byte) (bool, []byte)) ([]ledger.Pair, error) {
	*s.scans++
	return s.Store.Scan(key, prefix, limit, visit)
}

// putRows applies blocks of one command and a record of the map root each on a ledger of putter. The
// record is not appended when the command puts no row of the map.
func putRows(t testing.TB, l *ledger.Ledger, rows ...string) {
	t.Helper()
	for _, r := range rows {
		mustApply(t, l, rooted(t, l, commands(r)))
	}
}

// wantProof verifies the proof of an account whose record putter has put with the entry put, or
// that there is no such account.
func wantProof(t testing.TB, what string, p *ledger.AccountProof, err error, account string, index uint64, put int) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	_, present, err := p.Proof.Verify(p.Root, accountmap.KeyOf(origin, []byte(account)))
	var want []byte
	if put >= 0 {
		want = fmt.Appendf(nil, "m/%s of %d", account, put)
	}
	if err != nil || p.Index != index || present != (put >= 0) || p.Present != present || !bytes.Equal(p.Record, want) {
		t.Errorf("%s: proof of %s below entry %d with record %q, %t, %v; want entry %d and %q", what, account, p.Index, p.Record, present, err, index, want)
	}
}

// TestMapProofs: the proof as of a size is below the newest root before it, whether that is the
// newest of all, the root of an entry 0, or one whose block goes on behind the size.
func TestMapProofs(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(store *memstore.Store, p ledger.Program, start ledger.Summary) (*ledger.Ledger, error){
		"as it is": nil,
		"opened again": func(store *memstore.Store, p ledger.Program, start ledger.Summary) (*ledger.Ledger, error) {
			return ledger.Open(store.ProcessCrash(), ledger.Config{Group: 1, Origin: origin, Program: p, Start: start})
		},
		"for inspection": func(store *memstore.Store, p ledger.Program, start ledger.Summary) (*ledger.Ledger, error) {
			return ledger.Open(store.ProcessCrash(), ledger.Config{Group: 1, Origin: origin, Program: p, Start: start, ReadOnly: true})
		},
	} {
		store, p := memstore.New(memstore.Options{}), putter("m/a", "m/b")
		l := openProgram(t, store, p, ledger.Summary{})
		putRows(t, l, "m/a", "other", "m/b") // entries 0 and 1; 2; 3 and 4
		payload := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload}, {Kind: ledger.KindPayload}}}
		mustApply(t, l, rooted(t, l, commands("m/a", "other"), payload)) // 5 to 9
		putRows(t, l, "other", "m/a")                                    // 10; 11 and 12
		if open != nil {
			var err error
			if l, err = open(store, p, ledger.WriteBase(l)); err != nil {
				t.Fatal(err)
			}
		}
		proof := func(size uint64, account string, index uint64, put int) {
			t.Helper()
			p, err := l.MapProof(size, []byte(account))
			wantProof(t, fmt.Sprintf("%s, size %d", name, size), p, err, account, index, put)
		}
		if _, err := l.MapProof(0, []byte("a")); !errors.Is(err, ledger.ErrNoMapRoot) {
			t.Errorf("%s: a proof as of nothing: %v", name, err)
		}
		if _, err := l.MapProof(1, []byte("a")); !errors.Is(err, ledger.ErrNoMapRoot) {
			t.Errorf("%s: a proof below the first root: %v", name, err)
		}
		for size := uint64(2); size <= 4; size++ {
			proof(size, "a", 1, 0)
			proof(size, "b", 1, -1)
		}
		for size := uint64(5); size <= 9; size++ { // those behind 5 lie within a block
			proof(size, "a", 4, 0)
			proof(size, "b", 4, 3)
			proof(size, "c", 4, -1)
		}
		for size := uint64(10); size <= 12; size++ {
			proof(size, "a", 9, 5)
		}
		proof(13, "a", 12, 11)
		newest, err := l.NewestMapProof([]byte("a"))
		wantProof(t, name+", newest", newest, err, "a", 12, 11)
		var beyond *ledger.NotFoundError
		if _, err := l.MapProof(14, []byte("a")); !errors.As(err, &beyond) {
			t.Errorf("%s: a proof beyond the head: %v", name, err)
		}
	}
	l := openProgram(t, memstore.New(memstore.Options{}), accounts.Program{}, ledger.Summary{})
	if _, err := l.MapProof(0, nil); !errors.Is(err, ledger.ErrNotMapped) {
		t.Errorf("a proof of a program without a map: %v", err)
	}
	if _, err := l.NewestMapProof(nil); !errors.Is(err, ledger.ErrNotMapped) {
		t.Errorf("the newest proof of a program without a map: %v", err)
	}
}

// TestProofWithoutARoot: a block that publishes no root is none to prove against. The root before it
// proves the records of its own time.
func TestProofWithoutARoot(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		store, program := memstore.New(memstore.Options{}), putter("m/a", "m/b")
		l := openProgram(t, store, program, ledger.Summary{})
		mustApply(t, l, single(t, l, 1, commands("m/a"))) // 0
		if _, err := l.NewestMapProof([]byte("a")); !errors.Is(err, ledger.ErrNoMapRoot) {
			t.Errorf("a proof before the first root: %v", err)
		}
		putRows(t, l, "m/a") // 1, 2
		for range 2 {
			mustApply(t, l, single(t, l, 1, commands("m/a"))) // 3, 4
		}
		if restart {
			start := ledger.WriteBase(l)
			l = openProgram(t, store.ProcessCrash(), program, start)
		}
		for size := uint64(3); size <= 5; size++ {
			proof, err := l.MapProof(size, []byte("a"))
			wantProof(t, fmt.Sprint("size ", size), proof, err, "a", 2, 1)
		}
		newest, err := l.NewestMapProof([]byte("a"))
		wantProof(t, "newest", newest, err, "a", 2, 1)
		putRows(t, l, "m/b") // 5, 6
		newest, err = l.NewestMapProof([]byte("a"))
		wantProof(t, "newest after the next block", newest, err, "a", 6, 4)
		if newest != nil && newest.Previous != 2 {
			t.Errorf("the record before entry 6 is %d, want 2", newest.Previous)
		}
	}
}

// TestTwoMapsAreKept: a map of the past is built once as long as at most two are in use; the newest
// map is never built.
func TestTwoMapsAreKept(t *testing.T) {
	t.Parallel()
	scans := 0
	store := scannedStore{memstore.New(memstore.Options{}), &scans}
	l := openProgram(t, store, putter("m/a"), ledger.Summary{})
	putRows(t, l, "m/a")
	ledger.WriteBase(l)
	putRows(t, l, "m/a", "m/a", "m/a", "m/a")
	l = openProgram(t, store, putter("m/a"), ledger.WriteBase(l)) // without rows of the past in memory
	for i, c := range []struct {
		size  uint64
		built bool
	}{{10, false}, {2, true}, {4, true}, {2, false}, {4, false}, {6, true}, {4, false}, {2, true}, {6, true}, {10, false}} {
		before := scans
		p, err := l.MapProof(c.size, []byte("a"))
		wantProof(t, fmt.Sprintf("step %d, size %d", i, c.size), p, err, "a", c.size-1, int(c.size-2))
		if built := scans > before; built != c.built {
			t.Errorf("step %d, size %d: built: %t, want %t", i, c.size, built, c.built)
		}
	}
}

// haltingStore stops a scan until it is told to go on.
type haltingStore struct {
	ledger.Store
	armed        *atomic.Bool
	halted, goOn chan struct{}
}

func (s haltingStore) Scan(key, prefix []byte, limit int, visit func([]byte) (bool, []byte)) ([]ledger.Pair, error) {
	if s.armed.CompareAndSwap(true, false) {
		s.halted <- struct{}{}
		<-s.goOn
	}
	return s.Store.Scan(key, prefix, limit, visit)
}

// TestOneMapIsBuiltAtATime: whoever needs another map of the past meanwhile is told when to ask
// again. What is in memory is read all the same.
func TestOneMapIsBuiltAtATime(t *testing.T) {
	t.Parallel()
	store := haltingStore{memstore.New(memstore.Options{}), new(atomic.Bool), make(chan struct{}), make(chan struct{})}
	l := openProgram(t, store, putter("m/a"), ledger.Summary{})
	putRows(t, l, "m/a")
	ledger.WriteBase(l)
	putRows(t, l, "m/a", "m/a")
	l = openProgram(t, store, putter("m/a"), ledger.WriteBase(l)) // without rows of the past in memory
	if p, err := l.MapProof(2, []byte("a")); err != nil || p.Index != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	store.armed.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		p, err := l.MapProof(4, []byte("a"))
		wantProof(t, "the map that is built", p, err, "a", 3, 2)
	})
	<-store.halted
	for range 2 {
		var busy *ledger.BusyError
		if _, err := l.MapProof(4, []byte("a")); !errors.As(err, &busy) || busy.RetryAfter <= 0 {
			t.Errorf("while a map is built: %v, want a *BusyError", err)
		}
	}
	p, err := l.MapProof(2, []byte("a"))
	wantProof(t, "a map that is kept", p, err, "a", 1, 0)
	p, err = l.NewestMapProof([]byte("a"))
	wantProof(t, "the newest map", p, err, "a", 5, 4)
	store.goOn <- struct{}{}
	wg.Wait()
	p, err = l.MapProof(4, []byte("a"))
	wantProof(t, "once it is built", p, err, "a", 3, 2)
}

// TestDamagedRowsProveNothing: a row that differs from what the map commits to is damage.
func TestDamagedRowsProveNothing(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	l := openProgram(t, store, putter("m/a", "m/b"), ledger.Summary{})
	putRows(t, l, "m/a")
	ledger.WriteBase(l)
	putRows(t, l, "m/b", "m/b")
	l = openProgram(t, store, putter("m/a", "m/b"), ledger.WriteBase(l)) // without rows of the past in memory
	key := binary.BigEndian.AppendUint64(nil, 1)
	key = append(append(key, 's'), "m/a\x00\x01"...)
	key = binary.BigEndian.AppendUint64(key, ^uint64(0))
	if err := store.Commit(100, []ledger.Pair{{Key: key, Value: []byte("m/a of 7")}}); err != nil {
		t.Fatal(err)
	}
	var corrupt *ledger.CorruptError
	if p, err := l.MapProof(2, []byte("a")); !errors.As(err, &corrupt) {
		t.Errorf("proof %+v, %v, want a *CorruptError", p, err)
	}
}

// TestProofsWhileApplying: proofs of the newest and of past roots are right while blocks are
// applied.
func TestProofsWhileApplying(t *testing.T) {
	t.Parallel()
	l := openProgram(t, memstore.New(memstore.Options{}), accounts.Mapped{}, ledger.Summary{})
	const n, balance = 20, 1000
	var opens []string
	for i := range uint64(n) {
		opens = append(opens, string(accounts.Open(i, balance)))
	}
	mustApply(t, l, rooted(t, l, commands(opens...)))
	const readers, proofs = 3, 50
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			for proof := range proofs {
				account := uint64(proof % n)
				var p *ledger.AccountProof
				var err error
				if size := l.Head().Size; r == 0 {
					p, err = l.NewestMapProof(accounts.ID(account))
				} else {
					p, err = l.MapProof(max(n+1, size-size%7*uint64(r-1)), accounts.ID(account))
				}
				var busy *ledger.BusyError
				if errors.As(err, &busy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				record, present, err := p.Proof.Verify(p.Root, accountmap.KeyOf(origin, accounts.ID(account)))
				if err != nil || !present || record != sha256.Sum256(p.Record) {
					t.Errorf("proof of account %d below entry %d: %t, %v", account, p.Index, present, err)
					return
				}
				time.Sleep(time.Microsecond) // on a busy machine blocks are to come between
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	for i := uint64(0); ; i++ {
		select {
		case <-done:
			if i < 10 {
				t.Errorf("%d blocks were applied meanwhile: the test shows little", i)
			}
			return
		default:
		}
		mustApply(t, l, rooted(t, l, commands(string(accounts.Transfer(i%n, (i+1)%n, 1)))))
		if i%10 == 0 {
			h := l.Head()
			l.Marked(ledger.Summary{RaftIndex: h.RaftIndex, Size: h.Size})
		}
	}
}

// TestSizeAt: the size at every time, between blocks, before the first and after the last.
func TestSizeAt(t *testing.T) {
	t.Parallel()
	h := newHistory(31)
	h.grow(t, 120, 5)
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	apply(t, h, l, 0, len(h.entries))
	want := map[int64]uint64{h.model.times[0] - 1: 0, h.model.time + 1: h.model.size()}
	for size, time := range h.model.times {
		want[time] = uint64(size) + 1 // the last one of this time counts
		if _, ok := want[time-1]; !ok {
			want[time-1] = uint64(size)
		}
	}
	for time, size := range maps.All(want) {
		if got, err := l.SizeAt(time); err != nil || got != size {
			t.Errorf("at %d: %d, %v, want %d", time, got, err, size)
		}
	}
}
