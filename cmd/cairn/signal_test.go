package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cairnledger/cairn/cluster/local"
)

// stubborn is a program whose clean stop never ends, as when a disk hangs.
func stubborn() {
	ctx, stop := untilSignal()
	defer stop()
	fmt.Println("running")
	<-ctx.Done()
	fmt.Println("stopping")
	time.Sleep(time.Minute)
}

// TestSecondSignalEndsTheProcess, whatever the first one made it wait for.
func TestSecondSignalEndsTheProcess(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "cairn-stubborn")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, want := range []string{"running", "stopping"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the process said %q, want %q", lines.Text(), want)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	again := time.NewTicker(20 * time.Millisecond) // one that came too early counts as the first
	defer again.Stop()
	for {
		select {
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
				t.Fatalf("the process ended with %v, want SIGTERM", err)
			}
			return
		case <-again.C:
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may be gone
		}
	}
}

// TestInterruptedWhileReading: whoever types an entry can leave.
func TestInterruptedWhileReading(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	in, typed := io.Pipe()
	defer typed.Close()
	var out, errs bytes.Buffer
	go func() {
		_, _ = typed.Write([]byte("half an en")) // returns when it was read
		cancel()
	}()
	code := execute(ctx, []string{"append", "--profile", "none"}, streams{in: in, out: &out, err: &errs})
	if code != exitInterrupted || out.Len() != 0 {
		t.Fatalf("exit code %d, output %q, errors %q", code, out.String(), errs.String())
	}
}

// TestInterruptedWhileFollowing: logs that are followed end as everything else does that is
// interrupted.
func TestInterruptedWhileFollowing(t *testing.T) {
	t.Parallel()
	exe, err := exec.LookPath("cairn")
	if err != nil {
		t.Fatal(err)
	}
	c, err := local.Create(local.Options{Dir: filepath.Join(t.TempDir(), "c"), Nodes: 1, Executable: exe})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	time.AfterFunc(2*logPoll, cancel)
	var out, errs bytes.Buffer
	code := execute(ctx, []string{"cluster", "logs", "--follow", "--dir", c.Dir()}, streams{out: &out, err: &errs})
	if code != exitInterrupted {
		t.Fatalf("exit code %d, errors %q", code, errs.String())
	}
}
