package node

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// TestEveryDiskIsGuarded: the ledger and the Raft log may lie on disks of their own. The one with
// the least space counts, and is named.
func TestEveryDiskIsGuarded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	create(t, path)
	n := &node{dir: &dataDir{path: path}}
	n.cfg.Storage.MinFreeBytes = 50
	defer func() { statFree = freeSpace }()
	for _, low := range []string{"", walDir, ledgerDir} {
		full := filepath.Join(path, low)
		statFree = func(p string) (int64, error) {
			if p == full {
				return 49, nil
			}
			return 1000, nil
		}
		if err := n.checkSpace(); !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), full+": 49 B free") {
			t.Errorf("%q is full: %v, want ErrDiskFull with the directory", low, err)
		}
		if free, err := n.dir.freeBytes(); err != nil || free != 49 {
			t.Errorf("%q is full: %d bytes are free, %v", low, free, err)
		}
	}
	statFree = func(string) (int64, error) { return 50, nil }
	if err := n.checkSpace(); err != nil {
		t.Errorf("just enough space: %v", err)
	}
	statFree = func(p string) (int64, error) {
		if p != path {
			return 0, &os.PathError{Op: "statfs", Path: p, Err: syscall.ENOENT}
		}
		return 50, nil
	}
	if err := n.checkSpace(); err != nil {
		t.Errorf("directories that are gone: %v", err)
	}
}

// TestFullDiskIsNamed: whatever part of the node meets the end of a disk, the node stops with
// ErrDiskFull.
func TestFullDiskIsNamed(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{wal.ErrNoSpace, syscall.ENOSPC, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}} {
		n := &node{fatal: make(chan error, 1)}
		n.fail(errors.Wrap(cause, "apply"))
		if err := <-n.fatal; !errors.Is(err, ErrDiskFull) || !strings.Contains(err.Error(), ErrDiskFull.Error()) {
			t.Errorf("%v: the node stops with %v", cause, err)
		}
	}
	n := &node{fatal: make(chan error, 1)}
	n.fail(errors.New("something else"))
	if err := <-n.fatal; errors.Is(err, ErrDiskFull) {
		t.Errorf("something else is named a full disk: %v", err)
	}
}

// TestStoreBehindALink: the size of the store is that of the files behind the link.
func TestStoreBehindALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "disk"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "disk", "000001.vlog"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "ledger")
	if err := os.Symlink("disk", link); err != nil {
		t.Fatal(err)
	}
	var size atomic.Int64
	done := make(chan struct{})
	close(done)
	measureStore(link, &size, done)
	for deadline := time.Now().Add(5 * time.Second); size.Load() < 1<<20; {
		if time.Now().After(deadline) {
			t.Fatalf("the store has %d bytes, want at least 1 MiB", size.Load())
		}
		measureStore(link, &size, done)
	}
}

// TestStoreOfSparseFiles: the size of the store is what it occupies. Badger's files are sparse:
// their lengths say nothing.
func TestStoreOfSparseFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "000001.vlog"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	var size atomic.Int64
	done := make(chan struct{})
	close(done)
	measureStore(dir, &size, done)
	if got := size.Load(); got > 1<<20 {
		t.Errorf("a file of 1 GiB that occupies next to nothing counts as %d bytes", got)
	}
}
