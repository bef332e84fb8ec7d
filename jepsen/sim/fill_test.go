package sim

import (
	"fmt"
	"testing"
)

// TestFills: members that were away for longer than the others keep their Raft log take the blocks
// from the others, also from one that lies now and then, and take part again.
func TestFills(t *testing.T) {
	t.Parallel()
	var sum Stats
	for seed := range uint64(16) {
		if testing.Short() && seed >= 8 {
			break
		}
		res := Run(Options{Seed: seed, Faults: FaultKill | FaultPower | FaultStop | FaultPartition, fills: true})
		if res.Failed() {
			explain(t, res)
			return
		}
		s := &res.Stats
		sum.Filled, sum.Restored = sum.Filled+s.Filled, sum.Restored+s.Restored
		sum.FillStrikes += s.FillStrikes
		sum.FillLies, sum.FillProblems = sum.FillLies+s.FillLies, sum.FillProblems+s.FillProblems
	}
	seen := fmt.Sprintf("%d blocks filled, %d snapshots taken over, %d lies, %d useless answers, %d crashes meanwhile",
		sum.Filled, sum.Restored, sum.FillLies, sum.FillProblems, sum.FillStrikes)
	t.Log(seen)
	if sum.Filled < 20 || sum.Restored < 5 || sum.FillLies == 0 || sum.FillStrikes == 0 {
		t.Errorf("too little happened: %s", seen)
	}
}
