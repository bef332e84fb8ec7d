package wal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// TestAgainstMemoryStorage compares every answer with raft.MemoryStorage, over
// random Appends, reopening, rotation and removal, with and without cache.
func TestAgainstMemoryStorage(t *testing.T) {
	t.Parallel()
	for seed, cacheBytes := range []int64{-1, 1500, 1 << 20} {
		t.Run(fmt.Sprintf("cache=%d", cacheBytes), func(t *testing.T) {
			t.Parallel()
			o := testOptions(vfs.NewMem())
			o.CacheBytes = cacheBytes
			l := mustOpen(t, o)
			w := newWorkload(uint64(seed)+20, 3)
			rng := rand.New(rand.NewPCG(uint64(seed), 9))
			refs := map[uint64]*raft.MemoryStorage{}
			for id := range uint64(3) {
				refs[id+1] = raft.NewMemoryStorage()
			}
			for step := range 250 {
				records, sync := w.next()
				if err := l.Append(records, sync); err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
				for _, r := range records {
					if r.Restore {
						meta := &raftpb.SnapshotMetadata{Index: &r.Mark.Index, Term: &r.Mark.Term, ConfState: r.Mark.ConfState}
						if err := refs[r.Group].ApplySnapshot(&raftpb.Snapshot{Metadata: meta}); err != nil {
							t.Fatal(err)
						}
					}
					if err := refs[r.Group].Append(r.Entries); err != nil {
						t.Fatal(err)
					}
				}
				if rng.IntN(15) == 0 {
					if err := l.Close(); err != nil {
						t.Fatal(err)
					}
					l = mustOpen(t, o)
				}
				for id, ref := range refs {
					compareStorage(t, fmt.Sprintf("step %d, group %d", step, id), l.Group(id), ref, rng)
				}
			}
			if s := l.Stats(); s.Bytes == 0 || s.CacheBytes > max(0, o.CacheBytes) || cacheBytes < 0 && s.CacheHits > 0 {
				t.Errorf("stats are %+v", s)
			}
			_ = l.Close()
		})
	}
}

func compareStorage(t *testing.T, where string, g *Group, ref *raft.MemoryStorage, rng *rand.Rand) {
	t.Helper()
	first, err := g.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	// What the log has removed, the reference compacts.
	if have, _ := ref.FirstIndex(); first > have {
		if err := ref.Compact(first - 1); err != nil {
			t.Fatalf("%s: compact: %v", where, err)
		}
	}
	wantFirst, _ := ref.FirstIndex()
	wantLast, _ := ref.LastIndex()
	last, _ := g.LastIndex()
	if first != wantFirst || last != wantLast {
		t.Fatalf("%s: [%d, %d], want [%d, %d]", where, first, last, wantFirst, wantLast)
	}
	for i := first - min(first, 2); i <= last+1; i++ {
		term, err := g.Term(i)
		want, wantErr := ref.Term(i)
		if term != want || err != wantErr {
			t.Fatalf("%s: term of %d is %d, %v, want %d, %v", where, i, term, err, want, wantErr)
		}
	}
	for range 8 {
		lo := first - 1 + uint64(rng.IntN(int(last-first)+3))
		hi := lo + 1 + uint64(rng.IntN(8))
		if hi > last+1 {
			hi = last + 1
		}
		if hi <= lo {
			continue
		}
		maxSize := uint64(rng.IntN(1200))
		got, err := g.Entries(lo, hi, maxSize)
		want, wantErr := ref.Entries(lo, hi, maxSize)
		if err != wantErr || len(got) != len(want) {
			t.Fatalf("%s: entries [%d,%d) of %d bytes: %d, %v, want %d, %v", where, lo, hi, maxSize, len(got), err, len(want), wantErr)
		}
		for i := range got {
			if !sameEntry(got[i], want[i]) {
				t.Fatalf("%s: entry %v, want %v", where, got[i], want[i])
			}
		}
	}
	mark := g.Mark()
	switch s, err := g.Snapshot(); {
	case mark.Index == 0 || mark.ConfState == nil:
		if err != raft.ErrSnapshotTemporarilyUnavailable {
			t.Fatalf("%s: snapshot says %v", where, err)
		}
	case err != nil || s.GetMetadata().GetIndex() != mark.Index || s.GetMetadata().GetTerm() != mark.Term ||
		!bytes.Equal(s.GetData(), mark.Meta) || !proto.Equal(s.GetMetadata().GetConfState(), mark.ConfState):
		t.Fatalf("%s: snapshot is %v, %v; the mark is %+v", where, s, err, mark)
	}
	if _, err := g.Entries(last+1, last+3, 10); err != raft.ErrUnavailable {
		t.Fatalf("%s: entries behind the end: %v", where, err)
	}
}

func TestEntrySizeIsProtoSize(t *testing.T) {
	t.Parallel()
	for _, e := range []*raftpb.Entry{
		{}, entry(0, 0, ""), entry(1, 127, "x"), entry(128, 1<<63, string(make([]byte, 200))),
		{Type: raftpb.EntryConfChangeV2.Enum(), Data: []byte{}, Index: new(uint64(1 << 35))},
	} {
		if got, want := entrySize(e), uint64(proto.Size(e)); got != want {
			t.Errorf("size of %v is %d, want %d", e, got, want)
		}
	}
}

func TestInitialState(t *testing.T) {
	t.Parallel()
	o := testOptions(vfs.NewMem())
	l := mustOpen(t, o)
	defer l.Close()
	if hs, cs, err := l.Group(1).InitialState(); hs != nil || cs == nil || err != nil {
		t.Fatalf("empty group: %v, %v, %v", hs, cs, err)
	}
	members := &raftpb.ConfState{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}}
	if err := l.Bootstrap(1, Mark{ConfState: members}); err != nil {
		t.Fatal(err)
	}
	if hs, cs, _ := l.Group(1).InitialState(); hs != nil || cs.Equivalent(members) != nil {
		t.Fatalf("bootstrapped: %v, %v", hs, cs)
	}
	if err := l.Bootstrap(1, Mark{ConfState: members}); !errors.Is(err, ErrNotEmpty) {
		t.Fatalf("second bootstrap says %v", err)
	}
	// The hard state was synced with commit 1; the mark says that 3 is committed.
	err := l.Append([]Record{{Group: 1, Entries: entries(1, 5, "a", "b", "c", "d"), HardState: hardStateOf(5, 2, 1),
		Mark: &Mark{Index: 3, Term: 5, ConfState: members}}}, true)
	if err != nil {
		t.Fatal(err)
	}
	if hs, _, _ := l.Group(1).InitialState(); !proto.Equal(hs, hardStateOf(5, 2, 3)) {
		t.Fatalf("hard state is %v", hs)
	}
	// A group that begins in the middle of the log.
	if err := l.Bootstrap(2, Mark{Index: 100, Term: 7, ConfState: members, Meta: []byte("sum")}); err != nil {
		t.Fatal(err)
	}
	g := l.Group(2)
	first, _ := g.FirstIndex()
	last, _ := g.LastIndex()
	term, err := g.Term(100)
	hs, _, _ := g.InitialState()
	if first != 101 || last != 100 || term != 7 || err != nil || !proto.Equal(hs, hardStateOf(7, 0, 100)) {
		t.Fatalf("group 2: first %d last %d term %d %v hard state %v", first, last, term, err, hs)
	}
}

// TestRawNodeRestarts runs a real one-voter group on the log, over restarts.
func TestRawNodeRestarts(t *testing.T) {
	t.Parallel()
	mem := vfs.NewCrashableMem()
	var applied uint64
	for restart := range 5 {
		o := testOptions(mem)
		l := mustOpen(t, o)
		if restart == 0 {
			if err := l.Bootstrap(1, Mark{ConfState: &raftpb.ConfState{Voters: []uint64{2}}}); err != nil {
				t.Fatal(err)
			}
		}
		g := l.Group(1)
		rn, err := raft.NewRawNode(&raft.Config{ID: 2, ElectionTick: 10, HeartbeatTick: 1, Storage: g, Applied: g.Mark().Index,
			MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 16, AsyncStorageWrites: true, Logger: quietLogger{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := rn.Campaign(); err != nil {
			t.Fatal(err)
		}
		index := g.Mark().Index
		for i := range 40 {
			if i%2 == 1 && rn.BasicStatus().RaftState == raft.StateLeader {
				if err := rn.Propose(fmt.Appendf(nil, "restart %d proposal %d", restart, i)); err != nil {
					t.Fatal(err)
				}
			}
			for rn.HasReady() {
				for _, m := range rn.Ready().Messages {
					switch m.GetType() {
					case raftpb.MsgStorageAppend:
						r := Record{Group: 1, Entries: m.Entries}
						if m.Term != nil {
							r.HardState = &raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
						}
						if err := l.Append([]Record{r}, len(m.Responses) > 0); err != nil {
							t.Fatal(err)
						}
					case raftpb.MsgStorageApply:
						for _, e := range m.Entries {
							if index++; e.GetIndex() != index {
								t.Fatalf("restart %d: applied index %d, want %d", restart, e.GetIndex(), index)
							}
						}
					}
					for _, r := range m.Responses {
						if err := rn.Step(r); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
		if index <= applied {
			t.Fatalf("restart %d: applied %d, before %d", restart, index, applied)
		}
		applied = index
		term, _ := g.Term(index - 3)
		if err := l.Append([]Record{{Group: 1, Mark: &Mark{Index: index - 3, Term: term, ConfState: &raftpb.ConfState{Voters: []uint64{2}}}}}, false); err != nil {
			t.Fatal(err)
		}
		mem = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(restart), 3))})
	}
}

// TestReadersBesideAppend lets readers run while the appender writes, rotates and
// removes; the race detector and the checksums are the judges.
func TestReadersBesideAppend(t *testing.T) {
	t.Parallel()
	o := testOptions(vfs.NewMem())
	o.CacheBytes = 1000
	l := mustOpen(t, o)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for id := range uint64(2) {
		wg.Go(func() {
			g := l.Group(id + 1)
			for !stop.Load() {
				first, _ := g.FirstIndex()
				last, _ := g.LastIndex()
				if last < first {
					continue
				}
				got, err := g.Entries(first, last+1, 5000)
				if err != nil && err != raft.ErrCompacted && err != raft.ErrUnavailable && err != ErrClosed {
					t.Errorf("entries [%d, %d]: %v", first, last, err)
					return
				}
				for i, e := range got {
					if e.GetIndex() != first+uint64(i) {
						t.Errorf("entry %d has index %d", first+uint64(i), e.GetIndex())
						return
					}
				}
				g.Mark()
				g.Note(1)
				_, _, _ = g.InitialState()
				l.Stats()
			}
		})
	}
	h, w := &history{}, newWorkload(3, 2)
	if err := h.run(l, w, 400); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil { // beside the readers
		t.Error(err)
	}
	stop.Store(true)
	wg.Wait()
	if _, err := l.Group(1).Entries(1, 2, 1); err != ErrClosed {
		t.Errorf("entries after close: %v", err)
	}
	if err := l.Append(nil, true); err != ErrClosed {
		t.Errorf("append after close: %v", err)
	}
}

// TestSpansStayValid: positions that a reader took under the lock survive that the
// suffix is replaced meanwhile.
func TestSpansStayValid(t *testing.T) {
	t.Parallel()
	g, seg := &groupState{id: 1}, newSegment(segmentHeader{}, "x", nil)
	put := func(index uint64, offset int64) {
		g.apply(&op{typ: frameEntry, index: index, term: 1, prevTerm: 1, offset: offset}, seg)
	}
	for i := range uint64(5) {
		put(i+1, int64(i+1)*8)
	}
	taken := g.spansFrom(1, 6)
	put(3, 800)
	put(4, 808)
	for i, want := range []uint32{1, 2, 3, 4, 5} {
		if got := taken[0].offs[i]; got != want {
			t.Errorf("position %d became %d", want, got)
		}
	}
	if seg.refs.Load() != 2 {
		t.Errorf("segment has %d references, want the log's and the reader's", seg.refs.Load())
	}
}

// quietLogger drops everything but panics.
type quietLogger struct{ raft.Logger }

func (quietLogger) Debug(...any)            {}
func (quietLogger) Debugf(string, ...any)   {}
func (quietLogger) Info(...any)             {}
func (quietLogger) Infof(string, ...any)    {}
func (quietLogger) Warning(...any)          {}
func (quietLogger) Warningf(string, ...any) {}
func (quietLogger) Error(...any)            {}
func (quietLogger) Errorf(string, ...any)   {}
func (quietLogger) Panic(v ...any)          { panic(fmt.Sprint(v...)) }
func (quietLogger) Panicf(f string, v ...any) {
	panic(fmt.Sprintf(f, v...))
}
