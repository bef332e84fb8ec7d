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
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

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

// TestDamageAnswersTheSameMail: whoever asked in the moment in which the log could not be read is
// answered as well.
func TestDamageAnswersTheSameMail(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, func(cfg *Config) { cfg.Fatal = func(error) {} })
	if o := c.submit("x"); o.err != nil {
		t.Fatal(o.err)
	}
	n := c.nodes[1]
	read, moved := make(chan error, 1), make(chan error, 1)
	bad := errors.New("damaged")
	n.driver.inbox.put(func(m *mail) {
		n.driver.core.storage.failed = bad // The core does not survive the next line, because of that.
		m.written = append(m.written, nil)
		m.readers = append(m.readers, func(_ uint64, err error) { read <- err })
		m.transfers = append(m.transfers, transfer{done: func(err error) { moved <- err }})
	})
	select {
	case err := <-read:
		if !errors.Is(err, ErrStopped) {
			t.Errorf("the reader is told %v, want ErrStopped", err)
		}
	case <-time.After(testWait):
		t.Error("the reader waits for ever")
	}
	select {
	case err := <-moved:
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

// TestLibraryPanicStopsTheNode: a panic that begins in etcd/raft stops the node with a sentence,
// and whoever waits is answered. It is provoked by a response of the log that Raft never asked for.
func TestLibraryPanicStopsTheNode(t *testing.T) {
	t.Parallel()
	fatal := make(chan error, 1)
	c := newCluster(t, 1, func(cfg *Config) { cfg.Fatal = func(err error) { fatal <- err } })
	if o := c.submit("x"); o.err != nil {
		t.Fatal(o.err)
	}
	n := c.nodes[1]
	read := make(chan error, 1)
	n.driver.inbox.put(func(m *mail) {
		none := uint64(1 << 40)
		typ, from, to := raftpb.MsgStorageApplyResp, raft.LocalApplyThread, uint64(1)
		m.applied = append(m.applied, &ApplyWork{local: []*raftpb.Message{{Type: &typ, From: &from, To: &to, Entries: []*raftpb.Entry{{Index: &none}}}}})
		m.readers = append(m.readers, func(_ uint64, err error) { read <- err })
	})
	err := <-fatal
	var panicked *LibraryPanic
	if !errors.As(err, &panicked) || !strings.Contains(panicked.Text, "applied(") || !strings.Contains(panicked.Stack, "appliedTo") {
		t.Fatalf("node stopped with %v, want a *LibraryPanic with the library's text and stack", err)
	}
	if said := err.Error(); !strings.Contains(said, "leave it stopped") || strings.Contains(said, "goroutine") {
		t.Errorf("the node says %q, want a sentence with what to do and no stack", said)
	}
	if err := <-read; !errors.Is(err, ErrStopped) {
		t.Errorf("the reader is told %v, want ErrStopped", err)
	}
	if err := n.Stop(context.Background()); !errors.As(err, &panicked) {
		t.Errorf("stop: %v, want the panic", err)
	}
}

// TestOwnPanicGoesOn: only what begins in etcd/raft is recovered; a broken invariant of this
// program is not hidden.
func TestOwnPanicGoesOn(t *testing.T) {
	t.Parallel()
	try := func(f func()) (crash any, err error) {
		defer func() { crash = recover() }()
		func() {
			defer recoverLibrary(&err)
			f()
		}()
		return nil, err
	}
	l := newLone(t, nil)
	term := lead(t, l)
	var panicked *LibraryPanic
	for name, f := range map[string]func(){
		"Panicf of the library's logger": func() { NewLogger(nil).Panicf("x") },
		"a runtime error in the library": func() {
			_ = l.core.rn.Step(msg{typ: raftpb.MsgHeartbeatResp, from: 2, term: term, context: []byte("short")}.proto())
		},
	} {
		if crash, err := try(f); !errors.As(err, &panicked) || crash != nil {
			t.Errorf("%s: error %v, crash %v; want a *LibraryPanic", name, err, crash)
		}
	}
	for name, f := range map[string]func(){
		"a panic of ours":         func() { panic("ours") },
		"a runtime error of ours": func() { var s []int; _ = s[len(l.tags)] },
	} {
		if crash, err := try(f); err != nil || crash == nil {
			t.Errorf("%s: error %v, crash %v; want a crash", name, err, crash)
		}
	}
}
