package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cairnledger/cairn/ledger/memstore"
)

// fault is one thing that goes wrong, drawn before the run begins. Whom it hits is
// decided when it happens, with randomness of its own, so that leaving out others
// changes as little as possible.
type fault struct {
	number int
	kind   FaultSet
	at     time.Duration
	last   time.Duration
	rng    *rand.Rand
}

// drawFaults plans a run: periods with faults that overlap, and quiet ones.
func drawFaults(o Options) []*fault {
	var kinds []FaultSet
	for i := range faultKinds {
		if f := FaultSet(1 << i); o.Faults&f != 0 && o.Faults != NoFaults {
			kinds = append(kinds, f)
			if f == FaultPartition || f == FaultPower { // most of what is known to go wrong begins like that
				kinds = append(kinds, f)
			}
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	r := stream(o.Seed, "schedule", 0)
	gap := pick(r, 150*time.Millisecond, 400*time.Millisecond, time.Second, 2*time.Second)
	length := pick(r, 200*time.Millisecond, time.Second, 4*time.Second)
	var faults []*fault
	for at := exp(r, gap); at < o.Duration; at += exp(r, gap) {
		if r.IntN(4) == 0 {
			at += 2 * gap
			continue
		}
		n := len(faults)
		faults = append(faults, &fault{
			number: n, kind: kinds[r.IntN(len(kinds))], at: at, last: 20*time.Millisecond + exp(r, length),
			rng: stream(o.Seed, "fault", uint64(n)),
		})
	}
	if o.Keep != nil {
		faults = slices.DeleteFunc(faults, func(f *fault) bool { return !slices.Contains(o.Keep, f.number) })
	}
	return faults
}

// plan puts the faults into the queue.
func (w *world) plan() {
	for _, g := range w.groups {
		g.planPolicies()
	}
	for _, f := range w.faults {
		w.after(f.at, func() {
			if !w.healed {
				w.inject(f)
			}
		})
	}
}

// inject lets a fault begin, and plans its end.
func (w *world) inject(f *fault) {
	switch f.kind {
	case FaultKill:
		n := w.target(f)
		w.strike(f, n, func() {
			w.begins(f, n.id, "kill, %s", short(f.last))
			w.keepDown(f, n, func() { n.kill("killed") })
		})
	case FaultPower:
		w.powerFailure(f)
	case FaultStop:
		n := w.target(f)
		w.begins(f, n.id, "clean stop, %s", short(f.last))
		n.stop(f.last)
	case FaultPartition:
		w.partition(f)
	case FaultFlaky:
		x := f.rng.Float64()
		w.begins(f, 0, "flaky network, level %.2f, %s", x, short(f.last))
		w.net.flaky += x
		w.heal(f, func() { w.net.flaky = max(0, w.net.flaky-x) })
	case FaultPause:
		w.pause(f)
	case FaultSlowDisk:
		n := w.target(f)
		w.begins(f, n.id, "slow disk, %s", short(f.last))
		n.slow++
		w.heal(f, func() { n.slow-- })
	case FaultSyncError:
		n := w.target(f)
		w.begins(f, n.id, "next sync fails")
		n.disk.failSyncs = 1
		w.heal(f, func() { n.disk.failSyncs = 0 })
	case FaultBitFlip:
		w.bitFlip(f)
	case FaultClock:
		w.clock(f)
	case FaultTransfer:
		if m := w.leader(f); m != nil {
			to := f.rng.Uint64N(uint64(w.opt.Nodes + 1))
			w.begins(f, m.n.id, "hand leadership%s over to %d", m.g.label(" of "), to)
			m.transfer(to)
		}
	case FaultHint:
		n, dead := w.target(f), 1+f.rng.Uint64N(uint64(w.opt.Nodes))
		if p := n.proc; p != nil && p.running && dead != n.id {
			w.begins(f, n.id, "is told that node %d is dead", dead)
			p.peerDown(dead)
		}
	case FaultClients:
		n := w.target(f)
		w.begins(f, n.id, "clients do not reach it, %s", short(f.last))
		w.net.unreachable[n.id]++
		w.heal(f, func() { w.net.unreachable[n.id]-- })
	case FaultSwap:
		w.swap(f)
	}
}

func short(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

func (w *world) begins(f *fault, node uint64, format string, args ...any) {
	w.lastFault = w.now
	w.note(node, "fault", "%d: %s", f.number, fmt.Sprintf(format, args...))
}

// heal plans the end of a fault.
func (w *world) heal(f *fault, undo func()) { w.healAfter(f, f.last, undo) }

func (w *world) healAfter(f *fault, d time.Duration, undo func()) {
	w.after(d, func() {
		if !w.healed {
			undo()
			w.note(0, "heal", "%d", f.number)
		}
	})
}

// leader is the leader of one of the ledgers, nil when nobody leads it.
func (w *world) leader(f *fault) *member {
	g := w.groups[0]
	if n := len(w.groups); n > 1 {
		g = w.groups[f.rng.IntN(n)]
	}
	return g.leader()
}

// target chooses whom a fault hits: often the leader.
func (w *world) target(f *fault) *node {
	if m := w.leader(f); m != nil && f.rng.IntN(2) == 0 {
		return m.n
	}
	return w.nodes[1+f.rng.IntN(w.opt.Nodes)]
}

// some chooses a set of nodes of a random size up to limit.
func (w *world) some(f *fault, limit int) []*node {
	if limit < 1 {
		return nil
	}
	nodes := slices.Clone(w.nodes[1:])
	f.rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes[:1+f.rng.IntN(limit)]
}

// keepDown holds a node down while the fault lasts. One time in four power fails
// once more right after the start, when what was recovered is all there is.
func (w *world) keepDown(f *fault, n *node, crash func()) {
	crash()
	w.loseStore(f, n)
	n.hold++
	w.heal(f, func() {
		n.hold--
		n.start()
		if f.rng.IntN(4) > 0 {
			return
		}
		w.after(exp(f.rng, 2*w.cfg.startup+20*time.Millisecond), func() {
			if !w.healed {
				n.powerOff("power failed while it recovered")
				n.startAfter(exp(f.rng, f.last))
			}
		})
	})
}

// strike does what a fault has to do at a moment that hurts: as often as not while
// a write of the node's is under way, if there is one within two seconds.
func (w *world) strike(f *fault, n *node, do func()) {
	if f.rng.IntN(2) == 0 {
		do()
		return
	}
	done := false
	once := func() {
		if !done && !w.healed {
			done = true
			do()
		}
	}
	n.ambush = once
	w.after(2*time.Second, once)
}

// powerFailure hits one node, a few, or all at once.
func (w *world) powerFailure(f *fault) {
	hit := w.nodes[1:]
	switch f.rng.IntN(3) {
	case 0:
		hit = []*node{w.target(f)}
	case 1:
		hit = w.some(f, w.opt.Nodes)
	}
	w.strike(f, hit[0], func() {
		w.begins(f, 0, "power failure of nodes %s, %s", ids(hit), short(f.last))
		for _, n := range hit {
			w.keepDown(f, n, func() { n.powerOff("power failed") })
		}
	})
}

func ids(nodes []*node) string {
	var out []uint64
	for _, n := range nodes {
		out = append(out, n.id)
	}
	slices.Sort(out)
	return fmt.Sprint(out)
}

// pause stops one process, some, or all but one.
func (w *world) pause(f *fault) {
	hit := []*node{w.target(f)}
	switch f.rng.IntN(4) {
	case 0:
		hit = w.some(f, w.opt.Nodes)
	case 1:
		hit = slices.DeleteFunc(slices.Clone(w.nodes[1:]), func(n *node) bool { return n == hit[0] })
	}
	w.begins(f, 0, "pause of nodes %s, %s", ids(hit), short(f.last))
	for _, n := range hit {
		n.pause()
	}
	w.heal(f, func() {
		for _, n := range hit {
			n.resume()
		}
	})
}

// clock lets a wall clock jump, and ticks come at another speed for a while.
func (w *world) clock(f *fault) {
	n := w.target(f)
	jump := time.Duration((f.rng.Float64()*2 - 1) * float64(pick(f.rng, time.Second, time.Minute, 24*time.Hour)))
	rate := pick(f.rng, 0.5, 0.8, 1, 1.5, 3)
	alone := f.rng.IntN(3) == 0
	if alone {
		w.outlast(f)
		rate = 3
	}
	w.begins(f, n.id, "clock jumps by %s, ticks take %.1f times as long, %s", jump.Round(time.Second), rate, short(f.last))
	n.offset += jump
	n.tickRate *= rate
	if alone {
		// Nobody but clients reaches it meanwhile: were it a leader that trusts its
		// clock, it would answer them with what has become old elsewhere.
		w.note(n.id, "fault", "%d: and it is cut off from the other nodes", f.number)
		w.heal(f, w.isolate([]*node{n}))
	}
	if p := n.proc; p != nil && p.running {
		for _, m := range p.members {
			p.run(m.WakeSealer)
		}
	}
	w.heal(f, func() { n.tickRate /= rate })
}

// bitFlip turns one bit on a node that is down, on a minority at most in a run.
func (w *world) bitFlip(f *fault) {
	damaged := 0
	for _, n := range w.nodes[1:] {
		if n.damaged() || n.lost {
			damaged++
		}
	}
	n := w.target(f)
	// A node that is given up counts against every ledger, however few its members are by then.
	changing := slices.ContainsFunc(w.groups, func(g *group) bool { return g.changes })
	if changing || damaged >= (w.opt.Nodes-1)/2 || n.damaged() || n.lost {
		return
	}
	crash := func() { n.kill("killed") }
	if f.rng.IntN(2) == 0 {
		crash = func() { n.powerOff("power failed") }
	}
	w.keepDown(f, n, func() {
		crash()
		if f.rng.IntN(3) == 0 {
			if n.storeDamage = damageStore(f.rng, n.store, w.groups); n.storeDamage != nil {
				w.begins(f, n.id, "bit %d flipped in the store's value of %x", n.storeDamage.bit, n.storeDamage.key)
			}
			return
		}
		if t, ok := n.disk.flippable(f.rng); ok {
			n.flipped = &t
			n.disk.flip(t, f.rng.IntN(8))
			w.begins(f, n.id, "bit flipped in %s at offset %d", t.name, t.offset)
		}
	})
}

// swap is the choreography that finds acknowledgements before a sync: a minority
// does not take part while writes build up, power fails for a node that did, then
// the rest does not take part, and the first minority makes a majority with the
// one that may have forgotten something.
func (w *world) swap(f *fault) {
	if w.opt.Nodes < 3 {
		return
	}
	nodes := slices.Clone(w.nodes[1:])
	f.rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	minority := (w.opt.Nodes - 1) / 2
	stale, victim, rest := nodes[:minority], nodes[minority], nodes[minority+1:]
	cut := f.rng.IntN(2) == 0
	stall := func(group []*node) (undo func()) {
		if cut {
			return w.isolate(group)
		}
		for _, n := range group {
			n.pause()
		}
		return func() {
			for _, n := range group {
				n.resume()
			}
		}
	}
	how := "paused"
	if cut {
		how = "cut off"
	}
	w.begins(f, 0, "nodes %s %s, then power failure of %d, then nodes %s %s, %s each", ids(stale), how, victim.id, ids(rest), how, short(f.last))
	first := stall(stale)
	w.after(f.last, func() {
		if w.healed {
			return
		}
		victim.powerOff("power failed")
		second := stall(rest)
		first()
		victim.startAfter(exp(f.rng, 50*time.Millisecond))
		w.healAfter(f, f.last+time.Second, second)
	})
}

// loseStore takes the store away from a node that is down, in runs with losses. At most a minority is
// without some of its blocks at a time.
func (w *world) loseStore(f *fault, n *node) {
	if !w.opt.losses || f.rng.IntN(2) == 0 {
		return
	}
	without := 1
	for _, other := range w.nodes[1:] {
		if other != n && (other.damaged() || other.lost || other.storeLost || other.rebuilding()) {
			without++
		}
	}
	if without > (w.opt.Nodes-1)/2 || !n.begun || n.lost {
		return
	}
	w.begins(f, n.id, "its store is lost")
	w.stats.StoresLost++
	n.store, n.storeLost = memstore.New(memstore.Options{MemtableSize: w.cfg.memtable, MaxUnflushed: w.cfg.unflushed}), true
}
