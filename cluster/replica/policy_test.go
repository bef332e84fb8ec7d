package replica

import (
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode"
)

// TestHandoverIsProposed: a leader seals a policy change by both policies, and then proposes the
// record that ends the hand-over: once while the proposal is on its way, again when it was lost, and
// never again after it was applied.
func TestHandoverIsProposed(t *testing.T) {
	log := newLog(t)
	l, err := Open(memstore.New(memstore.Options{}), log.Group(group), ledger.Config{Group: group, Origin: testOrigin})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	old, next, line := newCosigner(t, "example.org/n1"), newCosigner(t, "example.org/n1/2"), newCosigner(t, testOrigin)
	now := time.Unix(1_900_000_000, 0)
	b := &bench{}
	r, err := New(Config{
		Ledger: l, Log: log.Group(group), Shell: b, Clocks: Clocks{Now: func() time.Time { return now }, Voters: 1}, Principal: testNode,
		Seal: seal.Config{Self: 1, Voters: map[uint64]*tlog.VerifierKey{1: old.Key()}, LogCosigner: line, NodeCosigner: old, More: []seal.Cosigner{next}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Bind(b)
	r.StateChanged(raftnode.State{Role: raftnode.RoleLeader, Leader: 1, Term: 1, Serving: true})
	index := uint64(0)
	apply := func(block []byte, reqs ...raftnode.Request) {
		t.Helper()
		index++
		if err := r.Apply([]raftnode.Committed{{Index: index, Term: 1, Data: block, Requests: reqs}}); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(q raftnode.Request) { // what was submitted
		t.Helper()
		block, err := r.BuildBlock([]raftnode.Request{q})
		if err != nil {
			t.Fatal(err)
		}
		apply(block, q)
	}
	sealNow := func() {
		t.Helper()
		now = now.Add(time.Second)
		r.Seal()
		for _, done := range b.notes {
			done(nil)
		}
		b.notes = nil
		r.Seal()
		if s := l.Sealed(); s == nil || s.Size != l.Head().Size {
			t.Fatalf("sealed is %+v, the ledger has %d; %v", s, l.Head().Size, b.problems)
		}
	}
	genesis := &ledger.Genesis{
		FeatureLevel: 1, Origin: testOrigin, Program: "log", ProgramVersion: 1, LogKeys: []string{line.Key().String()}, SealQuorum: 1,
		Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: old.Key().String()}},
	}
	block, err := ledger.EncodeGenesis(genesis, "creator", 5)
	if err != nil {
		t.Fatal(err)
	}
	apply(block)
	sealNow()
	if len(b.accepted) > 0 {
		t.Fatal("something is proposed without a change")
	}
	change := &ledger.PolicyChange{Policy: *genesis.Policy0(), Reason: ledger.PolicyRotateCosigner}
	change.Policy.Epoch = 1
	change.Policy.Members[0].Cosigner = next.Key().String()
	r.ChangePolicy("spiffe://example.org/admin", change, func(res ledger.Result, err error) {
		if err != nil || res.Err != nil {
			t.Errorf("change: %v, %v", res.Err, err)
		}
	})
	commit(b.accepted[0])
	sealNow()
	commit(&request{batch: testBatch("a"), done: func(ledger.Result, error) {}})
	sealNow()
	if len(b.accepted) != 2 {
		t.Fatalf("%d proposals after two seals in the hand-over, want the change and one record", len(b.accepted))
	}
	r.Fail(b.accepted[1:], raftnode.ErrStopped)
	commit(&request{batch: testBatch("b"), done: func(ledger.Result, error) {}})
	sealNow()
	if len(b.accepted) != 3 {
		t.Fatalf("%d proposals after the record was lost, want 3", len(b.accepted))
	}
	commit(b.accepted[2])
	in, err := l.PolicyAt(l.Head().Size)
	if err != nil || in.Before != nil || in.Newest.Epoch != 1 {
		t.Fatalf("in force are %+v, %v", in, err)
	}
	sealNow()
	if _, note, _ := tlog.ParseCheckpoint(l.Sealed().Note); len(note.Signatures) != 2 || !next.Key().Signed(note.Signatures[1]) {
		t.Errorf("signed by %d keys, want the log's and the new one", len(note.Signatures))
	}
	if len(b.accepted) != 3 || len(b.problems)+len(b.halted) > 0 {
		t.Errorf("%d proposals, problems %v, halted %v", len(b.accepted), b.problems, b.halted)
	}
}
