package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// recovery is how much virtual time a healed cluster has to recover: a leader, an
// append, one ledger everywhere, sealed.
const recovery = 60 * time.Second

// healAll ends every fault for good; those under way do not undo themselves any more.
func (w *world) healAll() {
	w.healed = true
	w.note(0, "heal", "all")
	w.net.flaky = 0
	w.net.cut = [maxNodes + 1][maxNodes + 1]int{}
	w.net.unreachable = [maxNodes + 1]int{}
	for _, n := range w.nodes[1:] {
		n.disk.failSyncs, n.slow, n.hold, n.tickRate = 0, 0, 0, 1
		if n.paused > 0 {
			n.paused = 1
			n.resume()
		}
	}
	for _, n := range w.nodes[1:] {
		n.start()
	}
}

// end heals the cluster, demands that every ledger recovers, and compares the nodes.
func (w *world) end(res *Result) {
	w.healAll()
	limit := w.now + int64(recovery)
	waiting := len(w.groups)
	for _, g := range w.groups {
		g.lastAppend(func() { waiting-- })
	}
	w.runUntil(limit, func() bool { return waiting == 0 })
	if waiting > 0 {
		w.fail("liveness", 0, "no append to %d of %d ledgers succeeded within %s after all faults had ended", waiting, len(w.groups), recovery)
	}
	// Operations that are still under way end by themselves.
	w.runUntil(min(w.now+int64(w.cfg.timeout), limit), nil)
	w.runUntil(limit, func() bool { return w.missing() == "" })
	if why := w.missing(); why != "" {
		w.fail("liveness", 0, "not converged within %s after all faults had ended: %s", recovery, why)
	}
	for _, g := range w.groups {
		g.compare(&res.Ledgers[g.id-1])
	}
}

// lastAppend appends until it succeeds, and calls then.
func (g *group) lastAppend(then func()) {
	final := &client{l: g.load, rng: g.stream("final", 0), process: g.load.newProcess(), node: 1}
	g.load.clients = append(g.load.clients, final)
	var again func()
	again = func() {
		last := final.append(ledger.Batch{Principal: principals[0], Entries: []ledger.NewEntry{g.load.entry(final.rng)}})
		last.then = func() {
			if last.op.Outcome == history.OK {
				then()
			} else {
				g.w.after(100*time.Millisecond, again)
			}
		}
		last.start()
	}
	again()
}

// missing says what the ledgers still miss, "" when all have converged.
func (w *world) missing() string {
	for _, g := range w.groups {
		if why := g.missing(); why != "" {
			return g.violation(check.Violation{Text: why}).Text
		}
	}
	return ""
}

func (g *group) missing() string {
	lead := g.leader()
	if lead == nil || !lead.state.Serving {
		return "no leader"
	}
	head := lead.ledger.Head()
	for _, n := range g.w.nodes[1:] {
		switch m := g.on(n.id); {
		case n.lost, !lead.isMember(n.id):
		case m == nil:
			return fmt.Sprintf("node %d is not up", n.id)
		case m.ledger.Head().RaftIndex != head.RaftIndex || m.commit != lead.commit || max(m.applied, m.log.Mark().Index) != m.commit:
			return fmt.Sprintf("node %d has committed %d, applied %d, its ledger is at raft index %d; leader %d: %d, %d, %d",
				n.id, m.commit, m.applied, m.ledger.Head().RaftIndex, lead.n.id, lead.commit, lead.applied, head.RaftIndex)
		case n.storeDamage != nil:
			// It may be unable to prove, and so to sign, what it holds.
		case m.ledger.Sealed() == nil || m.ledger.Sealed().Size != head.Size:
			return fmt.Sprintf("node %d has no sealed checkpoint of the final size %d", n.id, head.Size)
		}
	}
	return lead.overdue()
}

// compare demands that all nodes hold one ledger, and reads it.
func (g *group) compare(l *Ledger) {
	var first *member
	lead := g.leader()
	for _, n := range g.w.nodes[1:] {
		m := g.on(n.id)
		if m == nil || n.storeDamage != nil || lead != nil && !lead.isMember(n.id) {
			continue
		}
		if first == nil {
			first = m
			continue
		}
		a, b := first.ledger.Head(), m.ledger.Head()
		if a.Size == b.Size && a.Root != b.Root {
			g.fail("diverged", a.Size, "nodes %d and %d have roots %s and %s", first.n.id, n.id, a.Root, b.Root)
		}
	}
	if first == nil {
		g.fail("liveness", 0, "no node is left to read the ledger from")
		return
	}
	first.read(l)
	first.checkSeals()
}

// read reads the final ledger from one member: every leaf, in order of time.
func (m *member) read(l *Ledger) {
	size, time := m.ledger.Head().Size, int64(0)
	judge := m.g.newJudge()
	l.Final = []check.FinalEntry{}
	for at := uint64(0); at < size; {
		leaves, err := m.ledger.Leaves(at, 256, 1<<30)
		if err != nil {
			m.g.fail("lost", at, "the final ledger cannot be read: %v", err)
			return
		}
		for _, leaf := range leaves {
			e, err := ledger.ParseLeaf(leaf)
			if err != nil {
				m.g.fail("mismatch", at, "entry %d is no leaf: %v", at, err)
				return
			}
			if e.Time < time {
				m.g.fail("time", at, "the ledger's time goes back from %d to %d at entry %d", time, e.Time, at)
			}
			time = e.Time
			judge.leaf(at, &e, leaf)
			if ofLeader(e.Principal) && e.Kind == ledger.KindCommand {
				m.w.stats.Works++
			}
			l.Final = append(l.Final, check.FinalEntry{
				Key: keyAt(at, &e), Body: history.DigestOf(e.Body), Leaf: merkle.LeafHash(leaf), Genesis: at == 0, Own: ofLeader(e.Principal),
			})
			at++
		}
	}
	judge.end(m)
	if err := replica.CheckGenesis(m.ledger, m.g.genesis); err != nil || size == 0 {
		m.g.fail("genesis", 0, "the final ledger of size %d does not begin with the genesis: %v", size, err)
	}
}

// checkSeals compares every root that was ever signed with the final ledger, and
// verifies a receipt.
func (m *member) checkSeals() {
	size, seals := m.ledger.Head().Size, m.g.seals
	for _, signed := range slices.Sorted(maps.Keys(seals.roots)) {
		root := seals.roots[signed]
		if signed > size {
			m.g.fail("seal", signed, "size %d was signed, the final ledger has %d", signed, size)
			continue
		}
		if got, err := m.ledger.RootAt(signed); err != nil || got != root {
			m.g.fail("seal", signed, "size %d was signed with root %s, the final ledger has %s, %v", signed, root, got, err)
		}
	}
	if s := m.ledger.Sealed(); s != nil {
		index := m.g.stream("receipt", 0).Uint64N(s.Size)
		if err := m.checkChain(index); err != nil {
			m.g.fail("seal", index, "the receipt of entry %d does not verify: %v", index, err)
		}
	}
}
