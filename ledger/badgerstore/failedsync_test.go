package badgerstore

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// TestFailedSyncIsNotForgotten: the process after the one that met a failed sync writes the value
// log again, once.
func TestFailedSyncIsNotForgotten(t *testing.T) {
	dir := t.TempDir()
	value := bytes.Repeat([]byte("value"), 5000)
	reopen := func() *Store {
		t.Helper()
		s, err := Open(Options{Dir: dir, ValueThreshold: 100})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := reopen()
	if err := s.Commit(1, []ledger.Pair{{Key: []byte("group-1-large"), Value: value}}); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("input/output error")
	if err := s.remember(refused); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, refused) {
		t.Fatalf("close after a failed sync: %v", err)
	}
	log := filepath.Join(dir, "000001.vlog")
	long := time.Unix(1e9, 0)
	written := func() bool {
		t.Helper()
		info, err := os.Stat(log)
		if err != nil {
			t.Fatal(err)
		}
		return !info.ModTime().Equal(long)
	}
	if err := os.Chtimes(log, long, long); err != nil {
		t.Fatal(err)
	}
	if err := writeValuesAgain(dir); err != nil {
		t.Fatal(err)
	}
	if !written() {
		t.Error("the value log was not written again after a failed sync")
	}
	if err := os.Chtimes(log, long, long); err != nil {
		t.Fatal(err)
	}
	if err := writeValuesAgain(dir); err != nil || written() {
		t.Errorf("the value log was written again without need (%v)", err)
	}
	noteFailedSync(dir)
	s = reopen()
	if _, err := os.Stat(filepath.Join(dir, failedSync)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening a store does not see to a failed sync: %v", err)
	}
	if got, err := s.Get([]byte("group-1-large")); err != nil || !bytes.Equal(got, value) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// That somebody comes too late is no failure of the disk.
	if err := s.Commit(2, nil); !errors.Is(err, ledger.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, failedSync)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a clean close: %v", err)
	}
}

// TestWriteAgain: bytes stay, and so do holes.
func TestWriteAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 1<<20+77)
	copy(want[100_000:], "in the middle")
	copy(want[len(want)-3:], "end")
	for _, at := range []int{100_000, len(want) - 3} {
		if _, err := f.WriteAt(want[at:min(at+13, len(want))], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := writeAgain(name)
	if err != nil || n != 4096+77 {
		t.Errorf("wrote %d bytes, %v; want a page and what is left of another", n, err)
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file has changed (%v)", err)
	}
}
