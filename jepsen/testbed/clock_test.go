package testbed

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const clockProgram = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	start := time.Now()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		now := time.Now()
		fmt.Println(now.Unix(), now.Sub(start) < time.Minute)
	}
}
`

// TestMovedClock: the wall clock of a program built with the overlay follows its
// clock file, the monotonic clock does not.
func TestMovedClock(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the standard library")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte(clockProgram), 0o644); err != nil {
		t.Fatal(err)
	}
	overlay, err := skewOverlay(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "program")
	if err := Build(context.Background(), source, exe, overlay); err != nil {
		t.Fatal(err)
	}
	c, err := newClock(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	for _, offset := range []time.Duration{0, 90 * time.Minute, -36 * time.Hour, -1500 * time.Millisecond, 0} {
		if err := c.set(offset); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("\n")); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() {
			t.Fatalf("the program ended: %v", lines.Err())
		}
		var unix int64
		var mono bool
		if _, err := fmt.Sscan(lines.Text(), &unix, &mono); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		want := time.Now().Add(offset).Unix()
		if unix < want-10 || unix > want+10 {
			t.Errorf("offset %v: the clock says %d, want about %d", offset, unix, want)
		}
		if !mono {
			t.Errorf("offset %v: the monotonic clock moved", offset)
		}
	}
}
