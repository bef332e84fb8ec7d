package main

import (
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
)

// holdStopped fails if a node runs on the data directory, and keeps a node from
// starting on it until release is called. It takes a shared lock on the node's LOCK
// file through a read-only descriptor and changes nothing. A directory without
// that file has no node.
func holdStopped(dataDir string) (release func(), err error) {
	f, err := os.Open(filepath.Join(dataDir, "LOCK"))
	if errors.Is(err, os.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, errors.Wrap(err, "open lock file")
	}
	if err := lockShared(f); err != nil {
		_ = f.Close()
		return nil, failf(exitFailed, stoppedOnly, "a node is running on this data directory")
	}
	return func() { _ = f.Close() }, nil
}
