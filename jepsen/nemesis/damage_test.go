package nemesis

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestDamage: a file is changed within what it holds, also when it has zeros or a hole
// behind.
func TestDamage(t *testing.T) {
	a := &Arena{rng: rand.New(rand.NewPCG(1, 1))}
	content := bytes.Repeat([]byte("cairn\x00"), 5000)
	content[len(content)-1] = 'x'
	for name, behind := range map[string]int64{"nothing": 0, "zeros": 100_000, "a hole": 8 << 20} {
		for how, change := range map[string]func(*Arena, string) (string, error){"flip": flipEarly, "cut": cutEarly} {
			path := filepath.Join(t.TempDir(), "f")
			original := append(bytes.Clone(content), make([]byte, behind)...)
			written := original
			if name == "a hole" {
				written = content
			}
			if err := os.WriteFile(path, written, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, int64(len(original))); err != nil {
				t.Fatal(err)
			}
			if n, err := used(path); err != nil || n != int64(len(content)) {
				t.Errorf("%s behind: %d bytes used, %v; want %d", name, n, err, len(content))
			}
			what, err := change(a, path)
			if err != nil {
				t.Fatalf("%s, %s behind: %v", how, name, err)
			}
			now, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(now, original) {
				t.Errorf("%s, %s behind: nothing changed (%s)", how, name, what)
			}
			if differ := firstDifference(now, original); differ >= len(content)/2+1 {
				t.Errorf("%s, %s behind: changed from byte %d on, want it in the first half of %d", how, name, differ, len(content))
			}
		}
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestFilesIn: what holds nothing cannot be damaged, and a lock is no data.
func TestFilesIn(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"000001": "0123456789", "000002": "0123456789", "LOCK": "0123456789", "empty": "", "zeros": string(make([]byte, 100))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filesIn(dir)
	if err != nil || len(files) != 2 || filepath.Base(files[1]) != "000002" {
		t.Errorf("files %v, %v; want 000001 and 000002", files, err)
	}
}
