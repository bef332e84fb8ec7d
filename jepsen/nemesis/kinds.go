package nemesis

import (
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/jepsen/testbed"
)

// lane is where a fault happens: faults of two lanes overlap, those of one do not.
type lane uint8

const (
	processes lane = iota
	links
	lanes
)

// kind is a fault by name.
type kind struct {
	name string
	lane lane
	// disks, clocks: needs a disk for each node, or clocks that can be moved.
	disks, clocks bool
	least         int // nodes
	// awaiting names what has to be built before a cluster comes back from it by
	// itself; such a fault is no part of the swarm.
	awaiting string
	// instant: over when Inject returns, so there is nothing to hold.
	instant bool
	make    func(a *Arena) Nemesis
}

func aNetwork(draw drawn, flap time.Duration) func(*Arena) Nemesis {
	return func(a *Arena) Nemesis { return &network{a: a, draw: draw, flap: flap} }
}

func aDamage(choose func(*Arena, string) (string, error), change func(*Arena, string) (string, error), mustRefuse bool) func(*Arena) Nemesis {
	return func(a *Arena) Nemesis {
		return &damage{a: a, what: damaging{choose: choose, change: change, mustRefuse: mustRefuse}}
	}
}

var kinds = []kind{
	{name: "kill-one", make: func(a *Arena) Nemesis { return &kill{a: a, who: One} }},
	{name: "kill-leader", make: func(a *Arena) Nemesis { return &kill{a: a, who: Leader} }},
	{name: "kill-minority", make: func(a *Arena) Nemesis { return &kill{a: a, who: Minority} }},
	{name: "kill-majority", make: func(a *Arena) Nemesis { return &kill{a: a, who: Majority} }},
	{name: "kill-all", make: func(a *Arena) Nemesis { return &kill{a: a, who: All} }},
	{name: "pause-one", make: func(a *Arena) Nemesis { return &pause{a: a, who: One} }},
	{name: "pause-leader", make: func(a *Arena) Nemesis { return &pause{a: a, who: Leader} }},
	{name: "pause-majority", make: func(a *Arena) Nemesis { return &pause{a: a, who: Majority} }},
	{name: "transfer", least: 2, instant: true, make: func(a *Arena) Nemesis { return &transfer{a: a} }},
	{name: "rolling-restart", instant: true, make: func(a *Arena) Nemesis { return &rolling{a: a} }},
	{name: "pause-kill", least: 3, instant: true, make: func(a *Arena) Nemesis { return &swap{a: a} }},
	{name: "part-kill", least: 3, instant: true, make: func(a *Arena) Nemesis { return &swap{a: a, cutOff: true} }},
	{name: "power-one", disks: true, make: func(a *Arena) Nemesis { return &power{a: a, who: One} }},
	{name: "power-leader", disks: true, make: func(a *Arena) Nemesis { return &power{a: a, who: Leader} }},
	{name: "power-all", disks: true, make: func(a *Arena) Nemesis { return &power{a: a, who: All} }},
	{name: "freeze-one", disks: true, make: func(a *Arena) Nemesis { return &freeze{a: a, who: One} }},
	{name: "freeze-leader", disks: true, make: func(a *Arena) Nemesis { return &freeze{a: a, who: Leader} }},
	{name: "kill-politely", make: func(a *Arena) Nemesis { return &stop{kill{a: a, who: One}} }},
	{name: "pause-minority", make: func(a *Arena) Nemesis { return &pause{a: a, who: Minority} }},
	{name: "power-minority", disks: true, make: func(a *Arena) Nemesis { return &power{a: a, who: Minority} }},
	{name: "full-disk", disks: true, make: func(a *Arena) Nemesis { return &full{a: a, within: stopTimeout} }},
	{name: "slow-disk-one", disks: true, make: func(a *Arena) Nemesis { return &slowDisk{a: a, who: One} }},
	{name: "slow-disk-leader", disks: true, make: func(a *Arena) Nemesis { return &slowDisk{a: a, who: Leader} }},
	{name: "slow-disk-all", disks: true, make: func(a *Arena) Nemesis { return &slowDisk{a: a, who: All} }},
	{name: "clock-minority", clocks: true, make: func(a *Arena) Nemesis { return &clock{a: a, who: Minority} }},
	{name: "clock-leader", clocks: true, make: func(a *Arena) Nemesis { return &clock{a: a, who: Leader} }},
	{name: "clock-strobe", clocks: true, make: func(a *Arena) Nemesis { return &clock{a: a, who: All, strobes: true} }},
	{name: "damage-log-bit", least: 3, instant: true, awaiting: "repair", make: aDamage(newestSegment, flipEarly, true)},
	{name: "damage-log-cut", least: 3, instant: true, awaiting: "repair", make: aDamage(newestSegment, cutEarly, true)},
	{name: "damage-store-bit", least: 3, awaiting: "repair", make: aDamage(someStoreFile, flipEarly, false)},
	{name: "damage-store-cut", least: 3, awaiting: "repair", make: aDamage(someStoreFile, cutEarly, false)},
	{name: "partition-leader", lane: links, least: 2, make: aNetwork(isolateLeader, 0)},
	{name: "partition-one", lane: links, least: 2, make: aNetwork(isolateOne, 0)},
	{name: "partition-halves", lane: links, least: 2, make: aNetwork(halves, 0)},
	{name: "partition-ring", lane: links, least: 3, make: aNetwork(ring, 0)},
	{name: "partition-one-way", lane: links, least: 2, make: aNetwork(oneWay, 0)},
	{name: "partition-flapping", lane: links, least: 2, make: aNetwork(halves, 400*time.Millisecond)},
	{name: "partition-bridge", lane: links, least: 3, make: aNetwork(bridge, 0)},
	{name: "partition-one-link", lane: links, least: 3, make: aNetwork(oneLink, 0)},
	{name: "partition-shifting", lane: links, least: 3, make: func(a *Arena) Nemesis { return &shifting{network: network{a: a}} }},
	{name: "jitter-network", lane: links, least: 2, make: aNetwork(jitter, 0)},
	{name: "slow-network", lane: links, least: 2, make: aNetwork(slow, 0)},
	{name: "flaky-network", lane: links, least: 2, make: aNetwork(flaky, 0)},
}

// Kinds are the names of all faults that are possible on a testbed and that a
// cluster survives by itself.
func Kinds(t *testbed.Testbed) (names []string) {
	for _, k := range kinds {
		if k.possible(t) && k.awaiting == "" {
			names = append(names, k.name)
		}
	}
	return names
}

func (k kind) possible(t *testbed.Testbed) bool {
	return t.Size() >= k.least && (t.Level.Disks || !k.disks) && (t.Level.Clocks || !k.clocks)
}

// Names are the names of all faults, for help texts.
func Names() (names []string) {
	for _, k := range kinds {
		name := k.name
		if k.awaiting != "" {
			name += " (awaiting " + k.awaiting + ")"
		}
		names = append(names, name)
	}
	return names
}

// Select finds faults by name: "swarm" is all that are possible, "none" none, and
// the beginning of names up to a hyphen ("kill", "partition") stands for all of
// them. Several are separated by commas. What the testbed cannot do is an error.
func Select(t *testbed.Testbed, spec string) (names []string, err error) {
	for _, word := range strings.Split(spec, ",") {
		switch word {
		case "swarm":
			names = append(names, Kinds(t)...)
			continue
		case "none":
			continue
		}
		found, impossible := false, false
		for _, k := range kinds {
			if k.name != word && !strings.HasPrefix(k.name, word+"-") {
				continue
			}
			found = true
			if !k.possible(t) {
				impossible = true
				continue
			}
			impossible = false
			names = append(names, k.name)
		}
		switch {
		case !found:
			return nil, errors.Newf("no fault %q; there are swarm, none, %s", word, strings.Join(Names(), ", "))
		case impossible && !slices.ContainsFunc(names, func(n string) bool { return n == word || strings.HasPrefix(n, word+"-") }):
			return nil, errors.Newf("fault %q is not possible here: %d nodes, %s", word, t.Size(), t.Level)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func find(name string) (kind, bool) {
	for _, k := range kinds {
		if k.name == name {
			return k, true
		}
	}
	return kind{}, false
}
