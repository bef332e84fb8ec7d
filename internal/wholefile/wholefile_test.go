package wholefile

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

var writers = map[string]func(string, []byte, fs.FileMode) error{"Write": Write, "WriteSync": WriteSync}

// names lists what is in a directory.
func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestReplace: a file is created with its mode, then replaced, and nothing else is left behind.
func TestReplace(t *testing.T) {
	for name, write := range writers {
		for _, mode := range []fs.FileMode{0o600, 0o400} {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			for _, content := range []string{"the first content", "another", ""} {
				if err := write(path, []byte(content), mode); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				info, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if got := info.Mode().Perm(); got != mode && runtime.GOOS != "windows" {
					t.Errorf("%s: mode %v, want %v", name, got, mode)
				}
				if got, err := os.ReadFile(path); err != nil || string(got) != content {
					t.Errorf("%s: the file holds %q, %v, want %q", name, got, err, content)
				}
			}
			if all := names(t, dir); len(all) != 1 {
				t.Errorf("%s leaves %v", name, all)
			}
		}
	}
}

// TestRefusal: a file that cannot be written stays as it is.
func TestRefusal(t *testing.T) {
	for name, write := range writers {
		dir := t.TempDir()
		taken := filepath.Join(dir, "taken") // a directory, and not an empty one
		if err := os.MkdirAll(filepath.Join(taken, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := write(taken, []byte("new"), 0o600); err == nil {
			t.Errorf("%s replaced a directory", name)
		}
		if _, err := os.Stat(filepath.Join(taken, "x")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := write(filepath.Join(dir, "absent", "file"), []byte("new"), 0o600); err == nil {
			t.Errorf("%s wrote into a directory that is not there", name)
		}
	}
}

// TestLeftovers: what a killed process left does not stand in the way of the next one.
func TestLeftovers(t *testing.T) {
	for name, write := range writers {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path+Suffix, []byte("a part that is longer than the whole"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := write(path, []byte("whole"), 0o600); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != "whole" {
			t.Errorf("%s: the file holds %q, %v", name, got, err)
		}
	}
}

// TestManyWriters: any number may write one path with WriteSync, and readers see whole contents.
func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	content := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 100_000) }
	if err := WriteSync(path, content(0), 0o600); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 10 {
				if err := WriteSync(path, content(i), 0o600); err != nil {
					t.Error(err)
				}
				got, err := os.ReadFile(path)
				if err != nil || len(got) != 100_000 || !bytes.Equal(got, bytes.Repeat(got[:1], len(got))) {
					t.Errorf("a reader sees %d bytes, not all of one writer: %v", len(got), err)
				}
			}
		})
	}
	all.Wait()
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
