package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/schollz/progressbar/v3"
)

// TestLinesProgress: where the size of the input is known the bar has per cent and the time left;
// always entries and entries/s, and never more columns than the screen.
func TestLinesProgress(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	shown := func(total int64) string {
		var out bytes.Buffer
		m := &meter{bar: newProgress(&out, proseWidth, total, "append", ""), begin: begin}
		progressbar.OptionThrottle(0)(m.bar.bar)
		lines := make([]line, 5000)
		for i := range lines {
			lines[i] = line{text: []byte("123456789")}
		}
		for range 200 {
			m.add(lines, begin.Add(20*time.Second))
		}
		text := out.String()
		for _, state := range strings.Split(text, "\r") {
			if n := columns(state); n > proseWidth {
				t.Errorf("%d columns: %q", n, state)
			}
		}
		return text
	}
	known := shown(20_000_000)
	if !strings.Contains(known, "append 1,000,000 entries, 50,000 entries/s") || !regexp.MustCompile(` 50% .*\[[0-9a-z]+:[0-9a-z]+\]`).MatchString(known) {
		t.Errorf("known size: %q", known)
	}
	if strings.Contains(known, "it/s") {
		t.Errorf("a unit that is none: %q", known)
	}
	if pipe := shown(-1); !strings.Contains(pipe, "append 1,000,000 entries, 50,000 entries/s") || strings.Contains(pipe, "%") {
		t.Errorf("unknown size: %q", pipe)
	}
}

func TestInputSize(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	if got := inputSize(f); got != 10 {
		t.Errorf("a file: %d", got)
	}
	if _, err := f.Seek(4, 0); err != nil {
		t.Fatal(err)
	}
	if got := inputSize(f); got != 6 {
		t.Errorf("the rest of a file: %d", got)
	}
	if got := inputSize(r); got != -1 {
		t.Errorf("a pipe: %d", got)
	}
	if got := inputSize(strings.NewReader("x")); got != -1 {
		t.Errorf("no file: %d", got)
	}
}
