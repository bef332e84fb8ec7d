package audit

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/tlog"
)

// save audits src as cairn audit --save does, and keeps what held.
func save(t *testing.T, src Source, dir string, policy *tlog.Policy) (*Report, error) {
	t.Helper()
	c, err := Save(src, dir, policy)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	r, err := Run(context.Background(), c, Options{Policy: policy, Since: c.Head()})
	if err != nil {
		return nil, err
	}
	if !r.OK() || r.Behind {
		return r, errors.New("not kept")
	}
	return r, c.Commit(context.Background(), r)
}

// arriving is a source whose copy is never committed.
func arriving(t *testing.T, src Source, policy *tlog.Policy) *Copy {
	t.Helper()
	c, err := Save(src, t.TempDir(), policy)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantCopy audits a copy: it must have these entries, and nothing beside the ledger's files.
func wantCopy(t *testing.T, what, dir string, policy *tlog.Policy, size uint64) {
	t.Helper()
	if r := run(t, Dir(dir), Options{Policy: policy}); !r.OK() || r.Size != size || r.Entries != size {
		t.Errorf("%s: the copy has size %d and %d entries, want %d; findings %v", what, r.Size, r.Entries, size, r.Findings)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("%s: %v, %v", what, entries, err)
	}
}

// TestCopySurvives: a good copy is replaced by nothing that is wrong, older, another ledger or
// another history.
func TestCopySurvives(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	good, newer, older, copied := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	writeLog(t, s, good, 700)
	writeLog(t, s, newer, 1000)
	writeLog(t, s, older, 300)
	if _, err := save(t, Dir(good), copied, s.policy); err != nil {
		t.Fatal(err)
	}
	wantCopy(t, "first", copied, s.policy, 700)

	evil := func(spoil func(dir string) error) string {
		dir := t.TempDir()
		writeLog(t, s, dir, 1000)
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for what, dir := range map[string]string{
		"junk for a checkpoint": evil(func(dir string) error { return os.WriteFile(filepath.Join(dir, "checkpoint"), []byte("junk\n"), 0o644) }),
		"no checkpoint":         evil(func(dir string) error { return os.Remove(filepath.Join(dir, "checkpoint")) }),
		"a missing bundle":      evil(func(dir string) error { return os.Remove(filepath.Join(dir, "tile", "entries", "002")) }),
		"a damaged bundle":      evil(func(dir string) error { return flipByte(filepath.Join(dir, "tile", "entries", "001"), 50) }),
		"a damaged tile":        evil(func(dir string) error { return flipByte(filepath.Join(dir, "tile", "0", "001"), 50) }),
		"an older one":          older,
	} {
		if _, err := save(t, Dir(dir), copied, s.policy); err == nil {
			t.Errorf("%s was kept", what)
		}
		wantCopy(t, what, copied, s.policy, 700)
	}

	// Another ledger, under a policy that accepts only that one or both.
	other := newSigners(t)
	foreign := t.TempDir()
	writeLog(t, other, foreign, 800)
	if _, err := save(t, Dir(foreign), copied, other.policy); !errors.Is(err, ErrNotCopy) {
		t.Errorf("another ledger: %v", err)
	}
	wantCopy(t, "another ledger", copied, s.policy, 700)

	if _, err := save(t, Dir(newer), copied, s.policy); err != nil {
		t.Error(err)
	}
	wantCopy(t, "a newer one", copied, s.policy, 1000)
}

// TestCopyRewritten: a larger ledger with another history, validly signed, does not replace a copy,
// even if the audit was since something else.
func TestCopyRewritten(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	good, forked, copied := t.TempDir(), t.TempDir(), t.TempDir()
	writeLog(t, s, good, 300)
	writeLog(t, s, forked, 700)
	if _, err := save(t, Dir(good), copied, s.policy); err != nil {
		t.Fatal(err)
	}
	c, err := Save(Dir(forked), copied, s.policy)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.old.Root[0] ^= 1 // as if the copy that is there were of another history
	r := run(t, c, Options{Policy: s.policy})
	if err := c.Commit(context.Background(), r); !errors.Is(err, ErrNotCopy) {
		t.Errorf("got %v", err)
	}
	c.old.Root[0] ^= 1
	r.Size = 200
	if err := c.Commit(context.Background(), r); err == nil || !strings.Contains(err.Error(), "has 300 entries, what arrived has 200") {
		t.Errorf("a smaller copy: %v", err)
	}
}

// TestCopyInterrupted: wherever an audit or its Commit is cut off, the old copy or the new one is
// whole, and the next audit goes on.
func TestCopyInterrupted(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	good, newer := t.TempDir(), t.TempDir()
	writeLog(t, s, good, 300)
	writeLog(t, s, newer, 700)
	for _, first := range []bool{true, false} {
		for moved := 0; ; moved++ {
			copied := t.TempDir()
			old := uint64(0)
			if !first {
				old = 300
				if _, err := save(t, Dir(good), copied, s.policy); err != nil {
					t.Fatal(err)
				}
			}
			c, err := Save(Dir(newer), copied, s.policy)
			if err != nil {
				t.Fatal(err)
			}
			r := run(t, c, Options{Policy: s.policy, Since: c.Head()})
			paths, err := c.arrived()
			if err != nil {
				t.Fatal(err)
			}
			if moved > len(paths) {
				break
			}
			for _, path := range paths[:moved] {
				if err := c.move(path); err != nil {
					t.Fatal(err)
				}
			}
			// The process ends here, without Close.
			want := old
			if moved == len(paths) {
				want = r.Size
			}
			if want > 0 {
				if r := run(t, Dir(copied), Options{Policy: s.policy}); !r.OK() || r.Size != want {
					t.Fatalf("after %d of %d files: size %d, want %d; findings %v", moved, len(paths), r.Size, want, r.Findings)
				}
			}
			if _, err := save(t, Dir(newer), copied, s.policy); err != nil {
				t.Fatalf("after %d of %d files: %v", moved, len(paths), err)
			}
			wantCopy(t, "again", copied, s.policy, 700)
		}
	}
}

// TestSaveElsewhere: a directory with other files is left alone.
func TestSaveElsewhere(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	good, dir := t.TempDir(), t.TempDir()
	writeLog(t, s, good, 3)
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := save(t, Dir(good), dir, s.policy); !errors.Is(err, ErrNotCopy) {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func flipByte(path string, at int) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	raw[at] ^= 1
	return os.WriteFile(path, raw, 0o644)
}

// TestSaveFails: a copy that cannot be written is the fault of neither the source nor the ledger,
// and leaves no directory that was not there.
func TestSaveFails(t *testing.T) {
	t.Parallel()
	s := newSigners(t)
	dir, top := t.TempDir(), t.TempDir()
	writeLog(t, s, dir, 300)
	for _, blocked := range []string{"checkpoint", "tile"} {
		c, err := Save(Dir(dir), filepath.Join(top, "a", "b"), s.policy)
		if err != nil {
			t.Fatal(err)
		}
		// A directory or a file stands where one of the other kind is written.
		path := filepath.Join(c.staging, blocked)
		if blocked == "checkpoint" {
			err = os.Mkdir(path, 0o777)
		} else {
			err = os.WriteFile(path, nil, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = Run(t.Context(), c, Options{Policy: s.policy})
		if !errors.Is(err, ErrNotSaved) || !strings.Contains(err.Error(), filepath.Join("a", "b", blocked)) || strings.Contains(err.Error(), incoming) {
			t.Errorf("%s: %v", blocked, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(top); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", blocked, left, err)
		}
	}
	// What others put there stays.
	c, err := Save(Dir(dir), filepath.Join(top, "a", "b"), s.policy)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "a", "kept"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(top, "a", "kept")); err != nil {
		t.Error(err)
	}
}
