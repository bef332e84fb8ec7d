package raftnode

import (
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// quietStage is member 1 of a group of three with the ticks of production.
func quietStage(t testing.TB, change func(*Config)) *stage {
	t.Helper()
	return newStage(t, 3, func(c *Config) {
		c.ElectionTicks, c.HeartbeatTicks = 30, 5
		if change != nil {
			change(c)
		}
	})
}

func (s *stage) quiet() bool { return s.inbox.mu.quiet.on }

// pass lets one tick pass, every fifth of which is a round, and reports whether it took a turn.
func (s *stage) pass() (turn bool) {
	s.ticks++
	s.now += s.cfg.TickInterval
	if turn = s.Tick(s.ticks%s.cfg.HeartbeatTicks == 0); turn {
		s.run()
	}
	return turn
}

// beat is a heartbeat of another member, or its answer, in the present term unless b says another
// one. It reports whether the beat took a turn.
func (s *stage) beat(from uint64, b transport.Beat) (turn bool) {
	if b.Term == 0 {
		b.Term = s.core.State().Term
	}
	if turn = s.HandleBeat(from, b); turn {
		s.run()
	}
	return turn
}

// followQuietly makes the member a quiet follower of member 2 in term 5.
func (s *stage) followQuietly() {
	s.t.Helper()
	s.beat(2, transport.Beat{Term: 5})
	s.pass() // hears that the term is written
	s.beat(2, transport.Beat{Term: 5})
	if !s.quiet() {
		s.t.Fatalf("a follower that has just heard its leader is not quiet: %+v", s.core.State())
	}
	s.sent, s.events = nil, nil
}

// leadQuietly makes the member a quiet leader whom members 2 and 3 answer.
func (s *stage) leadQuietly() {
	s.t.Helper()
	s.lead()
	s.hear(msg{typ: raftpb.MsgAppResp, from: 3, index: s.Status().LastIndex})
	s.run()
	for range 2 * s.cfg.ElectionTicks {
		s.pass()
		s.beat(2, transport.Beat{Answer: true})
		s.beat(3, transport.Beat{Answer: true})
	}
	if !s.quiet() {
		s.t.Fatal("a leader whom all members answer is not quiet")
	}
	s.sent, s.events = nil, nil
}

// TestQuietFollowerKeepsItsTime: a follower that hears its leader takes no turn. When the leader
// falls silent it stands for election no sooner than an election timeout after it heard the leader
// last, and no later than two.
func TestQuietFollowerKeepsItsTime(t *testing.T) {
	t.Parallel()
	s := quietStage(t, nil)
	soonest, latest := 1<<30, 0
	for trial := range 200 {
		s.beat(2, transport.Beat{Term: s.core.State().Term + 1})
		s.pass() // hears that the term is written
		s.beat(2, transport.Beat{})
		turns := 0
		count := func(turn bool) {
			if turn {
				turns++
			}
		}
		for beat := range 20 {
			for range 5 {
				count(s.pass())
			}
			for range trial % 5 * (beat / 19) { // the last heartbeat comes anywhere in a round
				count(s.pass())
			}
			count(s.beat(2, transport.Beat{}))
		}
		if turns > 0 {
			t.Fatalf("a follower that hears its leader took %d turns in 20 rounds", turns)
		}
		silent := 0
		for s.sent = nil; len(s.sent) == 0; silent++ {
			s.pass()
		}
		soonest, latest = min(soonest, silent), max(latest, silent)
		if silent < 30 || silent > 60 {
			t.Fatalf("it stood for election %d ticks after its leader's last heartbeat, want 30 to 60", silent)
		}
	}
	if soonest > 35 || latest < 55 {
		t.Errorf("it stood for election %d to %d ticks after its leader's last heartbeat: the timeouts are not spread", soonest, latest)
	}
}

// twin is a driver that a test steps with the same events as another one, and what both draw from
// crypto/rand.
type twin struct {
	*stage
	entropy *mathrand.ChaCha8
}

func newTwin(t *testing.T, seed uint64) *twin {
	entropy := mathrand.NewChaCha8([32]byte{byte(seed)})
	rand.Reader = entropy
	return &twin{quietStage(t, nil), entropy}
}

// do lets something happen, and returns what the member sends and what it believes then.
func (w *twin) do(event func(*stage)) (seen []string) {
	rand.Reader = w.entropy
	w.sent = nil
	event(w.stage)
	for _, m := range w.sent {
		seen = append(seen, fmt.Sprintf("%s to %d in term %d, index %d, commit %d, reject %t", m.GetType(), m.GetTo(), m.GetTerm(), m.GetIndex(), m.GetCommit(), m.GetReject()))
	}
	return append(seen, fmt.Sprintf("%+v", w.Status().State))
}

// TestQuietFollowerDiffersInNothing: whatever happens to a follower, one that is quiet now and then
// sends the same messages at the same ticks as one that steps its core with everything.
func TestQuietFollowerDiffersInNothing(t *testing.T) {
	defer func(r io.Reader) { rand.Reader = r }(rand.Reader)
	noted, campaigns := 0, 0
	for seed := range uint64(60) {
		rng := mathrand.New(mathrand.NewPCG(seed, 1))
		quiet, busy := newTwin(t, seed), newTwin(t, seed)
		term, leader, last, heard := uint64(5), uint64(2), uint64(1), true
		for step := range 3000 {
			var event func(*stage)
			switch what := rng.IntN(1000); {
			case what < 5:
				heard = !heard
				continue
			case what < 10: // another leader
				term, leader, heard = quiet.core.State().Term+1, 5-leader, true
				continue
			case what < 14:
				event = func(s *stage) {
					s.hear(msg{typ: raftpb.MsgPreVote, from: 5 - leader, term: term + 1, index: last, logTerm: 5})
					s.run()
				}
			case what < 18:
				event = func(s *stage) { s.PeerDown(5-leader, true); s.run() }
			case what < 20:
				event = func(s *stage) { s.PeerDown(leader, true); s.run() }
			case what < 24:
				event = func(s *stage) { s.ReadIndex(func(uint64, error) {}); s.run() }
			case what < 28 && heard && quiet.core.State().Term == term && quiet.core.State().Leader == leader:
				m := msg{typ: raftpb.MsgApp, from: leader, term: term, index: last, logTerm: quiet.lastTerm(), entries: []*raftpb.Entry{entry(term, last+1, "x")}}
				last++
				event = func(s *stage) { s.hear(m); s.run() }
			case what < 250:
				if !heard || quiet.core.State().Term > term {
					continue
				}
				b := transport.Beat{Term: term, Commit: uint64(rng.IntN(int(last))) + 1}
				event = func(s *stage) { s.beat(leader, b) }
			default:
				event = func(s *stage) { s.pass() }
			}
			if quiet.quiet() {
				noted++
			}
			busy.inbox.mu.quiet.on = false
			got, want := quiet.do(event), busy.do(event)
			must(t, busy.failure())
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, step %d: a quiet follower does\n%q\nwant\n%q", seed, step, got, want)
			}
			if len(got) > 1 && quiet.core.State().Role != RoleFollower {
				campaigns++
			}
		}
	}
	if noted < 30_000 || campaigns < 1000 {
		t.Errorf("quiet at %d steps, %d campaigns: too few to show anything", noted, campaigns)
	}
}

func (s *stage) lastTerm() uint64 {
	last, err := s.group.LastIndex()
	must(s.t, err)
	term, err := s.group.Term(last)
	must(s.t, err)
	return term
}

// TestQuietLeader: a leader sends heartbeats with every round, quiet or not. It leads as long as
// somebody answers within an election timeout, and steps down when two have passed without an answer,
// as etcd/raft promises.
func TestQuietLeader(t *testing.T) {
	t.Parallel()
	quiet, ticks, stepped := 0, 0, 0
	for seed := range uint64(100) {
		rng := mathrand.New(mathrand.NewPCG(seed, 2))
		s := quietStage(t, nil)
		s.leadQuietly()
		term := s.core.State().Term
		answers := map[uint64]bool{2: true, 3: true}
		silent := 0 // ticks since the newest answer
		for s.core.State().Role == RoleLeader && s.ticks < 10_000 {
			for id := range answers {
				if rng.IntN(200) == 0 {
					answers[id] = !answers[id]
				}
			}
			switch rng.IntN(500) {
			case 0:
				s.Unreachable(2 + rng.Uint64N(2))
				s.run()
			case 1:
				s.submit(1)
				s.run()
			}
			s.sent = nil
			s.pass()
			silent++
			ticks++
			var beats []uint64
			for _, m := range s.sent {
				if m.GetType() == raftpb.MsgHeartbeat {
					beats = append(beats, m.GetTo())
				}
			}
			slices.Sort(beats)
			if s.core.State().Role != RoleLeader {
				stepped++
				if silent < s.cfg.ElectionTicks || silent > 2*s.cfg.ElectionTicks {
					t.Fatalf("seed %d: stepped down after %d ticks without an answer, want %d to %d", seed, silent, s.cfg.ElectionTicks, 2*s.cfg.ElectionTicks)
				}
				break
			}
			if silent > 2*s.cfg.ElectionTicks {
				t.Fatalf("seed %d: leads after %d ticks without an answer", seed, silent)
			}
			if round := s.ticks%s.cfg.HeartbeatTicks == 0; round != slices.Equal(slices.Compact(beats), []uint64{2, 3}) || !round && len(beats) > 0 {
				t.Fatalf("seed %d: heartbeats to %v in tick %d; rounds are the multiples of %d", seed, beats, s.ticks, s.cfg.HeartbeatTicks)
			}
			for id, answer := range answers {
				for _, m := range s.sent {
					if m.GetTo() != id || !answer {
						continue
					}
					silent = 0
					switch m.GetType() {
					case raftpb.MsgHeartbeat:
						if m.GetTerm() != term {
							t.Fatalf("seed %d: a heartbeat of term %d in term %d", seed, m.GetTerm(), term)
						}
						s.beat(id, transport.Beat{Answer: true})
					case raftpb.MsgApp:
						s.hear(msg{typ: raftpb.MsgAppResp, from: id, index: m.GetIndex() + uint64(len(m.GetEntries()))})
						s.run()
					}
				}
			}
			if s.quiet() {
				quiet++
			}
		}
	}
	if quiet < ticks/3 || stepped < 30 {
		t.Errorf("quiet in %d of %d ticks, stepped down in %d of 100 runs: too rare to show anything", quiet, ticks, stepped)
	}
}

// TestQuietLeaderWithoutAMember: a leader that a minority has left becomes quiet again, without
// counting on it, and brings the member that comes back up to date.
func TestQuietLeaderWithoutAMember(t *testing.T) {
	t.Parallel()
	s := quietStage(t, nil)
	s.leadQuietly()
	for range 3 * s.cfg.ElectionTicks {
		s.pass()
		s.beat(2, transport.Beat{Answer: true})
	}
	if !s.quiet() || s.core.State().Role != RoleLeader {
		t.Fatalf("state %+v, quiet %t; want a quiet leader that member 3 has left", s.core.State(), s.quiet())
	}
	if s.sent = nil; s.beat(2, transport.Beat{Answer: true}) || len(s.sent) > 0 {
		t.Errorf("an answer took a turn, or %v was sent", s.sent)
	}
	s.submit(1)
	s.run()
	s.acknowledge()
	for range s.cfg.ElectionTicks {
		s.pass()
		s.beat(2, transport.Beat{Answer: true})
	}
	if !s.quiet() {
		t.Fatal("not quiet after a block that member 3 does not have")
	}
	s.sent = nil
	s.beat(3, transport.Beat{Answer: true})
	if !slices.ContainsFunc(s.sent, func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgApp && m.GetTo() == 3 }) {
		t.Errorf("sent %v to a member that is back, want the block that it lacks", s.sent)
	}
}

// TestQuietLeaderShowsProgress: what a leader has learned between two rounds is shown although no
// further turn comes.
func TestQuietLeaderShowsProgress(t *testing.T) {
	t.Parallel()
	s := quietStage(t, nil)
	s.leadQuietly()
	s.submit(1)
	s.run()
	s.acknowledge()
	for range s.cfg.HeartbeatTicks - s.ticks%s.cfg.HeartbeatTicks {
		s.pass()
	}
	last := s.Status().LastIndex
	s.hear(msg{typ: raftpb.MsgAppResp, from: 3, index: last})
	s.run()
	if got := s.Status().Progress[2].Match; !s.quiet() || got != last {
		t.Errorf("quiet: %t, member 3 is shown at index %d, want quiet and %d", s.quiet(), got, last)
	}
}

// TestNewsEndQuiet: a beat is noted only if it has no effect but on the time. Every other one is
// stepped at once.
func TestNewsEndQuiet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from   uint64
		beat   transport.Beat
		leader uint64 // afterwards
		term   uint64
	}{
		"of a newer term":         {3, transport.Beat{Term: 6}, 3, 6},
		"of an older term":        {2, transport.Beat{Term: 4}, 2, 5},
		"of a second leader":      {3, transport.Beat{Term: 5}, 2, 5},
		"with a newer commit":     {2, transport.Beat{Term: 5, Commit: 2}, 2, 5},
		"an answer":               {2, transport.Beat{Term: 5, Answer: true}, 2, 5},
		"of a member's newest":    {2, transport.Beat{Term: 6}, 2, 6},
		"of one who is not known": {9, transport.Beat{Term: 6}, 9, 6}, // it may have become a member
	} {
		s := quietStage(t, nil)
		s.followQuietly()
		s.hear(msg{typ: raftpb.MsgApp, from: 2, index: 1, logTerm: 1, entries: []*raftpb.Entry{entry(5, 2, "x")}})
		s.run()
		s.followQuietly()
		if !s.beat(c.from, c.beat) {
			t.Errorf("a heartbeat %s was noted", name)
		}
		st := s.core.State()
		if st.Leader != c.leader || st.Term != c.term || c.beat.Commit > 0 && c.from == 2 && st.Commit != c.beat.Commit {
			t.Errorf("a heartbeat %s leads to %+v, want leader %d in term %d", name, st, c.leader, c.term)
		}
	}
	s := quietStage(t, nil)
	s.leadQuietly()
	term := s.core.State().Term
	if !s.beat(3, transport.Beat{Term: term + 1}) || s.core.State().Leader != 3 {
		t.Errorf("state %+v after a newer leader's heartbeat, want a follower", s.core.State())
	}
}

// TestStaleLeaderIsNotHeard: a leader that does not know of its successor sends heartbeats on. A
// quiet follower of the successor tells it the newer term, and stands for election in time when the
// successor falls silent.
func TestStaleLeaderIsNotHeard(t *testing.T) {
	t.Parallel()
	s := quietStage(t, nil)
	s.followQuietly() // member 2, in term 5
	s.beat(3, transport.Beat{Term: 6})
	s.pass() // hears that the term is written
	s.beat(3, transport.Beat{Term: 6})
	if !s.quiet() {
		t.Fatalf("not quiet behind a new leader: %+v", s.core.State())
	}
	s.sent = nil
	silent := 0
	for campaigns := false; !campaigns; silent++ {
		if silent > 2*s.cfg.ElectionTicks {
			t.Fatalf("no election %d ticks after the leader's last heartbeat, because a stale one is heard", silent)
		}
		if s.pass(); s.ticks%s.cfg.HeartbeatTicks == 0 {
			s.beat(2, transport.Beat{Term: 5})
		}
		campaigns = slices.ContainsFunc(s.sent, func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgPreVote })
	}
	told := false
	for _, m := range s.sent {
		if m.GetTo() == 2 && m.GetTerm() == 5 && m.GetType() == raftpb.MsgHeartbeatResp {
			t.Fatal("the stale leader's heartbeat was answered as if it led")
		}
		told = told || m.GetTo() == 2 && m.GetTerm() == 6
	}
	if !told {
		t.Error("the stale leader did not hear of the newer term")
	}
}

// TestBusyMemberIsNotQuiet: a member is quiet only while nothing depends on its core.
func TestBusyMemberIsNotQuiet(t *testing.T) {
	t.Parallel()
	s := quietStage(t, nil)
	quiet := func(want bool, when string) {
		t.Helper()
		s.run()
		for range s.cfg.HeartbeatTicks {
			s.pass()
			s.beat(2, transport.Beat{Answer: s.core.State().Role == RoleLeader})
			s.beat(3, transport.Beat{Answer: true})
		}
		if got := s.quiet(); got != want {
			t.Errorf("quiet: %t, want %t %s", got, want, when)
		}
	}
	for range s.cfg.HeartbeatTicks {
		if s.pass(); s.quiet() {
			t.Fatal("quiet while it knows no leader")
		}
	}
	s.followQuietly()
	if s.Status(); !s.quiet() {
		t.Error("a look at the status ends the quiet")
	}
	s.leadQuietly()
	s.TransferLeadership(2, func(error) {})
	quiet(false, "while it hands over")
	for range s.cfg.ElectionTicks { // it gives up
		s.pass()
		s.beat(2, transport.Beat{Answer: true})
	}
	quiet(true, "while it leads and has nothing to do")
	s.submit(1)
	quiet(false, "while a block is in flight")
	s.acknowledge()
	quiet(false, "while member 3, which answers, lacks a block")
	s.hear(msg{typ: raftpb.MsgAppResp, from: 3, index: s.Status().LastIndex})
	quiet(true, "when all have the block")
	s.PeerDown(2, false)
	quiet(true, "when a connection has broken")
	s.Unreachable(2)
	quiet(false, "while it is not known what reached member 2")
	s.acknowledge()
	quiet(true, "when member 2 has acknowledged everything again")
	s.ReadIndex(func(uint64, error) {})
	quiet(false, "while a read waits")
}

// TestFormerLeaderIsNotQuiet before everything that it proposed is resolved: its callers wait.
func TestFormerLeaderIsNotQuiet(t *testing.T) {
	t.Parallel()
	s := quietStage(t, nil)
	s.leadQuietly()
	s.submit(1)
	s.run()
	s.beat(3, transport.Beat{Term: s.core.State().Term + 1})
	for range 2 * s.cfg.ElectionTicks {
		s.pass()
		s.beat(3, transport.Beat{})
	}
	if len(s.failed) != 1 || !errors.Is(s.failed[0].err, ErrIndefinite) {
		t.Errorf("failed %v, want the request of the lost block with ErrIndefinite", s.failed)
	}
	if s.beat(3, transport.Beat{}); !s.quiet() {
		t.Error("not quiet although nothing is open")
	}
}

// TestDeafMemberIsNotQuiet: a member that has refused a leader's entry stands for election although
// that leader's heartbeats come.
func TestDeafMemberIsNotQuiet(t *testing.T) {
	t.Parallel()
	s := quietStage(t, func(c *Config) { c.Vet = func([]byte, bool) error { return errors.New("no") } })
	s.followQuietly()
	s.hear(msg{typ: raftpb.MsgApp, from: 2, index: 1, logTerm: 1, entries: []*raftpb.Entry{entry(5, 2, "x")}})
	s.run()
	for range 2 * s.cfg.ElectionTicks {
		s.pass()
		s.beat(2, transport.Beat{Term: 5})
	}
	if !slices.Contains(s.events, "send MsgPreVote") {
		t.Errorf("sent %v within two election timeouts", s.events)
	}
}

// TestUnfitLeaderIsNotQuiet: when nobody takes over from a leader that is not to lead, its followers
// hear nothing more of it.
func TestUnfitLeaderIsNotQuiet(t *testing.T) {
	t.Parallel()
	var unfit error
	s := quietStage(t, func(c *Config) { c.Unfit = func() error { return unfit } })
	s.leadQuietly()
	unfit = errors.New("wrong clock")
	for tick := range 5 * s.cfg.ElectionTicks {
		s.pass()
		s.beat(2, transport.Beat{Answer: true})
		s.beat(3, transport.Beat{Answer: true})
		if tick == 3*s.cfg.ElectionTicks {
			s.events = nil
		}
	}
	if slices.Contains(s.events, "send MsgHeartbeat") || s.core.State().Role != RoleLeader {
		t.Errorf("a leader that is not to lead sent %v, state %+v", s.events, s.core.State())
	}
}

// TestQuietMemberLooksAtItself: a leader whose disk stalls, or that becomes unfit, notices it while it
// is quiet, and so does a follower before it stands for election.
func TestQuietMemberLooksAtItself(t *testing.T) {
	t.Parallel()
	handsOver := func(s *stage) bool {
		for range 2 * s.cfg.ElectionTicks {
			s.ticks++
			s.now += s.cfg.TickInterval
			turn := s.Tick(s.ticks%s.cfg.HeartbeatTicks == 0)
			for _, id := range []uint64{2, 3} {
				turn = s.HandleBeat(id, transport.Beat{Term: s.core.State().Term, Answer: true}) || turn
			}
			if turn {
				s.Turn()
			}
			if slices.Contains(s.events, "send MsgTimeoutNow") {
				return true
			}
		}
		return false
	}
	s := quietStage(t, func(c *Config) { c.StallTimeout = 20 * DefaultTick })
	s.leadQuietly()
	s.AppendNote(1, []byte("x"), func(error) {})
	s.NextWrite() // and no end of it
	if !handsOver(s) {
		t.Error("a quiet leader does not notice that its disk stalls")
	}
	var unfit error
	s = quietStage(t, func(c *Config) { c.Unfit = func() error { return unfit } })
	s.leadQuietly()
	unfit = errors.New("wrong clock")
	if !handsOver(s) {
		t.Error("a quiet leader does not notice that it is unfit")
	}
	unfit = nil
	s = quietStage(t, func(c *Config) { c.Unfit = func() error { return unfit } })
	s.followQuietly()
	unfit = errors.New("wrong clock")
	s.PeerDown(2, true)
	if s.run(); len(s.sent) > 0 {
		t.Errorf("a quiet follower that has become unfit sent %v when its leader died", s.sent)
	}
}

// TestIdleGroupsAreQuiet: the members of idle groups take no turns, and wake for what comes.
func TestIdleGroupsAreQuiet(t *testing.T) {
	const groups = 30
	c := newIdleCluster(t, groups, memory)
	quiet := func() {
		t.Helper()
		loud := ""
		for deadline := time.Now().Add(testWait); ; time.Sleep(10 * time.Millisecond) {
			loud = ""
			for g, members := range c.groups {
				for i, n := range members {
					n.driver.inbox.mu.Lock()
					if !n.driver.inbox.mu.quiet.on {
						loud += fmt.Sprintf(" member %d of group %d", i+1, g+1)
					}
					n.driver.inbox.mu.Unlock()
				}
			}
			if loud == "" {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("not quiet:%s", loud)
			}
		}
	}
	quiet()
	for g, members := range c.groups {
		leader := members[members[0].Status().Leader-1]
		r := newRequest("x")
		if err := leader.Submit(r); err != nil {
			t.Fatal(err)
		}
		if o := <-r.result; o.err != nil {
			t.Fatalf("group %d: %v", g+1, o.err)
		}
		if _, err := members[g%3].ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	quiet()
	start := time.Now()
	c.transports[0].Close()
	for g, members := range c.groups {
		for served := false; !served; time.Sleep(time.Millisecond) {
			served = members[1].Status().Serving || members[2].Status().Serving
			if time.Since(start) > testWait {
				t.Fatalf("group %d has no leader", g+1)
			}
		}
	}
	t.Logf("all groups are led %s after a node's end", time.Since(start).Round(time.Millisecond))
}
