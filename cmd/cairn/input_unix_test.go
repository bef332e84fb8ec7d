//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInputFromAPipe: a named pipe is read once somebody writes to it. When nobody does, the
// command says so after a while instead of waiting for ever.
func TestInputFromAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		if w, err := os.OpenFile(pipe, os.O_WRONLY, 0); err == nil {
			_, _ = io.WriteString(w, "a receipt")
			_ = w.Close()
		}
	}()
	f, err := openNamed(pipe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "a receipt" {
		t.Errorf("the pipe gave %q, %v", text, err)
	}

	defer func(d time.Duration) { pipeWait = d }(pipeWait)
	pipeWait = 20 * time.Millisecond
	for what, read := range map[string]func() error{
		"a receipt or a policy": func() error { _, err := readFile(pipe, 100); return err },
		"a document":            func() error { _, err := digestFile(pipe); return err },
	} {
		done := make(chan error, 1)
		go func() { done <- read() }()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "nobody has opened it for writing") {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the command waits", what)
		}
	}
}

// TestDirectoryForAFile: a directory in the place of an input is a mistake of the command line.
func TestDirectoryForAFile(t *testing.T) {
	dir := t.TempDir()
	for what, read := range map[string]func() error{
		"a receipt":  func() error { _, err := readFile(dir, 100); return err },
		"a document": func() error { _, err := digestFile(dir); return err },
	} {
		if err := read(); err == nil || classify(err).code != exitUsage {
			t.Errorf("%s: %v, want exit code %d", what, err, exitUsage)
		}
	}
}
