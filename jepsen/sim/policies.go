package sim

import (
	"slices"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/policychain"
)

// planPolicies lets the keys of members change in every third run of a ledger: each node has two
// cosigner keys and uses one after the other. What is proposed while a hand-over is under way takes
// the place of the change before.
func (g *group) planPolicies() {
	r := g.stream("policies", 0)
	if r.IntN(3) != 0 {
		return
	}
	gap := pick(r, 100*time.Millisecond, time.Second, 3*time.Second)
	for at := exp(r, gap); at < g.w.opt.Duration; at += exp(r, gap) {
		id := 1 + r.Uint64N(uint64(g.w.opt.Nodes))
		g.w.after(at, func() { g.rotate(id) })
	}
}

// rotate has the leader propose the other key of a member.
func (g *group) rotate(id uint64) {
	m := g.leader()
	if m == nil || !m.state.Serving {
		return
	}
	in, err := m.ledger.PolicyAt(m.ledger.Head().Size)
	if err != nil {
		return // a ledger that is damaged, or that has no entries yet
	}
	c := &ledger.PolicyChange{Policy: *in.Newest, Reason: ledger.PolicyRotateCosigner}
	c.Policy.Epoch++
	c.Policy.Members = slices.Clone(c.Policy.Members)
	member := c.Policy.Member(id)
	if member == nil {
		return
	}
	next := simKeys().nodes[id].Key().String()
	if member.Cosigner == next {
		next = simKeys().next[id].Key().String()
	}
	member.Cosigner = next
	g.w.note(m.n.id, "policy", "epoch %d: node %d gets its other key", c.Policy.Epoch, id)
	m.ChangePolicy(principalOf(m.n.id), c, func(ledger.Result, error) {})
}

// checkChain verifies the chain of policies as one who trusts the genesis, and the receipt of an
// entry under it.
func (m *member) checkChain(index uint64) error {
	chain, err := policychain.Of(m.ledger)
	if err != nil {
		return err
	}
	m.w.stats.Handovers += len(chain.Changes)
	policies, err := chain.Verify(m.g.seals.policy)
	if err != nil {
		return err
	}
	receipt, err := m.ledger.Receipt(index)
	if err == nil {
		_, err = policies.VerifyReceipt(receipt)
	}
	return err
}
