package sim

import (
	"testing"
	"time"
)

// failover is what becomes of the groups that one node led when it ends or falls silent.
type failover struct {
	led   int // groups that the node led
	took  []time.Duration
	quiet bool // every member of every group was quiet when it happened
}

// failoverOfQuiet lets three ledgers fall quiet, takes a node that leads away, and looks how long
// the groups that it led are without a leader. The times are those of production on a fast network
// and fast disks.
func failoverOfQuiet(t *testing.T, seed uint64, takeAway func(w *world, n *node)) (f failover) {
	t.Helper()
	o := Options{Seed: seed, Nodes: 3, Ledgers: 3, Ops: 30, Clients: 3, Pace: time.Millisecond, Duration: 30 * time.Second, Faults: NoFaults}
	res := runWith(o, func(w *world) {
		c := &w.cfg
		c.tick, c.heartbeat, c.election = 10*time.Millisecond, 5, 30
		c.net = netConfig{min: 200 * time.Microsecond, mean: 50 * time.Microsecond, clientMean: 100 * time.Microsecond}
		c.syncMin, c.syncMean, c.slowSync, c.loopMean = 300*time.Microsecond, 20*time.Microsecond, 0, 5*time.Microsecond
		for _, n := range w.nodes[1:] {
			n.tickRate = 1
		}
		var strike func()
		strike = func() {
			before := w.stats
			w.after(20*c.tick, func() {
				if w.stats.Ticks-before.Ticks != w.stats.QuietTicks-before.QuietTicks {
					strike()
					return
				}
				f.quiet = true
				f.watch(w, w.groups[0].leader().n, takeAway)
			})
		}
		w.after(15*time.Second, strike)
	})
	if res.Failed() {
		explain(t, res)
	}
	return f
}

// watch takes a node away and notes when each of the groups that it led has another leader.
func (f *failover) watch(w *world, n *node, takeAway func(*world, *node)) {
	var left []*group
	for _, g := range w.groups {
		if g.leader().n == n {
			left = append(left, g)
		}
	}
	f.led = len(left)
	start := w.now
	takeAway(w, n)
	var look func()
	look = func() {
		waiting := left
		left = nil
		for _, g := range waiting {
			if m := g.leader(); m != nil && m.n != n {
				f.took = append(f.took, time.Duration(w.now-start))
			} else {
				left = append(left, g)
			}
		}
		if len(left) > 0 {
			w.after(100*time.Microsecond, look)
		}
	}
	look()
}

// TestFailoverOfQuietGroups: a group whose members are all quiet elects another leader in the time
// in which a busy one does. A leader whose process is known to be gone is replaced within a few
// ticks. A leader that falls silent is replaced one to two election timeouts after its last
// heartbeat; a vote that is split costs two more at most.
func TestFailoverOfQuietGroups(t *testing.T) {
	const tick, election = 10 * time.Millisecond, 300 * time.Millisecond
	gone := func(w *world, n *node) {
		n.kill("the leader of quiet groups ends")
		for _, other := range w.nodes[1:] {
			if other != n {
				other.proc.peerDown(n.id)
			}
		}
	}
	silent := func(_ *world, n *node) { n.pause() }
	elections, prompt := 0, 0
	for seed := range uint64(10) {
		for name, c := range map[string]struct {
			takeAway        func(*world, *node)
			soonest, latest time.Duration
			splits          time.Duration
		}{
			"is gone":      {gone, 0, 8 * tick, 0},
			"falls silent": {silent, election - 7*tick, 2*election + 2*tick, 2*election + 2*tick},
		} {
			f := failoverOfQuiet(t, seed, c.takeAway)
			if !f.quiet || len(f.took) != f.led {
				t.Fatalf("seed %d: the leader of %d groups %s: %d have another one; all members were quiet before: %t", seed, f.led, name, len(f.took), f.quiet)
			}
			for _, took := range f.took {
				elections++
				switch {
				case took < c.soonest || took > c.latest+c.splits:
					t.Errorf("seed %d: %s after the leader %s another one leads, want %s to %s", seed, took, name, c.soonest, c.latest)
				case took <= c.latest:
					prompt++
				}
			}
		}
	}
	if elections < 20 || prompt < elections*8/10 {
		t.Errorf("%d of %d elections were not held up by a split vote, want nearly all of at least 20", prompt, elections)
	}
}
