package raftnode

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// TestCalmMemberKeepsItsTime: a follower that hears its leader takes a turn for a round and for a
// message only. When the leader falls silent it stands for election no sooner than an election
// timeout after it heard the leader last, and no later than two.
func TestCalmMemberKeepsItsTime(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, func(c *Config) { c.ElectionTicks, c.HeartbeatTicks = 30, 5 })
	clock, turns := 0, 0
	tick := func() {
		clock++
		if s.Tick(clock%5 == 0) {
			turns++
			s.run()
		}
	}
	soonest, latest := 1<<30, 0
	for trial := range 200 {
		term, silent := s.core.State().Term+1, 0
		turns = 0
		for beat := range 20 {
			for range 5 {
				tick()
			}
			for range trial % 5 * (beat / 19) { // the last heartbeat comes anywhere in a round
				tick()
			}
			s.hear(msg{typ: raftpb.MsgHeartbeat, from: 2, term: term})
			s.run()
		}
		if trial > 0 && turns > 20+2*30 { // the member was a candidate before the first heartbeat
			t.Fatalf("a follower that hears its leader took %d turns in 20 rounds", turns)
		}
		for s.sent = nil; len(s.sent) == 0; silent++ {
			tick()
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

// TestBusyMemberTakesEveryTick: ticks are owed only while nothing depends on them.
func TestBusyMemberTakesEveryTick(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, func(c *Config) { c.ElectionTicks, c.HeartbeatTicks = 30, 5 })
	calm := func(want bool, when string) {
		t.Helper()
		s.run()
		if turn := s.Tick(false); turn == want {
			t.Errorf("a tick was to be taken: %t, %s", turn, when)
		}
		s.run()
	}
	calm(false, "while it knows no leader")
	s.hear(msg{typ: raftpb.MsgHeartbeat, from: 2, term: 5})
	calm(true, "while it hears its leader")
	s.lead()
	s.TransferLeadership(2, func(error) {})
	calm(false, "while it hands over")
	s.tick(s.cfg.ElectionTicks) // it gives up
	calm(true, "while it leads and has nothing to do")
	s.submit(1)
	calm(false, "while a block is in flight")
	s.acknowledge()
	calm(true, "when the block is applied")
	s.PeerDown(2, false)
	calm(true, "when a connection has broken")
	s.ReadIndex(func(uint64, error) {})
	calm(false, "while a read waits")
}
