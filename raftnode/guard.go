package raftnode

import (
	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// guardedStorage remembers the first read of the log that failed. etcd/raft has no
// error for a log that cannot be read: it panics in the middle of a step. The shell
// recovers that panic when an error is remembered here, and stops the node with the
// error, so that a damaged sector stops one node by name of file and offset. The core
// is not used again.
type guardedStorage struct {
	raft.Storage
	failed error
}

// note remembers err, except for the answers that are part of raft.Storage.
func (s *guardedStorage) note(err error) error {
	expected := err == nil || errors.Is(err, raft.ErrCompacted) || errors.Is(err, raft.ErrUnavailable) ||
		errors.Is(err, raft.ErrSnapshotTemporarilyUnavailable)
	if !expected && s.failed == nil {
		s.failed = err
	}
	return err
}

// Entries implements raft.Storage.
func (s *guardedStorage) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	ents, err := s.Storage.Entries(lo, hi, maxSize)
	return ents, s.note(err)
}

// Term implements raft.Storage.
func (s *guardedStorage) Term(i uint64) (uint64, error) {
	term, err := s.Storage.Term(i)
	return term, s.note(err)
}

// FirstIndex implements raft.Storage.
func (s *guardedStorage) FirstIndex() (uint64, error) {
	first, err := s.Storage.FirstIndex()
	return first, s.note(err)
}

// LastIndex implements raft.Storage.
func (s *guardedStorage) LastIndex() (uint64, error) {
	last, err := s.Storage.LastIndex()
	return last, s.note(err)
}

// Snapshot implements raft.Storage.
func (s *guardedStorage) Snapshot() (*raftpb.Snapshot, error) {
	snapshot, err := s.Storage.Snapshot()
	return snapshot, s.note(err)
}

// StorageError is why the log could not be read; nil as long as it could. Once it
// is set any method of the core may panic, and none may be called again but State.
func (c *Core) StorageError() error { return c.storage.failed }

// failOnPanic is deferred around everything that steps the core. A log that could not
// be read, and a panic that began in etcd/raft, end the driver; any other panic goes on.
func (d *Driver) failOnPanic(going *bool) {
	r := recover()
	if r == nil {
		return
	}
	*going = false
	if err := d.core.StorageError(); err != nil {
		d.fail(err, "read the log")
	} else {
		d.fail(recovered(r), "step Raft")
	}
	d.end(d.failure())
}
