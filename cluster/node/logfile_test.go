package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogFileIsBounded: no file exceeds the bound, the newest lines are kept in order, and a file that was renamed
// from outside is continued in a new one after reopen.
func TestLogFileIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLogFile(path, 1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if _, err := fmt.Fprintf(l, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	var text string
	for _, name := range []string{path + ".3", path + ".2", path + ".1", path} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 1000 {
			t.Errorf("%s has %d bytes", name, len(raw))
		}
		text += string(raw)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		if want := fmt.Sprintf("line %d", 1000-len(lines)+i); line != want {
			t.Fatalf("%q stands where %q should", line, want)
		}
	}
	if _, err := os.Stat(path + ".4"); err == nil {
		t.Error("a fourth former file is kept")
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(l, "after")
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "after\n" {
		t.Errorf("after a rename: %q, %v", raw, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openLogFile(t.TempDir(), 1000, 3); err == nil {
		t.Error("a directory was taken")
	}
}
