package check_test

import (
	"strings"
	"testing"

	"github.com/cairnledger/cairn/jepsen/check"
)

func raftEntry(index, term uint64) check.RaftEntry {
	return check.RaftEntry{Index: index, Term: term, Hash: index*1000 + term}
}

// write gives an entry to the disks of nodes that are in its term.
func write(r *check.Raft, e check.RaftEntry, nodes ...uint64) {
	for _, node := range nodes {
		r.Appended(node, e.Term, []check.RaftEntry{e})
		r.Durable(node, e.Index, e.Term)
	}
}

// elect makes node 1 the leader of term 1 of three, with entry 1 committed.
func elect(r *check.Raft) {
	r.Voted(1, 1, 1)
	r.Voted(2, 1, 1)
	r.Leads(1, 1)
	write(r, raftEntry(1, 1), 1, 2)
	r.Acknowledged(2, 1, 1)
	r.Committed(1, 1, 1)
	r.Applied(1, raftEntry(1, 1))
}

func TestRaftAcceptsWhatRaftDoes(t *testing.T) {
	t.Parallel()
	r := check.NewRaft(3)
	elect(r)
	// An entry that only the leader has is replaced by the next leader.
	r.Appended(1, 1, []check.RaftEntry{raftEntry(2, 1)})
	r.Durable(1, 2, 1)
	r.Restarted(2, 1, 1, 0, 0, []check.RaftEntry{raftEntry(1, 1)}, 0, 0)
	r.Voted(2, 2, 2)
	r.Voted(3, 2, 2)
	r.Leads(2, 2)
	r.Appended(2, 2, []check.RaftEntry{raftEntry(2, 2)})
	r.Durable(2, 2, 2)
	r.Appended(1, 2, []check.RaftEntry{raftEntry(2, 2)})
	r.Acknowledged(1, 1, 2) // of the entry that was replaced, on its way since before
	r.Durable(1, 2, 2)
	r.Acknowledged(1, 2, 2)
	r.Committed(2, 2, 2)
	r.Applied(2, raftEntry(1, 1))
	r.Applied(2, raftEntry(2, 2))
	// A log that was shortened behind its mark.
	r.Restarted(1, 2, 0, 1, 1, []check.RaftEntry{raftEntry(2, 2)}, 1, 1)
	r.Committed(1, 2, 2)
	r.Applied(1, raftEntry(2, 2))
	if v := r.Violations(); len(v) > 0 {
		t.Fatalf("violations of a legal run: %v", v)
	}
	want := check.RaftCounts{Leaders: 2, Votes: 4, Entries: 7, Committed: 2, Applied: 4, Restarts: 2}
	if got := r.Counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

// TestRaftFirst: what all logs were made with is committed without a vote, and may be applied; a
// restarted member must still hold it.
func TestRaftFirst(t *testing.T) {
	t.Parallel()
	first := []check.RaftEntry{raftEntry(1, 1)}
	r := check.NewRaft(3, first...)
	for node := uint64(1); node <= 3; node++ {
		r.Restarted(node, 1, 0, 0, 0, first, 1, 0)
		r.Applied(node, first[0])
	}
	if v := r.Violations(); len(v) > 0 {
		t.Fatalf("violations of a legal run: %v", v)
	}
	r.Restarted(2, 1, 0, 0, 0, nil, 0, 0)
	if v := r.Violations(); len(v) != 2 || !strings.Contains(v[0].Text, "node 2 had entry 1 of term 1 durable") {
		t.Errorf("got %v, want that node 2 has lost entry 1", v)
	}
	r = check.NewRaft(3, first...)
	r.Restarted(1, 1, 0, 0, 0, first, 1, 0)
	r.Applied(1, check.RaftEntry{Index: 1, Term: 1, Hash: 7})
	r.Leads(2, 2)
	if v := r.Violations(); len(v) != 2 || !strings.Contains(v[0].Text, "was not committed") || !strings.Contains(v[1].Text, "without the committed entry 1") {
		t.Errorf("got %v, want that another first entry was applied, and that a leader lacks it", v)
	}
}

// TestRaftLateAnswer: an answer of an earlier term may leave a member for entries that
// were replaced before they reached its disk.
func TestRaftLateAnswer(t *testing.T) {
	t.Parallel()
	r := check.NewRaft(3)
	elect(r)
	write(r, raftEntry(1, 1), 3)
	r.Leads(2, 2)
	r.Appended(3, 2, []check.RaftEntry{raftEntry(2, 2)})
	r.Acknowledged(3, 1, 2)
	if v := r.Violations(); len(v) > 0 {
		t.Fatalf("violations of a legal run: %v", v)
	}
	r.Acknowledged(3, 2, 2)
	if v := r.Violations(); len(v) != 1 || !strings.Contains(v[0].Text, "only 1 are durable") {
		t.Fatalf("got %v, want that entry 2 is not durable", v)
	}
}

// TestRaftLateLeader: a member that stood still learns that it was elected when the
// next leader has already committed.
func TestRaftLateLeader(t *testing.T) {
	t.Parallel()
	r := check.NewRaft(3)
	elect(r)
	write(r, raftEntry(1, 1), 3)
	r.Voted(3, 2, 3)
	r.Voted(2, 2, 3)
	r.Voted(1, 3, 1)
	r.Voted(2, 3, 1)
	r.Leads(1, 3)
	write(r, raftEntry(2, 3), 1, 2)
	r.Committed(1, 3, 2)
	r.Leads(3, 2)
	if v := r.Violations(); len(v) > 0 {
		t.Fatalf("violations of a legal run: %v", v)
	}
	r.Leads(2, 4) // it has entry 2
	r.Committed(2, 4, 2)
	r.Leads(3, 5) // it has not
	if v := r.Violations(); len(v) != 1 || !strings.Contains(v[0].Text, "without the committed entry 2") {
		t.Fatalf("got %v, want that the leader of term 5 lacks entry 2", v)
	}
}

// TestRaftCommitHeardLate: that an entry is committed is first told by a member in a
// late term, then by one in the term in which it was: leaders of the terms between
// must have it.
func TestRaftCommitHeardLate(t *testing.T) {
	t.Parallel()
	r := check.NewRaft(3)
	elect(r)
	write(r, raftEntry(2, 1), 1, 2)
	r.Committed(2, 4, 2)
	r.Leads(3, 3)
	if v := r.Violations(); len(v) != 1 { // it lacks entry 1, committed in term 1
		t.Fatalf("got %v, want one violation", v)
	}
	r.Committed(1, 1, 2)
	r.Leads(3, 2)
	if v := r.Violations(); len(v) != 2 || !strings.Contains(v[1].Text, "without the committed entry 2") {
		t.Fatalf("got %v, want that the leader of term 2 lacks entry 2", v)
	}
}

func TestRaftViolations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		do   func(r *check.Raft)
		want string
	}{
		"two leaders":       {func(r *check.Raft) { r.Leads(2, 1) }, "two leaders"},
		"two votes":         {func(r *check.Raft) { r.Voted(2, 1, 3) }, "voted in term 1 for 1 and for 3"},
		"forgotten vote":    {func(r *check.Raft) { r.Restarted(2, 1, 0, 0, 0, []check.RaftEntry{raftEntry(1, 1)}, 0, 0) }, "it had voted for 1"},
		"forgotten term":    {func(r *check.Raft) { r.Restarted(2, 0, 0, 0, 0, []check.RaftEntry{raftEntry(1, 1)}, 0, 0) }, "it had answered in term 1"},
		"forgotten entry":   {func(r *check.Raft) { r.Restarted(2, 1, 1, 0, 0, nil, 0, 0) }, "durable"},
		"other entry":       {func(r *check.Raft) { r.Appended(3, 2, []check.RaftEntry{{Index: 1, Term: 1, Hash: 7}}) }, "two logs differ"},
		"incomplete leader": {func(r *check.Raft) { r.Leads(3, 2) }, "without the committed entry 1"},
		"gap":               {func(r *check.Raft) { r.Appended(3, 2, []check.RaftEntry{raftEntry(2, 1)}) }, "appends entry 2"},
		"committed cut":     {func(r *check.Raft) { r.Appended(1, 2, []check.RaftEntry{raftEntry(1, 2)}) }, "replaces entry 1"},
		"early ack": {func(r *check.Raft) {
			r.Appended(2, 1, []check.RaftEntry{raftEntry(2, 1)})
			r.Acknowledged(2, 1, 2)
		}, "only 1 are durable"},
		"early commit": {func(r *check.Raft) {
			r.Appended(1, 1, []check.RaftEntry{raftEntry(2, 1)})
			r.Durable(1, 2, 1)
			r.Committed(1, 1, 2)
		}, "durable on 1 of 3"},
		"commit goes back":  {func(r *check.Raft) { r.Committed(1, 1, 0) }, "goes back"},
		"commit beyond log": {func(r *check.Raft) { r.Committed(1, 1, 2) }, "its log ends at 1"},
		"two commits": {func(r *check.Raft) {
			r.Appended(3, 2, []check.RaftEntry{raftEntry(1, 2)})
			r.Committed(3, 2, 1)
		}, "commits another one"},
		"applied twice":     {func(r *check.Raft) { r.Applied(1, raftEntry(1, 1)) }, "applies entry 1 after 1"},
		"applied too early": {func(r *check.Raft) { r.Applied(1, raftEntry(2, 1)) }, "was not committed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := check.NewRaft(3)
			elect(r)
			if v := r.Violations(); len(v) > 0 {
				t.Fatalf("before: %v", v)
			}
			tc.do(r)
			v := r.Violations()
			if len(v) == 0 || !strings.Contains(v[0].Text, tc.want) {
				t.Errorf("violations %v, want one with %q", v, tc.want)
			}
		})
	}
}
