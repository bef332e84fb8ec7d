package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// leaderTest is the leader of three members, whose driver and replica run on the test's goroutine and
// clock. The test plays the transport and the other members. Nothing takes any time but what the test
// lets pass.
type leaderTest struct {
	bench  // the replica's Shell
	t      *testing.T
	now    time.Duration
	woken  bool // a turn is wanted
	log    *wal.Log
	driver *raftnode.Driver
	sent   []*raftpb.Message
	*stages.Set
}

func (l *leaderTest) Wake(task raftnode.Task)                        { l.woken = l.woken || task == raftnode.TaskTurn }
func (l *leaderTest) Now() time.Duration                             { return l.now }
func (l *leaderTest) Failed(err error)                               { l.t.Error(err) }
func (l *leaderTest) Register(uint64, transport.Handler)             {}
func (l *leaderTest) Unregister(uint64)                              {}
func (l *leaderTest) SendRaft(_ uint64, m *raftpb.Message)           { l.sent = append(l.sent, m) }
func (l *leaderTest) SendBeat(uint64, uint64, transport.Beat)        {}
func (l *leaderTest) Flush(bool)                                     {}
func (l *leaderTest) pass(d time.Duration)                           { l.now += d }
func (l *leaderTest) hear(from uint64, m *raftpb.Message)            { l.driver.HandleRaft(group, from, m) }
func (l *leaderTest) SendApp(_ uint64, _ uint64, _ []byte)           {}
func (l *leaderTest) AppendNote(slot uint8, d []byte, f func(error)) { l.driver.AppendNote(slot, d, f) }

// answer answers what the driver has asked member 2.
func (l *leaderTest) answer(kind, answer raftpb.MessageType) {
	for _, m := range l.sent {
		if m.GetTo() == 2 && m.GetType() == kind {
			index := m.GetIndex() + uint64(len(m.GetEntries()))
			from, to := uint64(2), uint64(1)
			l.hear(2, &raftpb.Message{Type: &answer, From: &from, To: &to, Term: m.Term, Index: &index})
		}
	}
	l.sent = nil
}

func (l *leaderTest) turns() {
	for l.woken = true; l.woken; {
		l.woken = false
		l.driver.Turn()
	}
}

func (l *leaderTest) write(takes time.Duration) {
	for {
		w, _ := l.driver.NextWrite()
		if w == nil {
			return
		}
		if w.Sync {
			l.pass(takes)
		}
		l.driver.Written(l.log.Append(w.Records, w.Sync))
	}
}

func (l *leaderTest) apply(r *Replica) {
	for {
		run, _ := l.driver.NextApply()
		if len(run) == 0 {
			return
		}
		l.driver.Applied(r.Apply(run))
	}
}

// slowStore is a store that calls a function before each write.
type slowStore struct {
	ledger.Store
	write func()
}

func (s *slowStore) Commit(version uint64, pairs []ledger.Pair) error {
	s.write()
	return s.Store.Commit(version, pairs)
}

// newLeader makes member 1 the leader of a ledger. apply is how long the next write to the
// store takes.
func newLeader(t *testing.T, apply *time.Duration) (*leaderTest, *Replica) {
	l := &leaderTest{t: t}
	l.Set = stages.New(func() time.Duration { return l.now })
	var err error
	if l.log, err = wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.log.Close() })
	if err := l.log.Bootstrap(group, wal.Mark{ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}}}); err != nil {
		t.Fatal(err)
	}
	store := &slowStore{memstore.New(memstore.Options{}), func() { l.pass(*apply); *apply = 0 }}
	led, err := Open(store, l.log.Group(group), ledger.Config{Group: group, Origin: testOrigin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = led.Close() })
	self := newCosigner(t, "example.org/n1")
	r, err := New(Config{
		Ledger: led, Log: l.log.Group(group), Shell: l, Principal: testNode, Stages: l.Set,
		Clocks: Clocks{Now: func() time.Time { return time.Unix(1_900_000_000, 0).Add(l.now) }, Voters: 1},
		Seal:   seal.Config{Self: 1, Voters: map[uint64]*tlog.VerifierKey{1: self.Key()}, LogCosigner: newCosigner(t, testOrigin), NodeCosigner: self},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.driver, err = raftnode.NewDriver(raftnode.Config{ID: 1, Group: group, Log: l.log, Transport: l, Machine: r, Stages: l.Set, Incarnation: 1}, l)
	if err != nil {
		t.Fatal(err)
	}
	r.Bind(l.driver)
	for range 100 {
		if r.State().Serving {
			return l, r
		}
		if l.pass(10 * time.Millisecond); l.driver.Tick(true) {
			l.turns()
		}
		l.write(0)
		l.turns()
		l.answer(raftpb.MsgPreVote, raftpb.MsgPreVoteResp)
		l.turns()
		l.write(0)
		l.turns()
		l.answer(raftpb.MsgVote, raftpb.MsgVoteResp)
		l.turns()
		l.write(0)
		l.answer(raftpb.MsgApp, raftpb.MsgAppResp)
		l.turns()
		l.apply(r)
		l.turns()
	}
	t.Fatal("the member does not lead")
	return nil, nil
}

// TestDelayShowsInItsStage: what delays one stage of an append shows in the histogram of that stage,
// with its length, and in no other one.
func TestDelayShowsInItsStage(t *testing.T) {
	for slow := stages.Queue; slow <= stages.Seal; slow++ {
		t.Run(slow.String(), func(t *testing.T) {
			var applyTakes time.Duration
			l, r := newLeader(t, &applyTakes)
			delay := func(s stages.Stage) time.Duration {
				if s == slow {
					return time.Second
				}
				return 0
			}
			before := [stages.Count]uint64{}
			for s := range stages.Count {
				before[s] = l.Total(s).Count
			}
			answers := 0
			seals := func() { // concurrently with the answers, unless sealing is slow
				r.RequestSeal()
				r.Seal()
				l.write(0)
				r.Seal()
			}
			for i := range 2 {
				r.Submit(testBatch(fmt.Sprint(i)), func(_ ledger.Result, err error) {
					if err != nil {
						t.Error(err)
					}
					if answers++; answers == 1 && slow != stages.Seal {
						seals()
					}
					l.pass(delay(stages.Answer) / 2) // there are two
				})
			}
			l.pass(delay(stages.Queue))
			l.turns() // the block leaves
			l.pass(delay(stages.Replicate))
			l.answer(raftpb.MsgApp, raftpb.MsgAppResp)
			from, to, typ := uint64(3), uint64(1), raftpb.MsgAppResp
			index, term := l.driver.Status().LastIndex+1, r.State().Term // not yet in this member's log
			l.hear(3, &raftpb.Message{Type: &typ, From: &from, To: &to, Term: &term, Index: &index})
			l.turns() // a quorum has it without this member
			l.write(delay(stages.Write))
			l.turns()
			applyTakes = delay(stages.Apply)
			l.apply(r)
			if slow == stages.Seal {
				l.pass(delay(stages.Seal))
				seals()
			}
			if answers != 2 || len(l.sealed) != 1 {
				t.Fatalf("%d answers and %d seals, want 2 and 1", answers, len(l.sealed))
			}
			for s := stages.Queue; s <= stages.Seal; s++ {
				d := l.Total(s)
				want := time.Duration(0)
				if s == slow {
					want = time.Second
				}
				if got := time.Duration(d.Max); got != want || d.Count == before[s] {
					t.Errorf("the longest %s is %v of %d new ones, want %v; slow is %s", s, got, d.Count-before[s], want, slow)
				}
			}
		})
	}
}

// TestUnsealedIsBounded: however long nothing is sealed, the oldest apply is remembered, and the
// memory for it is bounded.
func TestUnsealedIsBounded(t *testing.T) {
	var u unsealed
	for i := range uint64(10 * maxUnsealed) {
		u.grew(i+1, stages.Moment(100+i))
		u.grew(i+1, stages.Moment(1_000_000)) // without effect
	}
	if n := len(u.mu.runs); n > maxUnsealed {
		t.Errorf("%d sizes are remembered, at most %d are allowed", n, maxUnsealed)
	}
	if at, ok := u.sealed(10*maxUnsealed - 1); !ok || at != 100 {
		t.Errorf("the oldest was applied at %d, want 100", at)
	}
	if at, ok := u.sealed(10 * maxUnsealed); !ok || at < 101 || at > 100+10*maxUnsealed {
		t.Errorf("the rest was applied at %d (%t)", at, ok)
	}
	if _, ok := u.sealed(10 * maxUnsealed); ok {
		t.Error("a second checkpoint of the same size covers something")
	}
}
