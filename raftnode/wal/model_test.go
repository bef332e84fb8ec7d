package wal

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// model is what a log must hold, kept in the most obvious way.
type model struct{ groups map[uint64]*modelGroup }

type modelGroup struct {
	offset, offsetTerm uint64 // the log begins behind
	entries            []*raftpb.Entry
	hs                 *raftpb.HardState
	mark               *Mark
	notes              map[uint8]string
}

func newModel() *model { return &model{groups: map[uint64]*modelGroup{}} }

func (m *model) group(id uint64) *modelGroup {
	if m.groups[id] == nil {
		m.groups[id] = &modelGroup{notes: map[uint8]string{}}
	}
	return m.groups[id]
}

func (m *model) clone() *model {
	c := newModel()
	for id, g := range m.groups {
		d := *g
		d.entries = slices.Clone(g.entries)
		d.notes = maps.Clone(g.notes)
		c.groups[id] = &d
	}
	return c
}

func (g *modelGroup) last() uint64 { return g.offset + uint64(len(g.entries)) }

func (g *modelGroup) term(i uint64) uint64 {
	if i == g.offset {
		return g.offsetTerm
	}
	return g.entries[i-g.offset-1].GetTerm()
}

func (g *modelGroup) markIndex() uint64 {
	if g.mark == nil {
		return 0
	}
	return g.mark.Index
}

func (m *model) apply(records []Record) {
	for _, r := range records {
		g := m.group(r.Group)
		if len(r.Entries) > 0 {
			g.entries = slices.Clone(g.entries[:r.Entries[0].GetIndex()-g.offset-1])
			g.entries = append(g.entries, r.Entries...)
		}
		if r.HardState != nil {
			g.hs = r.HardState
		}
		if r.Mark != nil {
			if r.Restore || r.Mark.Index > g.last() {
				g.offset, g.offsetTerm, g.entries = r.Mark.Index, r.Mark.Term, nil
			}
			g.mark = r.Mark
		}
		if r.Note != nil {
			g.notes[r.Note.Slot] = string(r.Note.Data)
			if len(r.Note.Data) == 0 {
				delete(g.notes, r.Note.Slot)
			}
		}
	}
}

// diff returns how the log differs from the model. The log may have dropped
// entries at or below the mark.
func (m *model) diff(l *Log) error {
	for id, g := range m.groups {
		if err := g.diff(l, id); err != nil {
			return errors.Wrapf(err, "group %d", id)
		}
	}
	for id, g := range l.groups {
		if m.groups[id] == nil && !g.empty() {
			return errors.Newf("group %d should not exist", id)
		}
	}
	return nil
}

func (g *modelGroup) diff(l *Log, id uint64) error {
	v := l.Group(id)
	first, _ := v.FirstIndex()
	last, _ := v.LastIndex()
	if last != g.last() {
		return errors.Newf("last index is %d, want %d", last, g.last())
	}
	if first <= g.offset || first > max(g.offset, g.markIndex())+1 {
		return errors.Newf("first index is %d with mark %d and offset %d", first, g.markIndex(), g.offset)
	}
	for i := first - 1; i <= last; i++ {
		if term, err := v.Term(i); err != nil || term != g.term(i) {
			return errors.Newf("term of %d is %d, %v, want %d", i, term, err, g.term(i))
		}
	}
	if first <= last {
		got, err := v.Entries(first, last+1, 1<<62)
		if err != nil {
			return err
		}
		want := g.entries[first-g.offset-1:]
		if len(got) != len(want) {
			return errors.Newf("%d entries, want %d", len(got), len(want))
		}
		for i := range got {
			if !sameEntry(got[i], want[i]) {
				return errors.Newf("entry %v, want %v", got[i], want[i])
			}
		}
	}
	s := &groupState{}
	if l.groups[id] != nil {
		s = l.groups[id]
	}
	if (g.hs != nil) != s.hasHS || s.hs != (hardState{g.hs.GetTerm(), g.hs.GetVote(), g.hs.GetCommit()}) {
		return errors.Newf("hard state is %+v, want %v", s.hs, g.hs)
	}
	var want Mark
	if g.mark != nil {
		want = *g.mark
	}
	if got := v.Mark(); !sameMark(got, want) {
		return errors.Newf("mark is %+v, want %+v", got, want)
	}
	notes := map[uint8]string{}
	for slot := range 256 {
		if n := v.Note(uint8(slot)); n != nil {
			notes[uint8(slot)] = string(n)
		}
	}
	if !reflect.DeepEqual(notes, g.notes) {
		return errors.Newf("notes are %v, want %v", notes, g.notes)
	}
	return nil
}

func sameEntry(a, b *raftpb.Entry) bool {
	return a.GetIndex() == b.GetIndex() && a.GetTerm() == b.GetTerm() && a.GetType() == b.GetType() && bytes.Equal(a.Data, b.Data)
}

func sameMark(a, b Mark) bool {
	return a.Index == b.Index && a.Term == b.Term && bytes.Equal(a.Meta, b.Meta) &&
		(a.ConfState == nil) == (b.ConfState == nil) && proto.Equal(a.ConfState, b.ConfState)
}

// workload draws Appends that are valid after each other.
type workload struct {
	rng    *rand.Rand
	groups int
	m      *model
	commit map[uint64]uint64 // per group; entries at or below are never replaced
	serial int
}

func newWorkload(seed uint64, groups int) *workload {
	return &workload{rng: rand.New(rand.NewPCG(seed, 1)), groups: groups, m: newModel(), commit: map[uint64]uint64{}}
}

// next returns the records of one Append and whether to sync it, and advances
// the model.
func (w *workload) next() (records []Record, sync bool) {
	for range 1 + w.rng.IntN(2) {
		r := w.record(1 + uint64(w.rng.IntN(w.groups)))
		w.m.apply([]Record{r})
		records = append(records, r)
	}
	return records, w.rng.IntN(3) > 0
}

func (w *workload) record(id uint64) Record {
	r, g := Record{Group: id}, w.m.group(id)
	last, term := g.last(), g.term(g.last())
	if low := max(w.commit[id], g.markIndex(), g.offset) + 1; w.rng.IntN(25) == 0 {
		// The position may lie within the log, and the entry there may have another term.
		i := low + uint64(w.rng.IntN(6))
		w.commit[id] = i
		r.Restore, r.Mark = true, &Mark{Index: i, Term: term + 1, Meta: []byte("snapshot"), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2}}}
		return r
	}
	if w.rng.IntN(4) > 0 {
		first := last + 1
		if low := max(w.commit[id], g.markIndex(), g.offset) + 1; low <= last && w.rng.IntN(6) == 0 {
			first = low + uint64(w.rng.IntN(int(last-low)+1))
		}
		if first <= last || term == 0 || w.rng.IntN(5) == 0 {
			term++
		}
		for i := range 1 + w.rng.IntN(3) {
			w.serial++
			e := &raftpb.Entry{Index: new(first + uint64(i)), Term: new(term)}
			if w.rng.IntN(8) > 0 {
				e.Data = fmt.Appendf(nil, "entry %d %s", w.serial, bytes.Repeat([]byte{'x'}, w.rng.IntN(300)))
			}
			if w.rng.IntN(10) == 0 {
				e.Type = raftpb.EntryConfChangeV2.Enum()
			}
			r.Entries = append(r.Entries, e)
			last = first + uint64(i)
		}
	}
	if w.rng.IntN(2) == 0 {
		w.commit[id] = max(w.commit[id], last-min(last, uint64(w.rng.IntN(4))))
		r.HardState = &raftpb.HardState{Term: new(max(term, g.hs.GetTerm())), Vote: new(uint64(w.rng.IntN(3))), Commit: new(w.commit[id])}
	}
	if low, high := max(g.markIndex(), g.offset), w.commit[id]; high >= low && w.rng.IntN(5) == 0 {
		i := low + uint64(w.rng.IntN(int(high-low)+1))
		m := &Mark{Index: i, Meta: fmt.Appendf(nil, "summary at %d", i)}
		if i <= g.last() && (len(r.Entries) == 0 || i < r.Entries[0].GetIndex()) {
			m.Term = g.term(i)
		} else {
			m.Term = r.Entries[i-r.Entries[0].GetIndex()].GetTerm()
		}
		m.ConfState = &raftpb.ConfState{Voters: []uint64{1, 2, i}}
		if i%2 == 0 {
			m.ConfState.AutoLeave = new(true)
		}
		r.Mark = m
	}
	if w.rng.IntN(5) == 0 {
		w.serial++
		r.Note = &Note{Slot: uint8(w.rng.IntN(3))}
		if w.rng.IntN(4) > 0 {
			r.Note.Data = fmt.Appendf(nil, "note %d", w.serial)
		}
	}
	return r
}

// testOptions are small sizes, so that a short workload rotates and removes.
func testOptions(fs vfs.FS) Options {
	salt := uint64(0)
	return Options{
		FS: fs, Dir: "data/wal", SegmentSize: 6 << 10, RetainBytes: 8 << 10, CacheBytes: 4 << 10,
		Cluster: 0xc, Node: 2, fillStep: 1 << 10,
		salt: func() (uint64, error) { salt++; return 0x5a17_0000 + salt, nil },
	}
}

func mustOpen(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatalf("open: %+v", err)
	}
	return l
}

func entry(index, term uint64, data string) *raftpb.Entry {
	e := &raftpb.Entry{Index: new(index), Term: new(term)}
	if data != "" {
		e.Data = []byte(data)
	}
	return e
}

// readFiles returns the segments in a directory by path.
func readFiles(t testing.TB, fs vfs.FS, dir string) map[string][]byte {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, name := range names {
		if _, ok := parseSegmentName(name); !ok {
			continue
		}
		path := fs.PathJoin(dir, name)
		f, err := fs.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		info, _ := f.Stat()
		b := make([]byte, info.Size())
		if n, err := f.ReadAt(b, 0); n != len(b) {
			t.Fatal(err)
		}
		_ = f.Close()
		out[path] = b
	}
	return out
}

// memFS returns a file system that holds the files, all synced.
func memFS(t testing.TB, dir string, files map[string][]byte) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, b := range files {
		f, err := fs.Create(path, writeCategory)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(bytes.Clone(b)); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return fs
}

func entries(first, term uint64, data ...string) (out []*raftpb.Entry) {
	for i, d := range data {
		out = append(out, entry(first+uint64(i), term, d))
	}
	return out
}

func hardStateOf(term, vote, commit uint64) *raftpb.HardState {
	return &raftpb.HardState{Term: new(term), Vote: new(vote), Commit: new(commit)}
}
