package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

// blamed demands exactly one finding, with these words, and says whom it must blame.
func blamed(t *testing.T, what string, r *Report, whom Blame, words string) {
	t.Helper()
	if len(r.Findings) != 1 || r.Findings[0].Blames != whom || !strings.Contains(r.Findings[0].Problem, words) {
		t.Errorf("%s: findings %+v, want one that blames the %s and says %q", what, r.Findings, whom, words)
	}
	if r.BlamesLedger() != (whom == BlamesLedger) {
		t.Errorf("%s: the report blames the ledger: %t", what, r.BlamesLedger())
	}
}

// TestTimeGoesBack: a ledger that is validly signed and whose time goes back is at fault itself,
// wherever the step is: within a bundle, between bundles, or at the first entry after an earlier
// audit.
func TestTimeGoesBack(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	for _, at := range []int{1, 100, 255, 256, 299} {
		dir := t.TempDir()
		backwards := func(i int) []byte {
			if i >= at {
				return leafAt(i, int64(1_600_000_000_000_000+i))
			}
			return leaf(i)
		}
		writeLogOf(t, s, dir, at, backwards)
		first := run(t, Dir(dir), Options{Policy: s.policy})
		if !first.OK() || first.Time != int64(1_700_000_000_000_000+at-1) {
			t.Fatalf("the first %d: time %d, findings %v", at, first.Time, first.Findings)
		}
		writeLogOf(t, s, dir, 300, backwards)
		since := &Head{Origin: first.Origin, Size: first.Size, Root: first.Root, Time: first.Time}
		for what, r := range map[string]*Report{
			"whole":            run(t, Dir(dir), Options{Policy: s.policy}),
			"whole, no tiles":  run(t, noTiles{Dir(dir)}, Options{Policy: s.policy}),
			"since":            run(t, Dir(dir), Options{Policy: s.policy, Since: since}),
			"since, no tiles":  run(t, noTiles{Dir(dir)}, Options{Policy: s.policy, Since: since}),
			"since, and saved": run(t, arriving(t, Dir(dir), s.policy), Options{Policy: s.policy, Since: since}),
		} {
			blamed(t, what, r, BlamesLedger, "is before that of the entry before it")
			if r.Findings[0].Index == nil || *r.Findings[0].Index != uint64(at) {
				t.Errorf("%s: %+v, want entry %d", what, r.Findings[0], at)
			}
		}
		// Nothing is new, and the time is kept for the next audit.
		writeLogOf(t, s, dir, at, backwards)
		if r := run(t, Dir(dir), Options{Policy: s.policy, Since: since}); !r.OK() || r.Entries != 0 || r.Time != first.Time {
			t.Errorf("nothing new: %d entries, time %d, findings %v", r.Entries, r.Time, r.Findings)
		}
	}
}

// TestSignedNonsense: entries that are none are the ledger's fault if they were signed.
func TestSignedNonsense(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLogOf(t, s, dir, 400, func(i int) []byte {
		if i == 300 {
			return []byte("no entry")
		}
		return leaf(i)
	})
	blamed(t, "one", run(t, Dir(dir), Options{Policy: s.policy}), BlamesLedger, "entry 300")
	writeLogOf(t, s, dir, 400, func(int) []byte { return []byte("no entry") })
	if r := run(t, Dir(dir), Options{Policy: s.policy}); !r.BlamesLedger() || len(r.Findings) >= maxFindings || r.Entries != 400 {
		t.Errorf("all: %d findings, %d entries, blames the ledger: %t", len(r.Findings), r.Entries, r.BlamesLedger())
	}
}

// TestBrokenMirror: damage in a copy never looks like the ledger's fault: not as time that goes
// back, and not as a history that was rewritten since an earlier audit.
func TestBrokenMirror(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	whole := func(t *testing.T) (string, *Head) {
		dir := t.TempDir()
		writeLog(t, s, dir, 600)
		return dir, &Head{Origin: "example.org/ledger", Size: 400, Root: rootOf(400), Time: 1_700_000_000_000_399}
	}
	for name, damage := range map[string]struct {
		file   string
		offset int // the time of an entry is in bytes 3 to 10 of a bundle
		words  string
	}{
		"time of an entry, far ahead": {"tile/entries/000", 4, "entry 0 was changed"},
		"payload of an entry":         {"tile/entries/000", 60, "was changed"},
		"tile below the old size":     {"tile/0/000", 5, "hash 0 of 256"},
		"tile at the old size":        {"tile/0/001", 5, "hash 0 of 256"},
		"tile of level 1":             {"tile/1/000.p/2", 3, "hash 0 of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, since := whole(t)
			flip(t, filepath.Join(dir, damage.file), damage.offset)
			blamed(t, "whole", run(t, Dir(dir), Options{Policy: s.policy}), BlamesCopy, damage.words)
			blamed(t, "saved", run(t, arriving(t, Dir(dir), s.policy), Options{Policy: s.policy, Since: since}), BlamesCopy, damage.words)
			r := run(t, Dir(dir), Options{Policy: s.policy, Since: since})
			if r.BlamesLedger() {
				t.Errorf("since: findings %+v", r.Findings)
			}
			if strings.HasPrefix(damage.file, "tile/entries") {
				for _, since := range []*Head{nil, since} {
					if r := run(t, noTiles{Dir(dir)}, Options{Policy: s.policy, Since: since}); r.OK() || r.BlamesLedger() {
						t.Errorf("no tiles: findings %+v, want some that blame the copy", r.Findings)
					}
				}
			}
		})
	}
	t.Run("a file is gone", func(t *testing.T) {
		t.Parallel()
		dir, since := whole(t)
		if err := os.Remove(filepath.Join(dir, "tile/0/000")); err != nil {
			t.Fatal(err)
		}
		for _, since := range []*Head{nil, since} {
			if r := run(t, Dir(dir), Options{Policy: s.policy, Since: since}); r.BlamesLedger() {
				t.Errorf("findings %+v", r.Findings)
			}
		}
	})
	t.Run("the checkpoint of a larger ledger over old files", func(t *testing.T) {
		t.Parallel()
		dir, since := whole(t)
		note := s.note(t, 600, merkle.LeafHash([]byte("x")))
		if err := os.WriteFile(filepath.Join(dir, "checkpoint"), note, 0o644); err != nil {
			t.Fatal(err)
		}
		blamed(t, "whole", run(t, Dir(dir), Options{Policy: s.policy, Since: since}), BlamesCopy, "replaced as a whole")
	})
}

// TestRewritten: a history that was rewritten and signed is the ledger's fault.
func TestRewritten(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir := t.TempDir()
	writeLogOf(t, s, dir, 600, func(i int) []byte { return leaf(i + 1) })
	for _, size := range []int{100, 256, 400, 600} {
		since := &Head{Origin: "example.org/ledger", Size: uint64(size), Root: rootOf(size)}
		for what, src := range map[string]Source{"tiles": Dir(dir), "no tiles": noTiles{Dir(dir)}, "saved": arriving(t, Dir(dir), s.policy)} {
			blamed(t, what, run(t, src, Options{Policy: s.policy, Since: since}), BlamesLedger, "history was rewritten")
		}
	}
}
