package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestSegmentHeadersThatAreRefused: values that docs/format-wal.md does not allow, under a correct
// checksum.
func TestSegmentHeadersThatAreRefused(t *testing.T) {
	t.Parallel()
	good := appendSegmentHeader(nil, segmentHeader{number: 3, cluster: 1, node: 2, salt: 7, prevEnd: 80, prevSalt: 9})
	if _, version, reason := parseSegmentHeader(good); version != formatVersion || reason != "" {
		t.Fatalf("a sound header: version %d, %q", version, reason)
	}
	for what, change := range map[string]func([]byte){
		"a larger header":     func(b []byte) { binary.BigEndian.PutUint32(b[12:], segmentHeaderSize+8) },
		"a header of no size": func(b []byte) { clear(b[12:16]) },
		"reserved byte 64":    func(b []byte) { b[64] = 1 },
		"reserved byte 67":    func(b []byte) { b[67] = 1 },
	} {
		b := bytes.Clone(good)
		change(b)
		binary.BigEndian.PutUint32(b[68:], crc32.Checksum(b[:68], castagnoli))
		if h, _, reason := parseSegmentHeader(b); reason == "" {
			t.Errorf("%s was read as %+v", what, h)
		}
	}
}

// TestPayloadsThatAreRefused: no payload with a reserved byte set is read, nor one of another
// length.
func TestPayloadsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o        op
		reserved []int
	}{
		{op{typ: frameEntry, group: 1, index: 5, term: 2, prevTerm: 2, data: []byte("data")}, []int{25, 26, 27, 28, 29, 30, 31}},
		{op{typ: frameHardState, group: 1, hs: hardState{1, 2, 3}}, nil},
		{op{typ: frameMark, group: 1, mark: &Mark{Index: 5, Term: 2, Meta: []byte("summary")}}, []int{17, 18, 19}},
		{op{typ: frameNote, group: 1, slot: 3, data: []byte("note")}, []int{1, 2, 3, 4, 5, 6, 7}},
		{op{typ: frameBase, group: 1, index: 5, term: 2}, nil},
		{op{typ: frameMarker}, nil},
	} {
		b := c.o.appendPayload(nil)
		if _, reason := parsePayload(c.o.typ, c.o.group, b); reason != "" {
			t.Errorf("a sound %s: %s", c.o.typ, reason)
		}
		for _, at := range c.reserved {
			for _, bit := range []byte{1, 0x80} {
				changed := bytes.Clone(b)
				changed[at] = bit
				if _, reason := parsePayload(c.o.typ, c.o.group, changed); reason == "" {
					t.Errorf("a %s with %#x in the reserved byte %d was read", c.o.typ, bit, at)
				}
			}
		}
		if c.o.typ == frameEntry || c.o.typ == frameNote {
			continue // their data may have any length
		}
		if _, reason := parsePayload(c.o.typ, c.o.group, append(bytes.Clone(b), 0)); reason == "" {
			t.Errorf("a %s with a byte too many was read", c.o.typ)
		}
	}
}

// frameAt encodes one frame as it lies at an offset, and lets change spoil it under correct
// checksums.
func frameAt(o op, salt uint64, offset int64, h frameHeader, change func([]byte)) []byte {
	b := o.appendPayload(make([]byte, frameHeaderSize))
	h.typ, h.group = o.typ, o.group
	b = sealFrame(b, 0, salt, offset, h)
	if change != nil {
		change(b)
		binary.BigEndian.PutUint32(b[20:], crc32.Checksum(b[frameHeaderSize:], castagnoli))
		binary.BigEndian.PutUint32(b[36:], headerCRC(b, salt, offset))
	}
	return b
}

// TestFramesThatAreNeverTorn: frames with correct checksums whose values are illegal are
// corruption. Nobody tears a write like that, so the log is not cut.
func TestFramesThatAreNeverTorn(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		o      op
		change func([]byte)
	}{
		"padding that is not zero": {op{typ: frameNote, group: 1, slot: 1, data: []byte("12345")}, func(b []byte) { b[len(b)-1] = 1 }},
		"a base outside the carry": {op{typ: frameBase, group: 1}, nil},
		"an unknown flag":          {op{typ: frameMarker}, func(b []byte) { b[6] |= 0x80 }},
		"an unknown type":          {op{typ: frameMarker}, func(b []byte) { b[5] = 7 }},
	} {
		fs := vfs.NewMem()
		l := mustOpen(t, testOptions(fs))
		if err := l.Append([]Record{{Group: 1, Note: &Note{Slot: 1, Data: []byte("note")}}}, true); err != nil {
			t.Fatal(err)
		}
		seg := l.active
		h := frameHeader{flags: flagLast, synced: uint64(seg.end)}
		good := frameAt(op{typ: frameNote, group: 1, slot: 2, data: []byte("12345")}, seg.salt, seg.end, h, nil)
		bad := frameAt(c.o, seg.salt, seg.end, h, c.change)
		for _, frame := range [][]byte{bad, good} {
			if _, err := seg.file.WriteAt(append(frame, make([]byte, 100)...), seg.end); err != nil {
				t.Fatal(err)
			}
			r, err := Verify(fs, testOptions(fs).Dir)
			var corrupt *CorruptionError
			if sound := &frame[0] == &good[0]; sound && (err != nil || r.Torn != nil) || !sound && !errors.As(err, &corrupt) {
				t.Errorf("%s (sound: %t): %v, torn %v", what, sound, err, r.Torn)
			}
		}
		_ = l.Close()
	}
}

// TestEntryOfAnotherGroup: an entry that is read later must be of the group and index that are
// asked for.
func TestEntryOfAnotherGroup(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, testOptions(vfs.NewMem()))
	defer l.Close()
	if err := l.Append([]Record{{Group: 1, Entries: entries(1, 1, "of group 1")}, {Group: 2, Entries: entries(1, 1, "of group 2")}}, true); err != nil {
		t.Fatal(err)
	}
	s := l.groups[2].spans[0]
	off := int64(s.offs[0]) * frameAlign
	for _, c := range []struct {
		group, index uint64
		ok           bool
	}{{2, 1, true}, {1, 1, false}, {2, 2, false}} {
		win := window{f: s.seg.file, size: maxSegmentSize}
		e, err := readEntry(&win, s.seg, c.group, c.index, off)
		var corrupt *CorruptionError
		if c.ok && (err != nil || string(e.Data) != "of group 2") || !c.ok && !errors.As(err, &corrupt) {
			t.Errorf("entry %d of group %d where entry 1 of group 2 lies: %v, %v", c.index, c.group, e, err)
		}
	}
}

// TestVoteBelongsToItsTerm: a mark of a later term than the hard state's raises the term, and the
// vote of the older term is none in the later one.
func TestVoteBelongsToItsTerm(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	l := mustOpen(t, testOptions(fs))
	if err := l.Append([]Record{{Group: 1, HardState: hardStateOf(2, 3, 0), Mark: &Mark{Index: 9, Term: 4}}}, true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		hs, _, err := l.Group(1).InitialState()
		if err != nil || hs.GetTerm() != 4 || hs.GetVote() != 0 || hs.GetCommit() != 9 {
			t.Errorf("hard state %v, %v, want term 4 without a vote and commit 9", hs, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, testOptions(fs))
	}
	_ = l.Close()
}

// TestCacheIsBoundedOverAllGroups: many groups together hold no more than CacheBytes, and one of
// them may have all of it while the others are quiet.
func TestCacheIsBoundedOverAllGroups(t *testing.T) {
	t.Parallel()
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	defer l.Close()
	const groups = 8
	for i := uint64(1); i <= 40; i++ {
		var records []Record
		for g := uint64(1); g <= groups; g++ {
			records = append(records, Record{Group: g, Entries: entries(i, 1, fmt.Sprintf("%100d", i))})
		}
		if err := l.Append(records, false); err != nil {
			t.Fatal(err)
		}
		if n := l.Stats().CacheBytes; i > 1 && n > o.CacheBytes {
			t.Fatalf("after %d entries of each group the cache holds %d bytes, at most %d are allowed", i, n, o.CacheBytes)
		}
	}
	for i := uint64(41); i <= 80; i++ {
		if err := l.Append([]Record{{Group: 1, Entries: entries(i, 1, fmt.Sprintf("%100d", i))}}, false); err != nil {
			t.Fatal(err)
		}
	}
	size := cachedSize(entries(1, 1, fmt.Sprintf("%100d", 1))[0])
	if n := l.groups[1].recent.bytes; n <= o.CacheBytes-size || n > o.CacheBytes {
		t.Errorf("the busy group has %d bytes in the cache, want all of %d but less than the %d of an entry", n, o.CacheBytes, size)
	}
}

// TestRetainBytesRemain: as long as a removal would leave less than RetainBytes, nothing is
// removed, even when the mark covers everything.
func TestRetainBytesRemain(t *testing.T) {
	t.Parallel()
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	defer l.Close()
	for i := uint64(1); i <= 60; i++ {
		r := Record{Group: 1, Entries: entries(i, 1, fmt.Sprintf("%500d", i)), Mark: &Mark{Index: i, Term: 1}}
		if err := l.Append([]Record{r}, true); err != nil {
			t.Fatal(err)
		}
		if s := l.Stats(); s.Removed > 0 && s.Bytes < o.RetainBytes {
			t.Fatalf("%d segments were removed and %d bytes are left, want at least %d", s.Removed, s.Bytes, o.RetainBytes)
		}
	}
	if s := l.Stats(); s.Removed == 0 {
		t.Error("no segment was removed: the test shows nothing")
	}
}

// TestEntriesMissingAboveTheMark: the first entry left may follow the mark directly, and must not
// leave out a single one.
func TestEntriesMissingAboveTheMark(t *testing.T) {
	t.Parallel()
	for mark, ok := range map[uint64]bool{4: true, 3: false, 2: false} {
		s := newInspector(vfs.NewMem(), "wal")
		s.segments = []*segment{newSegment(segmentHeader{number: 7}, "wal/7", nil)}
		s.groups = map[uint64]*groupState{1: {id: 1, base: 4, baseTerm: 1, last: 9, mark: Mark{Index: mark, Term: 1}, marked: true}}
		var corrupt *CorruptionError
		if err := s.checkGroups(); ok && err != nil || !ok && !errors.As(err, &corrupt) {
			t.Errorf("entries from 5 on and the mark at %d: %v, want accepted: %t", mark, err, ok)
		}
	}
}
