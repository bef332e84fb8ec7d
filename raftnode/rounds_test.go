package raftnode

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// TestHeartbeatsKeepTheRounds: whenever a member became leader, its heartbeats leave with rounds,
// one with each. Ticks that no turn could take cost it one round. Where every tick is a round, no
// heartbeat waits.
func TestHeartbeatsKeepTheRounds(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	clock, every := 0, uint64(s.cfg.HeartbeatTicks)
	tick := func() (beats bool) {
		clock++
		s.events = nil
		if s.HandleBeat(2, transport.Beat{Term: s.core.State().Term, Answer: true}) {
			s.run()
		}
		if s.Tick(clock%int(every) == 0) {
			s.run()
		}
		return slices.Contains(s.events, "send MsgHeartbeat")
	}
	// gaps are the ticks between heartbeats of a leader, the first one counted from now.
	gaps := func(ticks int) (out []int) {
		last := clock
		for range ticks {
			if tick() {
				if clock%int(every) != 0 {
					t.Fatalf("a heartbeat left with tick %d; rounds are the multiples of %d", clock, every)
				}
				out, last = append(out, clock-last), clock
			}
		}
		return out
	}
	for phase := range int(every) {
		s.hear(msg{typ: raftpb.MsgHeartbeat, from: 2, term: s.core.State().Term + 1}) // ends its leadership
		s.run()
		for clock%int(every) != phase {
			tick()
		}
		s.lead()
		got := gaps(4 * int(every))
		if len(got) < 3 || got[0] >= 2*int(every) || slices.ContainsFunc(got[1:], func(g int) bool { return g != int(every) }) {
			t.Errorf("a leader since tick %d of a round waits %v ticks for its heartbeats, want less than %d and then %d", phase, got, 2*every, every)
		}
		clock++ // a turn was so long that a tick was lost
		if got = gaps(4 * int(every)); len(got) < 2 || got[0] > 2*int(every) || got[1] != int(every) {
			t.Errorf("after a lost tick the heartbeats come after %v ticks, want at most %d and then %d", got, 2*every, every)
		}
	}
	every = 1
	want := s.cfg.HeartbeatTicks
	if got := gaps(5 * want); len(got) != 5 || slices.ContainsFunc(got[1:], func(g int) bool { return g != want }) {
		t.Errorf("heartbeats after %v ticks, want %d each", got, want)
	}
}
