// Package wal is the Raft log: hard state and entries of all groups of a node in
// one segmented, append-only, group-committing log.
package wal

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

const formatVersion = 1
const maxSegmentSize = 32 << 30
const zeroFillStep = 256 << 10

func randomSalt() (uint64, error) { return 0, nil }

// Log is the log.
type Log struct{}

// Open opens the log.
func Open(o Options) (*Log, error) { return nil, ErrClosed }

// Append writes records.
func (l *Log) Append(records []Record, sync bool) error { return ErrClosed }

// Bootstrap gives an empty group its first mark.
func (l *Log) Bootstrap(group uint64, m Mark) error { return ErrClosed }

// Sync makes everything appended durable.
func (l *Log) Sync() error { return ErrClosed }

// Close closes the log.
func (l *Log) Close() error { return nil }

// Group returns the view of one group.
func (l *Log) Group(id uint64) *Group { return nil }

// Stats are counters since Open, and sizes now.
type Stats struct {
	Bytes, CacheBytes                                int64
	Segments                                         int
	Appends, Syncs, BytesWritten, Rotations, Removed uint64
	CacheHits, CacheMisses                           uint64
}

// Stats returns them.
func (l *Log) Stats() Stats { return Stats{} }

// Group is one group's part of the log. It implements raft.Storage.
type Group struct{}

var _ raft.Storage = (*Group)(nil)

func (g *Group) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return nil, nil, ErrClosed
}
func (g *Group) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) { return nil, ErrClosed }
func (g *Group) Term(i uint64) (uint64, error)                           { return 0, ErrClosed }
func (g *Group) FirstIndex() (uint64, error)                             { return 0, ErrClosed }
func (g *Group) LastIndex() (uint64, error)                              { return 0, ErrClosed }
func (g *Group) Snapshot() (*raftpb.Snapshot, error)                     { return nil, ErrClosed }

// Mark returns the newest mark; zero when there is none.
func (g *Group) Mark() Mark { return Mark{} }

// Note returns what the slot holds; nil when empty.
func (g *Group) Note(slot uint8) []byte { return nil }

// Report is what Verify found in an intact log.
type Report struct {
	Segments, Frames, Entries int
	Bytes                     int64
	Torn                      *Torn
}

// Torn is an unsynced tail that the next Open will cut.
type Torn struct {
	File   string
	Offset int64
	Reason string
}

// Verify reads the whole log and modifies nothing.
func Verify(fs vfs.FS, dir string) (Report, error) { return Report{}, ErrClosed }

// Dump prints every frame.
func Dump(w io.Writer, fs vfs.FS, dir string) error { return ErrClosed }
