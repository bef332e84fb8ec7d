package backup

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/peers"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// same says how the content of two backups differs.
func same(t *testing.T, a, b string) {
	t.Helper()
	x, y := files(t, a, false), files(t, b, false)
	for _, path := range slices.Sorted(maps.Keys(x)) {
		if x[path] != y[path] {
			t.Errorf("%s: %d bytes in one backup, %d in the other", path, len(x[path]), len(y[path]))
		}
		delete(y, path)
	}
	for path := range y {
		t.Errorf("%s is in one backup alone", path)
	}
}

// records collects the blocks of a backup.
func records(t *testing.T, dir string) (all []string) {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range b.Ledgers {
		if err := l.Records(func(r *ledger.BlockRecord) error {
			all = append(all, string(r.Encoded))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestIncremental: a backup that grew in steps has what a backup at once has, every step verifies, and a
// step without news changes nothing.
func TestIncremental(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	w.create("example.org/a")
	for i, n := range []int{0, 1, 254, 1, 1, 300, 3, 512} {
		if i == 3 {
			w.create("example.org/b")
		}
		if n > 0 {
			w.fill("example.org/a", n)
		}
		r := w.take(dir)
		if err := w.verify(dir); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if got, want := r.Manifest.Ledgers[1].Size, w.ledgers["example.org/a"].Head().Size; got != want {
			t.Fatalf("step %d: the backup has %d entries, want %d", i, got, want)
		}
	}
	whole := filepath.Join(t.TempDir(), "at once")
	w.take(whole)
	same(t, dir, whole)
	if a, b := records(t, dir), records(t, whole); !slices.Equal(a, b) {
		t.Errorf("%d records, %d in a backup at once, and they differ", len(a), len(b))
	}
	before := files(t, dir, true)
	if r := w.take(dir); r.Entries != 0 {
		t.Errorf("%d entries came where nothing was new", r.Entries)
	}
	if !maps.Equal(before, files(t, dir, true)) {
		t.Error("a backup without news changed a file")
	}
}

// TestEveryFileIsChecked: one flipped bit, anywhere in any file, is found, and the file is named.
func TestEveryFileIsChecked(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	w.create("example.org/a")
	w.fill("example.org/a", 300)
	w.take(dir)
	w.fill("example.org/a", 300)
	w.take(dir)
	for path, content := range files(t, dir, true) {
		if path == lockFile {
			continue
		}
		for range 8 {
			raw := []byte(content)
			at, bit := rand.IntN(len(raw)), byte(1)<<rand.IntN(8)
			raw[at] ^= bit
			name := filepath.Join(dir, path)
			if err := os.WriteFile(name, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := w.verify(dir); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("byte %d of %s with bit %x flipped: %v, want an error that names the file", at, path, bit, err)
			}
		}
		if err := os.Remove(filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
		if err := w.verify(dir); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("without %s: %v", path, err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.verify(dir); err != nil {
		t.Error(err)
	}
}

// TestFirstBadEntry: an entry that was replaced in one place, or in blocks and bundle with a right
// checksum, is named by its index.
func TestFirstBadEntry(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	w.create("example.org/a")
	w.fill("example.org/a", 300)
	w.take(dir)
	path := filepath.Join(dir, "ledgers", "2", "tile", "entries", "000")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Replace(raw, []byte("example.org/a 100 "), []byte("example.org/a 900 "), 1)
	if bytes.Equal(forged, raw) {
		forged = bytes.Replace(raw, []byte("example.org/a 1"), []byte("example.org/a 9"), 1)
	}
	if err := os.WriteFile(path, forged, 0o644); err != nil {
		t.Fatal(err)
	}
	var bad *BadError
	if err := w.verify(dir); !errors.As(err, &bad) || bad.Index == nil || !strings.HasSuffix(bad.Path, "000") || bad.Origin != "example.org/a" {
		t.Fatalf("got %v, want the entry and the bundle", err)
	}
	leaf, err := w.ledgers["example.org/a"].Leaf(*bad.Index)
	if err != nil || bytes.Contains(forged, leaf) {
		t.Errorf("entry %d is not the one that was changed: %v", *bad.Index, err)
	}
}

// TestInterrupted: a Take that ends at any moment leaves the backup before, or the one after, and the next
// one completes it.
func TestInterrupted(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.create("example.org/a")
	defer func() { interrupt = nil }()
	whole, cut := 0, 0
	for step := 0; (whole < 6 || cut < 3) && step < 400; step++ {
		left := int64(rand.IntN(25))
		killed := errors.New("killed")
		interrupt = func() error { return killed }
		if left > 0 {
			interrupt = countdown(left, killed)
		}
		_, err := Take(t.Context(), dir, w.options())
		interrupt = nil
		if err == nil {
			whole++
		} else {
			cut++
		}
		if _, missing := os.Stat(filepath.Join(dir, manifestFile)); missing == nil {
			if err := w.verify(dir); err != nil {
				t.Fatalf("after %d files: %v", left, err)
			}
		}
		switch rand.IntN(6) {
		case 0, 1:
			w.fill("example.org/a", 1+rand.IntN(300))
		case 2:
			w.create(fmt.Sprint("example.org/", step))
		}
	}
	if cut == 0 {
		t.Fatal("nothing was interrupted")
	}
	w.take(dir)
	if err := w.verify(dir); err != nil {
		t.Fatal(err)
	}
	at := t.TempDir()
	w.take(at)
	x, y := records(t, dir), records(t, at)
	if !slices.Equal(x, y) {
		t.Errorf("%d records, %d in a backup at once, and they differ", len(x), len(y))
	}
}

// liar is a node that changes what it sends.
type liar struct {
	*world
	note  func(origin string, p *peers.Position)
	batch func(b *peers.Batch)
}

func (l *liar) Sealed(ctx context.Context, origin string, size uint64) (*peers.Position, error) {
	p, err := l.world.Sealed(ctx, origin, size)
	if err == nil && l.note != nil {
		l.note(origin, p)
	}
	return p, err
}

func (l *liar) Blocks(ctx context.Context, origin string, r peers.Request, each func(peers.Batch) error) error {
	return l.world.Blocks(ctx, origin, r, func(b peers.Batch) error {
		if l.batch != nil {
			l.batch(&b)
		}
		return each(b)
	})
}

// TestGoodIsNotReplaced: whatever a node sends that is not proved is refused, and the backup stays as it
// was. Another node that tells the truth is believed.
func TestGoodIsNotReplaced(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	w.create("example.org/a")
	w.fill("example.org/a", 300)
	w.take(dir)
	other := newWorld(t) // another history, under the same keys
	other.create("example.org/a")
	other.fill("example.org/a", 700)
	w.fill("example.org/a", 300)
	before := files(t, dir, false)
	lies := map[string]Node{
		"another history under the same keys": other,
		"a checkpoint that nobody cosigned": &liar{world: w, note: func(origin string, p *peers.Position) {
			cp, _, _ := tlog.ParseCheckpoint(p.Note)
			p.Note = w.note(origin, cp.Size, cp.Root, w.cosigner(origin))
		}},
		"a checkpoint of another ledger": &liar{world: w, note: func(origin string, p *peers.Position) {
			cp, _, _ := tlog.ParseCheckpoint(p.Note)
			p.Note = w.note("example.org/other", cp.Size, cp.Root)
		}},
		"a record is left out": &liar{world: w, batch: func(b *peers.Batch) { b.Records = b.Records[1:] }},
		"no proof":             &liar{world: w, batch: func(b *peers.Batch) { b.Proof = nil }},
		"records in another order": &liar{world: w, batch: func(b *peers.Batch) {
			b.Records = slices.Clone(b.Records)
			slices.Reverse(b.Records)
		}},
	}
	for name, node := range lies {
		r, err := Take(t.Context(), dir, w.options(node))
		if err == nil {
			err = r.Failed["example.org/a"]
		}
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
		now := files(t, dir, false)
		for path, content := range before {
			if now[path] != content {
				t.Errorf("%s: %s was changed", name, path)
			}
		}
		if got, err := readManifest(dir); err != nil || got.row(2).Size != 301 {
			t.Errorf("%s: MANIFEST was changed: %v", name, err)
		}
		if err := w.verify(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, node := range lies {
		d := t.TempDir()
		if err := os.CopyFS(d, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if name == "another history under the same keys" {
			continue // for the directory it is the first word of anybody
		}
		w.take(d, node, w)
		if err := w.verify(d); err != nil {
			t.Errorf("%s, and a node that is right: %v", name, err)
		}
	}
}

// TestOtherDirectory: a directory with anything else, the backup of another cluster, and one that is
// being written are left alone.
func TestOtherDirectory(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letters"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), dir, w.options()); !errors.Is(err, ErrNotBackup) {
		t.Errorf("got %v, want ErrNotBackup", err)
	}
	dir = t.TempDir()
	w.take(dir)
	o := w.options()
	o.Directory = "example.org/another"
	if _, err := Take(t.Context(), dir, o); !errors.Is(err, ErrNotBackup) {
		t.Errorf("got %v, want ErrNotBackup", err)
	}
	f, err := lock(filepath.Join(dir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Take(t.Context(), dir, w.options()); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
}

func FuzzManifest(f *testing.F) {
	m := &Manifest{Cluster: "00000000000000c1", Directory: rootOrigin, Ledgers: []Row{{Group: 1, Origin: rootOrigin, Size: 3}, {Group: 2, Origin: "example.org/a", Size: 4, Policies: []uint64{1, 2}}}}
	f.Add(m.marshal())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if m, err := parseManifest(raw); err == nil && !bytes.Equal(m.marshal(), raw) {
			t.Error("it is written otherwise")
		}
	})
}

func FuzzBlocks(f *testing.F) {
	w := newWorld(f)
	r, err := w.ledgers[rootOrigin].BlockAt(0)
	if err != nil {
		f.Fatal(err)
	}
	var b blocksFile
	b.add(r)
	f.Add(b.finish())
	f.Fuzz(func(t *testing.T, raw []byte) {
		records, err := parseBlocks(raw)
		if err != nil {
			return
		}
		var b blocksFile
		for _, r := range records {
			b.add(r)
		}
		if !bytes.Equal(b.finish(), raw) {
			t.Error("it is written otherwise")
		}
	})
}
