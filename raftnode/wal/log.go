package wal

import (
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Log is an open log. One goroutine appends; any number read.
type Log struct {
	opts Options
	lock io.Closer // of the directory, held while the log is open
	dir  vfs.File  // to sync the directory

	// writer serialises Append, Sync and Close, and guards the fields down to mu.
	writer sync.Mutex
	broken error // the first failed write or sync, which ended the log's use
	commit *commit
	buf    []byte
	// end is where the next frame goes in the active segment, filled how far the
	// file is known to exist with zeros behind end.
	// Invariant: active.start <= recorded <= synced <= end <= filled; readers see
	// up to active.end, which lags behind end during an Append only.
	end, filled int64
	synced      int64 // everything below is durable, and so are all older segments
	recorded    int64 // the highest synced offset that a frame in the file records
	lastData    int64 // where the last commit ends that is not just a marker

	// mu guards what readers see. The appender reads it without, and changes it
	// with the write lock.
	mu       sync.RWMutex
	groups   map[uint64]*groupState
	caches   caches
	segments []*segment // oldest first; the last one is active
	active   *segment

	closed atomic.Bool
	stats  struct {
		appends, syncs, written, rotations, removed, hits, misses atomic.Uint64
	}
}

// group returns a group's state, made when missing. The caller holds mu.
func (l *Log) group(id uint64) *groupState {
	g := l.groups[id]
	if g == nil {
		g = &groupState{id: id}
		l.groups[id] = g
	}
	return g
}

// Groups returns the ids of the groups of which the log has something, ascending. Safe for
// concurrent use.
func (l *Log) Groups() []uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Sorted(maps.Keys(l.groups))
}

// Stats are sizes now, and counters since Open.
type Stats struct {
	Bytes      int64 // of all segments, without zeros filled ahead
	CacheBytes int64 // memory that recent entries take
	Segments   int

	Appends      uint64
	Syncs        uint64 // fdatasync calls of Append and Sync
	BytesWritten uint64
	Rotations    uint64
	Removed      uint64 // segments
	CacheHits    uint64 // calls of Entries that read no file
	CacheMisses  uint64
}

// Stats returns the log's sizes and counters. Safe for concurrent use.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := Stats{
		Segments:     len(l.segments),
		Appends:      l.stats.appends.Load(),
		Syncs:        l.stats.syncs.Load(),
		BytesWritten: l.stats.written.Load(),
		Rotations:    l.stats.rotations.Load(),
		Removed:      l.stats.removed.Load(),
		CacheHits:    l.stats.hits.Load(),
		CacheMisses:  l.stats.misses.Load(),
	}
	for _, seg := range l.segments {
		s.Bytes += seg.end
	}
	s.CacheBytes = l.caches.bytes
	return s
}

// Close syncs what was appended, records in the log that everything is synced,
// and closes it. After a fatal error it only closes. Readers get ErrClosed.
func (l *Log) Close() error {
	l.writer.Lock()
	defer l.writer.Unlock()
	if l.closed.Load() {
		return nil
	}
	err := l.broken
	if err == nil {
		err = l.confirm()
	}
	if err == nil {
		err = l.sync()
	}
	l.closed.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seg := range l.segments {
		if cerr := seg.release(); err == nil && cerr != nil {
			err = wrapIO(cerr, "close %s", seg.path)
		}
	}
	return firstError(err, l.dir.Close(), l.lock.Close())
}

// confirm writes a marker that records the synced offset, if no frame does yet:
// from then on damage to the last commits is corruption and no torn tail. The
// marker itself needs no sync. The caller holds writer.
func (l *Log) confirm() error {
	if err := l.sync(); err != nil {
		return err
	}
	if l.lastData <= l.recorded {
		return nil
	}
	l.commit.reset()
	l.commit.add(op{typ: frameMarker})
	return l.write(l.commit, false)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
