package wal

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// damagedLog is a small log of two segments whose owner was killed.
type damagedLog struct {
	files     map[string][]byte
	paths     []string
	states    []*model // after each Append
	ends      []int64  // where each Append ends; in the last segment from firstHere on
	firstHere int
	confirmed int64 // highest recorded synced offset in the last segment
	prevEnd   int64
}

func smallOptions(fs vfs.FS) Options {
	o := testOptions(fs)
	o.SegmentSize, o.RetainBytes, o.fillStep = 700, 1<<20, 64
	return o
}

func makeDamagedLog(t *testing.T) *damagedLog {
	t.Helper()
	mem := vfs.NewMem()
	o := smallOptions(mem)
	o.SegmentSize = 1 << 20
	l := mustOpen(t, o)
	d := &damagedLog{}
	w := newWorkload(5, 2)
	d.states = append(d.states, w.m.clone())
	d.ends = append(d.ends, 0)
	step := func(sync bool, records ...Record) {
		w.m.apply(records)
		before := len(l.segments)
		if err := l.Append(records, sync); err != nil {
			t.Fatal(err)
		}
		if len(l.segments) != before {
			d.firstHere = len(d.states)
		}
		d.states = append(d.states, w.m.clone())
		d.ends = append(d.ends, l.end)
	}
	hs := func(term, commit uint64) *Record {
		return &Record{Group: 1, HardState: hardStateOf(term, 2, commit)}
	}
	step(true, Record{Group: 1, Entries: entries(1, 1, "first", "second", "third")})
	step(true, Record{Group: 1, Mark: &Mark{Index: 1, Term: 1, Meta: []byte("sum")}, Note: &Note{Slot: 3, Data: []byte("note")}})
	step(false, *hs(1, 2))
	step(true, Record{Group: 2, Entries: entries(1, 1, "other group")}, Record{Group: 1, Entries: entries(3, 2, "replaced")})
	l.opts.SegmentSize = 1
	step(true, Record{Group: 1, Entries: entries(4, 2, "in the second segment", "")})
	l.opts.SegmentSize = 1 << 20
	step(false, *hs(2, 4))
	step(true, Record{Group: 1, Entries: entries(6, 2, "synced, and confirmed")})
	step(false, *hs(2, 6))
	step(false, Record{Group: 1, Entries: entries(7, 2, "not synced", "either")})
	step(false, Record{Group: 2, Entries: entries(2, 1, "last")})
	if len(l.segments) != 2 {
		t.Fatalf("%d segments, want 2", len(l.segments))
	}
	d.files = readFiles(t, mem, "data/wal")
	d.paths = slices.Sorted(maps.Keys(d.files))
	d.confirmed, d.prevEnd = l.recorded, l.segments[0].end
	return d
}

// expect opens the log with one file replaced and compares: want is the number of
// Appends, or -1 for a CorruptionError that names the file.
func (d *damagedLog) expect(t *testing.T, what, path string, data []byte, want int) {
	t.Helper()
	files := maps.Clone(d.files)
	files[path] = data
	fs := memFS(t, "data/wal", files)
	l, err := Open(smallOptions(fs))
	var c *CorruptionError
	if want < 0 {
		if !errors.As(err, &c) || c.File != path {
			t.Fatalf("%s: open says %v, want a CorruptionError naming %s", what, err, path)
		}
		for p, b := range readFiles(t, fs, "data/wal") {
			if !bytes.Equal(b, files[p]) {
				t.Fatalf("%s: open changed %s although it is corrupt", what, p)
			}
		}
		if _, err := Verify(fs, "data/wal"); !errors.As(err, &c) {
			t.Fatalf("%s: verify says %v", what, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("%s: open: %v, want the first %d appends", what, err, want)
	}
	defer l.Close()
	if err := d.states[want].diff(l); err != nil {
		t.Fatalf("%s: want the first %d appends: %v", what, want, err)
	}
}

// TestEveryByteFlipped: what was confirmed as synced is never lost silently, what
// was not is cut at the commit that is damaged.
func TestEveryByteFlipped(t *testing.T) {
	t.Parallel()
	d := makeDamagedLog(t)
	if d.confirmed <= d.ends[d.firstHere] || d.confirmed >= d.ends[len(d.ends)-1] {
		t.Fatalf("confirmed offset %d is not in the middle of %v", d.confirmed, d.ends)
	}
	for i, path := range d.paths {
		for pos := range d.files[path] {
			data := bytes.Clone(d.files[path])
			mask := byte(1) << (pos * 5 % 8)
			data[pos] ^= mask
			want := len(d.states) - 1
			switch {
			case i == 0 && int64(pos) < d.prevEnd, i == 1 && int64(pos) < d.confirmed:
				want = -1
			case i == 1 && int64(pos) < d.ends[want]:
				for int64(pos) < d.ends[want] {
					want--
				}
			}
			d.expect(t, fmt.Sprintf("byte %d of %s flipped by %#x", pos, path, mask), path, data, want)
		}
	}
}

// TestEveryTruncation: a sealed segment that is too short is corrupt; the last one
// gives a prefix, since what would confirm the rest is gone with it.
func TestEveryTruncation(t *testing.T) {
	t.Parallel()
	d := makeDamagedLog(t)
	mem := memFS(t, "data/wal", d.files)
	l := mustOpen(t, smallOptions(mem))
	start := l.segments[1].start
	_ = l.Close()
	for i, path := range d.paths {
		for n := range d.files[path] {
			want := len(d.states) - 1
			switch {
			case i == 0 && int64(n) < d.prevEnd, i == 1 && int64(n) < start:
				want = -1
			case i == 1:
				for want > d.firstHere-1 && int64(n) < d.ends[want] {
					want--
				}
			}
			d.expect(t, fmt.Sprintf("%s cut to %d bytes", path, n), path, d.files[path][:n], want)
		}
	}
}

// TestZeroedSectors models lost writes: 64 aligned bytes read as zero.
func TestZeroedSectors(t *testing.T) {
	t.Parallel()
	d := makeDamagedLog(t)
	for i, path := range d.paths {
		for pos := 0; pos+64 <= len(d.files[path]); pos += 64 {
			data := bytes.Clone(d.files[path])
			clear(data[pos : pos+64])
			want := len(d.states) - 1
			switch {
			case bytes.Equal(data, d.files[path]):
			case i == 0 && int64(pos) < d.prevEnd, i == 1 && int64(pos) < d.confirmed:
				want = -1
			case i == 1:
				for int64(pos) < d.ends[want-1] {
					want--
				}
				want--
			}
			d.expect(t, fmt.Sprintf("64 bytes at %d of %s zeroed", pos, path), path, data, want)
		}
	}
}

func TestMissingSegments(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := smallOptions(mem)
	l := mustOpen(t, o)
	for i := range uint64(30) {
		if err := l.Append([]Record{{Group: 1, Entries: entries(i+1, 1, "some data that fills the segments")}}, true); err != nil {
			t.Fatal(err)
		}
	}
	_ = l.Close()
	files := readFiles(t, mem, o.Dir)
	paths := slices.Sorted(maps.Keys(files))
	if len(paths) < 4 {
		t.Fatalf("%d segments", len(paths))
	}
	for i, path := range paths[:len(paths)-1] {
		rest := maps.Clone(files)
		delete(rest, path)
		_, err := Open(smallOptions(memFS(t, o.Dir, rest)))
		var c *CorruptionError
		if !errors.As(err, &c) || i > 0 && c.File != path {
			t.Errorf("without %s: open says %v", path, err)
		}
	}
	// Two segments changed places, and one of another log with the same number.
	swapped := maps.Clone(files)
	swapped[paths[1]], swapped[paths[2]] = files[paths[2]], files[paths[1]]
	o2 := smallOptions(vfs.NewMem())
	o2.salt = func() (uint64, error) { return 99, nil }
	l2 := mustOpen(t, o2)
	for i := range uint64(30) {
		if err := l2.Append([]Record{{Group: 1, Entries: entries(i+1, 1, "some data that fills the segments")}}, true); err != nil {
			t.Fatal(err)
		}
	}
	_ = l2.Close()
	foreign := maps.Clone(files)
	foreign[paths[1]] = readFiles(t, o2.FS, o2.Dir)[paths[1]]
	for what, fs := range map[string]map[string][]byte{"swapped": swapped, "foreign": foreign} {
		var c *CorruptionError
		if _, err := Open(smallOptions(memFS(t, o.Dir, fs))); !errors.As(err, &c) {
			t.Errorf("%s segment: open says %v", what, err)
		}
	}
}

// TestReadChecksAgain: damage that appears while the log is open is found when the
// entry is read.
func TestReadChecksAgain(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := testOptions(mem)
	o.CacheBytes = -1
	l := mustOpen(t, o)
	defer l.Close()
	if err := l.Append([]Record{{Group: 1, Entries: entries(1, 1, "one", "two", "three")}}, true); err != nil {
		t.Fatal(err)
	}
	off := int64(l.groups[1].spans[0].offs[1]) * frameAlign
	g := l.Group(1)
	for pos := off; pos < off+int64(frameSize(entryPrefixSize+3)); pos++ {
		flip := func() {
			b, err := mem.UnsafeGetFileDataBuffer(l.active.path)
			if err != nil {
				t.Fatal(err)
			}
			b[pos] ^= 4
		}
		flip()
		_, err := g.Entries(1, 4, 1<<20)
		var c *CorruptionError
		if !errors.As(err, &c) || c.File != l.active.path || c.Offset != off {
			t.Fatalf("byte %d flipped: read says %v, want corruption at %d", pos, err, off)
		}
		flip()
	}
	if got, err := g.Entries(1, 4, 1<<20); err != nil || len(got) != 3 {
		t.Fatalf("restored: %v, %v", got, err)
	}
}

// TestTornWrites keeps random pieces of what was not synced, much finer than
// sectors, in any order: whatever of it is there, the log is a prefix that has all
// that was synced, and it can go on.
func TestTornWrites(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		mem := vfs.NewMem()
		o := testOptions(mem)
		o.SegmentSize = 1 << 20
		l := mustOpen(t, o)
		w, h := newWorkload(seed, 2), &history{}
		if err := h.run(l, w, 10); err != nil {
			t.Fatal(err)
		}
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		h.synced = len(h.states) - 1
		path := l.active.path
		before := readFiles(t, mem, o.Dir)[path]
		for range 6 {
			records, _ := w.next()
			if err := l.Append(records, false); err != nil {
				t.Fatal(err)
			}
			h.states = append(h.states, w.m.clone())
		}
		after := readFiles(t, mem, o.Dir)[path]
		prefixes := map[int]bool{}
		for try := range 60 {
			data := bytes.Clone(after)
			keep := 1 + try%10 // of 11
			for pos := range len(data) / 8 {
				if piece := data[8*pos : 8*pos+8]; (pos/(1<<(try%7))*2654435761>>7)*(try+3)%11 >= keep {
					clear(piece)
					if 8*pos < len(before) {
						copy(piece, before[8*pos:])
					}
				}
			}
			o := testOptions(memFS(t, o.Dir, map[string][]byte{path: data}))
			prefixes[recoverAndGoOn(t, fmt.Sprintf("seed %d, try %d", seed, try), o, h, seed)-h.synced] = true
		}
		if len(prefixes) < 3 {
			t.Errorf("seed %d: only prefixes %v were recovered", seed, prefixes)
		}
	}
}

// TestCarryIsCompared: a segment whose opening state is not what the segments
// before add up to is refused, although every checksum in it is right.
func TestCarryIsCompared(t *testing.T) {
	t.Parallel()
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	if err := l.Append([]Record{{Group: 1, Entries: entries(1, 1, "a"), HardState: hardStateOf(1, 2, 0)}}, true); err != nil {
		t.Fatal(err)
	}
	l.groups[1].hs.vote = 3
	seg, err := l.newSegment(segmentHeader{number: 2, prevEnd: uint64(l.end), prevSalt: l.active.salt})
	if err != nil {
		t.Fatal(err)
	}
	_ = seg.release()
	_ = l.Close()
	var c *CorruptionError
	if _, err := Open(o); !errors.As(err, &c) || c.File != seg.path {
		t.Errorf("open says %v", err)
	}
}
