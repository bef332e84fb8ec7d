package sim

import (
	"fmt"
	"testing"
)

// TestRebuilds: nodes lose their stores together with their processes, and rebuild them from their
// logs and from the others, also while more processes end and power fails.
func TestRebuilds(t *testing.T) {
	t.Parallel()
	var sum Stats
	for seed := range uint64(16) {
		if testing.Short() && seed >= 8 {
			break
		}
		res := Run(Options{Seed: seed, Faults: FaultKill | FaultPower | FaultStop | FaultPartition, losses: true, fills: seed%2 == 1})
		if res.Failed() {
			explain(t, res)
			return
		}
		s := &res.Stats
		sum.StoresLost, sum.Rebuilt, sum.Filled, sum.FillStrikes = sum.StoresLost+s.StoresLost, sum.Rebuilt+s.Rebuilt, sum.Filled+s.Filled, sum.FillStrikes+s.FillStrikes
	}
	seen := fmt.Sprintf("%d stores lost, %d ledgers rebuilt, %d blocks filled, %d crashes meanwhile", sum.StoresLost, sum.Rebuilt, sum.Filled, sum.FillStrikes)
	t.Log(seen)
	if sum.StoresLost < 15 || sum.Rebuilt < 10 || sum.Filled < 20 || sum.FillStrikes == 0 {
		t.Errorf("too little happened: %s", seen)
	}
}
