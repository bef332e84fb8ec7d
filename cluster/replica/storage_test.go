package replica

import (
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

const group = 1

// newLog returns an empty Raft log on a disk in memory whose group has one voter.
func newLog(t *testing.T) *wal.Log {
	t.Helper()
	log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	if err := log.Bootstrap(group, wal.Mark{ConfState: &raftpb.ConfState{Voters: []uint64{1}}}); err != nil {
		t.Fatal(err)
	}
	return log
}

func appendEntries(t *testing.T, log *wal.Log, last uint64) {
	t.Helper()
	var entries []*raftpb.Entry
	for i := uint64(1); i <= last; i++ {
		entries = append(entries, &raftpb.Entry{Index: new(i), Term: new(uint64(1))})
	}
	if err := log.Append([]wal.Record{{Group: group, Entries: entries}}, true); err != nil {
		t.Fatal(err)
	}
}

// TestRaftLogThatLostOneEntry: a Raft log that was cut by a single entry which the ledger holds has
// forgotten an acknowledgement, and so has one without members. No ledger is opened with such a
// log. With a log that ends exactly where the ledger does the ledger is opened.
func TestRaftLogThatLostOneEntry(t *testing.T) {
	const applied = 5
	store := memstore.New(memstore.Options{})
	config := ledger.Config{Group: group, Origin: "example.org/ledger"}
	l, err := Open(store, newLog(t).Group(group), config)
	if err == nil {
		for i := uint64(1); i <= applied && err == nil; i++ {
			_, err = l.ApplyMany([]ledger.Committed{{RaftIndex: i, RaftTerm: 1}})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for last, lost := range map[uint64]bool{applied - 2: true, applied - 1: true, applied: false, applied + 1: false} {
		log := newLog(t)
		appendEntries(t, log, last)
		if _, err := Open(store.Reopen(), log.Group(group), config); errors.Is(err, ErrRaftLogLost) != lost || !lost && err != nil {
			t.Errorf("the Raft log ends at %d, the ledger at %d: %v, want ErrRaftLogLost: %t", last, applied, err, lost)
		}
	}
	log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := Open(memstore.New(memstore.Options{}), log.Group(group), config); !errors.Is(err, ErrRaftLogLost) {
		t.Errorf("a Raft log without members: %v, want ErrRaftLogLost", err)
	}
}

// TestMarks: the final mark names everything that the ledger has applied, once, and a start with it
// replays nothing.
func TestMarks(t *testing.T) {
	log := newLog(t)
	store := memstore.New(memstore.Options{})
	r := newTestReplica(t, log, store)
	appendEntries(t, log, 3)
	if mark, err := r.FinalMark(); err != nil || mark != nil {
		t.Errorf("the final mark of an empty ledger is %v, %v, want none", mark, err)
	}
	if err := r.Apply([]raftnode.Committed{{Index: 1, Term: 1}, {Index: 3, Term: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := r.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	mark, err := r.FinalMark()
	if err != nil || mark == nil || mark.Index != 3 || mark.Term != 1 || len(mark.ConfState.GetVoters()) != 1 {
		t.Fatalf("the final mark is %+v, %v", mark, err)
	}
	if err := log.Append([]wal.Record{{Group: group, Mark: mark}}, true); err != nil {
		t.Fatal(err)
	}
	if again, err := r.FinalMark(); err != nil || again != nil {
		t.Errorf("the final mark once more: %v, %v", again, err)
	}
	l, err := Open(store.Reopen(), log.Group(group), ledger.Config{Group: group, Origin: testOrigin})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if h := l.Head(); h.RaftIndex != 3 {
		t.Errorf("the ledger starts at raft index %d, want 3", h.RaftIndex)
	}
}

// TestMarkIsConfirmed: the ledger may delete what only a replay from before a mark would read once
// an entry that was written behind the mark is applied, and not before: the mark was not synced.
func TestMarkIsConfirmed(t *testing.T) {
	log := newLog(t)
	appendEntries(t, log, 3)
	r := newTestReplica(t, log, memstore.New(memstore.Options{}))
	r.Bind(benchOf(r))
	apply := func(index uint64) {
		t.Helper()
		block, err := ledger.EncodeBlock(r.ledger.Anchor(), 1, []ledger.Batch{testBatch("x")})
		if err == nil {
			err = r.Apply([]raftnode.Committed{{Index: index, Term: 1, Data: block}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	apply(1)
	old := r.ledger.State()
	apply(2)
	h := r.ledger.Head()
	s := ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
	if err := log.Append([]wal.Record{{Group: group, Mark: &wal.Mark{Index: 2, Term: 1, Meta: s.Marshal()}}}, false); err != nil {
		t.Fatal(err)
	}
	gone := func() bool {
		r.KeepMark()
		_, _, err := old.Get([]byte("row"))
		if err != nil && !errors.Is(err, ledger.ErrStateGone) {
			t.Fatal(err)
		}
		return err != nil
	}
	apply(3)
	for range 3 {
		if gone() {
			t.Fatal("the mark counts, although no entry behind it is applied")
		}
	}
	if err := log.Append([]wal.Record{{Group: group, Entries: []*raftpb.Entry{{Index: new(uint64(4)), Term: new(uint64(1))}}}}, true); err != nil {
		t.Fatal(err)
	}
	if gone() {
		t.Fatal("the mark counts, although the entry behind it is not applied")
	}
	apply(4)
	if !gone() {
		t.Error("the mark does not count, although it is durable")
	}
}
