package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Torn is an unsynced tail: bytes that a crash left behind and that Open cuts.
type Torn struct {
	File   string
	Offset int64  // where the log ends
	Bad    int64  // where the first frame lies that could not be read
	Reason string // what is wrong there
}

func (t Torn) String() string {
	return fmt.Sprintf("torn tail of %s cut at offset %d: %s at offset %d", t.File, t.Offset, t.Reason, t.Bad)
}

// scanner reads a whole log, front to back, and modifies nothing.
type scanner struct {
	fs   vfs.FS
	dir  string
	want *segmentHeader // identity that the log must have; nil: any, but one

	// What scan finds.
	segments  []*segment
	groups    map[uint64]*groupState
	leftovers []string // unfinished segments
	torn      *Torn
	// Of the last segment: its file's size, the highest offset that a frame
	// records as synced, and where the last commit ends that is no marker.
	size, confirmed, lastData int64

	// Optional visitors, for Dump and Verify.
	onSegment func(*segment)
	onFrame   func(offset int64, h frameHeader, o *op)
}

func (s *scanner) corrupt(file string, offset int64, format string, args ...any) error {
	return &CorruptionError{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// scan fills in the results. The caller closes the segments' files in any case.
func (s *scanner) scan() error {
	s.groups = make(map[uint64]*groupState)
	if err := s.openSegments(); err != nil {
		return err
	}
	for i, seg := range s.segments {
		if s.onSegment != nil {
			s.onSegment(seg)
		}
		limit := int64(-1)
		if i+1 < len(s.segments) {
			limit = int64(s.segments[i+1].prevEnd)
		}
		if err := s.scanSegment(seg, i == 0, limit); err != nil {
			return err
		}
	}
	return s.checkGroups()
}

func (s *scanner) close() {
	for _, seg := range s.segments {
		_ = seg.release()
	}
}

// openSegments lists the directory and reads all segment headers.
func (s *scanner) openSegments() error {
	names, err := s.fs.List(s.dir)
	if oserror.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return wrapIO(err, "list %s", s.dir)
	}
	var numbers []uint64
	for _, name := range names {
		if strings.HasSuffix(name, tempSuffix) {
			s.leftovers = append(s.leftovers, name)
		}
		if n, ok := parseSegmentName(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Sort(s.leftovers)
	for i, n := range numbers {
		path := s.fs.PathJoin(s.dir, segmentName(n))
		if i > 0 && n != numbers[i-1]+1 {
			return s.corrupt(s.fs.PathJoin(s.dir, segmentName(numbers[i-1]+1)), 0, "segment is missing")
		}
		f, err := s.fs.Open(path)
		if err != nil {
			return wrapIO(err, "open segment %s", path)
		}
		seg := newSegment(segmentHeader{}, path, f)
		s.segments = append(s.segments, seg)
		if err := s.readHeader(seg, n); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) readHeader(seg *segment, number uint64) error {
	size, err := fileSize(seg)
	if err != nil {
		return err
	}
	win := window{f: seg.file, size: size}
	b, err := win.at(0, int(min(size, segmentHeaderSize)))
	if err != nil {
		return wrapIO(err, "read header of %s", seg.path)
	}
	h, version, reason := parseSegmentHeader(b)
	switch {
	case reason != "":
		return s.corrupt(seg.path, 0, "%s", reason)
	case version != formatVersion:
		return &VersionError{File: seg.path, Version: version}
	case h.number != number:
		return s.corrupt(seg.path, 0, "segment header has number %d", h.number)
	case s.want != nil && (h.cluster != s.want.cluster || h.node != s.want.node):
		return &IdentityError{File: seg.path, Cluster: h.cluster, Node: h.node, WantCluster: s.want.cluster, WantNode: s.want.node}
	}
	seg.segmentHeader = h
	if len(s.segments) == 1 {
		return nil
	}
	prev := s.segments[len(s.segments)-2]
	switch {
	case h.cluster != prev.cluster || h.node != prev.node:
		return s.corrupt(seg.path, 0, "segment belongs to another log than the one before")
	case h.prevSalt != prev.salt:
		return s.corrupt(prev.path, 0, "segment is not the one that %s follows", seg.path)
	}
	return nil
}

func fileSize(seg *segment) (int64, error) {
	info, err := seg.file.Stat()
	if err != nil {
		return 0, wrapIO(err, "stat %s", seg.path)
	}
	return min(info.Size(), maxSegmentSize), nil
}

// scanSegment reads the frames of one segment. A limit says where it must end,
// -1 that it is the last one, whose end is to be found.
func (s *scanner) scanSegment(seg *segment, first bool, limit int64) error {
	size, err := fileSize(seg)
	if err != nil {
		return err
	}
	if limit > size {
		return s.corrupt(seg.path, size, "segment ends here, it had %d bytes", limit)
	}
	last := limit < 0
	if last {
		limit = size
	}
	r := &segmentReader{s: s, seg: seg, first: first, last: last, limit: limit,
		win: window{f: seg.file, size: size, chunk: 1 << 20}}
	r.commit = newCommit(s.lookup, false)
	return r.read()
}

func (s *scanner) lookup(group uint64) *groupState { return s.groups[group] }

func (s *scanner) group(id uint64) *groupState {
	g := s.groups[id]
	if g == nil {
		g = &groupState{id: id}
		s.groups[id] = g
	}
	return g
}

// sortedGroups returns the groups by id: the order in which a carry has them.
func sortedGroups(groups map[uint64]*groupState) []*groupState {
	out := make([]*groupState, 0, len(groups))
	for _, g := range groups {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *groupState) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return out
}

// checkGroups checks what only the whole log can show.
func (s *scanner) checkGroups() error {
	for _, g := range sortedGroups(s.groups) {
		if g.base > g.mark.Index {
			return s.corrupt(s.segments[0].path, 0, "group %d: entries from %d to %d are missing, older segments were removed",
				g.id, g.mark.Index+1, g.base)
		}
	}
	return nil
}

// segmentReader reads one segment: parse frames, collect them into commits, apply
// each commit when its last frame has been read.
type segmentReader struct {
	s           *scanner
	seg         *segment
	first, last bool
	limit       int64
	win         window
	commit      *commit
	carry       []byte // frames of the carry, to compare
}

// bad says why the frame at an offset could not be read. A torn one may be the
// trace of a crash; the others were written like this.
type bad struct {
	reason string
	torn   bool
}

func (r *segmentReader) read() error {
	r.s.confirmed, r.s.lastData, r.s.size = 0, 0, r.win.size
	off := int64(segmentHeaderSize)
	start := off // of the commit
	for off < r.limit || !r.last && start < off {
		h, payload, b, err := r.frame(off)
		if err != nil {
			return err
		}
		if b == nil {
			b, err = r.take(off, start, h, payload)
			if err != nil {
				return err
			}
		}
		if b != nil {
			return r.stop(off, start, b)
		}
		off += int64(frameSize(int(h.length)))
		if h.flags&flagLast == 0 {
			continue
		}
		if err := r.finish(start, off, h); err != nil {
			return err
		}
		start = off
	}
	if start != off || r.seg.start == 0 {
		return r.stop(off, start, &bad{"segment ends within a commit", true})
	}
	r.seg.end = off
	return nil
}

// frame reads the frame at off, with its payload cut to its length.
func (r *segmentReader) frame(off int64) (h frameHeader, payload []byte, b *bad, err error) {
	if off+frameHeaderSize > r.limit {
		return h, nil, &bad{"segment ends within a frame", true}, nil
	}
	raw, err := r.win.at(off, frameHeaderSize)
	if err != nil {
		return h, nil, nil, wrapIO(err, "read %s at offset %d", r.seg.path, off)
	}
	h, reason := parseFrameHeader(raw, r.seg.salt, off)
	if reason != "" {
		return h, nil, &bad{reason, true}, nil
	}
	if h.version != formatVersion {
		return h, nil, nil, &VersionError{File: r.seg.path, Version: uint32(h.version)}
	}
	if reason := h.illegal(); reason != "" {
		return h, nil, &bad{reason, false}, nil
	}
	size := frameSize(int(h.length))
	if off+int64(size) > r.limit {
		return h, nil, &bad{"segment ends within a frame", true}, nil
	}
	if raw, err = r.win.at(off, size); err != nil {
		return h, nil, nil, wrapIO(err, "read %s at offset %d", r.seg.path, off)
	}
	payload = raw[frameHeaderSize:]
	if crc32.Checksum(payload, castagnoli) != h.payloadCRC {
		return h, nil, &bad{"frame payload has a wrong checksum", true}, nil
	}
	if !allZero(payload[h.length:]) {
		return h, nil, &bad{"frame padding is not zero", false}, nil
	}
	return h, payload[:h.length], nil, nil
}

// take adds a readable frame to the commit that began at start.
func (r *segmentReader) take(off, start int64, h frameHeader, payload []byte) (*bad, error) {
	carry := r.seg.start == 0
	switch {
	case h.ordinal != uint32(len(r.commit.ops)):
		return &bad{fmt.Sprintf("frame is number %d of its commit, not %d", h.ordinal, len(r.commit.ops)), false}, nil
	case carry != (h.flags&flagCarried != 0), carry && h.typ == frameEntry:
		return &bad{fmt.Sprintf("%s frame out of place", h.typ), false}, nil
	case carry && h.synced != 0, !carry && (int64(h.synced) < r.seg.start || h.synced > uint64(start)):
		return &bad{fmt.Sprintf("frame records an impossible synced offset %d", h.synced), false}, nil
	}
	o, reason := parsePayload(h.typ, h.group, payload)
	if reason == "" {
		o.offset = off
		if r.s.onFrame != nil {
			r.s.onFrame(off, h, &o)
		}
		if !carry && o.typ == frameBase && o.index == 0 {
			return &bad{"a log begins behind index 0", false}, nil
		}
		if carry && !r.first {
			r.carry = appendCarried(r.carry, &o)
			r.commit.ops = append(r.commit.ops, op{typ: frameMarker})
			return nil, nil
		}
		if o.typ == frameEntry {
			o.data = nil
		}
		if o.typ == frameNote {
			o.data = bytes.Clone(o.data)
		}
		reason = r.commit.add(o)
	}
	if reason != "" {
		return &bad{reason, false}, nil
	}
	return nil, nil
}

// appendCarried appends a carried frame in a form that can be compared.
func appendCarried(dst []byte, o *op) []byte {
	dst = append(dst, byte(o.typ))
	dst = binary.BigEndian.AppendUint64(dst, o.group)
	dst = binary.BigEndian.AppendUint32(dst, uint32(o.payloadSize()))
	return o.appendPayload(dst)
}

// finish applies the commit in [start, end).
func (r *segmentReader) finish(start, end int64, h frameHeader) error {
	s, seg := r.s, r.seg
	if seg.start == 0 {
		if h.typ != frameMarker {
			return s.corrupt(seg.path, start, "carried state does not end with a marker")
		}
		seg.start = end
		s.confirmed = end
		if !r.first {
			var want []byte
			for _, g := range sortedGroups(s.groups) {
				for _, o := range g.carried() {
					want = appendCarried(want, &o)
				}
			}
			want = appendCarried(want, &op{typ: frameMarker})
			if !bytes.Equal(r.carry, want) {
				return s.corrupt(seg.path, start, "carried state differs from the segments before")
			}
			r.carry = nil
		}
	} else {
		s.confirmed = max(s.confirmed, int64(h.synced))
	}
	data := false
	for i := range r.commit.ops {
		if o := &r.commit.ops[i]; o.typ != frameMarker {
			s.group(o.group).apply(o, seg)
			data = true
		}
	}
	if data || seg.start == end {
		s.lastData = end
	}
	r.commit.reset()
	seg.end = end
	return nil
}

// stop decides what a bad frame at off, in the commit that began at start, means.
func (r *segmentReader) stop(off, start int64, b *bad) error {
	s, seg := r.s, r.seg
	if !r.last || !b.torn || seg.start == 0 {
		return s.corrupt(seg.path, off, "%s", b.reason)
	}
	// The rest is a torn tail, unless something in it knows that it was durable.
	clean := true
	for at := off; at < r.win.size; at += frameAlign {
		n := int(min(frameHeaderSize, r.win.size-at))
		raw, err := r.win.at(at, n)
		if err != nil {
			return wrapIO(err, "read %s at offset %d", seg.path, at)
		}
		clean = clean && allZero(raw)
		if n < frameHeaderSize || binary.BigEndian.Uint32(raw) != frameMagic {
			continue
		}
		h, reason := parseFrameHeader(raw, seg.salt, at)
		if reason == "" && h.synced > uint64(start) {
			return s.corrupt(seg.path, off, "%s, but the frame at offset %d records that it was synced", b.reason, at)
		}
	}
	seg.end = start
	if !clean || off != start {
		s.torn = &Torn{File: seg.path, Offset: start, Bad: off, Reason: b.reason}
	}
	return nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
