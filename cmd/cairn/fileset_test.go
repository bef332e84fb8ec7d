package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestFileSetInterrupted: wherever a run is cut off, the next one makes the set, unless it is
// complete already, which then stays as it is.
func TestFileSetInterrupted(t *testing.T) {
	t.Parallel()
	names := []string{"a.key", "a.crt", "a.kem"}
	stage := func(s *fileSet, text string, n int) {
		for _, name := range names[:n] {
			check(t, s.write(name, []byte(name+text)))
		}
	}
	run := func(dir, text string) error {
		s, err := openFileSet(dir, "a", names...)
		if err != nil {
			return err
		}
		stage(s, text, len(names))
		return s.publish()
	}
	probe, err := openFileSet(t.TempDir(), "a", names...)
	check(t, err)
	for cut := range len(names) + 1 + len(probe.steps()) + 2 {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, "other"), nil, 0o600))
		s, err := openFileSet(dir, "a", names...)
		check(t, err)
		stage(s, " first", min(cut, len(names)))
		steps := s.steps()
		half := cut == len(names)+1+len(steps) // the last deletion is cut off, too
		if half {
			steps = steps[:len(steps)-1]
		}
		for _, step := range steps[:min(len(steps), max(0, cut-len(names)))] {
			check(t, step())
		}
		if half {
			check(t, os.Remove(filepath.Join(s.done, names[0])))
		}
		err = run(dir, " second")
		want := " second"
		if _, statErr := os.Lstat(filepath.Join(dir, ".a.finished")); statErr == nil {
			t.Errorf("cut after %d: %v", cut, statErr)
		}
		if cut >= 2*len(names) { // all names were given
			want = " first"
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("cut after %d: %v, want a refusal", cut, err)
			}
		} else if err != nil {
			t.Errorf("cut after %d: %v", cut, err)
		}
		for _, name := range names {
			if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(raw) != name+want {
				t.Errorf("cut after %d: %s holds %q, want %q: %v", cut, name, raw, name+want, err)
			}
		}
		if got := list(t, dir); got != "a.crt a.kem a.key other" {
			t.Errorf("cut after %d: %s", cut, got)
		}
	}
}

// TestFileSetRefuses: a set of which one name is taken changes nothing.
func TestFileSetRefuses(t *testing.T) {
	t.Parallel()
	for _, taken := range []string{"a.key", "a.crt"} {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, taken), []byte("mine"), 0o600))
		if _, err := openFileSet(dir, "a", "a.key", "a.crt"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s is there: %v", taken, err)
		}
		if got := list(t, dir); got != taken {
			t.Errorf("left: %s", got)
		}
		// The same if it comes while the set is made.
		dir = t.TempDir()
		s, err := openFileSet(dir, "a", "a.key", "a.crt")
		check(t, err)
		check(t, errors.Join(s.write("a.key", []byte("k")), s.write("a.crt", []byte("c"))))
		check(t, os.WriteFile(filepath.Join(dir, taken), []byte("mine"), 0o600))
		if err := s.publish(); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s comes: %v", taken, err)
		}
		if raw, err := os.ReadFile(filepath.Join(dir, taken)); list(t, dir) != taken || string(raw) != "mine" {
			t.Errorf("left: %s, %q, %v", list(t, dir), raw, err)
		}
	}
}
