package replica

import (
	"testing"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

// TestNoRestoreThroughRaft: a replica neither stores nor proposes a record that restores the ledger.
func TestNoRestoreThroughRaft(t *testing.T) {
	r := newTestReplica(t, newLog(t), memstore.New(memstore.Options{}))
	r.Bind(benchOf(r))
	c := &ledger.PolicyChange{Reason: ledger.PolicyRestore, Restored: ledger.Anchor{Size: 1, Root: merkle.EmptyRoot()}, Policy: ledger.Policy{
		Epoch: 1, Quorum: 1, LogKeys: []string{newCosigner(t, testOrigin).Key().String()},
		Members: []ledger.PolicyMember{{Member: ledger.Member{ID: 4, Name: "n4", Cosigner: newCosigner(t, "example.org/n4").Key().String()}}},
	}}
	batch, err := ledger.PolicyBatch("p", c)
	if err != nil {
		t.Fatal(err)
	}
	block := func(batches ...ledger.Batch) []byte {
		b, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, 0, batches)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := r.Vet(block(testBatch("x"), batch), false); !errors.Is(err, ErrRestores) {
		t.Errorf("a leader's block with the record: %v, want ErrRestores", err)
	}
	if err := r.Vet(block(testBatch("x")), false); err != nil {
		t.Errorf("a block without it: %v", err)
	}
	var told error
	r.ChangePolicy("p", c, func(_ ledger.Result, err error) { told = err })
	if !errors.Is(told, ErrRestores) || len(benchOf(r).accepted) > 0 {
		t.Errorf("a proposal: %v, want ErrRestores and nothing proposed", told)
	}
}

// TestContinueAt: the Raft log of a restored ledger begins at the position, committed, with its members
// and in its term, and holds nothing before it.
func TestContinueAt(t *testing.T) {
	fs := vfs.NewMem()
	log := openLog(t, fs)
	at := ledger.Summary{RaftIndex: 70, RaftTerm: 9, Size: 50, Time: 5, Root: merkle.EmptyRoot()}
	if err := log.Append(ContinueAt(group, []uint64{4, 5, 6}, at), true); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	g := openLog(t, fs).Group(group)
	hs, conf, err := g.InitialState()
	if err != nil || hs.GetCommit() != 70 || hs.GetTerm() != 9 || hs.GetVote() != 0 || len(conf.GetVoters()) != 3 {
		t.Errorf("the log begins with %v, %v, %v", hs, conf, err)
	}
	first, err := g.FirstIndex()
	last, err2 := g.LastIndex()
	if first != 71 || last != 70 || err != nil || err2 != nil {
		t.Errorf("the log has the entries %d to %d, %v, %v; want none from 71 on", first, last, err, err2)
	}
	if start, err := startOf(g); err != nil || start != at {
		t.Errorf("the ledger opens at %+v, %v; want %+v", start, err, at)
	}
}
