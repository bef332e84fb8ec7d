package wal

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	segmentSuffix = ".wal"
	tempSuffix    = ".wal.tmp"
	lockName      = "LOCK"
)

func segmentName(number uint64) string { return fmt.Sprintf("%016x%s", number, segmentSuffix) }

// parseSegmentName returns the number in a name that segmentName made.
func parseSegmentName(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return n, err == nil && segmentName(n) == name
}

// segment is one file of the log.
type segment struct {
	segmentHeader
	path string
	file vfs.File // for ReadAt; the active segment's also for writing

	// start is where the carry ends and Appends begin; end is where the valid
	// part ends so far. Offsets in bytes.
	start, end int64

	// maxIndex is the highest index that was ever written here, per group.
	maxIndex map[uint64]uint64

	// refs counts the log itself and the readers; at zero the file is closed.
	refs atomic.Int32
}

func newSegment(h segmentHeader, path string, f vfs.File) *segment {
	s := &segment{segmentHeader: h, path: path, file: f, maxIndex: make(map[uint64]uint64)}
	s.refs.Store(1)
	return s
}

func (s *segment) noteIndex(group, index uint64) {
	s.maxIndex[group] = max(s.maxIndex[group], index)
}

// acquire must be called while the log holds its own reference, under Log.mu.
func (s *segment) acquire() { s.refs.Add(1) }

func (s *segment) release() error {
	if s.refs.Add(-1) > 0 || s.file == nil {
		return nil
	}
	return s.file.Close()
}

// appendCarry appends the opening state of a segment, one commit that ends with a
// marker, and returns buf and the states' operations.
func appendCarry(buf []byte, base int64, salt uint64, groups []*groupState) []byte {
	ordinal := uint32(0)
	add := func(o *op, flags uint8) {
		at := len(buf)
		buf = append(buf, zeroHeader[:]...)
		buf = o.appendPayload(buf)
		buf = sealFrame(buf, at, salt, base+int64(at), frameHeader{
			typ: o.typ, group: o.group, flags: flagCarried | flags, ordinal: ordinal})
		ordinal++
	}
	for _, g := range groups {
		for _, o := range g.carried() {
			add(&o, 0)
		}
	}
	add(&op{typ: frameMarker}, flagLast)
	return buf
}

// createSegment makes a new segment whose header and carry are durable before the
// file gets its name, and the name before anything is appended: so a crash leaves
// either no segment, or a complete one, and never one with an unreadable head.
func createSegment(o Options, dir vfs.File, h segmentHeader, groups []*groupState) (*segment, error) {
	buf := appendCarry(appendSegmentHeader(nil, h), 0, h.salt, groups)
	end := int64(len(buf))
	buf = append(buf, make([]byte, roundUp(end, o.fillStep)-end)...)

	temp := o.FS.PathJoin(o.Dir, strings.TrimSuffix(segmentName(h.number), segmentSuffix)+tempSuffix)
	path := o.FS.PathJoin(o.Dir, segmentName(h.number))
	f, err := o.FS.Create(temp, writeCategory)
	if err != nil {
		return nil, wrapIO(err, "create segment %s", temp)
	}
	_, err = f.Write(buf)
	if err != nil {
		err = wrapIO(err, "write head of segment %s", temp)
	} else if err = f.Sync(); err != nil {
		err = wrapIO(err, "sync segment %s", temp)
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = wrapIO(cerr, "close segment %s", temp)
	}
	if err != nil {
		return nil, err
	}
	if err := o.FS.Rename(temp, path); err != nil {
		return nil, wrapIO(err, "rename segment %s", temp)
	}
	if err := dir.Sync(); err != nil {
		return nil, wrapIO(err, "sync directory %s", o.Dir)
	}
	if f, err = o.FS.OpenReadWrite(path, writeCategory); err != nil {
		return nil, wrapIO(err, "open segment %s", path)
	}
	s := newSegment(h, path, f)
	s.start, s.end = end, end
	return s, nil
}

const writeCategory vfs.DiskWriteCategory = "cairn-wal"

func roundUp(n, step int64) int64 { return (n + step - 1) / step * step }
