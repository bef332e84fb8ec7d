package sim

import (
	"reflect"
	"testing"
	"time"
)

func TestOptionsRoundTrip(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Options{
		"--seed 0": {},
		"--seed 18446744073709551615 --nodes 5 --ops 40 --clients 2 --pace 30ms --duration 12.5s --faults power,swap --keep 0,17": {
			Seed: 1<<64 - 1, Nodes: 5, Ops: 40, Clients: 2, Pace: 30 * time.Millisecond, Duration: 12500 * time.Millisecond, Faults: FaultPower | FaultSwap, Keep: []int{0, 17},
		},
		"--seed 3 --faults none": {Seed: 3, Faults: NoFaults},
		"--seed 4 --faults all":  {Seed: 4, Faults: AllFaults},
	} {
		if got := o.String(); got != want {
			t.Errorf("String is\n%s, want\n%s", got, want)
		}
		back, err := ParseOptions(want)
		if err != nil || !reflect.DeepEqual(back, o) {
			t.Errorf("%s parses to %+v, %v; want %+v", want, back, err, o)
		}
	}
	for _, bad := range []string{"--seed x", "--nodes 8", "--nodes -1", "--ops -3", "--clients 100000", "--duration -1s", "--pace -1s", "--faults fire", "--keep 1,x", "--seed 1 more"} {
		if o, err := ParseOptions(bad); err == nil {
			t.Errorf("%q parses to %+v, want an error", bad, o)
		}
	}
	if res := Run(Options{Nodes: 99}); res.Err == nil || !res.Failed() {
		t.Error("a run of 99 nodes reports no error")
	}
}

func TestEnvironmentsDiffer(t *testing.T) {
	t.Parallel()
	nodes, kinds := map[int]bool{}, FaultSet(0)
	configs := map[config]bool{}
	for seed := range uint64(100) {
		o, c := resolve(Options{Seed: seed})
		nodes[o.Nodes], configs[c] = true, true
		kinds |= o.Faults
		if err := o.validate(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		// What is given stays, and changes nothing else.
		p, d := resolve(Options{Seed: seed, Nodes: 3, Faults: o.Faults})
		if p.Nodes != 3 || d != c || p.Ops != o.Ops {
			t.Errorf("seed %d: with 3 nodes %+v %+v, without %+v %+v", seed, p, d, o, c)
		}
	}
	if len(nodes) < 5 || kinds&AllFaults != AllFaults || len(configs) < 100 {
		t.Errorf("100 seeds give clusters of %d sizes, faults %s, %d environments", len(nodes), kinds, len(configs))
	}
}
