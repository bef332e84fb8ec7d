package node

import (
	"testing"

	"github.com/cairnledger/cairn/raftnode"
)

// TestFiguresOfRaft: each figure shows its own number. A member that has committed more than it has
// applied shows both.
func TestFiguresOfRaft(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		status raftnode.Status
		want   map[string]float64
	}{
		{raftnode.Status{}, map[string]float64{"cairn_raft_leader": 0, "cairn_raft_term": 0, "cairn_raft_commit_index": 0,
			"cairn_raft_applied_index": 0, "cairn_raft_disk_stalled": 0, "cairn_queue_bytes": 0}},
		{raftnode.Status{State: raftnode.State{Role: raftnode.RoleLeader, Leader: 2, Term: 3, Commit: 50, Serving: true},
			Applied: 40, LastIndex: 60, QueuedRequests: 7, QueuedBytes: 700},
			map[string]float64{"cairn_raft_leader": 1, "cairn_raft_term": 3, "cairn_raft_commit_index": 50,
				"cairn_raft_applied_index": 40, "cairn_raft_disk_stalled": 0, "cairn_queue_bytes": 700}},
		{raftnode.Status{State: raftnode.State{Role: raftnode.RoleLeader, Leader: 2, Term: 4}, Stalled: true},
			map[string]float64{"cairn_raft_leader": 0, "cairn_raft_term": 4, "cairn_raft_disk_stalled": 1}},
	} {
		for name, want := range x.want {
			f, ok := raftFigures[name]
			if !ok {
				t.Fatalf("there is no figure %s", name)
			}
			if v := f.read(x.status); v != want {
				t.Errorf("%s is %v, want %v", name, v, want)
			}
		}
	}
}
