package sim

import (
	"flag"
	"testing"
)

var (
	flagSeeds = flag.Int("seeds", 24, "how many seeds to run")
	flagSeed  = flag.Uint64("seed", 1, "the first of them")
)

func TestSeeds(t *testing.T) {
	for i := range *flagSeeds {
		seed := *flagSeed + uint64(i)
		res := Run(Options{Seed: seed})
		t.Log(res)
		if res.Failed() {
			t.Errorf("%v", res)
			if testing.Verbose() {
				for _, e := range res.Timeline {
					t.Log(e)
				}
			}
			return
		}
	}
}
