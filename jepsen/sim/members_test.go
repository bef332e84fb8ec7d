package sim

import "testing"

// TestMembers: members come, are promoted, leave and are replaced under faults. Over the seeds every
// kind of change happens, members take snapshots, and others are removed while they run.
func TestMembers(t *testing.T) {
	var s Stats
	for seed := range uint64(6) {
		res := Run(Options{Seed: seed, Nodes: 4 + int(seed%4), Ledgers: 1, Ops: 300, members: true})
		if res.Failed() {
			t.Errorf("%s", res)
		}
		s.MemberChanges += res.Stats.MemberChanges
		s.Promotions += res.Stats.Promotions
		s.MembersRemoved += res.Stats.MembersRemoved
	}
	t.Logf("%d changes, %d promotions, %d removals", s.MemberChanges, s.Promotions, s.MembersRemoved)
	if s.MemberChanges < 12 || s.Promotions < 3 || s.MembersRemoved < 3 {
		t.Errorf("%d changes, %d promotions, %d removals: too few to show anything", s.MemberChanges, s.Promotions, s.MembersRemoved)
	}
}
