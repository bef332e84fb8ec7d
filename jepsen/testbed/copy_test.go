package testbed

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCopyTree: the copy has the same bytes, and needs no more space.
func TestCopyTree(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	if err := os.MkdirAll(filepath.Join(from, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	f, err := os.Create(filepath.Join(from, "sub", "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 10 << 20, size - 5} {
		if _, err := f.WriteAt([]byte("cairn"), at); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	if err := os.WriteFile(filepath.Join(from, "plain"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CopyTree(from, to); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "sub/sparse"} {
		a, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(to, name)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: the copy differs (%v)", name, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(to, "sub", "sparse"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*512 > size/2 {
		t.Errorf("the copy of a sparse file takes %d bytes", st.Blocks*512)
	}
	if err := CopyTree(from, to); err == nil {
		t.Error("a copy over another one succeeded")
	}
}
