package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// checkTruth reads everything and wants the model's data or an error, and counts the errors.
func checkTruth(t testing.TB, what string, h *history, l *ledger.Ledger) (refused int) {
	t.Helper()
	check := func(err error) bool {
		if err == nil {
			return true
		}
		refused++
		var corrupt *ledger.CorruptError
		if !errors.As(err, &corrupt) {
			t.Fatalf("%s: got error %v, want a *CorruptError", what, err)
		}
		return false
	}
	size := l.Head().Size
	for i := range size {
		leaf, err := l.Leaf(i)
		if check(err) && !bytes.Equal(leaf, h.model.leaves[i]) {
			t.Fatalf("%s: wrong leaf %d", what, i)
		}
	}
	for n := uint64(1); n <= size; n += 7 {
		root, err := l.RootAt(n)
		if check(err) && root != h.model.roots[n] {
			t.Fatalf("%s: wrong root at %d", what, n)
		}
	}
	if s := l.Sealed(); s != nil && (s.Root != h.model.roots[s.Size] || string(s.Note) != "note") {
		t.Fatalf("%s: wrong sealed checkpoint %+v", what, s)
	}
	return refused
}

// TestBadgerCorruption flips bits, zeroes sectors and truncates in every file of a cleanly closed
// store. Opening and reading afterwards gives the right data or refuses; applying more gives the
// right results or refuses.
func TestBadgerCorruption(t *testing.T) {
	t.Parallel()
	h := newHistory(42)
	h.grow(t, 150, 2000)
	dir := t.TempDir()
	l := open(t, openBadger(t, dir, 1<<20), ledger.Summary{})
	const most = 140
	for n := range most {
		apply(t, h, l, n, n+1)
	}
	head := l.Head()
	if err := l.SetSealed(&ledger.Sealed{Size: head.Size, Root: head.Root, Note: []byte("note")}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mark, _ := l.Durable()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(42, 42))
	opened, refused := 0, 0
	for _, e := range entries {
		trials := 3
		if filepath.Ext(e.Name()) == ".sst" {
			trials = 8
		}
		for trial := range trials {
			damaged := copyDir(t, dir)
			what := damage(t, filepath.Join(damaged, e.Name()), trial, rng)
			store, err := badgerstore.Open(badgerstore.Options{Dir: damaged, MemTableSize: 1 << 20})
			if err != nil {
				refused++
				os.RemoveAll(damaged)
				continue
			}
			l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Start: mark})
			if err != nil {
				refused++
			} else {
				opened++
				refused += checkTruth(t, what, h, l)
				// A clean close made everything durable, so a duplicate must still be known.
				for n := most; n < len(h.entries); n++ {
					results, err := applyOne(l, h.entries[n].RaftIndex, h.entries[n].RaftTerm, h.entries[n].Block)
					if err != nil {
						refused++
						break
					}
					h.checkResults(t, n, [][]ledger.Result{results})
				}
			}
			if err := store.Close(); err != nil {
				t.Logf("%s: close: %v", what, err)
			}
			os.RemoveAll(damaged)
		}
	}
	if opened == 0 || refused == 0 {
		t.Errorf("%d stores opened, %d refusals: the test shows nothing", opened, refused)
	}
	t.Logf("%d stores opened, %d refusals", opened, refused)
}

func copyDir(t testing.TB, from string) string {
	t.Helper()
	to, err := os.MkdirTemp(t.TempDir(), "")
	if err == nil {
		err = os.CopyFS(to, os.DirFS(from))
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// damage changes a file in one of several ways and says how.
func damage(t testing.TB, name string, trial int, rng *rand.Rand) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	what := fmt.Sprintf("%s (%d bytes), untouched", filepath.Base(name), len(b))
	if len(b) > 0 {
		at := rng.IntN(len(b))
		switch {
		case trial%4 == 1: // near the end, where lengths and checksums are
			at = len(b) - 1 - rng.IntN(min(len(b), 40))
			fallthrough
		case trial%4 < 2:
			bit := byte(1) << rng.IntN(8)
			b[at] ^= bit
			what = fmt.Sprintf("%s (%d bytes), flipped bit %#x at %d", filepath.Base(name), len(b), bit, at)
		case trial%4 == 2:
			clear(b[at:min(len(b), at+512)])
			what = fmt.Sprintf("%s (%d bytes), 512 zeroes at %d", filepath.Base(name), len(b), at)
		default:
			what = fmt.Sprintf("%s (%d bytes), cut at %d", filepath.Base(name), len(b), at)
			b = b[:at]
		}
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return what
}

// flipper is a store whose answers are damaged.
type flipper struct {
	ledger.Store
	flip func(key, value []byte) ([]byte, error)
}

func (f *flipper) Get(key []byte) ([]byte, error) {
	v, err := f.Store.Get(key)
	if err != nil {
		return v, err
	}
	return f.flip(key, v)
}

func (f *flipper) Seek(key, prefix []byte) (ledger.Pair, error) {
	p, err := f.Store.Seek(key, prefix)
	if err == nil {
		p.Value, err = f.flip(p.Key, p.Value)
	}
	return p, err
}

// TestEveryReadIsProved damages single answers of the store: every kind of value, flipped or
// missing.
func TestEveryReadIsProved(t *testing.T) {
	t.Parallel()
	h := newHistory(43)
	h.grow(t, 200, 30)
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	apply(t, h, l, 0, len(h.entries))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mark, _ := l.Durable()
	rng := rand.New(rand.NewPCG(43, 43))
	for _, kind := range []byte("bhma") {
		refused := 0
		for trial := range 30 {
			f := &flipper{Store: store.Reopen(), flip: func(_, v []byte) ([]byte, error) { return v, nil }}
			damage := func(key, v []byte) ([]byte, error) {
				switch {
				case key[8] != kind || rng.IntN(3) > 0:
					return v, nil
				case trial%3 == 0:
					return nil, ledger.ErrKeyNotFound
				case trial%3 == 1:
					v[rng.IntN(len(v))] ^= 1 << rng.IntN(8)
				default:
					v = v[:rng.IntN(len(v))]
				}
				return v, nil
			}
			if trial%2 == 0 {
				f.flip = damage
			}
			l, err := ledger.Open(f, ledger.Config{Group: 1, Origin: origin, Start: mark})
			if err != nil {
				refused++
				continue
			}
			f.flip = damage
			refused += checkTruth(t, fmt.Sprintf("kind %c, trial %d", kind, trial), h, l)
		}
		if refused == 0 {
			t.Errorf("damage to values of kind %c was never noticed", kind)
		}
	}
}

// TestAppliedPositionIsChecked: the tree alone does not show that the store lost idempotency
// records, nor that replay went another way than before; the position that the store holds does.
func TestAppliedPositionIsChecked(t *testing.T) {
	t.Parallel()
	h := newHistory(44)
	h.grow(t, 60, 30)
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	apply(t, h, l, 0, len(h.entries))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mark, _ := l.Durable()
	position := func(s ledger.Summary) *flipper {
		return &flipper{Store: store.Reopen(), flip: func(key, v []byte) ([]byte, error) {
			if key[8] == 'a' {
				return s.Marshal(), nil
			}
			return v, nil
		}}
	}

	behind := mark
	behind.RaftIndex--
	var corrupt *ledger.CorruptError
	if _, err := ledger.Open(position(behind), ledger.Config{Group: 1, Origin: origin, Start: mark}); !errors.As(err, &corrupt) || corrupt.What != "applied position" {
		t.Fatalf("open with a mark ahead of the store's position: %v", err)
	}

	for name, change := range map[string]func(*ledger.Summary){"root": func(s *ledger.Summary) { s.Root[0] ^= 1 }, "size": func(s *ledger.Summary) { s.Size++ }} {
		other := mark
		change(&other)
		l := open(t, position(other), ledger.Summary{})
		var d *ledger.DivergenceError
		if _, err := l.ApplyMany(h.entries); !errors.As(err, &d) {
			t.Fatalf("replay to a position with another %s: %v", name, err)
		}
	}
}

// TestCheckKey: a record of an idempotency key that is gone, or tells of another entry, is found by
// whoever looks for it.
func TestCheckKey(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	mustApply(t, l, single(t, l, 5, one("a", "1"), one("", "2"), one("b", "3")))
	check := func() (bad []uint64) {
		t.Helper()
		for i := range l.Head().Size {
			leaf, err := l.Leaf(i)
			if err != nil {
				t.Fatal(err)
			}
			var corrupt *ledger.CorruptError
			switch err := l.CheckKey(i, leaf); {
			case err == nil:
			case errors.As(err, &corrupt) && corrupt.Index == i:
				bad = append(bad, i)
			default:
				t.Fatalf("entry %d: %v", i, err)
			}
		}
		return bad
	}
	if bad := check(); len(bad) != 0 {
		t.Errorf("entries %v of a sound ledger have no record", bad)
	}
	prefix := append(binary.BigEndian.AppendUint64(nil, 1), 'k')
	first, err := store.Seek(prefix, prefix)
	if err != nil {
		t.Fatal(err)
	}
	second, err := store.SeekLast(append(prefix, bytes.Repeat([]byte{0xff}, 33)...), prefix)
	if err != nil {
		t.Fatal(err)
	}
	// The right index with the digest of another payload.
	other := bytes.Clone(first.Value)
	other[len(other)-1] ^= 1
	if err := store.Commit(98, []ledger.Pair{{Key: first.Key, Value: other}}); err != nil {
		t.Fatal(err)
	}
	if bad := check(); len(bad) != 1 {
		t.Errorf("one record has the digest of another payload: %v", bad)
	}
	if err := store.Commit(99, []ledger.Pair{first}); err != nil {
		t.Fatal(err)
	}
	if bad := check(); len(bad) != 0 {
		t.Errorf("entries %v of a restored ledger have no record", bad)
	}
	// One tells what the other should.
	if err := store.Commit(100, []ledger.Pair{{Key: first.Key, Value: second.Value}}); err != nil {
		t.Fatal(err)
	}
	if bad := check(); len(bad) != 1 {
		t.Errorf("one record tells of another entry: %v", bad)
	}
	if err := store.Commit(101, []ledger.Pair{{Key: first.Key}, {Key: second.Key}}); err != nil {
		t.Fatal(err)
	}
	if bad := check(); !slices.Equal(bad, []uint64{0, 2}) {
		t.Errorf("both records are gone: entries %v, want 0 and 2", bad)
	}
}
