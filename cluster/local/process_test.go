package local

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
)

// TestMain lets the test binary stand in for a daemon: it ends when its
// standard input does, or after a minute.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "daemon" {
		go func() {
			time.Sleep(time.Minute)
			os.Exit(3)
		}()
		if len(os.Args) > 2 {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}
		select {}
	}
	os.Exit(m.Run())
}

func startDaemon(t *testing.T, p process, lifeline *os.File) <-chan struct{} {
	t.Helper()
	argv := []string{os.Args[0], "daemon"}
	if lifeline != nil {
		argv = append(argv, "lifeline")
	}
	ended, err := p.start(argv, nil, t.TempDir(), lifeline)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if id, err := p.signal(syscall.SIGKILL); err == nil {
			_ = p.wait(context.Background(), id)
		}
		<-ended
	})
	return ended
}

func newProcess(t *testing.T) process {
	t.Helper()
	dir := t.TempDir()
	return process{pidPath: filepath.Join(dir, "pid"), logPath: filepath.Join(dir, "log")}
}

func TestProcessLife(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	if _, err := p.find(); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("before the start: %v, want ErrNotRunning", err)
	}
	ended := startDaemon(t, p, nil)
	f, err := p.find()
	if err != nil || f.state != procRunning {
		t.Fatalf("after the start: %+v, %v", f, err)
	}
	if _, err := p.start([]string{os.Args[0], "daemon"}, nil, t.TempDir(), nil); !errors.Is(err, ErrRunning) {
		t.Errorf("second start: %v, want ErrRunning", err)
	}
	for _, c := range []struct {
		sig  syscall.Signal
		want procState
	}{{syscall.SIGSTOP, procPaused}, {syscall.SIGCONT, procRunning}} {
		if _, err := p.signal(c.sig); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { f, err := p.find(); return err == nil && f.state == c.want })
	}
	id, err := p.signal(syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.wait(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, err := os.Stat(p.pidPath); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pid file after the end: %v, want it gone", err)
	}
	if _, err := p.signal(syscall.SIGKILL); !errors.Is(err, ErrNotRunning) {
		t.Errorf("signal after the end: %v, want ErrNotRunning", err)
	}
}

// TestForeignProcess has a pid file whose number belongs to somebody else by
// now: here to this very test, which a signal would end.
func TestForeignProcess(t *testing.T) {
	t.Parallel()
	start, _, err := inspectProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]pidFile{
		"started at another time": {PID: os.Getpid(), Start: start + "1", Boot: bootID()},
		"before a restart":        {PID: os.Getpid(), Start: start, Boot: "another boot"},
		"number not in use":       {PID: 1 << 30, Start: start, Boot: bootID()},
	} {
		p := newProcess(t)
		raw, _ := json.Marshal(id)
		if err := os.WriteFile(p.pidPath, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := p.signal(syscall.SIGKILL); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %v, want ErrNotRunning", name, err)
		}
	}
	p := newProcess(t)
	for _, text := range []string{"", "17", `{"pid":0,"start":"1"}`, `{"pid":1,"start":"1"}`, `{"pid":-1,"start":"1"}`} {
		if err := os.WriteFile(p.pidPath, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := p.signal(syscall.SIGKILL); err == nil || errors.Is(err, ErrNotRunning) {
			t.Errorf("pid file %q: %v, want an error about damage", text, err)
		}
	}
}

// TestWaitForAnother: whoever waits for the end of one process must not be held
// up by, nor delete the pid file of, the next one.
func TestWaitForAnother(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	startDaemon(t, p, nil)
	old := pidFile{PID: os.Getpid(), Start: "0", Boot: bootID()}
	if err := p.wait(context.Background(), old); err != nil {
		t.Fatal(err)
	}
	if _, err := p.find(); err != nil {
		t.Errorf("the new process: %v, want it untouched", err)
	}
}

func TestLifeline(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(t)
	ended := startDaemon(t, p, r)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the process outlives its lifeline")
	}
	_ = r.Close()
}

func TestTail(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	if got := p.tail(10); got != "" {
		t.Errorf("tail of no log: %q", got)
	}
	if err := os.WriteFile(p.logPath, []byte("first\nsecond\nthird\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := p.tail(8), "third\n"; got != want {
		t.Errorf("tail: %q, want %q", got, want)
	}
	if got, want := p.tail(100), "first\nsecond\nthird\n"; got != want {
		t.Errorf("tail: %q, want %q", got, want)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("what was waited for did not happen")
}
