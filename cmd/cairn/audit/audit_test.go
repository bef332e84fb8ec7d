package audit

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// signers are the keys of one ledger.
type signers struct {
	log    *tlog.Cosigner
	nodes  []*tlog.Cosigner
	policy *tlog.Policy
}

func newSigners(t *testing.T) *signers {
	t.Helper()
	s := &signers{log: newCosigner(t, "example.org/ledger")}
	var keys []*tlog.VerifierKey
	for i := range 3 {
		c := newCosigner(t, fmt.Sprintf("example.org/ledger/n%d", i+1))
		s.nodes, keys = append(s.nodes, c), append(keys, c.Key())
	}
	policy, err := tlog.NewPolicy([]*tlog.VerifierKey{s.log.Key()}, keys, 2)
	if err != nil {
		t.Fatal(err)
	}
	s.policy = policy
	return s
}

func newCosigner(t *testing.T, name string) *tlog.Cosigner {
	t.Helper()
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *signers) note(t *testing.T, size uint64, root merkle.Hash) []byte {
	t.Helper()
	return s.noteAt(t, size, root, 1700000000)
}

// noteAt is signed at the given second, and by the others in the seconds after it.
func (s *signers) noteAt(t *testing.T, size uint64, root merkle.Hash, second uint64) []byte {
	t.Helper()
	cp := tlog.Checkpoint{Origin: s.log.Key().Name(), Size: size, Root: root}
	n := tlog.Note{Text: cp.Text()}
	for i, c := range []*tlog.Cosigner{s.log, s.nodes[0], s.nodes[2]} {
		sig, err := c.Cosign(cp, second+uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal()
}

func leaf(i int) []byte { return leafAt(i, int64(1_700_000_000_000_000+i)) }

func leafAt(i int, micros int64) []byte {
	e := ledger.Entry{Kind: ledger.KindPayload, Time: micros, Principal: "spiffe://example.org/svc/w", Body: fmt.Appendf(nil, "entry %d", i)}
	return e.AppendLeaf(nil)
}

// writeLog writes a whole ledger of the given size below dir.
func writeLog(t *testing.T, s *signers, dir string, size int) {
	t.Helper()
	writeLogOf(t, s, dir, size, leaf)
}

// writeLogOf writes and signs a ledger of the given leaves, whatever they are.
func writeLogOf(t *testing.T, s *signers, dir string, size int, leaf func(i int) []byte) {
	t.Helper()
	put := func(path string, raw []byte) {
		to := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var leaves [][]byte
	var bundle []byte
	for i := range size {
		leaves = append(leaves, leaf(i))
		bundle = merkle.AppendEntryBundle(bundle, leaf(i))
		if n := i%merkle.EntryBundleWidth + 1; n == merkle.EntryBundleWidth || i == size-1 {
			put(merkle.EntriesPath(uint64(i/merkle.EntryBundleWidth), n), bundle)
			bundle = nil
		}
	}
	tree := merkle.NewTree()
	for _, tile := range tree.Append(merkle.LeafHashes(leaves)) {
		put(tile.Path(), merkle.AppendTile(nil, tile.Hashes))
	}
	for level := range uint8(4) {
		if hashes := tree.Partial(level); len(hashes) > 0 {
			index := uint64(size) >> (8 * level) / merkle.TileWidth
			put(merkle.TilePath(level, index, len(hashes)), merkle.AppendTile(nil, hashes))
		}
	}
	put("checkpoint", s.note(t, uint64(size), tree.Root()))
}

func flip(t *testing.T, path string, offset int) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[offset] ^= 1
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, src Source, o Options) *Report {
	t.Helper()
	r, err := Run(context.Background(), src, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCleanLedger(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	for _, size := range []int{0, 1, 255, 256, 257, 70000} {
		dir := t.TempDir()
		writeLog(t, s, dir, size)
		next := uint64(0)
		r := run(t, Dir(dir), Options{Policy: s.policy, Leaf: func(index uint64, l []byte) error {
			if index != next || string(l) != string(leaf(int(index))) {
				return errors.Newf("got %q at %d, want entry %d", l, index, next)
			}
			next++
			return nil
		}})
		if !r.OK() || r.Size != uint64(size) || r.Entries != uint64(size) || next != uint64(size) {
			t.Errorf("size %d: audited %d entries, findings %v", size, r.Entries, r.Findings)
		}
		if len(r.Cosigners) != 2 {
			t.Errorf("size %d: %d cosigners, want 2", size, len(r.Cosigners))
		}
	}
}

// TestDamage flips one byte at a time and wants the finding to name the place,
// and nothing else to be blamed.
func TestDamage(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	const size = 600 // two full bundles, one of 88
	for _, c := range []struct {
		name, file string
		offset     int
		path, want string
		index      int // of the entry, -1 for none
		findings   int
	}{
		{"entry of a full bundle", "tile/entries/001", 2, "tile/entries/001", "entry 256 was changed", 256, 1},
		{"entry of the last bundle", "tile/entries/002.p/88", 2, "tile/entries/002.p/88", "entry 512 was changed", 512, 1},
		{"length of an entry", "tile/entries/000", 1, "tile/entries/000", "entries 0 to 255", -1, 1},
		{"full tile", "tile/0/001", 33, "tile/0/001", "hash 1 of 256 (bytes 32 to 63) is wrong", -1, 1},
		{"partial tile", "tile/0/002.p/88", 64, "tile/0/002.p/88", "hash 2 of 88 (bytes 64 to 95) is wrong", -1, 1},
		{"tile of level 1", "tile/1/000.p/2", 0, "tile/1/000.p/2", "hash 0 of 2 (bytes 0 to 31)", -1, 1},
		{"root in the checkpoint", "checkpoint", 30, "checkpoint", "refused", -1, 1},
		{"signature of the checkpoint", "checkpoint", -200, "checkpoint", "refused", -1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			writeLog(t, s, dir, size)
			path := filepath.Join(dir, c.file)
			offset := c.offset
			if offset < 0 {
				st, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				offset += int(st.Size())
			}
			flip(t, path, offset)
			r := run(t, Dir(dir), Options{Policy: s.policy})
			if len(r.Findings) != c.findings {
				t.Fatalf("findings %v, want %d", r.Findings, c.findings)
			}
			f := r.Findings[0]
			if f.Path != c.path || !strings.Contains(f.Problem, c.want) {
				t.Errorf("found %q, want %q in %s", f, c.want, c.path)
			}
			if c.index >= 0 && (f.Index == nil || *f.Index != uint64(c.index)) {
				t.Errorf("index %v, want %d", f.Index, c.index)
			}
		})
	}
}

func TestMissingFiles(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	for _, file := range []string{"tile/entries/001", "tile/0/001", "tile/1/000.p/2", "tile/0/002.p/88"} {
		dir := t.TempDir()
		writeLog(t, s, dir, 600)
		if err := os.Remove(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
		r := run(t, Dir(dir), Options{Policy: s.policy})
		if len(r.Findings) != 1 || r.Findings[0].Path != file || !strings.Contains(r.Findings[0].Problem, "missing") {
			t.Errorf("without %s: findings %v, want it to be missing", file, r.Findings)
		}
	}
}

// TestReplacedAsAWhole has entries and tiles that agree with one another, but
// not with the checkpoint.
func TestReplacedAsAWhole(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLog(t, s, dir, 300)
	note := s.note(t, 300, merkle.LeafHash([]byte("another history")))
	if err := os.WriteFile(filepath.Join(dir, "checkpoint"), note, 0o644); err != nil {
		t.Fatal(err)
	}
	r := run(t, Dir(dir), Options{Policy: s.policy})
	if len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Problem, "replaced as a whole") {
		t.Errorf("findings %v", r.Findings)
	}
}

func TestForeignPolicy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeLog(t, newSigners(t), dir, 3)
	if r := run(t, Dir(dir), Options{Policy: newSigners(t).policy}); r.OK() {
		t.Error("the checkpoint of other keys was accepted")
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLog(t, s, dir, 300)
	first := run(t, Dir(dir), Options{Policy: s.policy})
	writeLog(t, s, dir, 1000)
	since := &Head{Origin: first.Origin, Size: first.Size, Root: first.Root}
	r := run(t, Dir(dir), Options{Policy: s.policy, Since: since})
	if !r.OK() || r.Entries != 700 || r.Since != 300 {
		t.Errorf("resumed: %d entries since %d, findings %v; want 700 since 300", r.Entries, r.Since, r.Findings)
	}
	r = run(t, noTiles{Dir(dir)}, Options{Policy: s.policy, Since: since})
	if !r.OK() || r.Entries != 1000 || r.Tiles != 0 {
		t.Errorf("without tiles: %d entries, %d tiles, findings %v", r.Entries, r.Tiles, r.Findings)
	}

	other := &Head{Origin: first.Origin, Size: 300, Root: merkle.LeafHash(nil)}
	for _, src := range []Source{Dir(dir), noTiles{Dir(dir)}} {
		if r := run(t, src, Options{Policy: s.policy, Since: other}); len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Problem, "history was rewritten") {
			t.Errorf("another history before: findings %v", r.Findings)
		}
	}
	if _, err := Run(t.Context(), Dir(dir), Options{Policy: s.policy, Since: &Head{Origin: "example.org/other", Size: 300}}); !errors.Is(err, ErrOtherLedger) {
		t.Errorf("another ledger before: %v, want ErrOtherLedger", err)
	}
}

// TestFirst: entry 0 is shown by an audit that reads all and by one that resumes, and a resumed one
// shows nothing that is not in the ledger.
func TestFirst(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	for name, size := range map[string]int{"more": 1000, "no more": 300} {
		dir := t.TempDir()
		writeLog(t, s, dir, 300)
		var shown [][]byte
		o := Options{Policy: s.policy, First: func(leaf []byte) { shown = append(shown, slices.Clone(leaf)) }}
		first := run(t, Dir(dir), o)
		writeLog(t, s, dir, size)
		o.Since = &Head{Origin: first.Origin, Size: first.Size, Root: first.Root}
		if r := run(t, Dir(dir), o); !r.OK() || r.Since != 300 {
			t.Errorf("%s: resumed since %d, findings %v", name, r.Since, r.Findings)
		}
		if len(shown) != 2 || !bytes.Equal(shown[0], leaf(0)) || !bytes.Equal(shown[1], leaf(0)) {
			t.Errorf("%s: shown %d times: %q", name, len(shown), shown)
		}
		path := filepath.Join(dir, merkle.EntriesPath(0, 256))
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		raw[len(leaf(0))] ^= 1 // of the body of entry 0
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		shown = nil
		if r := run(t, Dir(dir), o); r.OK() || len(shown) != 0 || !strings.Contains(r.Findings[0].Problem, "entry 0 was changed") || r.BlamesLedger() {
			t.Errorf("%s: with another entry 0: shown %d times, findings %v", name, len(shown), r.Findings)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if r := run(t, Dir(dir), o); len(r.Findings) != 1 || r.Findings[0].Problem != "missing" {
			t.Errorf("%s: without the bundle: findings %v", name, r.Findings)
		}
	}
}

// TestBehind: a checkpoint that is smaller than the one of an earlier audit accuses nobody, unless
// those who signed both signed it later.
func TestBehind(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLog(t, s, dir, 1000)
	const second = 1700000000 // when writeLog signs
	since := func(note []byte) *Head {
		return &Head{Origin: "example.org/ledger", Size: 1001, Root: rootOf(1001), Note: note}
	}
	strangers := newSigners(t)
	for _, c := range []struct {
		name       string
		note       []byte
		rolledBack bool
	}{
		{"signed before", s.noteAt(t, 1001, rootOf(1001), second+1), false},
		{"signed in the same second", s.noteAt(t, 1001, rootOf(1001), second), false},
		{"signed after", s.noteAt(t, 1001, rootOf(1001), second-1), true},
		{"no earlier signatures", nil, false},
		{"earlier signatures of others", strangers.noteAt(t, 1001, rootOf(1001), second-1), false},
	} {
		r := run(t, Dir(dir), Options{Policy: s.policy, Since: since(c.note)})
		if r.OK() == c.rolledBack || r.Behind == c.rolledBack || r.Entries != 0 {
			t.Errorf("%s: behind %t, %d entries read, findings %v", c.name, r.Behind, r.Entries, r.Findings)
		}
		if c.rolledBack && !strings.Contains(fmt.Sprint(r.Findings), "rolled back") {
			t.Errorf("%s: findings %v, want one of a roll-back", c.name, r.Findings)
		}
	}

	// A source that catches up in time is audited like any other.
	late := t.TempDir()
	writeLog(t, s, late, 1200)
	growing := &grows{Source: Dir(dir), then: Dir(late)}
	r := run(t, growing, Options{Policy: s.policy, Since: since(nil), Patience: time.Minute})
	if !r.OK() || r.Behind || r.Since != 1001 || r.Entries != 199 {
		t.Errorf("caught up: behind %t, %d entries since %d, findings %v", r.Behind, r.Entries, r.Since, r.Findings)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, Dir(dir), Options{Policy: s.policy, Since: since(nil), Patience: time.Minute}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("interrupted while waiting: %v", err)
	}
}

// grows is one source when it is asked first, and another from then on.
type grows struct {
	Source
	then Source
}

func (g *grows) Checkpoint(ctx context.Context) ([]byte, error) {
	defer func() { g.Source = g.then }()
	return g.Source.Checkpoint(ctx)
}

type noTiles struct{ Source }

func (noTiles) Tile(context.Context, uint8, uint64, int) ([]byte, bool, error) {
	return nil, false, nil
}

func TestHTTPAndSave(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir, copied := t.TempDir(), t.TempDir()
	writeLog(t, s, dir, 1000)
	srv := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer srv.Close()
	src, err := HTTP(srv.URL+"/", srv.Client(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := save(t, src, copied, s.policy); err != nil || r.Entries != 1000 {
		t.Fatalf("over HTTP: %v, %+v", err, r)
	}
	srv.Close()
	if r := run(t, Dir(copied), Options{Policy: s.policy}); !r.OK() || r.Entries != 1000 || r.Tiles < 5 {
		t.Errorf("the copy: %d entries, %d tiles, findings %v", r.Entries, r.Tiles, r.Findings)
	}
	if _, err := Run(context.Background(), src, Options{Policy: s.policy}); err == nil {
		t.Error("a server that is gone gave a report")
	}
}

// TestCopyIsWhole: whatever the source serves and was audited before, a copy holds
// every entry and every tile.
func TestCopyIsWhole(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	for _, size := range []int{1, 256, 1000, 1<<16 + 300} {
		dir := t.TempDir()
		writeLog(t, s, dir, size)
		original := run(t, Dir(dir), Options{Policy: s.policy})
		if !original.OK() {
			t.Fatal(original.Findings)
		}
		for name, src := range map[string]Source{"tiles": Dir(dir), "no tiles": noTiles{Dir(dir)}} {
			for _, since := range []int{0, 1, 256, 700} {
				if size > 1000 && since != 700 {
					continue // once is enough for what is large
				}
				o := Options{Policy: s.policy}
				if since > 0 && since <= size {
					o.Since = &Head{Origin: original.Origin, Size: uint64(since), Root: rootOf(since)}
				}
				copied := t.TempDir()
				c, err := Save(src, copied, s.policy)
				if err != nil {
					t.Fatal(err)
				}
				r := run(t, c, o)
				if err := errors.CombineErrors(c.Commit(context.Background(), r), c.Close()); err != nil {
					t.Fatalf("%s, size %d, since %d: %v; findings %v", name, size, since, err, r.Findings)
				}
				r = run(t, Dir(copied), Options{Policy: s.policy})
				if !r.OK() || r.Entries != uint64(size) || r.Tiles != original.Tiles {
					t.Errorf("%s, size %d, since %d: the copy has %d entries and %d tiles, want %d; findings %v",
						name, size, since, r.Entries, r.Tiles, original.Tiles, r.Findings)
				}
			}
		}
	}
}

func rootOf(size int) merkle.Hash {
	tree := merkle.NewTree()
	for i := range size {
		tree.Append([]merkle.Hash{merkle.LeafHash(leaf(i))})
	}
	return tree.Root()
}

func TestCancelledAudit(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLog(t, s, dir, 20000)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Run(ctx, Dir(dir), Options{Policy: s.policy, Progress: func(int) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
