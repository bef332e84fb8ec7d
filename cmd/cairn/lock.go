package main

import (
	"os"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

// refuseRunning fails if a node holds the lock of its data directory.
func refuseRunning(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errors.Wrap(err, "open lock file")
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return failf(exitFailed, stoppedOnly, "a node is running on this data directory")
	}
	return nil
}
