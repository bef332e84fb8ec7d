package wal

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"
)

// opCounter counts operations by kind.
type opCounter map[errorfs.OpKind]int

func (c opCounter) String() string                 { return "count" }
func (c opCounter) MaybeError(op errorfs.Op) error { c[op.Kind]++; return nil }

func TestOneWriteOneSync(t *testing.T) {
	t.Parallel()
	count := opCounter{}
	o := testOptions(errorfs.Wrap(vfs.NewMem(), count))
	o.SegmentSize = 1 << 20
	l := mustOpen(t, o)
	defer l.Close()
	for i, c := range []struct {
		records       []Record
		sync          bool
		writes, syncs int
	}{
		{[]Record{{Group: 1, Entries: entries(1, 1, "a", "b", strings.Repeat("c", 5000)), HardState: hardStateOf(1, 1, 0)}, {Group: 2, Entries: entries(1, 1, "x")}}, true, 1, 1},
		{[]Record{{Group: 1, HardState: hardStateOf(1, 1, 1)}}, false, 1, 0},
		{[]Record{{Group: 1, Entries: entries(4, 1, "d")}}, true, 1, 1},
		{nil, false, 0, 0},
		{nil, true, 0, 0}, // nothing to sync
		{[]Record{{Group: 1, HardState: hardStateOf(1, 1, 2)}}, false, 1, 0},
		{[]Record{{}}, true, 0, 1}, // syncs what was appended before
	} {
		clear(count)
		if err := l.Append(c.records, c.sync); err != nil {
			t.Fatal(err)
		}
		total := 0
		for k, n := range count {
			if k.ReadOrWrite() == errorfs.OpIsWrite {
				total += n
			}
		}
		if count[errorfs.OpFileWriteAt] != c.writes || count[errorfs.OpFileSyncData] != c.syncs || total != c.writes+c.syncs {
			t.Errorf("append %d: operations %v, want %d writes and %d syncs", i, count, c.writes, c.syncs)
		}
	}
}

func TestInvalidRecords(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, testOptions(vfs.NewMem()))
	defer l.Close()
	w := newWorkload(0, 1)
	good := []Record{{Group: 1, Entries: entries(1, 3, "a", "b", "c", "d"), HardState: hardStateOf(3, 1, 3), Mark: &Mark{Index: 2, Term: 3}}}
	w.m.apply(good)
	if err := l.Append(good, true); err != nil {
		t.Fatal(err)
	}
	many := &raftpb.ConfState{Voters: make([]uint64, MaxConfStateIDs+1)}
	for what, r := range map[string]Record{
		"gap":                      {Entries: entries(6, 3, "x")},
		"gap inside":               {Entries: append(entries(5, 3, "x"), entry(7, 3, "y"))},
		"index 0":                  {Entries: entries(0, 3, "x")},
		"mark beyond all indexes":  {Mark: &Mark{Index: maxIndex + 1, Term: 9}},
		"at the mark":              {Entries: entries(2, 4, "x")},
		"committed":                {Entries: entries(3, 4, "x")},
		"term back":                {Entries: entries(5, 2, "x")},
		"replaced with lower term": {Entries: entries(4, 2, "x")},
		"unknown entry type":       {Entries: []*raftpb.Entry{{Index: new(uint64(5)), Term: new(uint64(3)), Type: raftpb.EntryType(3).Enum()}}},
		"entry too large":          {Entries: entries(5, 3, string(make([]byte, MaxEntrySize+1)))},
		"hard state term back":     {HardState: hardStateOf(2, 1, 3)},
		"commit behind the end":    {HardState: hardStateOf(3, 1, 5)},
		"mark back":                {Mark: &Mark{Index: 1, Term: 3}},
		"mark of another term":     {Mark: &Mark{Index: 3, Term: 2}},
		"summary too large":        {Mark: &Mark{Index: 3, Term: 3, Meta: make([]byte, MaxMetaSize+1)}},
		"too many members":         {Mark: &Mark{Index: 3, Term: 3, ConfState: many}},
		"note too large":           {Note: &Note{Data: make([]byte, MaxNoteSize+1)}},
	} {
		r.Group = 1
		first := Record{Group: 1, Note: &Note{Slot: 9, Data: []byte("must not appear")}}
		if err := l.Append([]Record{first, r}, true); !errors.Is(err, ErrInvalidRecord) || errors.Is(err, ErrFatal) {
			t.Errorf("%s: append says %v", what, err)
		}
		if err := w.m.diff(l); err != nil {
			t.Errorf("%s left a trace: %v", what, err)
		}
	}
	// Large things that are allowed come back whole.
	ok := []Record{{Group: 1, Entries: entries(5, 3, strings.Repeat("e", 1<<20)),
		Mark: &Mark{Index: 5, Term: 3, Meta: bytes.Repeat([]byte{1}, MaxMetaSize), ConfState: &raftpb.ConfState{Voters: make([]uint64, MaxConfStateIDs)}},
		Note: &Note{Slot: 255, Data: bytes.Repeat([]byte{2}, MaxNoteSize)}}}
	if err := l.Append(ok, true); err != nil {
		t.Fatal(err)
	}
	w.m.apply(ok)
	_ = l.Close()
	l = mustOpen(t, l.opts)
	if err := w.m.diff(l); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	l := mustOpen(t, testOptions(mem))
	if _, err := Open(testOptions(mem)); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second open says %v", err)
	}
	_ = l.Close()

	for _, change := range []func(*Options){func(o *Options) { o.Cluster++ }, func(o *Options) { o.Node++ }} {
		o := testOptions(mem)
		change(&o)
		var id *IdentityError
		if _, err := Open(o); !errors.As(err, &id) || id.Cluster != 0xc || id.Node != 2 || id.WantNode != o.Node {
			t.Errorf("foreign log: %v", err)
		}
	}
	mustOpen(t, testOptions(mem)).Close() // the lock is free again

	if _, err := Open(Options{FS: mem}); err == nil {
		t.Error("opened without a directory")
	}

	// A segment, and a frame, of a later version are refused and never cut.
	later := func(change func(b []byte)) map[string][]byte {
		files := readFiles(t, mem, "data/wal")
		for _, b := range files {
			change(b)
		}
		return files
	}
	seg := l.segments[0]
	for what, files := range map[string]map[string][]byte{
		"segment": later(func(b []byte) {
			b[11] = 2
			putCRC(b[68:], crc32c(b[:68]))
		}),
		"frame": later(func(b []byte) {
			f := b[seg.start:]
			copy(f, b[seg.start-frameHeaderSize:seg.start]) // a marker
			f[4] = 2
			putCRC(f[36:], headerCRC(f, seg.salt, seg.start))
		}),
	} {
		var v *VersionError
		if _, err := Open(testOptions(memFS(t, "data/wal", files))); !errors.As(err, &v) || v.Version != 2 {
			t.Errorf("%s of version 2: %v", what, err)
		}
	}
}

// TestNoSpace fills the disk in the middle of a write. The error says so, nothing
// acknowledged is lost, and with space the log goes on.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	for left := int64(0); left < 12000; left += 331 {
		mem := vfs.NewCrashableMem()
		fs := &smallDisk{FS: mem, left: left}
		h, w := &history{}, newWorkload(11, 2)
		h.states = append(h.states, w.m.clone())
		l, err := Open(testOptions(fs))
		if err == nil {
			err = h.run(l, w, 200)
			if !errors.Is(err, ErrFatal) {
				t.Fatalf("%d bytes left: append says %v", left, err)
			}
			_ = l.Close()
		}
		if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "no space left") {
			t.Fatalf("%d bytes left: %v", left, err)
		}
		if l, err := Open(testOptions(fs)); err == nil { // still full: opens or says why
			_ = l.Close()
		} else if !errors.Is(err, ErrNoSpace) {
			t.Fatalf("%d bytes left: open while full says %v", left, err)
		}
		recoverAndGoOn(t, fmt.Sprintf("%d bytes left", left), testOptions(mem), h, 1)
	}
}

// smallDisk writes what fits and then says ENOSPC.
type smallDisk struct {
	vfs.FS
	left int64
}

type smallFile struct {
	vfs.File
	fs *smallDisk
}

func (d *smallDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return smallFile{f, d}, err
}

func (d *smallDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return smallFile{f, d}, err
}

func (f smallFile) take(n int) (int, error) {
	ok := int(min(int64(n), f.fs.left))
	f.fs.left -= int64(ok)
	if ok < n {
		return ok, unix.ENOSPC
	}
	return n, nil
}

func (f smallFile) Write(p []byte) (int, error) {
	n, full := f.take(len(p))
	if n, err := f.File.Write(p[:n]); err != nil {
		return n, err
	}
	return n, full
}

func (f smallFile) WriteAt(p []byte, off int64) (int, error) {
	n, full := f.take(len(p))
	if n, err := f.File.WriteAt(p[:n], off); err != nil {
		return n, err
	}
	return n, full
}

// TestUnconfirmedTailIsWrittenAgain: after a failed sync the page cache may hold,
// as clean, what the disk does not; Open must not trust it.
func TestUnconfirmedTailIsWrittenAgain(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	l := mustOpen(t, testOptions(mem))
	h, w := &history{}, newWorkload(1, 1)
	if err := h.run(l, w, 3); err != nil {
		t.Fatal(err)
	}
	from, end := l.recorded, l.end
	fs := memFS(t, "data/wal", readFiles(t, mem, "data/wal"))
	var written []int64
	inj := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt {
			written = append(written, op.Offset)
		}
		return nil
	})
	again := mustOpen(t, testOptions(errorfs.Wrap(fs, inj)))
	if from >= end || len(written) != 2 || written[0] != from || written[1] != end {
		t.Errorf("open wrote at %v, want the tail at %d and a marker at %d", written, from, end)
	}
	_ = again.Close()
	// Closed cleanly, there is nothing to write again but the marker, and opening
	// and closing changes nothing.
	for range 3 {
		before := readFiles(t, fs, "data/wal")
		mustOpen(t, testOptions(fs)).Close()
		for p, b := range readFiles(t, fs, "data/wal") {
			if !bytes.Equal(before[p], b) {
				t.Errorf("opening and closing changed %s", p)
			}
		}
	}
}

// TestCloseConfirms: after Close, damage to the last entries is corruption.
func TestCloseConfirms(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	l := mustOpen(t, testOptions(mem))
	if err := l.Append([]Record{{Group: 1, Entries: entries(1, 1, "only")}}, true); err != nil {
		t.Fatal(err)
	}
	at := int64(l.groups[1].spans[0].offs[0])*frameAlign + frameHeaderSize
	path := l.active.path
	_ = l.Close()
	files := readFiles(t, mem, "data/wal")
	files[path][at] ^= 1
	var c *CorruptionError
	if _, err := Open(testOptions(memFS(t, "data/wal", files))); !errors.As(err, &c) {
		t.Errorf("open says %v", err)
	}
}

// TestRetention: the log is bounded once marks move, keeps RetainBytes, and keeps
// hard state, mark and notes when the segments that had them go.
func TestRetention(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := testOptions(mem)
	l := mustOpen(t, o)
	w := newWorkload(0, 1)
	put := func(r Record) {
		t.Helper()
		if err := l.Append([]Record{r}, true); err != nil {
			t.Fatal(err)
		}
		w.m.apply([]Record{r})
	}
	put(Record{Group: 1, HardState: hardStateOf(4, 2, 0), Note: &Note{Slot: 200, Data: []byte("keep")}})
	put(Record{Group: 2, Entries: entries(1, 1, "a quiet group"), Mark: &Mark{Index: 1, Term: 1}})
	pad := strings.Repeat("p", 500)
	for i := range uint64(200) {
		put(Record{Group: 1, Entries: entries(i+1, 4, pad)})
	}
	if s := l.Stats(); s.Removed != 0 || s.Bytes < 200*500 {
		t.Fatalf("removed without a mark: %+v", s)
	}
	put(Record{Group: 1, Mark: &Mark{Index: 150, Term: 4}})
	for i := range uint64(20) {
		put(Record{Group: 1, Entries: entries(i+201, 4, pad)})
	}
	first, _ := l.Group(1).FirstIndex()
	if first < 130 || first > 151 {
		t.Errorf("first index is %d, want just below the mark at 150", first)
	}
	put(Record{Group: 1, Mark: &Mark{Index: 220, Term: 4}})
	for i := range uint64(20) {
		put(Record{Group: 1, Entries: entries(i+221, 4, pad)})
	}
	s := l.Stats()
	if limit := o.RetainBytes + 3*o.SegmentSize + 20*600; s.Bytes > limit || s.Bytes < o.RetainBytes {
		t.Errorf("%d bytes stay, want at least %d and at most %d", s.Bytes, o.RetainBytes, limit)
	}
	_ = l.Close()
	l = mustOpen(t, o)
	if err := w.m.diff(l); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	o.RetainBytes = -1
	l = mustOpen(t, o)
	if s := l.Stats(); s.Bytes > 20*600+2*o.SegmentSize {
		t.Errorf("without retention %d bytes stay", s.Bytes)
	}
	if err := w.m.diff(l); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

// TestReplacedSuffixOutlivesItsSegment: entries that a new leader replaced go with
// the old segment, and the term before the first one left is still known.
func TestReplacedSuffixOutlivesItsSegment(t *testing.T) {
	t.Parallel()
	o := testOptions(vfs.NewMem())
	o.RetainBytes = -1
	l := mustOpen(t, o)
	w := newWorkload(0, 1)
	pad := strings.Repeat("p", 400)
	put := func(r Record, rotate bool) {
		t.Helper()
		l.opts.SegmentSize = 1 << 20
		if rotate {
			l.opts.SegmentSize = 1
		}
		if err := l.Append([]Record{r}, true); err != nil {
			t.Fatal(err)
		}
		w.m.apply([]Record{r})
	}
	put(Record{Group: 1, Entries: entries(1, 2, pad, pad, pad, pad, pad, pad)}, false)
	put(Record{Group: 1, Entries: entries(4, 3, "replaces 4, 5 and 6", pad, pad, pad)}, true)
	put(Record{Group: 1, Mark: &Mark{Index: 7, Term: 3}}, false)
	put(Record{Group: 1, Entries: entries(8, 3, "next")}, true)
	put(Record{Group: 1, Entries: entries(9, 5, "last")}, true)
	l.opts.SegmentSize = 1 << 20
	for range 2 {
		first, _ := l.Group(1).FirstIndex()
		term, err := l.Group(1).Term(first - 1)
		if first != 8 || term != 3 || err != nil {
			t.Errorf("first index is %d after term %d, %v; want 8 after 3", first, term, err)
		}
		if err := w.m.diff(l); err != nil {
			t.Error(err)
		}
		_ = l.Close()
		l = mustOpen(t, o)
	}
	_ = l.Close()
}

// TestRealFiles uses the operating system's files.
func TestRealFiles(t *testing.T) {
	t.Parallel()
	o := testOptions(nil)
	o.Dir = t.TempDir() + "/a/b"
	l := mustOpen(t, o)
	h, w := &history{}, newWorkload(2, 2)
	if err := h.run(l, w, 120); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil {
		t.Error("opened twice")
	}
	_ = l.Close()
	r, err := Verify(nil, o.Dir)
	if err != nil || len(r.Groups) != 2 || r.Torn != nil || r.Node != 2 || r.Entries == 0 {
		t.Fatalf("verify: %+v, %v", r, err)
	}
	l = mustOpen(t, o)
	defer l.Close()
	if err := w.m.diff(l); err != nil {
		t.Fatal(err)
	}
}

func TestMarkBeyondTheLogReplacesIt(t *testing.T) {
	t.Parallel()
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	w := newWorkload(0, 1)
	for _, r := range []Record{
		{Group: 1, Entries: entries(1, 1, "a", "b")},
		{Group: 1, Mark: &Mark{Index: 50, Term: 3}},
		{Group: 1, Entries: entries(51, 3, "c")},
	} {
		if err := l.Append([]Record{r}, true); err != nil {
			t.Fatal(err)
		}
		w.m.apply([]Record{r})
	}
	for range 2 {
		if err := w.m.diff(l); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		l = mustOpen(t, o)
	}
	_ = l.Close()
}

func TestOptionDefaults(t *testing.T) {
	t.Parallel()
	o, err := Options{Dir: "d"}.withDefaults()
	if err != nil || o.SegmentSize != 64<<20 || o.RetainBytes != 1<<30 || o.CacheBytes != 32<<20 || o.FS == nil {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := (Options{Dir: "d", SegmentSize: math.MaxInt64}).withDefaults(); err == nil {
		t.Error("segment size is not bounded")
	}
}
