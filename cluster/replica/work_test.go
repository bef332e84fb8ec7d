package replica

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// job is a program whose work the test says: "done" puts a row, another command does not.
type job struct {
	next func() (at int64, command string, err error)
}

func (*job) Name() string                                { return "job" }
func (*job) Version() uint32                             { return 1 }
func (*job) MaxOutcome(ledger.Kind, []byte) (int, error) { return 0, nil }

func (*job) Decide(view ledger.View, in *ledger.Input) []byte {
	if string(in.Body) == "done" {
		view.Put([]byte("row"), nil)
	}
	return nil
}

func (j *job) Work(ledger.State) (at int64, command []byte, ok bool, err error) {
	at, c, err := j.next()
	return at, []byte(c), c != "", err
}

// workBench is a replica of a Timed program, on a clock that the test sets.
type workBench struct {
	*Replica
	*bench
	t      *testing.T
	now    time.Time
	others map[uint64]transport.ClockSample
	index  uint64 // of the Raft log
}

func newWorkBench(t *testing.T, p ledger.Program) *workBench {
	b := &workBench{t: t, now: time.UnixMicro(1_000_000_000)}
	b.Replica = newProgramReplica(t, newLog(t), memstore.New(memstore.Options{}), p, Clocks{
		Now: func() time.Time { return b.now }, Voters: 3, MaxOffset: 10 * time.Second,
		Samples: func() map[uint64]transport.ClockSample { return b.others },
	})
	b.bench = benchOf(b.Replica)
	b.Bind(b.bench)
	return b
}

func (b *workBench) serve(serves bool) {
	s := raftnode.State{Role: raftnode.RoleLeader, Leader: 1, Term: 1, Serving: serves}
	b.StateChanged(s)
}

// work calls Work and demands when it is due again; negative: not before a wake.
func (b *workBench) work(what string, want time.Duration) {
	b.t.Helper()
	due, ok := b.Work()
	switch {
	case !ok && want >= 0:
		b.t.Fatalf("%s: Work waits for a wake, want %s", what, want)
	case ok && due.Sub(b.now) != want:
		b.t.Fatalf("%s: Work is due in %s, want %s", what, due.Sub(b.now), want)
	}
}

// proposals demands how many proposals are under way.
func (b *workBench) proposals(what string, want int) {
	b.t.Helper()
	if len(b.accepted) != want {
		b.t.Fatalf("%s: %d proposals, want %d", what, len(b.accepted), want)
	}
}

// apply commits what was submitted as one block.
func (b *workBench) apply() {
	b.t.Helper()
	requests := b.accepted
	b.accepted = nil
	block, err := b.BuildBlock(requests)
	if err != nil {
		b.t.Fatal(err)
	}
	b.index++
	if err := b.Apply([]raftnode.Committed{{Index: b.index, Term: 1, Data: block, Requests: requests}}); err != nil {
		b.t.Fatal(err)
	}
}

// TestMapRootIsPublished: a leader puts a record of the map root behind the commands of a block, in
// its own name. Whoever asked is answered as without it. A command that touches no account, and the
// record itself, lead to no record.
func TestMapRootIsPublished(t *testing.T) {
	b := newWorkBench(t, accounts.Mapped{})
	b.serve(true)
	want := uint64(0)
	submit := func(command []byte) {
		b.Replica.Submit(ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: command}}}, func(res ledger.Result, err error) {
			if err != nil || res.Err != nil || res.Indexes[0] != want {
				t.Errorf("%v, %v, index %v, want %d", err, res.Err, res.Indexes, want)
			}
			want++
		})
	}
	submit(accounts.Open(1, 100))
	submit(accounts.Open(2, 100))
	b.apply()
	root, err := b.ledger.MapRootAt(3)
	if err != nil || root.Index != 2 || root.Accounts != 2 {
		t.Fatalf("the newest map root is %+v, %v", root, err)
	}
	leaf, err := b.ledger.Leaf(2)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := ledger.ParseLeaf(leaf); err != nil || e.Kind != ledger.KindRecord || e.Principal != testNode || e.Time != b.now.UnixMicro() {
		t.Errorf("entry 2 is %+v, %v", e, err)
	}
	want = 3
	submit(accounts.Sum(1, 2))
	b.apply()
	if size := b.ledger.Head().Size; size != 4 {
		t.Errorf("size %d after a command that touches no account, want 4", size)
	}
	b.work("after records", -1)
	b.proposals("after records", 0)
	b.Replica.Submit(testBatch("payload"), func(ledger.Result, error) {})
	block, err := b.BuildBlock(b.accepted)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := ledger.ParseBlock(block); err != nil || len(parsed.Batches) != 1 {
		t.Errorf("a block of a payload: %+v, %v", parsed, err)
	}
}

// TestWorkIsProposed: a leader proposes work when it is due, once, in its own name, and asks again
// when that was applied. A replica that does not lead, or has not been told its group, proposes
// nothing.
func TestWorkIsProposed(t *testing.T) {
	b := newWorkBench(t, accounts.WithHolds{})
	submit := func(commands ...[]byte) {
		batch := ledger.Batch{Principal: "p"}
		for _, c := range commands {
			batch.Entries = append(batch.Entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: c})
		}
		b.Replica.Submit(batch, func(res ledger.Result, err error) {
			if err != nil || res.Err != nil {
				t.Error(err, res.Err)
			}
		})
	}
	submit(accounts.Open(1, 100), accounts.Hold(1, 1, 10, 3_000_000), accounts.Hold(2, 1, 20, 5_000_000), accounts.Hold(3, 1, 30, 5_000_000))
	b.apply()
	b.now = b.now.Add(10 * time.Second)
	if b.work("without a leader", -1); b.workerWakes != 0 {
		t.Errorf("%d wakes of a worker that does not lead", b.workerWakes)
	}
	b.proposals("without a leader", 0)
	b.now = b.now.Add(-8 * time.Second)
	if b.serve(true); b.workerWakes != 1 {
		t.Fatalf("%d wakes of a new leader's worker, want 1", b.workerWakes)
	}
	b.work("one second early", time.Second)
	b.now = b.now.Add(time.Second)
	b.work("in time", -1)
	b.work("while a proposal is under way", -1)
	b.proposals("in time", 1)
	got := b.accepted[0].(*request).batch
	if e := got.Entries[0]; got.Principal != testNode || len(got.Entries) != 1 || e.Kind != ledger.KindCommand || len(e.Key) > 0 || !bytes.Equal(e.Body, accounts.Expire(1)) {
		t.Fatalf("proposed is %+v", got)
	}
	b.workerWakes = 0
	if b.apply(); b.workerWakes == 0 {
		t.Fatal("nobody wakes the worker after its proposal was applied")
	}
	b.work("the next holds", 2*time.Second)
	b.now = b.now.Add(2 * time.Second)
	for range 2 {
		b.work("two holds that are due at once", -1)
		b.proposals("two holds that are due at once", 1)
		b.apply()
	}
	b.work("no hold is left", -1)
	b.workerWakes = 0
	submit(accounts.Hold(4, 1, 10, 1_000_000))
	if b.apply(); b.workerWakes != 1 {
		t.Fatalf("%d wakes of the worker after a block, want 1", b.workerWakes)
	}
	b.work("a new hold", time.Second)
	b.now = b.now.Add(time.Hour)
	b.serve(false)
	b.work("a deposed leader", -1)
	b.serve(true)
	b.StopWorking()
	b.work("after the end", -1)
	b.proposals("after the end", 0)
	if len(b.workProblems) > 0 {
		t.Error(b.workProblems)
	}
}

// TestWorkIsLimitedByOtherClocks: a leader whose clock is ahead of a majority's proposes work when
// a block of its may have the time, not when its own clock says so.
func TestWorkIsLimitedByOtherClocks(t *testing.T) {
	b := newWorkBench(t, &job{func() (int64, string, error) { return 1_007_000_000, "done", nil }})
	b.others = map[uint64]transport.ClockSample{2: {Offset: -9 * time.Second}, 3: {Offset: -8 * time.Second}}
	b.serve(true)
	b.now = b.now.Add(7 * time.Second) // the others are at most at -1 s, the ceiling is at 4 s
	b.work("ahead of the others", 3*time.Second)
	b.proposals("ahead of the others", 0)
	b.now = b.now.Add(3 * time.Second)
	b.work("as far as the others let it", -1)
	b.proposals("as far as the others let it", 1)
	b.apply()
	if now := b.Time(); now != 1_007_000_000 {
		t.Errorf("the entry has the time %d", now)
	}
}

// TestWorkDoesNotSpin: work that was lost, refused or proposed in vain is proposed again after a
// pause that grows, other work at once.
func TestWorkDoesNotSpin(t *testing.T) {
	command := "in vain"
	b := newWorkBench(t, &job{func() (int64, string, error) { return 1, command, nil }})
	b.serve(true)
	for _, fate := range []struct {
		name string
		end  func()
	}{
		{"without effect", b.apply},
		{"lost", func() { b.Fail([]raftnode.Request{b.accepted[0]}, raftnode.ErrIndefinite); b.accepted = nil }},
	} {
		command = fate.name
		for pause := firstPause; ; pause = min(2*pause, longestPause) {
			b.work(fate.name, -1)
			b.proposals(fate.name, 1)
			fate.end()
			b.work("after "+fate.name, pause)
			b.now = b.now.Add(pause - 1)
			b.work("just before the end of the pause", 1)
			b.proposals("during a pause", 0)
			b.now = b.now.Add(1)
			if pause == longestPause {
				break
			}
		}
	}
	b.work("again", -1)
	b.apply()
	b.now = b.now.Add(-time.Hour)
	b.work("after the clock was set back", -1)
	b.proposals("after the clock was set back", 1)
	b.apply()
	command = "other work"
	b.work(command, -1)
	b.proposals(command, 1)
	b.apply()
	command = "done"
	for range 3 {
		b.work("work with an effect", -1)
		b.proposals("work with an effect", 1)
		b.apply()
	}
	b.refuse = raftnode.ErrQueueFull
	b.work("a full queue", -1)
	b.work("after a full queue", firstPause)
	b.serve(false)
	b.refuse, b.accepted = nil, nil
	b.serve(true)
	b.work("a new term", -1)
	b.proposals("a new term", 1)
}

// TestWorkProposedTooEarly: when the other clocks go back between the proposal and its block, the
// leader waits as long as the entry's time was too early.
func TestWorkProposedTooEarly(t *testing.T) {
	b := newWorkBench(t, &job{func() (int64, string, error) { return 1_003_000_000, "nothing yet", nil }})
	b.serve(true)
	b.now = b.now.Add(3 * time.Second)
	b.work("in time", -1)
	b.others = map[uint64]transport.ClockSample{2: {Offset: -9 * time.Second}, 3: {Offset: -9 * time.Second}}
	b.apply() // at -1 s
	b.others = nil
	b.work("after a block that was 4 s early", 4*time.Second)
}

// TestWorkThatFails: an error of the program and a panic are reported, and asked for again after a
// pause; they stop nothing.
func TestWorkThatFails(t *testing.T) {
	for name, next := range map[string]func() (int64, string, error){
		"an error": func() (int64, string, error) { return 0, "", errors.New("cannot read") },
		"a panic":  func() (int64, string, error) { panic("cannot read") },
	} {
		b := newWorkBench(t, &job{next})
		b.serve(true)
		b.work(name, firstPause)
		b.now = b.now.Add(firstPause)
		b.work(name+" again", 2*firstPause)
		if len(b.workProblems) != 2 || !strings.Contains(b.workProblems[0].Error(), "cannot read") {
			t.Errorf("%s: reported are %v", name, b.workProblems)
		}
	}
	b := newWorkBench(t, &job{func() (int64, string, error) { return 0, strings.Repeat("x", ledger.MaxLeafSize), nil }})
	b.serve(true)
	if b.work("a command that fits into no entry", firstPause); len(b.workProblems) != 1 || len(b.accepted) > 0 {
		t.Errorf("a command that fits into no entry: reported are %v, %d proposals", b.workProblems, len(b.accepted))
	}
	b = newWorkBench(t, &job{func() (int64, string, error) { return 0, "", ledger.ErrStateGone }})
	b.serve(true)
	if b.work("a state that is gone", firstPause); len(b.workProblems) > 0 {
		t.Errorf("a state that is gone: reported are %v", b.workProblems)
	}
}

// TestNoWork: the worker of a program without work is never woken.
func TestNoWork(t *testing.T) {
	b := newWorkBench(t, accounts.Program{})
	b.serve(true)
	b.Replica.Submit(testBatch("x"), func(ledger.Result, error) {})
	b.apply()
	if b.work("no work", -1); b.workerWakes > 0 {
		t.Errorf("the worker was woken %d times", b.workerWakes)
	}
}
