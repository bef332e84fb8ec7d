package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// replica applies a history to a store that crashes, with a Raft log that never forgets.
type replica struct {
	t      testing.TB
	h      *history
	rng    *rand.Rand
	group  uint64
	caches *ledger.Caches
	l      *ledger.Ledger
	next   int            // entries applied
	mark   ledger.Summary // in the Raft log
	// sealed is what the ledger may know: everything ever given to SetSealed.
	sealed uint64
	// marked, when not nil, is called after the mark has advanced.
	marked func()
}

func (r *replica) open(store ledger.Store) {
	r.t.Helper()
	var err error
	r.l, err = ledger.Open(store, ledger.Config{Group: r.group, Origin: origin, Start: r.mark, Program: r.h.program(), Caches: r.caches, MovesPerBase: 1 + r.rng.IntN(60)})
	if err != nil {
		r.t.Fatalf("%v: open at %+v: %v", r.h, r.mark, err)
	}
	r.next, _ = slices.BinarySearchFunc(r.h.entries, r.mark.RaftIndex+1, func(e ledger.Committed, i uint64) int { return int(e.RaftIndex) - int(i) })
	r.h.checkState(r.t, r.l, r.next)
}

// run applies a random part of the history, with seals and marks.
func (r *replica) run(entries, group int) {
	r.t.Helper()
	for end := min(len(r.h.entries), r.next+entries); r.next < end; {
		k := min(end, r.next+1+r.rng.IntN(group))
		apply(r.t, r.h, r.l, r.next, k)
		r.next = k
		if r.rng.IntN(8) == 0 {
			size := r.l.Head().Size
			s := &ledger.Sealed{Size: size, Root: r.h.model.roots[size], Note: fmt.Appendf(nil, "note of %d", size)}
			if err := r.l.SetSealed(s); err != nil {
				r.t.Fatalf("%v: seal %d: %v", r.h, size, err)
			}
			r.sealed = max(r.sealed, size)
		}
		if r.rng.IntN(6) == 0 {
			r.advanceMark()
		}
		r.checkSealed()
	}
}

func (r *replica) advanceMark() {
	r.t.Helper()
	if s, ok := r.l.Durable(); ok && s.RaftIndex > r.mark.RaftIndex {
		parsed, err := ledger.ParseSummary(s.Marshal())
		if err != nil || parsed != s {
			r.t.Fatalf("summary %+v became %+v, %v", s, parsed, err)
		}
		r.mark = s
		r.l.Marked(s)
		if r.marked != nil {
			r.marked()
		}
	}
}

func (r *replica) checkSealed() {
	r.t.Helper()
	s := r.l.Sealed()
	if s == nil {
		return
	}
	if s.Size > r.l.Head().Size || s.Size > r.sealed || s.Root != r.h.model.roots[s.Size] || string(s.Note) != fmt.Sprintf("note of %d", s.Size) {
		r.t.Fatalf("%v: sealed %d with note %q, the ledger has size %d", r.h, s.Size, s.Note, r.l.Head().Size)
	}
}

// finish applies the rest and checks everything.
func (r *replica) finish() {
	r.t.Helper()
	r.run(len(r.h.entries), 1)
	r.h.checkState(r.t, r.l, len(r.h.entries))
}

// TestMemoryCrashes crashes a memstore often, with holes, and wants the exact state after every
// replay.
func TestMemoryCrashes(t *testing.T) {
	t.Parallel()
	marks := 0
	for seed := range uint64(12) {
		h, payload := newHistory(1000+seed), 1500
		switch {
		case seed >= 9:
			h, payload = newMapped(1000+seed), 700
		case seed >= 6:
			h, payload = newAccounts(1000+seed), 700
		}
		h.grow(t, 400, payload)
		r := &replica{t: t, h: h, group: 3, rng: rand.New(rand.NewPCG(seed, 3))}
		store := memstore.New(memstore.Options{MemtableSize: 100 << 10, MaxUnflushed: 1 + int(seed%3)})
		r.open(store)
		crashes := 0
		for r.next < len(h.entries) {
			r.run(30, 8)
			if r.rng.IntN(3) == 0 {
				store.Flush()
			}
			r.run(30, 8)
			if crashes++; crashes > 15 {
				break
			}
			if r.rng.IntN(2) == 0 {
				r.advanceMark()
			}
			if r.mark.RaftIndex > 0 {
				marks++
			}
			switch r.rng.IntN(4) {
			case 0:
				store = store.ProcessCrash()
			case 1:
				store = store.PowerLoss(func(_, _ int) int { return 0 })
			default:
				store = store.PowerLoss(func(_, n int) int {
					switch r.rng.IntN(3) {
					case 0:
						return 0
					case 1:
						return n
					}
					return r.rng.IntN(n + 1)
				})
			}
			r.open(store)
		}
		r.finish()
		if err := r.l.Close(); err != nil {
			t.Fatal(err)
		}
		r.mark, _ = r.l.Durable()
		r.open(store.Reopen())
		if r.next != len(h.entries) {
			t.Fatalf("%v: %d of %d entries after a clean close", h, r.next, len(h.entries))
		}
		r.checkSealed()
		if s := r.l.Sealed(); r.sealed > 0 && (s == nil || s.Size != r.sealed) {
			t.Fatalf("%v: sealed %+v after a clean close, want %d", h, s, r.sealed)
		}
	}
	if marks < 24 {
		t.Errorf("only %d crashes with a mark: the test shows little", marks)
	}
}

// image copies the files of an open store, as a crash of the process leaves them, at a moment when
// Badger is not writing a table.
func image(t testing.TB, dir string) string {
	t.Helper()
	for {
		to := t.TempDir()
		before := listing(t, dir)
		ok := true
		for _, name := range before {
			name, _, _ = strings.Cut(name, " ")
			if name == "LOCK" {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				ok = false
				break
			}
			if strings.HasSuffix(name, ".mem") || strings.HasSuffix(name, ".vlog") {
				err = writeSparse(filepath.Join(to, name), b)
			} else {
				err = os.WriteFile(filepath.Join(to, name), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if ok && slices.Equal(before, listing(t, dir)) {
			return to
		}
		os.RemoveAll(to)
	}
}

func writeSparse(name string, b []byte) error {
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	if err := os.WriteFile(name, b[:end], 0o600); err != nil {
		return err
	}
	return os.Truncate(name, int64(len(b)))
}

// listing names the files with their sizes.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			names = append(names, fmt.Sprint(e.Name(), " ", info.Size()))
		}
	}
	return names
}

func memFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// TestBadgerCrashes takes images of an open Badger, removes or cuts memtable files and cuts value
// logs as a power failure may, and wants the exact state after replay from the mark.
func TestBadgerCrashes(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]badgerstore.Options{
		"tree":      {MemTableSize: 1 << 20, ValueLogSize: 1 << 20, ValueThreshold: 1 << 20},
		"value log": {MemTableSize: 160 << 10, ValueLogSize: 1 << 20, ValueThreshold: 12 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testBadgerCrashes(t, o, name == "tree")
		})
	}
}

func testBadgerCrashes(t *testing.T, o badgerstore.Options, mapped bool) {
	const seed = 0
	h := newAccounts(2000 + seed)
	if mapped {
		h = newMapped(2000 + seed)
	}
	h.grow(t, 700, 1500)
	r := &replica{t: t, h: h, group: 3, rng: rand.New(rand.NewPCG(seed, 4))}
	o.Dir = t.TempDir()
	r.open(openBadgerWith(t, o))
	lost, values := 0, 0
	synced := map[string]int{} // bytes of each value log that were there when the mark advanced
	r.marked = func() { synced = valueLogs(t, o.Dir) }
	const crashes = 5
	for crash := range crashes {
		r.run(100+r.rng.IntN(150), 1)
		for deadline := time.Now().Add(10 * time.Second); crash == 2 && r.mark.RaftIndex == 0 && time.Now().Before(deadline); {
			r.run(5, 1) // Badger writes a table once a memtable is full, and in the background
			r.advanceMark()
			time.Sleep(time.Millisecond)
		}
		next := image(t, o.Dir)
		if err := r.l.Close(); err != nil {
			t.Fatal(err)
		}
		o.Dir = next
		if crash > 0 { // the first is a mere crash of the process
			last := crash == crashes-1 // what no draw has brought yet happens for certain
			for _, f := range memFiles(t, o.Dir) {
				how := r.rng.IntN(3)
				if last && lost == 0 {
					how = 0
				}
				switch how {
				case 0:
					lost++
					if err := os.Remove(f); err != nil {
						t.Fatal(err)
					}
				case 1:
					lost++
					cut(t, f, 0, r.rng)
				}
			}
			logs := valueLogs(t, o.Dir)
			for _, name := range slices.Sorted(maps.Keys(logs)) {
				if logs[name] > synced[name] && (r.rng.IntN(3) > 0 || last && values == 0) {
					values++
					cut(t, filepath.Join(o.Dir, name), synced[name], r.rng)
				}
			}
		}
		r.open(openBadgerWith(t, o))
	}
	if inLog := o.ValueThreshold < 1<<20; r.mark.RaftIndex == 0 || lost == 0 || (values > 0) != inLog {
		t.Errorf("%v: mark %d, %d memtables and %d value logs lost: the test shows nothing", h, r.mark.RaftIndex, lost, values)
	}
	r.finish()
	if err := r.l.Close(); err != nil {
		t.Fatal(err)
	}
}

// valueLogs returns how far each value log is written, in bytes; empty ones are left out.
func valueLogs(t testing.TB, dir string) map[string]int {
	t.Helper()
	const header = 20
	files, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if end := len(bytes.TrimRight(b, "\x00")); end > header {
			sizes[filepath.Base(f)] = end
		}
	}
	return sizes
}

// cut zeroes a file from a random place within its contents on, at kept or later, which is how
// unwritten pages look.
func cut(t testing.TB, name string, kept int, rng *rand.Rand) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	end := len(b)
	for end > 0 && b[end-1] == 0 {
		end--
	}
	from := kept + rng.IntN(end-kept+1)
	clear(b[from:])
	if err := writeSparse(name, b); err != nil {
		t.Fatal(err)
	}
}

// TestStoreThatLostDurableData is refused, whatever it still has.
func TestStoreThatLostDurableData(t *testing.T) {
	t.Parallel()
	h := newHistory(5)
	h.grow(t, 100, 100)
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	apply(t, h, l, 0, 50)
	old := store.ProcessCrash()
	start := h.summary(100)
	var corrupt *ledger.CorruptError
	if _, err := ledger.Open(old, ledger.Config{Group: 1, Origin: origin, Start: start}); !errors.As(err, &corrupt) {
		t.Fatalf("open with a mark ahead of the store: %v", err)
	}
}

// TestReplayOfAnotherHistory stops: the store's blocks are not those of the Raft log.
func TestReplayOfAnotherHistory(t *testing.T) {
	t.Parallel()
	h, other := newHistory(6), newHistory(7)
	h.grow(t, 50, 100)
	other.grow(t, 50, 100)
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	apply(t, h, l, 0, 50)
	l = open(t, store.ProcessCrash(), ledger.Summary{})
	var d *ledger.DivergenceError
	if _, err := l.ApplyMany(other.entries); !errors.As(err, &d) {
		t.Fatalf("replay of another history: %v", err)
	}
}
