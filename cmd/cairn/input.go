package main

import (
	"os"
	"time"

	"github.com/cockroachdb/errors"
)

// pipeWait is how long a command waits until somebody writes to a named pipe that it is to read.
var pipeWait = 10 * time.Second // changed by tests only

// openNamed opens what a user names as a command's input: a file, a device, or a pipe such as a
// shell makes of <(…). Every input is opened by openNamed. Opening a named pipe waits for a writer,
// and the wait can be neither interrupted nor bounded, so it is left behind when it takes too long.
func openNamed(path string) (*os.File, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, usagef("%s is a directory, and a file is wanted", path)
	case err != nil || info.Mode()&os.ModeNamedPipe == 0:
		return os.Open(path)
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-time.After(pipeWait):
		return nil, errors.Newf("%s is a pipe, and nobody has opened it for writing within %s", path, pipeWait)
	}
}
