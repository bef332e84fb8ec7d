package replica

import (
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// source is a ledger with n blocks at the raft indexes 1, 3, 5, …, and where it is.
func source(t *testing.T, n int) (*ledger.Ledger, raftnode.Snapshot) {
	t.Helper()
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: group, Origin: testOrigin})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		block, err := ledger.EncodeBlock(l.Anchor(), int64(i+1), []ledger.Batch{testBatch("filled")})
		if err == nil {
			_, err = l.ApplyMany([]ledger.Committed{{RaftIndex: uint64(2*i + 1), RaftTerm: 1, Block: block}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.ApplyMany([]ledger.Committed{{RaftIndex: uint64(2 * n), RaftTerm: 1}}); err != nil {
		t.Fatal(err)
	}
	h := l.Head()
	s := ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
	return l, raftnode.Snapshot{Index: h.RaftIndex, Term: 1, From: 2, Members: []uint64{1, 2}, Data: s.Marshal()}
}

// recordsOf returns records of a ledger and the proof from the size after them.
func recordsOf(t *testing.T, l *ledger.Ledger, from, to uint64) (records []*ledger.BlockRecord, proof []merkle.Hash) {
	t.Helper()
	for at := from; at < to; at = records[len(records)-1].End() {
		r, err := l.BlockAt(at)
		if err == nil {
			r, err = ledger.ParseBlockRecord(r.Encoded)
		}
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	proof, err := l.ConsistencyProof(to, l.Head().Size)
	if err != nil {
		t.Fatal(err)
	}
	return records, proof
}

// noteWritten lets the replica's note become durable.
func noteWritten(t *testing.T, r *Replica, log *wal.Log, s raftnode.Snapshot) {
	t.Helper()
	r.Fill(s)
	if _, ok := r.NextFill(); ok || len(benchOf(r).notes) != 1 {
		t.Fatalf("a replica asks its peers before its note is durable, %d notes", len(benchOf(r).notes))
	}
	if _, ok := r.NextFill(); ok {
		t.Fatal("a replica asks its peers before its note is durable")
	}
	start, err := r.startOf()
	if err != nil {
		t.Fatal(err)
	}
	b := &notes{log: log}
	r.raft = b
	r.note(r.filler.target.Load(), start, func(err error) { benchOf(r).notes[0](err) })
	r.raft = benchOf(r)
}

// notes writes notes to a log at once.
type notes struct {
	bench
	log *wal.Log
}

func (*notes) Publish() {}

func (n *notes) AppendNote(slot uint8, data []byte, done func(error)) {
	done(n.log.Append([]wal.Record{{Group: group, Note: &wal.Note{Slot: slot, Data: data}}}, true))
}

// fillAll answers what the replica asks from a ledger without a checkpoint.
func fillAll(t *testing.T, r *Replica, l *ledger.Ledger) {
	t.Helper()
	for ask, ok := r.NextFill(); ok; ask, ok = r.NextFill() {
		switch {
		case ask.Peer != 2:
			t.Fatalf("the replica asks node %d", ask.Peer)
		case ask.Sealed:
			r.FillSealed(ask, nil, nil, nil)
		default:
			records, proof := recordsOf(t, l, ask.First, ask.Size)
			r.FillEnd(ask, r.FillBlocks(ask, records, proof))
		}
	}
}

func fillable(t *testing.T) (*Replica, *wal.Log, *memstore.Store) {
	t.Helper()
	log, store := newLog(t), memstore.New(memstore.Options{})
	r := newProgramReplica(t, log, store, nil, Clocks{Now: time.Now, Voters: 1})
	r.Bind(benchOf(r))
	return r, log, store
}

// TestFilled: a replica takes the blocks of a peer, is where the snapshot says, durably, and only then
// lets Raft go on.
func TestFilled(t *testing.T) {
	l, s := source(t, 5)
	r, log, _ := fillable(t)
	noteWritten(t, r, log, s)
	fillAll(t, r, l)
	if got := benchOf(r).filled; len(got) != 1 || !got[0] {
		t.Fatalf("Raft hears %v, want that the position is reached", got)
	}
	if got, want := r.ledger.Head(), l.Head(); got != want {
		t.Errorf("the ledger is at %+v, want %+v", got, want)
	}
	if d, ok := r.ledger.Durable(); !ok || d.RaftIndex != s.Index {
		t.Errorf("durable up to raft index %d, want %d", d.RaftIndex, s.Index)
	}
	if f := r.Filling(); f.Index != 0 || f.Received == 0 {
		t.Errorf("the filler says %+v at the end", f)
	}
}

// TestUnprovedBlocks: blocks that are not those of the ledger are refused whatever is wrong with them,
// and another peer's are taken afterwards.
func TestUnprovedBlocks(t *testing.T) {
	l, s := source(t, 5)
	other, _ := source(t, 4)
	r, log, _ := fillable(t)
	noteWritten(t, r, log, s)
	ask, _ := r.NextFill()
	r.FillSealed(ask, nil, nil, nil)
	if ask, _ = r.NextFill(); ask.Sealed || ask.First != 0 || ask.Size != 5 {
		t.Fatalf("the replica asks for %+v", ask)
	}
	good, proof := recordsOf(t, l, 0, 3)
	shorter, otherProof := recordsOf(t, other, 0, 3)
	for what, try := range map[string]func() error{
		"a gap at the beginning": func() error { return r.FillBlocks(ask, good[1:], proof) },
		"a gap in the middle":    func() error { return r.FillBlocks(ask, []*ledger.BlockRecord{good[0], good[2]}, proof) },
		"no proof":               func() error { return r.FillBlocks(ask, good, nil) },
		"another ledger's proof": func() error { return r.FillBlocks(ask, shorter, otherProof) },
	} {
		if err := try(); !errors.Is(err, ledger.ErrUnproved) {
			t.Errorf("%s: %v, want ErrUnproved", what, err)
		}
	}
	if size := r.ledger.Head().Size; size != 0 {
		t.Fatalf("%d entries were applied", size)
	}
	fillAll(t, r, l)
	if r.ledger.Head() != l.Head() || len(benchOf(r).halted) > 0 {
		t.Errorf("the ledger is at %+v, want %+v", r.ledger.Head(), l.Head())
	}
}

// TestAppliedOnce: what the Raft log brings after the filler has brought it is not applied again, and
// what the log itself has brought before is an error.
func TestAppliedOnce(t *testing.T) {
	l, s := source(t, 3)
	r, log, _ := fillable(t)
	noteWritten(t, r, log, s)
	fillAll(t, r, l)
	var run []raftnode.Committed
	for at := uint64(0); at < 3; at++ {
		b, err := l.BlockAt(at)
		if err != nil {
			t.Fatal(err)
		}
		run = append(run, raftnode.Committed{Index: b.RaftIndex, Term: b.RaftTerm, Data: b.Block})
	}
	run = append(run, raftnode.Committed{Index: s.Index, Term: 1})
	for i := range run {
		if err := r.Apply(run[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Apply([]raftnode.Committed{{Index: s.Index + 1, Term: 1}}); err != nil || r.ledger.Head().Size != 3 {
		t.Errorf("size %d, %v; want 3", r.ledger.Head().Size, err)
	}
	if err := r.Apply([]raftnode.Committed{{Index: s.Index + 1, Term: 1}}); err == nil {
		t.Error("what the Raft log had brought already was taken for what the filler had brought")
	}
}

// TestStartWhileFilling: a start in the middle of the filling goes on where the ledger is durable. It
// does not take the Raft log for one that was cut.
func TestStartWhileFilling(t *testing.T) {
	l, s := source(t, 6)
	r, log, store := fillable(t)
	r.filler.step = 1
	noteWritten(t, r, log, s)
	r.raft = &notes{log: log}
	ask, _ := r.NextFill()
	r.FillSealed(ask, nil, nil, nil)
	if ask, _ = r.NextFill(); ask.Size != 6 {
		t.Fatalf("the replica asks for %+v", ask)
	}
	records, proof := recordsOf(t, l, 0, 4)
	if err := r.FillBlocks(ask, records, proof); err != nil {
		t.Fatal(err)
	}
	if mark, err := r.FinalMark(); mark != nil || err != nil {
		t.Errorf("a ledger ahead of its log has the final mark %+v, %v", mark, err)
	}
	again, err := Open(store.PowerLoss(func(int, int) int { return 0 }), log.Group(group), ledger.Config{Group: group, Origin: testOrigin})
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Head(); got.Size != 4 {
		t.Errorf("a start after a power failure begins with %d entries, want 4", got.Size)
	}
}
