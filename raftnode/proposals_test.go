package raftnode

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// TestResolveTicks count from the loss of leadership, whoever leads later: a cluster that changes
// its leader again and again still answers.
func TestResolveTicks(t *testing.T) {
	t.Parallel()
	l := newLone(t, func(c *CoreConfig) { c.ResolveTicks = 5 })
	term := lead(t, l)
	must(t, l.core.Propose(7, []byte("ours")))
	l.settle(t)
	for tick := range uint64(5) {
		if len(l.lost) != 0 {
			t.Fatalf("lost %+v after %d ticks, want it to be open for 5", l.lost, tick)
		}
		must(t, l.step(t, msg{typ: raftpb.MsgHeartbeat, from: 2 + tick%2, term: term + 1 + tick}.proto()))
		l.core.Tick(true)
		l.settle(t)
	}
	if len(l.lost) != 1 || l.lost[0] != (LostProposal{Tag: 7}) {
		t.Errorf("lost %+v after 5 ticks, want tag 7 with an unknown outcome", l.lost)
	}
}
