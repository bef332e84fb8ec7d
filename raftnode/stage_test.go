package raftnode

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// stage is a driver with everything around it played by the test: the shell with its clock, the
// transport and the machine. Nothing happens before the test asks for it, and everything happens on
// the test's goroutine.
type stage struct {
	still
	*Driver
	t     testing.TB
	now   time.Duration
	ticks int // of pass
	woken [tasks]bool

	sent   []*raftpb.Message
	events []string // "build", and "send" with the type of a message, in their order
	failed []failure
	// applied are the entries with data. Apply returns applyErr, if there is one.
	applied  []*Committed
	applyErr error
	fatal    []error
	lines    []string
	states   []State
	fills    []Snapshot
	// block is what BuildBlock returns; nil: a short one.
	block []byte
}

// failure is one call of Machine.Fail.
type failure struct {
	reqs []Request
	err  error
}

func (s *stage) Wake(t Task)        { s.woken[t] = true }
func (s *stage) Now() time.Duration { return s.now }
func (s *stage) Failed(err error)   { s.fatal = append(s.fatal, err) }
func (s *stage) SendRaft(_ uint64, m *raftpb.Message) {
	s.sent = append(s.sent, m)
	s.events = append(s.events, "send "+m.GetType().String())
}
func (s *stage) SendBeat(group, to uint64, b transport.Beat) { s.SendRaft(group, b.Message(1, to)) }
func (s *stage) BuildBlock([]Request) ([]byte, error) {
	s.events = append(s.events, "build")
	if s.block != nil {
		return s.block, nil
	}
	return []byte("block"), nil
}
func (s *stage) Fail(reqs []Request, err error) { s.failed = append(s.failed, failure{reqs, err}) }
func (s *stage) Fill(f Snapshot)                { s.fills = append(s.fills, f) }
func (s *stage) StateChanged(st State)          { s.states = append(s.states, st) }
func (s *stage) Apply(run []Committed) error {
	for _, e := range run {
		if len(e.Data) > 0 && s.applyErr == nil {
			s.applied = append(s.applied, &e)
		}
	}
	return s.applyErr
}
func (s *stage) HandleApp(uint64, []byte)       {} // of the machine, not of the driver
func (s *stage) SendApp(uint64, uint64, []byte) {} // of the transport, not of the driver

// newStage makes member 1 of a group of so many voters.
func newStage(t testing.TB, voters int, change func(*Config)) *stage {
	t.Helper()
	log, err := wal.Open(wal.Options{FS: vfs.NewMem(), Dir: "wal", Cluster: 1, Node: 1, SegmentSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	var ids []uint64
	for id := range voters {
		ids = append(ids, uint64(id+1))
	}
	if err := log.Bootstrap(1, wal.Mark{Index: 1, Term: 1, ConfState: &raftpb.ConfState{Voters: ids}}); err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t}
	cfg := Config{ID: 1, Group: 1, Log: log, Transport: s, Machine: s, Incarnation: 1, ElectionTicks: 10, HeartbeatTicks: 3,
		Logf: func(f string, args ...any) { s.lines = append(s.lines, fmt.Sprintf(f, args...)) }}
	if change != nil {
		change(&cfg)
	}
	if s.Driver, err = NewDriver(cfg, s); err != nil {
		t.Fatal(err)
	}
	s.run()
	return s
}

// write does the write that waits; false when there is none.
func (s *stage) write() bool {
	w, _ := s.NextWrite()
	if w != nil {
		s.Written(s.cfg.Log.Append(w.Records, w.Sync))
	}
	return w != nil
}

// apply applies the run that waits; false when there is none.
func (s *stage) apply() bool {
	run, _ := s.NextApply()
	if len(run) > 0 {
		s.Applied(s.Apply(run))
	}
	return len(run) > 0
}

// run runs the tasks until none has anything to do.
func (s *stage) run() {
	s.t.Helper()
	for busy := true; busy; {
		s.woken = [tasks]bool{}
		s.Turn()
		for s.write() || s.apply() {
		}
		busy = s.woken[TaskTurn]
	}
}

// hear is a message of another member to this one, in the present term unless it says another one.
func (s *stage) hear(m msg) {
	if m.term == 0 {
		m.term = s.core.State().Term
	}
	s.HandleRaft(1, m.from, m.proto())
}

// lead makes the member a leader that serves. Where there are others, member 2 votes for it.
func (s *stage) lead() {
	s.t.Helper()
	s.core.Campaign()
	s.run()
	if len(s.core.members.All()) > 1 {
		term := s.core.State().Term + 1
		for _, typ := range []raftpb.MessageType{raftpb.MsgPreVoteResp, raftpb.MsgVoteResp} {
			s.hear(msg{typ: typ, from: 2, term: term})
			s.run()
		}
		s.acknowledge()
	}
	if st := s.Status(); !st.Serving {
		s.t.Fatalf("state %+v, want a leader that serves", st.State)
	}
	s.sent, s.events = nil, nil
}

// acknowledge says that member 2 stores the whole log.
func (s *stage) acknowledge() {
	s.hear(msg{typ: raftpb.MsgAppResp, from: 2, index: s.Status().LastIndex})
	s.run()
}

// tick lets ticks pass, and the shell's clock with them.
func (s *stage) tick(n int) {
	for range n {
		s.now += s.cfg.TickInterval
		s.Tick(true)
		s.run()
	}
}

// submit gives the driver requests of these sizes, in bytes.
func (s *stage) submit(sizes ...int) {
	s.t.Helper()
	for _, size := range sizes {
		if err := s.Submit(sized(size)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// sized is a request of so many bytes.
type sized int

func (r sized) Size() int { return int(r) }

// TestBlockLeavesBeforeTheNextIsBuilt: the followers have the first block while the second one is
// built.
func TestBlockLeavesBeforeTheNextIsBuilt(t *testing.T) {
	t.Parallel()
	s := newStage(t, 2, func(c *Config) { c.MaxBlockBytes = 10 })
	s.lead()
	s.submit(10, 10)
	s.Turn()
	if want := []string{"build", "send MsgApp", "build", "send MsgApp"}; !slices.Equal(s.events, want) {
		t.Errorf("events %q, want %q", s.events, want)
	}
}

// TestBlockSizes: a block carries no more than MaxBlockBytes, unless a single request is larger.
func TestBlockSizes(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, func(c *Config) { c.MaxBlockBytes = 100 })
	s.lead()
	s.submit(60, 40, 1, 99, 1, 300, 50, 51)
	s.run()
	var got []string
	for _, e := range s.applied {
		got = append(got, strings.Trim(fmt.Sprint(e.Requests), "[]"))
	}
	if want := []string{"60 40", "1 99", "1", "300", "50", "51"}; !slices.Equal(got, want) {
		t.Errorf("blocks of %q, want %q", got, want)
	}
}

// TestMachineBuildsTooLargeABlock: a block that no frame can carry is not proposed, and its
// requests fail for certain.
func TestMachineBuildsTooLargeABlock(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, nil)
	s.lead()
	s.block = make([]byte, MaxBlockSize+1)
	s.submit(1)
	s.run()
	if len(s.failed) != 1 || !errors.Is(s.failed[0].err, ErrTooLarge) || len(s.applied) != 0 {
		t.Fatalf("failed %v, applied %d blocks; want ErrTooLarge and none", s.failed, len(s.applied))
	}
	s.block = s.block[1:]
	s.submit(1)
	s.Turn()
	if n := s.Status().InflightBlocks; n != 1 || len(s.failed) != 1 {
		t.Errorf("%d blocks are in flight, failed %v; want one of %d bytes", n, s.failed, MaxBlockSize)
	}
}

// TestQueueOfRequests: the number of requests that wait is bounded as well as their size. A request
// larger than the whole queue waits alone.
func TestQueueOfRequests(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, func(c *Config) {
		c.QueueRequests, c.budgets = 3, newBudgets(Limits{QueueBytes: 100})
		c.budgets.queue.reserve = 0
	})
	s.lead()
	s.submit(1, 0, 0)
	if err := s.Submit(sized(0)); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a fourth request: %v, want ErrQueueFull", err)
	}
	s.run()
	if err := s.Submit(sized(MaxRequestSize + 1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a request of %d bytes: %v, want ErrTooLarge", MaxRequestSize+1, err)
	}
	s.submit(MaxRequestSize)
	s.run()
	s.submit(200)
	if err := s.Submit(sized(1)); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a request behind one that is larger than the queue: %v, want ErrQueueFull", err)
	}
}

// TestMarkWaitsForTheCore: the core still reads the log below an entry that the machine has just
// applied, until a turn tells it.
func TestMarkWaitsForTheCore(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, nil)
	s.lead()
	s.submit(1)
	s.Turn()
	s.write()
	s.Turn()
	for s.apply() {
	}
	at := s.Status().Applied
	if at != s.Status().LastIndex {
		t.Fatalf("index %d is applied, want %d", at, s.Status().LastIndex)
	}
	if s.SetMark(wal.Mark{Index: at, Term: 2}) {
		t.Errorf("a mark at %d was taken before the core knew that it is applied", at)
	}
	s.Turn()
	if !s.SetMark(wal.Mark{Index: at, Term: 2}) {
		t.Errorf("a mark at %d was not taken", at)
	}
}

// TestAppliedIsNotCommitted: a status tells what is applied from what is committed.
func TestAppliedIsNotCommitted(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, nil)
	s.lead()
	before := s.Status()
	s.submit(1)
	s.Turn()
	if st := s.Status(); st.LastIndex != before.LastIndex || st.Commit != before.Commit {
		t.Errorf("status %+v before the write, want last index and commit %d", st, before.LastIndex)
	}
	s.write()
	s.Turn()
	if st := s.Status(); st.Commit != before.Commit+1 || st.Applied != before.Applied || st.LastIndex != st.Commit {
		t.Errorf("status %+v before the block is applied, want commit %d and applied %d", st, before.Commit+1, before.Applied)
	}
	s.run()
	if st := s.Status(); st.Applied != before.Commit+1 {
		t.Errorf("status %+v after the block was applied, want applied %d", st, before.Commit+1)
	}
}

// TestAgeOfAWrite counts from the moment at which its oldest part was queued: a disk that answers
// each write just in time stalls those that wait behind.
func TestAgeOfAWrite(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, func(c *Config) { c.StallTimeout = 100 * time.Millisecond })
	s.AppendNote(1, []byte("x"), func(error) {})
	s.NextWrite()
	s.now = time.Second
	s.AppendNote(1, []byte("y"), func(error) {})
	s.now += 60 * time.Millisecond
	s.AppendNote(2, []byte("z"), func(error) {})
	s.Written(nil)
	s.NextWrite()
	s.now += 50 * time.Millisecond
	if age := s.Status().AppendAge; age != 110*time.Millisecond {
		t.Errorf("the write is %s old, want 110ms", age)
	}
	s.Tick(true)
	s.Turn()
	if !s.Status().Stalled {
		t.Error("the write is not called stalled")
	}
	s.Written(nil)
	if age := s.Status().AppendAge; age != 0 {
		t.Errorf("no write is under way, and its age is %s", age)
	}
}

// TestFormerLeaderShowsNoProgress: only a leader knows how far the others are.
func TestFormerLeaderShowsNoProgress(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	s.lead()
	s.tick(1)
	if got := s.Status().Progress; len(got) != 3 {
		t.Fatalf("a leader shows %d members, want 3", len(got))
	}
	s.hear(msg{typ: raftpb.MsgHeartbeat, from: 3, term: s.core.State().Term + 1})
	s.run()
	if st := s.Status(); st.Leader != 3 || st.Progress != nil {
		t.Errorf("status %+v of a former leader, want no progress", st)
	}
}

// TestTicksDoNotAddUp: a process that was not scheduled for long has heard from nobody, and does
// not take that for the silence of its leader.
func TestTicksDoNotAddUp(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	before := s.core.now
	for range 100 {
		s.Tick(true)
	}
	s.run()
	if got := s.core.now - before; got != 1 {
		t.Errorf("one turn took %d ticks, want 1", got)
	}
}

// TestReadsEnd after five election timeouts when no quorum confirms them.
func TestReadsEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	var told []error
	s.ReadIndex(func(_ uint64, err error) { told = append(told, err) })
	s.run()
	s.tick(5*s.cfg.ElectionTicks - 1)
	if len(told) != 0 {
		t.Fatalf("told %v too early", told)
	}
	s.tick(1)
	if len(told) != 1 || !errors.Is(told[0], ErrReadTimeout) {
		t.Errorf("told %v, want ErrReadTimeout", told)
	}
}

// TestLostLeadership: what waited is refused for certain, with the name of the new leader. What was
// proposed is open until the time to resolve it is over.
func TestLostLeadership(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, func(c *Config) { c.MaxInflightBlocks, c.MaxBlockBytes = 1, 1 })
	s.lead()
	s.submit(11)
	s.run()
	s.submit(22)
	beat := func() { s.hear(msg{typ: raftpb.MsgHeartbeat, from: 3}) }
	s.hear(msg{typ: raftpb.MsgHeartbeat, from: 3, term: s.core.State().Term + 1})
	s.run()
	var hint *NotLeaderError
	if len(s.failed) != 1 || s.failed[0].reqs[0].Size() != 22 || !errors.As(s.failed[0].err, &hint) || hint.Leader != 3 {
		t.Fatalf("failed %v, want the request that waited, with a hint at member 3", s.failed)
	}
	if err := s.Submit(sized(1)); !errors.As(err, &hint) || hint.Leader != 3 {
		t.Errorf("submit to a follower: %v, want a hint at member 3", err)
	}
	for range 2*s.cfg.ElectionTicks - 1 {
		beat()
		s.tick(1)
	}
	if len(s.failed) != 1 || s.Status().InflightBlocks != 1 {
		t.Fatalf("failed %v with %d blocks in flight, too early", s.failed, s.Status().InflightBlocks)
	}
	beat()
	s.tick(1)
	if len(s.failed) != 2 || s.failed[1].reqs[0].Size() != 11 || !errors.Is(s.failed[1].err, ErrIndefinite) || s.Status().InflightBlocks != 0 {
		t.Errorf("failed %v with %d blocks in flight, want the proposed request with ErrIndefinite", s.failed, s.Status().InflightBlocks)
	}
}

// TestRequestsLeaveTheCrowd: a request counts from its acceptance until it is answered, however that
// comes about, and another leader's entries count until they are written.
func TestRequestsLeaveTheCrowd(t *testing.T) {
	t.Parallel()
	count := func(s *stage, want int, when string) {
		t.Helper()
		if got := s.cfg.crowd.Count(); got != want {
			t.Errorf("%d are on their way, want %d %s", got, want, when)
		}
	}
	leader := func() *stage {
		s := newStage(t, 3, func(c *Config) { c.MaxInflightBlocks, c.MaxBlockBytes = 1, 1 })
		s.lead()
		s.submit(11)
		s.run()
		s.submit(22)
		count(s, 2, "with one request in a block and one in the queue")
		return s
	}
	s := leader()
	s.acknowledge()
	count(s, 1, "when the first block is applied")
	s.acknowledge()
	count(s, 0, "when both are applied")

	s = leader()
	s.hear(msg{typ: raftpb.MsgHeartbeat, from: 3, term: s.core.State().Term + 1})
	s.run()
	count(s, 1, "when the queue has closed")
	if err := s.Submit(sized(1)); err == nil {
		t.Error("a follower takes requests")
	}
	count(s, 1, "when a request was refused")
	for range 2 * s.cfg.ElectionTicks {
		s.hear(msg{typ: raftpb.MsgHeartbeat, from: 3})
		s.tick(1)
	}
	count(s, 0, "when the block is given up")

	s = leader()
	s.applyErr = errors.New("broken")
	s.acknowledge()
	count(s, 0, "when the machine has failed")
	s = newStage(t, 3, nil)
	s.lead()
	s.submit(11)
	s.run()
	s.hear(msg{typ: raftpb.MsgAppResp, from: 2, index: s.Status().LastIndex})
	s.Turn()
	run, _ := s.NextApply()
	count(s, 0, "before the machine answers a request")
	s.Applied(s.Apply(run))
	count(s, 0, "when it has answered")
	s = leader()
	s.Refuse()
	count(s, 1, "when what waits was refused")
	s.Close()
	s.run()
	count(s, 0, "when the driver has ended")

	for _, failed := range []error{nil, errors.New("disk")} {
		s = newStage(t, 3, nil)
		s.hear(msg{typ: raftpb.MsgApp, from: 2, term: 5, index: 1, logTerm: 1, entries: []*raftpb.Entry{entry(5, 2, "x")}})
		s.Turn()
		count(s, 1, "while another leader's entry waits for the disk")
		if w, _ := s.NextWrite(); w != nil {
			s.Written(errors.CombineErrors(s.cfg.Log.Append(w.Records, w.Sync), failed))
		}
		count(s, 0, "when it has been written")
	}
}

// TestLinesOfTheWatchdog: a stall has one line, and so has its end.
func TestLinesOfTheWatchdog(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, nil)
	said := func(what string) (n int) {
		for _, line := range s.lines {
			if strings.Contains(line, what) {
				n++
			}
		}
		return n
	}
	s.AppendNote(1, []byte("x"), func(error) {})
	s.NextWrite()
	turn := func() {
		s.now += s.cfg.StallTimeout
		s.Tick(true)
		s.Turn()
	}
	for range 5 {
		turn()
	}
	s.Written(nil)
	for range 5 {
		turn()
	}
	if stalled, over := said("disk stalled"), said("answers again"); stalled != 1 || over != 1 {
		t.Errorf("%d lines about one stall and %d about its end:\n%s", stalled, over, strings.Join(s.lines, "\n"))
	}
}

// TestNewsOfPeers: a broken connection says nothing about a peer's process, a refused one says that
// it is gone, and lost appends make a leader probe.
func TestNewsOfPeers(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	s.hear(msg{typ: raftpb.MsgHeartbeat, from: 2, term: 5})
	s.run()
	s.PeerDown(2, false)
	s.run()
	if st := s.Status(); st.Leader != 2 {
		t.Errorf("state %+v after a broken connection, want a follower of member 2", st.State)
	}
	s.PeerDown(2, true)
	s.run()
	if st := s.Status(); st.Role != RolePreCandidate {
		t.Errorf("state %+v after a refused connection, want a pre-candidate", st.State)
	}
	s.lead()
	progress := func() string {
		s.tick(1)
		return s.Status().Progress[1].State
	}
	if got := progress(); got != "StateReplicate" {
		t.Fatalf("the leader is in %s with member 2", got)
	}
	s.Unreachable(2)
	if got := progress(); got != "StateProbe" {
		t.Errorf("the leader is in %s with member 2, whose appends were lost; want StateProbe", got)
	}
}

// TestRefuse closes the queue for good: what waits fails for certain, what is proposed goes on.
func TestRefuse(t *testing.T) {
	t.Parallel()
	s := newStage(t, 1, func(c *Config) { c.MaxInflightBlocks, c.MaxBlockBytes = 1, 1 })
	s.lead()
	s.submit(11)
	s.Turn()
	s.submit(22)
	s.Refuse()
	if len(s.failed) != 1 || s.failed[0].reqs[0].Size() != 22 || !errors.Is(s.failed[0].err, ErrStopped) {
		t.Errorf("failed %v, want the request that waited with ErrStopped", s.failed)
	}
	if err := s.Submit(sized(1)); !errors.Is(err, ErrStopped) {
		t.Errorf("submit: %v, want ErrStopped", err)
	}
	s.run()
	if len(s.applied) != 1 {
		t.Errorf("%d blocks applied, want the one that was proposed", len(s.applied))
	}
}

// TestObserveComesFirst: whoever observes the effects sees them before they are done.
func TestObserveComesFirst(t *testing.T) {
	t.Parallel()
	var s *stage
	s = newStage(t, 2, func(c *Config) {
		c.Observe = func(e *Effects) {
			if s != nil && len(e.Send) > 0 {
				s.events = append(s.events, "observe")
			}
		}
	})
	s.lead()
	s.submit(1)
	s.Turn()
	if want := []string{"build", "observe", "send MsgApp"}; !slices.Equal(s.events, want) {
		t.Errorf("events %q, want %q", s.events, want)
	}
}
