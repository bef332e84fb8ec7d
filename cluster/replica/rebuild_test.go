package replica

import (
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// rebuildLog is a log whose mark is where the source is, for the voters 1 and 2. With entries it
// still holds what leads there.
func rebuildLog(t *testing.T, l *ledger.Ledger, s raftnode.Snapshot, entries bool) *wal.Log {
	t.Helper()
	log := newLog(t)
	conf := &raftpb.ConfState{Voters: []uint64{1, 2}}
	var records []wal.Record
	if entries {
		byIndex := map[uint64][]byte{}
		for at := uint64(0); at < l.Head().Size; {
			r, err := l.BlockAt(at)
			if err != nil {
				t.Fatal(err)
			}
			byIndex[r.RaftIndex], at = r.Block, r.End()
		}
		var all []*raftpb.Entry
		for i := uint64(1); i <= s.Index; i++ {
			all = append(all, &raftpb.Entry{Index: new(i), Term: new(uint64(1)), Data: byIndex[i]})
		}
		records = append(records, wal.Record{Group: group, Entries: all})
	}
	records = append(records, wal.Record{Group: group, Mark: &wal.Mark{Index: s.Index, Term: s.Term, ConfState: conf, Meta: s.Data}})
	if err := log.Append(records, true); err != nil {
		t.Fatal(err)
	}
	return log
}

// emptied is a replica whose store is lost, on a log.
func emptied(t *testing.T, log *wal.Log, store *memstore.Store) (*Replica, *notes) {
	t.Helper()
	r := newProgramReplica(t, log, store, nil, Clocks{Now: time.Now, Voters: 2})
	n := &notes{log: log}
	r.Bind(n)
	return r, n
}

// rebuild answers what the replica asks, and counts the questions to the peer.
func rebuild(t *testing.T, r *Replica, l *ledger.Ledger) (asked int) {
	t.Helper()
	for ask, ok := r.NextFill(); ok; ask, ok = r.NextFill() {
		switch {
		case ask.Log:
			if err := r.FillFromLog(ask); err != nil {
				t.Fatal(err)
			}
		case ask.Sealed:
			r.FillSealed(ask, nil, nil, nil)
		default:
			asked++
			records, proof := recordsOf(t, l, ask.First, min(ask.First+2, ask.Size))
			r.FillEnd(ask, r.FillBlocks(ask, records, proof))
		}
	}
	return asked
}

// TestRebuild: a replica whose store is empty brings its ledger to the mark of its log, from the log
// when that reaches back, else with blocks of a peer. Until it is there it does not lead, and takes no
// snapshot.
func TestRebuild(t *testing.T) {
	for _, own := range []bool{true, false} {
		l, s := source(t, 5)
		log := rebuildLog(t, l, s, own)
		if _, err := Open(memstore.New(memstore.Options{}), log.Group(group), ledger.Config{Group: group, Origin: testOrigin}); err == nil {
			t.Fatal("an empty store is opened at a mark")
		}
		if err := LoseStore(log); err != nil {
			t.Fatal(err)
		}
		r, raft := emptied(t, log, memstore.New(memstore.Options{}))
		if !r.Rebuilding() || !errors.Is(r.Unfit(), ErrRebuilding) || benchOf(r).fillerWakes == 0 {
			t.Fatalf("rebuilding: %t, unfit: %v", r.Rebuilding(), r.Unfit())
		}
		r.Fill(raftnode.Snapshot{Index: 99})
		if len(raft.filled) != 1 || raft.filled[0] {
			t.Errorf("a snapshot in a rebuild: %v, want it put off", raft.filled)
		}
		asked := rebuild(t, r, l)
		if (asked == 0) != own {
			t.Errorf("own log %t: the peer was asked for blocks %d times", own, asked)
		}
		if got, want := r.ledger.Head(), l.Head(); got != want {
			t.Errorf("the ledger is at %+v, want %+v", got, want)
		}
		if d, ok := r.ledger.Durable(); !ok || d.RaftIndex != s.Index {
			t.Errorf("durable up to raft index %d, want %d", d.RaftIndex, s.Index)
		}
		if r.Rebuilding() || r.Unfit() != nil || raft.reached != 1 || Unfinished(log) {
			t.Errorf("at the end: rebuilding %t, unfit %v, Raft has heard it %d times, unfinished %t", r.Rebuilding(), r.Unfit(), raft.reached, Unfinished(log))
		}
		if err := r.Apply([]raftnode.Committed{{Index: s.Index + 1, Term: 1}}); err != nil {
			t.Errorf("what the log holds behind the mark: %v", err)
		}
	}
}

// TestRebuildOfAnotherLedger: blocks that do not lead to the root of the own mark are refused, however
// many peers have them; a mark that the own log's entries do not lead to stops the replica.
func TestRebuildOfAnotherLedger(t *testing.T) {
	l, s := source(t, 5)
	other, at := source(t, 6)
	log := rebuildLog(t, l, s, false)
	if err := LoseStore(log); err != nil {
		t.Fatal(err)
	}
	r, _ := emptied(t, log, memstore.New(memstore.Options{}))
	ask, _ := r.NextFill()
	records, proof := recordsOf(t, other, 0, 5)
	if err := r.FillBlocks(ask, records, proof); !errors.Is(err, ledger.ErrUnproved) || r.ledger.Head().Size != 0 {
		t.Errorf("%v with %d entries, want ErrUnproved and none", err, r.ledger.Head().Size)
	}

	log = rebuildLog(t, other, at, true)
	wrong, err := ledger.ParseSummary(at.Data)
	if err != nil {
		t.Fatal(err)
	}
	wrong.Root[0] ^= 1
	mark := log.Group(group).Mark()
	mark.Meta = wrong.Marshal()
	if err := log.Append([]wal.Record{{Group: group, Mark: &mark}}, true); err != nil {
		t.Fatal(err)
	}
	if err := LoseStore(log); err != nil {
		t.Fatal(err)
	}
	r, raft := emptied(t, log, memstore.New(memstore.Options{}))
	rebuild(t, r, other)
	var diverged *ledger.DivergenceError
	if halted := benchOf(r).halted; len(halted) != 1 || !errors.As(halted[0], &diverged) || raft.reached != 0 {
		t.Errorf("halted with %v, Raft has heard of it %d times", halted, raft.reached)
	}
}

// TestStartWhileRebuilding: after a power failure in the middle the rebuild goes on where it was
// durable, although the mark says more.
func TestStartWhileRebuilding(t *testing.T) {
	l, s := source(t, 6)
	log := rebuildLog(t, l, s, false)
	if err := LoseStore(log); err != nil {
		t.Fatal(err)
	}
	store := memstore.New(memstore.Options{})
	r, _ := emptied(t, log, store)
	r.filler.step = 1
	ask, _ := r.NextFill()
	records, proof := recordsOf(t, l, 0, 4)
	if err := r.FillBlocks(ask, records, proof); err != nil {
		t.Fatal(err)
	}
	r.KeepMark()
	if got := log.Group(group).Mark().Index; got != s.Index {
		t.Errorf("the mark is at %d, want that it stays at %d", got, s.Index)
	}
	again, raft := emptied(t, log, store.PowerLoss(func(int, int) int { return 0 }))
	if got := again.ledger.Head(); got.Size != 4 || !again.Rebuilding() {
		t.Errorf("a start after a power failure begins with %d entries, rebuilding %t; want 4", got.Size, again.Rebuilding())
	}
	if rebuild(t, again, l); again.ledger.Head() != l.Head() || raft.reached != 1 {
		t.Errorf("the ledger is at %+v, want %+v", again.ledger.Head(), l.Head())
	}
}

// TestCanRebuild: a replica without peers, whose log does not reach back, must not lose its store.
func TestCanRebuild(t *testing.T) {
	l, s := source(t, 3)
	for _, own := range []bool{true, false} {
		log := rebuildLog(t, l, s, own)
		if err := CanRebuild(log, 1); err != nil {
			t.Errorf("with a peer: %v", err)
		}
		alone := log.Group(group).Mark()
		alone.ConfState = &raftpb.ConfState{Voters: []uint64{1}}
		if err := log.Append([]wal.Record{{Group: group, Mark: &alone}}, true); err != nil {
			t.Fatal(err)
		}
		if err := CanRebuild(log, 1); errors.Is(err, ErrNoSource) == own {
			t.Errorf("alone, with all entries in the log %t: %v", own, err)
		}
	}
}
