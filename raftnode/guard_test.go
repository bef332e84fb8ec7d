package raftnode

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// TestDamagedLogStopsTheNode: a sector that goes bad after the log was opened is
// found when Raft reads the entry again. That stops the node by name of file and
// offset; it is no panic, and nobody is left waiting.
func TestDamagedLogStopsTheNode(t *testing.T) {
	t.Parallel()
	fatal := make(chan error, 1)
	var c *cluster
	starts := 0
	c = newCluster(t, 1, func(cfg *Config) {
		if starts++; starts > 1 { // the log is open, and its cache empty
			flipByte(t, c.nodes[1].fs, "precious")
			cfg.Fatal = func(err error) { fatal <- err }
		}
	})
	if o := c.submit("precious"); o.err != nil {
		t.Fatal(o.err)
	}
	if err := c.nodes[1].Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.crash(1)
	c.start(1)
	n := c.nodes[1]
	err := <-fatal
	var damage *wal.CorruptionError
	if !errors.As(err, &damage) || !strings.HasSuffix(damage.File, ".wal") || damage.Offset == 0 {
		t.Fatalf("node stopped with %v, want a *wal.CorruptionError that names file and offset", err)
	}
	if _, err := n.ReadIndex(context.Background()); !errors.Is(err, ErrStopped) {
		t.Errorf("read afterwards: %v, want ErrStopped", err)
	}
	if err := n.Submit(newRequest("x")); !errors.Is(err, ErrStopped) {
		t.Errorf("submit afterwards: %v, want ErrStopped", err)
	}
	if err := n.Stop(context.Background()); !errors.As(err, &damage) {
		t.Errorf("stop: %v, want the damage", err)
	}
}

// TestDamageAnswersTheSameMail: whoever asked in the moment in which the log could not be read is answered as well.
func TestDamageAnswersTheSameMail(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *Config) { cfg.Fatal = func(error) {} })
	if o := c.submit("x"); o.err != nil {
		t.Fatal(o.err)
	}
	n := c.nodes[1]
	read, moved := make(chan readAnswer, 1), &transfer{done: make(chan error, 1)}
	bad := errors.New("damaged")
	n.inbox.put(func(m *mail) {
		n.core.storage.failed = bad          // whatever the core does not survive next is because of that:
		m.appended = append(m.appended, nil) // this
		m.readers = append(m.readers, read)
		m.transfers = append(m.transfers, transferRequest{t: moved})
	})
	select {
	case a := <-read:
		if !errors.Is(a.err, ErrStopped) {
			t.Errorf("the reader is told %v, want ErrStopped", a.err)
		}
	case <-time.After(testWait):
		t.Error("the reader waits for ever")
	}
	select {
	case err := <-moved.done:
		if !errors.Is(err, bad) {
			t.Errorf("the transfer ends with %v, want the damage", err)
		}
	case <-time.After(testWait):
		t.Error("the transfer never ends")
	}
	if err := n.Stop(context.Background()); !errors.Is(err, bad) {
		t.Errorf("stop: %v, want the damage", err)
	}
}

// flipByte damages the first byte of text in the log's segments.
func flipByte(t *testing.T, fs vfs.FS, text string) {
	t.Helper()
	names, err := fs.List("wal")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ".wal") {
			continue
		}
		f, err := fs.OpenReadWrite(fs.PathJoin("wal", name), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(content, []byte(text))
		if at >= 0 {
			_, err = f.WriteAt([]byte{content[at] ^ 1}, int64(at))
		}
		if err = errors.CombineErrors(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		if at >= 0 {
			return
		}
	}
	t.Fatalf("no segment of %q holds %q", names, text)
}
