package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
)

// TestTargets: a target that cannot be written is refused before anything is done, and leaves
// nothing behind.
func TestTargets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	have := filepath.Join(dir, "have")
	check(t, os.WriteFile(have, []byte("old"), 0o640))
	check(t, os.Symlink(have, filepath.Join(dir, "link")))
	check(t, os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "dangling")))
	a := &app{}
	for path, says := range map[string]string{
		filepath.Join(dir, "no", "such"): "no such file or directory",
		filepath.Join(have, "below"):     "not a directory",
		dir:                              "it is a directory",
		filepath.Join(dir, "new") + "/":  "not the name of a file",
		have:                             "the file exists",
		filepath.Join(dir, "link"):       "the file exists",
		filepath.Join(dir, "dangling"):   "leads nowhere",
		filepath.Join(dir, strings.Repeat("x", 300)): "too long",
		"/proc/none":                      "", // a file system that takes no files
		filepath.Join(dir, "a\x1bb", "c"): `\x1b`,
	} {
		_, err := a.openTarget("--out", path, false)
		if err == nil || classify(err).code != exitUsage || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want a usage error with %q", path, err, says)
		}
	}
	if names := list(t, dir); names != "dangling have link" {
		t.Errorf("left behind: %s", names)
	}
}

// TestTargetWrites: files appear whole, with the right mode; links and devices stay what they are.
func TestTargetWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	have, link, fresh := filepath.Join(dir, "have"), filepath.Join(dir, "link"), filepath.Join(dir, "new")
	check(t, os.WriteFile(have, []byte("old"), 0o640))
	check(t, os.Symlink(have, link))
	var out bytes.Buffer
	a := &app{streams: streams{out: &out}}
	for _, c := range []struct {
		path    string
		replace bool
	}{{fresh, false}, {link, true}, {"/dev/null", false}, {"-", false}} {
		target, err := a.openTarget("--out", c.path, c.replace)
		check(t, err)
		check(t, target.write([]byte("text")))
	}
	for path, mode := range map[string]fs.FileMode{fresh: 0o666 &^ umask(t, dir), have: 0o640} {
		raw, err := os.ReadFile(path)
		check(t, err)
		if st, err := os.Lstat(path); string(raw) != "text" || err != nil || st.Mode() != mode {
			t.Errorf("%s holds %q with %v, want mode %v: %v", path, raw, st.Mode(), mode, err)
		}
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v, %v", st, err)
	}
	if st, err := os.Lstat("/dev/null"); err != nil || st.Mode()&fs.ModeDevice == 0 {
		t.Errorf("/dev/null was replaced: %v, %v", st, err)
	}
	if out.String() != "text" {
		t.Errorf("standard output got %q", out.String())
	}
	if names := list(t, dir); names != "have link new" {
		t.Errorf("left behind: %s", names)
	}

	// A file that came meanwhile is not overwritten.
	target, err := a.openTarget("--out", filepath.Join(dir, "raced"), false)
	check(t, err)
	check(t, os.WriteFile(target.path, []byte("theirs"), 0o644))
	err = target.write([]byte("ours"))
	if raw, _ := os.ReadFile(target.path); !errors.Is(err, errLost) || string(raw) != "theirs" {
		t.Errorf("the file holds %q, the error is %v", raw, err)
	}
	// A full device is an error of the write.
	target, err = a.openTarget("--out", "/dev/full", false)
	check(t, err)
	if err := target.write([]byte("x")); !errors.Is(err, errLost) {
		t.Errorf("/dev/full: %v", err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// umask finds the umask without changing it.
func umask(t *testing.T, dir string) fs.FileMode {
	t.Helper()
	path := filepath.Join(dir, "umask")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o666)
	check(t, err)
	st, err := f.Stat()
	check(t, err)
	check(t, errors.CombineErrors(f.Close(), os.Remove(path)))
	return 0o666 &^ st.Mode()
}
