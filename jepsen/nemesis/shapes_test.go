package nemesis

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/testbed"
)

// idle is a testbed whose nodes were never started.
func idle(t *testing.T, nodes int) *Arena {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bed, err := testbed.New(testbed.Options{Dir: filepath.Join(t.TempDir(), "bed"), Nodes: nodes, Executable: exe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	return NewArena(bed, 3)
}

// hears returns whom each node hears, itself included.
func hears(n int, shape func(from, to int) testbed.Condition) (sets []string, sizes []int, mutual bool) {
	mutual = true
	for to := range n {
		set, size := "", 0
		for from := range n {
			if from == to || !shape(from, to).Cut {
				set, size = fmt.Sprint(set, from), size+1
			}
			mutual = mutual && (from == to || shape(from, to).Cut == shape(to, from).Cut)
		}
		sets, sizes = append(sets, set), append(sizes, size)
	}
	return sets, sizes, mutual
}

// TestShapes: every partition has the shape that its name promises.
func TestShapes(t *testing.T) {
	const n, majority = 5, 3
	a := idle(t, n)
	for name, c := range map[string]struct {
		draw drawn
		want func(sets []string, sizes []int, mutual bool) bool
	}{
		"one": {isolateOne, func(_ []string, sizes []int, mutual bool) bool {
			return mutual && count(sizes, 1) == 1 && count(sizes, 4) == 4
		}},
		"halves": {halves, func(_ []string, sizes []int, mutual bool) bool {
			return mutual && count(sizes, 2) == 2 && count(sizes, 3) == 3
		}},
		"ring": {ring, func(sets []string, sizes []int, mutual bool) bool {
			different := map[string]bool{}
			for _, s := range sets {
				different[s] = true
			}
			return mutual && count(sizes, majority) == n && len(different) == n
		}},
		"bridge": {bridge, func(_ []string, sizes []int, mutual bool) bool {
			return mutual && count(sizes, n) == 1 && count(sizes, 3) == 4
		}},
		"one link": {linkOf(2), func(_ []string, sizes []int, mutual bool) bool {
			return mutual && count(sizes, 4) == 2 && count(sizes, n) == 3
		}},
		"one way": {oneWay, func(_ []string, sizes []int, mutual bool) bool {
			deaf := count(sizes, 1) == 1 && count(sizes, n) == 4
			mute := count(sizes, 4) == 4 && count(sizes, n) == 1
			return !mutual && (deaf || mute)
		}},
	} {
		for range 20 {
			target, shape, err := c.draw(a)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if sets, sizes, mutual := hears(n, shape); !c.want(sets, sizes, mutual) {
				t.Errorf("%s (%s): the nodes hear %v", name, target, sets)
			}
		}
	}
}

// TestNobodyToMeet: links between nodes that do not run are not struck; nobody could
// see that.
func TestNobodyToMeet(t *testing.T) {
	a := idle(t, 3)
	n := aNetwork(isolateOne, 0)(a)
	if err := n.Inject(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if err := n.Heal(t.Context()); err != nil {
		t.Error(err)
	}
	if a.Net.Total().Touched() != 0 || !a.network.TryLock() {
		t.Error("the network is not as it was")
	}
}

func count(sizes []int, want int) (n int) {
	for _, s := range sizes {
		if s == want {
			n++
		}
	}
	return n
}

// TestSelect: names, beginnings of names, and what is not in the swarm.
func TestSelect(t *testing.T) {
	a := idle(t, 3)
	swarm, err := Select(a.Testbed, "swarm")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range swarm {
		k, ok := find(name)
		if !ok || k.awaiting != "" || k.disks || k.clocks {
			t.Errorf("%q is in the swarm of a testbed without disks and clocks", name)
		}
	}
	some, err := Select(a.Testbed, "kill-one,partition")
	if err != nil || len(some) < 5 || some[0] != "kill-one" {
		t.Errorf("selected %v, %v", some, err)
	}
	if damage, err := Select(a.Testbed, "damage"); err != nil || len(damage) != 4 {
		t.Errorf("damage is %v, %v; want four kinds, by name", damage, err)
	}
	for _, bad := range []string{"earthquake", "power-all", "clock"} {
		if names, err := Select(a.Testbed, bad); err == nil {
			t.Errorf("%q selects %v without disks and clocks, want an error", bad, names)
		}
	}
}
