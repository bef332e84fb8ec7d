package raftnode

import (
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// mourner is member id of a group of three that knows that its leader, member 1, is gone. Its
// election timeout is far away.
func mourner(t *testing.T, id uint64) *lone {
	t.Helper()
	return mournerIn(t, 1, id)
}

func mournerIn(t *testing.T, group, id uint64) *lone {
	t.Helper()
	l := newLone(t, func(c *CoreConfig) { c.Group, c.ID, c.ElectionTicks = group, id, 1000 })
	must(t, l.step(t, msg{typ: raftpb.MsgHeartbeat, from: 1, to: id, term: 5}.proto()))
	l.core.PeerDown(1)
	return l
}

// campaigns returns at which of the coming ticks the member asks for pre-votes; 0 is before the
// first.
func (l *lone) campaigns(t *testing.T, ticks int) (at []int) {
	t.Helper()
	for tick := range ticks + 1 {
		if tick > 0 {
			l.core.Tick(true)
		}
		l.sent = nil
		l.settle(t)
		if slices.ContainsFunc(l.sent, func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgPreVote }) {
			at = append(at, tick)
		}
	}
	return at
}

// TestTurnsOfSurvivors: those who learn together that their leader is gone campaign in turns. The
// distance of the turns doubles from round to round, and after four rounds the election timeout
// takes over.
func TestTurnsOfSurvivors(t *testing.T) {
	t.Parallel()
	for id, want := range map[uint64][]int{2: {0, 6, 18, 42}, 3: {3, 12, 30, 66}} {
		if got := mourner(t, id).campaigns(t, 500); !slices.Equal(got, want) {
			t.Errorf("member %d campaigns at ticks %v, want %v", id, got, want)
		}
	}
}

// TestTurnsOfBeginners: the members of a group that has just begun campaign in turns, none waits for
// its election timeout, and who is first depends on the group.
func TestTurnsOfBeginners(t *testing.T) {
	t.Parallel()
	for id, want := range map[uint64][]int{1: {0, 9, 27, 63}, 2: {3, 15, 39, 87}, 3: {6, 21, 51, 111}} {
		for group := uint64(1); group <= 3; group++ {
			turn := (id-1+group-1)%3 + 1
			l := newLone(t, func(c *CoreConfig) { c.Group, c.ID, c.ElectionTicks = group, id, 1000 })
			l.core.Begin()
			if got := l.campaigns(t, 500); turn == id && !slices.Equal(got, want) || len(got) != 4 || got[0] != 3*int(turn-1) {
				t.Errorf("group %d: member %d campaigns at ticks %v, its first turn is the %d.", group, id, got, turn)
			}
		}
	}
}

// TestGroupsTakeTurns: the survivors share the groups of a dead leader.
func TestGroupsTakeTurns(t *testing.T) {
	t.Parallel()
	first := map[uint64]int{}
	for group := uint64(1); group <= 6; group++ {
		for id := uint64(2); id <= 3; id++ {
			if at := mournerIn(t, group, id).campaigns(t, 5); len(at) > 0 && at[0] == 0 {
				first[id]++
			}
		}
	}
	if first[2] != 3 || first[3] != 3 {
		t.Errorf("of six groups the survivors are first in %v, want three each", first)
	}
}

// TestSurvivorLeavesItsTurn when another election has begun since its last turn, and when a leader
// is known.
func TestSurvivorLeavesItsTurn(t *testing.T) {
	t.Parallel()
	l := mourner(t, 3)
	must(t, l.step(t, msg{typ: raftpb.MsgVote, from: 2, to: 3, term: 6, index: 1, logTerm: 1}.proto()))
	if got, want := l.campaigns(t, 15), []int{12}; !slices.Equal(got, want) {
		t.Errorf("campaigns at ticks %v, want %v: the turn at tick 3 is left to the election of term 6", got, want)
	}
	l = mourner(t, 3)
	must(t, l.step(t, msg{typ: raftpb.MsgHeartbeat, from: 2, to: 3, term: 6}.proto()))
	if got := l.campaigns(t, 500); got != nil {
		t.Errorf("campaigns at ticks %v although member 2 leads", got)
	}
}

// TestDeathOfAFollower: only the leader's death makes a member forget whom it follows.
func TestDeathOfAFollower(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	follow(t, l)
	l.core.PeerDown(3)
	l.settle(t)
	if s := l.core.State(); s.Leader != 2 || s.Role != RoleFollower {
		t.Errorf("state %+v, want a follower of member 2", s)
	}
}
