package cluster_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
)

// TestFullDisk fills the disk of one node under load. The node stops by itself,
// says why, and comes back without loss once there is space.
//
// As root the node gets a small file system of its own, which is filled to the
// last byte. Otherwise its limit lies just below the present free space.
func TestFullDisk(t *testing.T) {
	var c *local.Cluster
	var filler string
	var low, rest int64 // what stays free until the node has stopped, and then
	if dir, ok := smallDisk(t); ok {
		t.Log("level: a file system of 256 MiB, filled completely")
		c = startCluster(t, 3, func(cfg *node.Config) {
			if cfg.Name == "n3" {
				cfg.DataDir, cfg.Storage.MinFreeBytes = filepath.Join(dir, "data"), 24<<20
			}
		})
		// A node that is slow to look must not find a disk without space before it has.
		filler, low, rest = filepath.Join(dir, "filler"), 20<<20, 0
	} else {
		t.Log("level: not root, the node's limit is raised to just below the free space")
		free := freeBytes(t, os.TempDir())
		c = startCluster(t, 3, func(cfg *node.Config) {
			if cfg.Name == "n3" {
				cfg.Storage.MinFreeBytes = free - 1<<30
			}
		})
		filler, low, rest = filepath.Join(t.TempDir(), "filler"), free-2<<30, free-2<<30
	}
	l := startLoad(t, c, 4)
	l.waitFor(t, 20)
	fill(t, filler, low)
	waitStopped(t, c, "n3")
	fill(t, filler, rest)
	if log := string(readFile(t, c.LogPath("n3"))); !strings.Contains(log, node.ErrDiskFull.Error()) {
		t.Errorf("n3 stopped without saying that the disk is full:\n%s", log[max(0, len(log)-2000):])
	}
	l.waitFor(t, 20)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := c.Start(ctx, "n3"); err == nil {
		t.Error("n3 started again although the disk is still full")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	start(t, c, "n3")
	l.waitFor(t, 20)
	l.stop()
	l.verify(t, c)
}

// TestLedgerOnAnotherDisk: the directory of the ledger is a link to a small disk. The node measures
// that disk, stops when it is full although there is space beside it, and does not start while it
// is.
func TestLedgerOnAnotherDisk(t *testing.T) {
	small, ok := smallDisk(t)
	if !ok {
		t.Skip("needs root to mount a disk; TestEveryDiskIsGuarded in cluster/node pretends to have one")
	}
	t.Log("level: a file system of 256 MiB behind a link")
	c := startCluster(t, 3, func(cfg *node.Config) {
		if cfg.Name != "n1" {
			return
		}
		cfg.Storage.MinFreeBytes = 24 << 20
		ledger, moved := filepath.Join(cfg.DataDir, "ledger"), filepath.Join(small, "ledger")
		if err := os.Mkdir(moved, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(ledger); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(moved, ledger); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := dial(t, c, "writer").Append(t.Context(), client.Entry{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	figure := func(name string) float64 { return metric(t, scrape(t, c), name) }
	if free := figure("cairn_disk_free_bytes"); free <= 0 || free > 256<<20 {
		t.Errorf("%.0f bytes are free on a disk of 256 MiB", free)
	}
	if size := figure("cairn_store_bytes"); size <= 0 {
		t.Errorf("the store has %.0f bytes", size)
	}
	filler := filepath.Join(small, "filler")
	fill(t, filler, 20<<20)
	waitStopped(t, c, "n1")
	if log := string(readFile(t, c.LogPath("n1"))); !strings.Contains(log, node.ErrDiskFull.Error()) || !strings.Contains(log, "data/ledger: ") {
		t.Error("n1 stopped without saying which disk is full")
	}
	said := tryNode(t, c, "n1", func(*node.Config) {})
	if !strings.Contains(said, node.ErrDiskFull.Error()) || !strings.Contains(said, "data/ledger") {
		t.Errorf("a start with a full disk says\n%s", said)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	start(t, c, "n1")
}

// TestNoStartWithoutSpace: a node looks at its disk before it opens anything.
func TestNoStartWithoutSpace(t *testing.T) {
	c := startCluster(t, 1)
	if err := c.Stop(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	said := tryNode(t, c, "n1", func(cfg *node.Config) { cfg.Storage.MinFreeBytes = 1 << 50 })
	if !strings.Contains(said, node.ErrDiskFull.Error()) || !strings.Contains(said, "storage.min_free_bytes is 1.0 PiB") {
		t.Errorf("the node says\n%s", said)
	}
}

// TestBrokenDiskEndsTheProcess: a node that has to stop because of its disk ends, although
// the store cannot be closed on that disk, so that a supervisor sees it.
func TestBrokenDiskEndsTheProcess(t *testing.T) {
	c := startCluster(t, 1, func(cfg *node.Config) { cfg.Storage.SegmentBytes = 1 << 20 })
	cl := dial(t, c, "writer", client.WithTimeout(2*time.Second))
	if _, err := cl.Append(t.Context(), client.Entry{Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	// New files cannot be made any more, neither segments nor tables.
	for _, dir := range []string{"wal", "ledger"} {
		if err := os.RemoveAll(filepath.Join(c.DataDir("n1"), dir)); err != nil {
			t.Fatal(err)
		}
	}
	payload := make([]byte, 60_000)
	for deadline := time.Now().Add(20 * time.Second); ; {
		if _, err := cl.Append(t.Context(), client.Entry{Payload: payload}); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the node goes on without its files")
		}
	}
	waitStoppedWithin(t, c, "n1", time.Minute)
}

// smallDisk mounts a file system of 256 MiB, if we may.
func smallDisk(t *testing.T) (string, bool) {
	t.Helper()
	if os.Getuid() != 0 {
		return "", false
	}
	dir := t.TempDir()
	if err := mountSmall(dir); err != nil {
		t.Logf("mount: %v", err)
		return "", false
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir, true
}

func freeBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// fill makes a file longer until no more than low bytes are free, or none at all.
func fill(t *testing.T, path string, low int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for freeBytes(t, filepath.Dir(path)) > low {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func waitStopped(t *testing.T, c *local.Cluster, name string) {
	t.Helper()
	waitStoppedWithin(t, c, name, 20*time.Second)
}

func waitStoppedWithin(t *testing.T, c *local.Cluster, name string, patience time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		all, err := c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if s.Name == name && s.Process == "stopped" {
				return
			}
		}
	}
	t.Fatalf("%s does not stop", name)
}
