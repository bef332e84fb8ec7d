package replica

import (
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

const (
	testOrigin = "example.org/ledger"
	testNode   = "spiffe://example.org/cluster/00000000000000c1/node/n1"
)

// bench is the Raft and the Shell of a replica under test.
type bench struct {
	notes    []func(error) // of the promises that are being written
	sent     int
	marks    []wal.Mark
	refuse   error // of Submit
	accepted []raftnode.Request

	wakes    int
	halted   []error
	evidence []*tlog.Contradiction
	sealed   []*ledger.Sealed
	disputes []seal.Contradiction
	problems []error

	workerWakes  int
	workProblems []error
	fillerWakes  int
	filled       []bool
	reached      int

	changes  []raftnode.Change
	status   raftnode.Status
	policies []*ledger.PolicyInForce
}

func (b *bench) SendApp(uint64, []byte) { b.sent++ }

func (b *bench) AppendNote(_ uint8, _ []byte, done func(error)) { b.notes = append(b.notes, done) }

func (b *bench) Submit(q raftnode.Request) error {
	b.accepted = append(b.accepted, q)
	return b.refuse
}

func (b *bench) SetMark(m wal.Mark) bool {
	b.marks = append(b.marks, m)
	return true
}

func (b *bench) ChangeMembers(c raftnode.Change) bool {
	b.changes = append(b.changes, c)
	return true
}

func (b *bench) Status() raftnode.Status                 { return b.status }
func (b *bench) MembersChanged(in *ledger.PolicyInForce) { b.policies = append(b.policies, in) }

func (b *bench) WakeSealer()                       { b.wakes++ }
func (b *bench) Sealed(c *ledger.Sealed)           { b.sealed = append(b.sealed, c) }
func (b *bench) Contradicted(c seal.Contradiction) { b.disputes = append(b.disputes, c) }
func (b *bench) Problem(err error)                 { b.problems = append(b.problems, err) }
func (b *bench) WakeFiller()                       { b.fillerWakes++ }
func (b *bench) Filled(index uint64, ok bool)      { b.filled = append(b.filled, ok) }
func (b *bench) Reached()                          { b.reached++ }
func (b *bench) Publish()                          {}
func (b *bench) FillProblem(_ uint64, err error)   { b.problems = append(b.problems, err) }
func (b *bench) WakeWorker()                       { b.workerWakes++ }
func (b *bench) WorkProblem(err error)             { b.workProblems = append(b.workProblems, err) }

func (b *bench) Halt(err error, evidence *tlog.Contradiction) {
	b.halted, b.evidence = append(b.halted, err), append(b.evidence, evidence)
}

func newCosigner(t *testing.T, name string) *tlog.Cosigner {
	t.Helper()
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newTestReplica is the replica of the only voter of a ledger. Its shell is a *bench.
func newTestReplica(t *testing.T, log *wal.Log, store ledger.Store) *Replica {
	t.Helper()
	return newProgramReplica(t, log, store, nil, Clocks{Now: time.Now, Voters: 1})
}

// newProgramReplica is newTestReplica for a program, with clocks.
func newProgramReplica(t *testing.T, log *wal.Log, store ledger.Store, p ledger.Program, clocks Clocks) *Replica {
	t.Helper()
	l, err := Open(store, log.Group(group), ledger.Config{Group: group, Origin: testOrigin, Program: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	self := newCosigner(t, "example.org/n1")
	r, err := New(Config{
		Ledger: l, Log: log.Group(group), Shell: &bench{}, Clocks: clocks, Principal: testNode,
		Seal: seal.Config{Self: 1, Voters: map[uint64]*tlog.VerifierKey{1: self.Key()}, LogCosigner: newCosigner(t, testOrigin), NodeCosigner: self},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func benchOf(r *Replica) *bench { return r.shell.(*bench) }

func testBatch(payload string) ledger.Batch {
	return ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte(payload)}}}
}

// TestAppliesAndSeals: batches that were submitted are applied in one run, each is answered once
// with its own result, and the result is sealed once the promise is durable.
func TestAppliesAndSeals(t *testing.T) {
	r := newTestReplica(t, newLog(t), memstore.New(memstore.Options{}))
	b := benchOf(r)
	r.Bind(b)
	r.StateChanged(raftnode.State{Role: raftnode.RoleLeader, Leader: 1, Term: 1, Serving: true})
	var results []ledger.Result
	for _, payload := range []string{"a", "b"} {
		r.Submit(testBatch(payload), func(res ledger.Result, err error) {
			if err != nil {
				t.Error(err)
			}
			results = append(results, res)
		})
	}
	var run []raftnode.Committed
	for i, q := range b.accepted {
		if q.Size() != r.mustSize(q) {
			t.Errorf("request %d says that it has %d bytes", i, q.Size())
		}
		block, err := r.BuildBlock([]raftnode.Request{q})
		if err != nil {
			t.Fatal(err)
		}
		run = append(run, raftnode.Committed{Index: uint64(i + 1), Term: 1, Data: block, Requests: []raftnode.Request{q}})
	}
	if err := r.Apply(run); err != nil {
		t.Fatal(err)
	}
	if len(results) != 2 || results[0].Indexes[0] != 0 || results[1].Indexes[0] != 1 {
		t.Fatalf("results are %+v", results)
	}
	r.RequestSeal()
	if b.wakes == 0 {
		t.Error("nobody woke the sealer")
	}
	r.Seal()
	if len(b.notes) != 1 || len(b.sealed) != 0 {
		t.Fatalf("%d promises are being written and %d checkpoints sealed, want 1 and 0", len(b.notes), len(b.sealed))
	}
	b.notes[0](nil)
	r.Seal()
	if len(b.sealed) != 1 || b.sealed[0].Size != 2 || r.Ledger().Sealed().Size != 2 {
		t.Fatalf("sealed are %+v", b.sealed)
	}
	if len(b.halted)+len(b.problems)+len(b.disputes) > 0 {
		t.Errorf("halted %v, problems %v, disputes %v", b.halted, b.problems, b.disputes)
	}
}

// TestGrowthWakesTheSealerOnce: a leader's sealer that is going to seal anyway, or is sealing, is not
// woken for every block. The next seal covers all of them.
func TestGrowthWakesTheSealerOnce(t *testing.T) {
	r := newTestReplica(t, newLog(t), memstore.New(memstore.Options{}))
	b := benchOf(r)
	now := time.Unix(1_900_000_000, 0)
	r.clocks.Now = func() time.Time { return now }
	r.Bind(b)
	r.StateChanged(raftnode.State{Role: raftnode.RoleLeader, Leader: 1, Term: 1, Serving: true})
	r.Seal()
	index := uint64(0)
	grow := func(wakes int) {
		t.Helper()
		index++
		block, err := ledger.EncodeBlock(r.ledger.Anchor(), int64(index), []ledger.Batch{testBatch("x")})
		if err != nil {
			t.Fatal(err)
		}
		b.wakes = 0
		if err := r.Apply([]raftnode.Committed{{Index: index, Term: 1, Data: block}}); err != nil {
			t.Fatal(err)
		}
		if b.wakes != wakes {
			t.Errorf("block %d wakes the sealer %d times, want %d", index, b.wakes, wakes)
		}
	}
	grow(1)
	r.Seal() // begins to seal size 1
	grow(0)
	b.notes[0](nil)
	due, ok := r.Seal()
	if len(b.sealed) != 1 || b.sealed[0].Size != 1 || !ok {
		t.Fatalf("sealed are %+v, the sealer has a deadline: %t", b.sealed, ok)
	}
	grow(0) // size 2 will be sealed at the deadline
	missed := true
	r.clocks.Now = func() time.Time { // the sealer is being stepped
		missed = !r.mail.applied(r.ledger.Head())
		return now
	}
	r.Seal()
	if missed {
		t.Error("a block that is applied while the sealer is stepped does not wake it")
	}
	now = due
	r.Seal()
	b.notes[1](nil)
	r.Seal()
	if len(b.sealed) != 2 || b.sealed[1].Size != 3 {
		t.Fatalf("sealed are %+v", b.sealed)
	}
	grow(1)
}

func (r *Replica) mustSize(q raftnode.Request) int { b := q.(*request).batch; return b.Size() }

// TestFailedApplyAnswersOnce: when blocks cannot be applied, Raft fails their requests. An answer
// from Apply as well would be the second one, for which a caller whose time was up has no room.
func TestFailedApplyAnswersOnce(t *testing.T) {
	r := newTestReplica(t, newLog(t), memstore.New(memstore.Options{}))
	b := benchOf(r)
	r.Bind(b)
	var answers []error
	r.Submit(testBatch("x"), func(_ ledger.Result, err error) { answers = append(answers, err) })
	block, err := r.BuildBlock(b.accepted)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ledger.Close(); err != nil { // every apply fails from here on
		t.Fatal(err)
	}
	if err := r.Apply([]raftnode.Committed{{Index: 1, Term: 1, Data: block, Requests: b.accepted}}); err == nil {
		t.Fatal("apply to a closed ledger: no error")
	}
	if len(answers) != 0 {
		t.Fatalf("Apply failed and answered %v: Raft will have the requests answered again", answers)
	}
	r.Fail(b.accepted, raftnode.ErrIndefinite)
	if len(answers) != 1 || !errors.Is(answers[0], raftnode.ErrIndefinite) {
		t.Fatalf("answers are %v, want one raftnode.ErrIndefinite", answers)
	}
	b.refuse = raftnode.ErrQueueFull
	r.Submit(testBatch("x"), func(_ ledger.Result, err error) { answers = append(answers, err) })
	if len(answers) != 2 || !errors.Is(answers[1], raftnode.ErrQueueFull) {
		t.Errorf("answers are %v, want a full queue in the end", answers)
	}
}

// TestWhatHalts: a majority that contradicts the replica, a signature that it has forgotten and a
// promise that cannot be written halt the replica. A promise that is not written because Raft has
// stopped must not hide why it has. Nothing is done after a halt.
func TestWhatHalts(t *testing.T) {
	evidence := &tlog.Contradiction{Smaller: []byte("one\n"), Larger: []byte("two\n")}
	broken := errors.New("input/output error")
	root := merkle.LeafHash([]byte("theirs"))
	var diverged *ledger.DivergenceError
	for name, x := range map[string]struct {
		effect   seal.Effect
		written  error
		halts    func(error) bool
		evidence *tlog.Contradiction
	}{
		"outvoted":               {effect: seal.Outvoted{Size: 7, Theirs: root, Evidence: evidence}, evidence: evidence, halts: func(err error) bool { return errors.As(err, &diverged) && errors.Is(err, seal.ErrContradiction) }},
		"outvoted, no evidence":  {effect: seal.Outvoted{Size: 7, Theirs: root}, halts: func(err error) bool { return errors.As(err, &diverged) && diverged.Size == 7 }},
		"restored":               {effect: seal.Restored{Size: 9, Promised: 4}, halts: func(err error) bool { return errors.Is(err, seal.ErrRestored) }},
		"a broken disk":          {effect: seal.Persist{Token: 1}, written: broken, halts: func(err error) bool { return errors.Is(err, broken) }},
		"Raft has stopped":       {effect: seal.Persist{Token: 1}, written: raftnode.ErrStopped},
		"fewer than a majority":  {effect: seal.Contradiction{By: []string{"n2"}}},
		"something to be logged": {effect: seal.Problem{Err: broken}},
	} {
		r := newTestReplica(t, newLog(t), memstore.New(memstore.Options{}))
		b := benchOf(r)
		r.Bind(b)
		going := r.carryOut([]seal.Effect{x.effect, seal.Send{To: 2}})
		for _, done := range b.notes {
			done(x.written)
		}
		if halted := len(b.halted) == 1; halted != (x.halts != nil) || halted && (!x.halts(b.halted[0]) || b.evidence[0] != x.evidence) {
			t.Errorf("%s: halted with %v and evidence %v", name, b.halted, b.evidence)
		}
		if stops := x.halts != nil && x.written == nil; going == stops || (b.sent == 0) != stops {
			t.Errorf("%s: going on: %t, sent %d", name, going, b.sent)
		}
	}
}

// TestSealsBetweenBindAndStop: before a replica knows its group, and after it was stopped, it seals
// nothing.
func TestSealsBetweenBindAndStop(t *testing.T) {
	r := newTestReplica(t, newLog(t), memstore.New(memstore.Options{}))
	b := benchOf(r)
	if _, due := r.Seal(); due {
		t.Error("a deadline before Bind")
	}
	r.StateChanged(raftnode.State{Role: raftnode.RoleLeader, Leader: 1, Term: 1, Serving: true})
	b.accepted = []raftnode.Request{&request{batch: testBatch("x"), done: func(ledger.Result, error) {}}}
	block, err := r.BuildBlock(b.accepted)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply([]raftnode.Committed{{Index: 1, Term: 1, Data: block, Requests: b.accepted}}); err != nil {
		t.Fatal(err)
	}
	r.Bind(b)
	if b.wakes == 0 {
		t.Error("Bind does not wake the sealer")
	}
	r.StopSealing()
	r.Seal()
	if len(b.notes) > 0 {
		t.Error("a stopped replica promises a signature")
	}
}

// TestMailboxIsFair: a member can fill its own share of the mailbox, neither that of another member
// nor the room for what this node tells itself, and only until the mailbox is emptied.
func TestMailboxIsFair(t *testing.T) {
	large := make([]byte, 1<<16)
	var m mailbox
	m.init(ledger.Head{Size: 3, RaftIndex: 4})
	for range 2 * maxMessages {
		m.received(2, nil)
		m.received(3, large)
	}
	if !m.received(4, large) {
		t.Error("two members left no room for a third one")
	}
	m.post(seal.Leader{Is: true})
	m.want()
	m.want()
	events := m.take()
	if want := maxMessages + maxMessageBytes/len(large) + 4; len(events) != want {
		t.Errorf("%d events were taken, want %d", len(events), want)
	}
	if events[0] != (seal.Applied{Size: 3, Index: 4}) || events[1] != (seal.Wanted{Callers: 2}) {
		t.Errorf("the first events are %v, %v; want position and wish", events[0], events[1])
	}
	if again := m.take(); len(again) != 0 {
		t.Errorf("taken again: %d events", len(again))
	}
	if !m.received(2, nil) || !m.received(3, large) {
		t.Error("no room after the mailbox was emptied")
	}
}
