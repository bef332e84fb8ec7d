package wal

import (
	"fmt"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	// ErrFatal is matched (errors.Is) by every error after which the log
	// refuses all further writes: after a failed write or sync nobody knows
	// what is on disk. The process must stop and open the log again.
	ErrFatal = errors.New("wal: write failed, the log must be opened again")
	// ErrNoSpace is matched, in addition to ErrFatal when it came from Append,
	// by errors whose cause is a full disk. The log opens again, complete up to
	// the last synced Append, once there is space.
	ErrNoSpace = errors.New("wal: no space left on device")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("wal: log is closed")
	// ErrNotEmpty is returned by Bootstrap for a group that already has state.
	ErrNotEmpty = errors.New("wal: group is not empty")
	// ErrInvalidRecord is matched by errors of Append about records that do not
	// continue the log: a gap, an entry at or below the mark or commit index, a
	// term that goes back, something too large. Nothing was written; the log stays usable.
	ErrInvalidRecord = errors.New("wal: invalid record")
)

// CorruptionError says that bytes which had been synced are no longer what was
// written. Nothing has been modified. The node must not take part in Raft with
// this log, since it may have forgotten a vote or entries that it acknowledged.
type CorruptionError struct {
	File   string // path of the segment
	Offset int64  // where the first bad frame starts, in bytes
	Reason string
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("wal: corruption in %s at offset %d: %s", e.File, e.Offset, e.Reason)
}

// IdentityError says that the log belongs to another cluster or another node.
type IdentityError struct {
	File                  string
	Cluster, Node         uint64 // found in the segment header
	WantCluster, WantNode uint64 // of the Options
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("wal: %s belongs to node %x of cluster %x, not to node %x of cluster %x",
		e.File, e.Node, e.Cluster, e.WantNode, e.WantCluster)
}

// VersionError says that the log was written in a format this build cannot read.
type VersionError struct {
	File    string
	Version uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("wal: %s has format version %d, this build reads version %d", e.File, e.Version, formatVersion)
}

// ioError wraps what the file system answered. It matches ErrFatal when fatal,
// and ErrNoSpace when the disk is full.
type ioError struct {
	op    string
	cause error
	fatal bool
}

func (e *ioError) Error() string { return fmt.Sprintf("wal: %s: %v", e.op, e.cause) }
func (e *ioError) Unwrap() error { return e.cause }
func (e *ioError) Is(target error) bool {
	return e.fatal && target == ErrFatal || target == ErrNoSpace && vfs.IsNoSpaceError(e.cause)
}

func wrapIO(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &ioError{op: fmt.Sprintf(format, args...), cause: err}
}

// fatal makes err match ErrFatal whatever else it matches.
func fatal(err error) error { return &ioError{op: "stop writing", cause: err, fatal: true} }
