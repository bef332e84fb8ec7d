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
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
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

// end heals the cluster, demands that it recovers, and compares the nodes.
func (w *world) end(res *Result) {
	w.healAll()
	limit := w.now + int64(recovery)
	final := &client{l: w.load, rng: stream(w.opt.Seed, "final", 0), process: w.load.newProcess(), node: 1}
	w.load.clients = append(w.load.clients, final)
	var last *attempt
	var appendOne func()
	done := false
	appendOne = func() {
		last = final.append(ledger.Batch{Principal: principals[0], Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: w.load.payload(final.rng)}}})
		last.then = func() {
			if done = last.op.Outcome == history.OK; !done {
				w.after(100*time.Millisecond, appendOne)
			}
		}
		last.start()
	}
	appendOne()
	w.runUntil(limit, func() bool { return done })
	if !done {
		w.fail("liveness", 0, "no append succeeded within %s after all faults had ended", recovery)
	}
	// Operations that are still under way end by themselves.
	w.runUntil(min(w.now+int64(w.cfg.timeout), limit), nil)
	w.runUntil(limit, func() bool { return w.converged() == "" })
	if why := w.converged(); why != "" {
		w.fail("liveness", 0, "not converged within %s after all faults had ended: %s", recovery, why)
	}
	w.compare(res)
}

// converged says what is still missing, "" when nothing is.
func (w *world) converged() string {
	lead := w.leader()
	if lead == nil || !lead.state.Serving {
		return "no leader"
	}
	head := lead.ledger.Head()
	for _, n := range w.nodes[1:] {
		switch p := n.proc; {
		case n.lost:
		case p != nil && p.running && p.leftBehind(lead):
		case p == nil || !p.running:
			return fmt.Sprintf("node %d is not up", n.id)
		case p.ledger.Head().RaftIndex != head.RaftIndex || p.commit != lead.commit || p.applied != p.commit:
			return fmt.Sprintf("node %d has committed %d, applied %d, its ledger is at raft index %d; leader %d: %d, %d, %d",
				n.id, p.commit, p.applied, p.ledger.Head().RaftIndex, lead.n.id, lead.commit, lead.applied, head.RaftIndex)
		case n.storeDamage != nil:
			// It may be unable to prove, and so to sign, what it holds.
		case p.ledger.Sealed() == nil || p.ledger.Sealed().Size != head.Size:
			return fmt.Sprintf("node %d has no sealed checkpoint of the final size %d", n.id, head.Size)
		}
	}
	return ""
}

// leftBehind: the leader has removed from its log what this node would need. It
// does not come back by itself (docs/consistency.md). What lies behind the node's
// commit index counts only if the leader has the same: the rest will be replaced.
func (p *process) leftBehind(lead *process) bool {
	first, err := lead.group.FirstIndex()
	if err != nil || p.commit+1 >= first {
		return false
	}
	theirs, err1 := lead.group.Term(first - 1)
	ours, err2 := p.group.Term(first - 1)
	return err1 == nil && (err2 != nil || ours != theirs)
}

// compare demands that all nodes hold one ledger, and reads it.
func (w *world) compare(res *Result) {
	var first *process
	for _, n := range w.nodes[1:] {
		p := n.proc
		if p == nil || !p.running || n.storeDamage != nil {
			continue
		}
		if lead := w.leader(); lead != nil && p.leftBehind(lead) {
			w.stats.LeftBehind++
			continue
		}
		if first == nil {
			first = p
			continue
		}
		a, b := first.ledger.Head(), p.ledger.Head()
		if a.Size == b.Size && a.Root != b.Root {
			w.fail("diverged", a.Size, "nodes %d and %d have roots %s and %s", first.n.id, n.id, a.Root, b.Root)
		}
	}
	if first == nil {
		w.fail("liveness", 0, "no node is left to read the ledger from")
		return
	}
	w.read(res, first)
	w.checkSeals(first)
}

// read reads the final ledger from one node: every leaf, in order of time.
func (w *world) read(res *Result, p *process) {
	size, time := p.ledger.Head().Size, int64(0)
	model := accounts.Model{}
	res.Final = []check.FinalEntry{}
	for at := uint64(0); at < size; {
		leaves, err := p.ledger.Leaves(at, 256, 1<<30)
		if err != nil {
			w.fail("lost", at, "the final ledger cannot be read: %v", err)
			return
		}
		for _, leaf := range leaves {
			e, err := ledger.ParseLeaf(leaf)
			if err != nil {
				w.fail("mismatch", at, "entry %d is no leaf: %v", at, err)
				return
			}
			if e.Time < time {
				w.fail("time", at, "the ledger's time goes back from %d to %d at entry %d", time, e.Time, at)
			}
			time = e.Time
			w.checkOutcome(model, at, &e)
			res.Final = append(res.Final, check.FinalEntry{
				Key: keyOf(e.Principal, e.Key, e.Body), Body: history.DigestOf(e.Body), Leaf: merkle.LeafHash(leaf), Genesis: at == 0,
			})
			at++
		}
	}
	w.checkAccounts(model, p)
	if err := replica.CheckGenesis(p.ledger, w.genesis); err != nil || size == 0 {
		w.fail("genesis", 0, "the final ledger of size %d does not begin with the genesis: %v", size, err)
	}
}

// checkSeals compares every root that was ever signed with the final ledger, and
// verifies a receipt.
func (w *world) checkSeals(p *process) {
	size := p.ledger.Head().Size
	for _, signed := range slices.Sorted(maps.Keys(w.seals.roots)) {
		root := w.seals.roots[signed]
		if signed > size {
			w.fail("seal", signed, "size %d was signed, the final ledger has %d", signed, size)
			continue
		}
		if got, err := p.ledger.RootAt(signed); err != nil || got != root {
			w.fail("seal", signed, "size %d was signed with root %s, the final ledger has %s, %v", signed, root, got, err)
		}
	}
	if s := p.ledger.Sealed(); s != nil {
		index := stream(w.opt.Seed, "receipt", 0).Uint64N(s.Size)
		receipt, err := p.ledger.Receipt(index)
		if err == nil {
			_, err = w.seals.policy.VerifyReceipt(receipt)
		}
		if err != nil {
			w.fail("seal", index, "the receipt of entry %d does not verify: %v", index, err)
		}
	}
}
