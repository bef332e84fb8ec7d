//go:build unix

package wholefile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
)

// TestRead: what is not a regular file, or is larger than the bound, is refused at once, also
// behind a link.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": "file", "pipe link": "pipe", "endless": "/dev/zero", "full": "/dev/full", "lost": "nothing"} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"file": "", "link": "", "pipe": "is not a regular file", "pipe link": "is not a regular file", ".": "is not a regular file",
		"endless": "is not a regular file", "full": "is not a regular file", "lost": "no such file", "absent": "no such file",
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			content, err := Read(at(name), 5)
			if want == "" && (err != nil || string(content) != "12345") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s: %q, %v; want %q", name, content, err, want)
			}
			if missing := want == "no such file"; errors.Is(err, fs.ErrNotExist) != missing {
				t.Errorf("%s: %v is no fs.ErrNotExist, or should be none", name, err)
			}
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the read waits", name)
		}
	}
	if _, err := Read(at("file"), 4); err == nil || !strings.Contains(err.Error(), "larger than 4 bytes") {
		t.Errorf("a file above the bound: %v", err)
	}
}
