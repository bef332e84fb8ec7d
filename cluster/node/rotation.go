package node

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// A cosigner key is replaced in three steps. The node is started with a second key. A policy change
// on each of its ledgers names the second key, and the node signs with both until that policy has
// taken over. When no policy in force names the first key any more, the node is started without it.
//
// The rows of members in node.yaml keep the keys with which the cluster was made. The policies of the
// ledgers say which keys count now; the directory's policy says which ones a new ledger begins with.

// RotateCosigner implements server.Backend.
func (h *hosted) RotateCosigner(ctx context.Context, asked, member string, key *tlog.VerifierKey) (server.Rotation, error) {
	none := server.Rotation{}
	if err := h.ReadBarrier(ctx); err != nil {
		return none, err
	}
	l := h.Replica.Ledger()
	in, err := l.PolicyAt(l.Head().Size)
	if err != nil {
		return none, errors.Wrap(err, "read the policy")
	}
	c := &ledger.PolicyChange{Policy: *in.Newest, Reason: ledger.PolicyRotateCosigner}
	c.Policy.Epoch++
	c.Policy.Members = slices.Clone(in.Newest.Members)
	i := slices.IndexFunc(c.Policy.Members, func(m ledger.PolicyMember) bool { return m.Name == member })
	if i < 0 {
		return none, errors.Wrapf(server.ErrUnknownNode, "%q", member)
	}
	has := c.Policy.Members[i].Cosigner
	name, _, _ := strings.Cut(has, "+")
	switch {
	case has == key.String():
		return server.Rotation{Epoch: in.Newest.Epoch, TakenOver: in.Before == nil}, nil
	case in.Before != nil:
		return none, &server.PolicyError{Why: fmt.Sprintf("the hand-over to its epoch %d has not ended; a change in the midst of it would take its place", in.Newest.Epoch)}
	case key.Name() != name:
		return none, &server.PolicyError{Why: fmt.Sprintf("%s signs as %s, and the key is of %s", member, name, key.Name())}
	}
	c.Policy.Members[i].Cosigner = key.String()
	b, err := ledger.PolicyBatch(asked, c)
	if err != nil {
		return none, &server.PolicyError{Why: err.Error()}
	}
	res, err := h.Append(ctx, b)
	if err == nil {
		err = res.Err
	}
	if refused := (*ledger.RefusedError)(nil); errors.As(err, &refused) {
		return none, &server.PolicyError{Why: err.Error()}
	}
	if err != nil {
		return none, err
	}
	h.node.log.Info("a member gets another cosigner key", "ledger", h.origin, "member", member, "epoch", c.Policy.Epoch, "by", asked)
	return server.Rotation{Epoch: c.Policy.Epoch}, nil
}

// inForce returns the policies in force of a ledger; nil when it has no genesis yet.
func (h *hosted) inForce() *ledger.PolicyInForce {
	l := h.Replica.Ledger()
	in, err := l.PolicyAt(l.Head().Size)
	if err != nil {
		return nil
	}
	return in
}

// named reports whether policies in force name a cosigner key of a member.
func named(in *ledger.PolicyInForce, member uint64, key string) bool {
	return slices.ContainsFunc(in.All(), func(p *ledger.Policy) bool {
		return slices.ContainsFunc(p.Members, func(m ledger.PolicyMember) bool { return m.ID == member && m.Cosigner == key })
	})
}

// cosignerKeys are this node's, and how many ledgers need each.
func (h *hosting) cosignerKeys() (keys []server.CosignerKey) {
	all, self := h.all(), h.node.cfg.Self().ID
	for _, c := range h.node.keys.cosigners {
		k := server.CosignerKey{Key: c.Key().String(), Ledgers: len(all)}
		for _, l := range all {
			// A policy that cannot be read may name the key.
			if in := l.inForce(); in == nil || named(in, self, k.Key) {
				k.Needed++
			}
		}
		keys = append(keys, k)
	}
	return keys
}

// checkCosigners refuses to start a node that has no key which the directory's policy names for it:
// its cosignatures would count nowhere.
func (h *hosting) checkCosigners() error {
	in, self := h.directory.inForce(), h.node.cfg.Self()
	if in == nil {
		return nil // nothing is applied yet: the row of members counts, which loadCosigners has compared
	}
	if slices.ContainsFunc(h.node.keys.cosigners, func(c seal.Cosigner) bool { return named(in, self.ID, c.Key().String()) }) {
		return nil
	}
	return errors.Newf("keys.cosigner: the directory's policy of epoch %d names another key of this node, which is neither this one nor keys.cosigner_next", in.Newest.Epoch)
}

// reportCosigners logs once when a key is not needed any more, and when it is needed again.
func (h *hosting) reportCosigners() {
	keys := h.cosignerKeys()
	if len(keys) < 2 {
		return
	}
	says := ""
	switch first, next := keys[0], keys[1]; {
	case first.Needed == 0 && next.Needed == next.Ledgers:
		says = "no policy in force names keys.cosigner any more: name the file of keys.cosigner_next there, start the node again, and destroy the former key"
	case next.Needed == 0:
		says = "the node has a second cosigner key, which no policy names yet: `cairn policy rotate` does that"
	default:
		says = "the node's cosigner key is being replaced: keep both keys"
	}
	if says == h.toldCosigners {
		return
	}
	h.toldCosigners = says
	h.node.log.Info(says, "cosigner", keyID(keys[0].Key), "needed_by", keys[0].Needed, "next", keyID(keys[1].Key), "next_needed_by", keys[1].Needed, "ledgers", keys[0].Ledgers)
}

// keyID is a vkey without the public key.
func keyID(vkey string) string {
	name, rest, _ := strings.Cut(vkey, "+")
	id, _, _ := strings.Cut(rest, "+")
	return name + "+" + id
}

// nameCurrentKeys makes the genesis of a new ledger name the cosigner keys that the directory's
// newest policy names.
func (h *hosting) nameCurrentKeys(g *ledger.Genesis) error {
	in := h.directory.inForce()
	if in == nil {
		return errors.Wrap(h.directory.notLeader(0), "the directory has no policy yet")
	}
	for i, m := range g.Members {
		for _, p := range in.Newest.Members {
			if p.ID == m.ID {
				g.Members[i].Cosigner = p.Cosigner
			}
		}
	}
	return nil
}

// keysOf replaces the cosigner keys of own, a genesis that this node would make, by those of g where
// the directory has named them for the member, now or before: a ledger that is older or younger than
// a rotation is hosted, one with keys that nobody has named is not.
func (h *hosting) keysOf(own, g *ledger.Genesis) error {
	l := h.directory.Replica.Ledger()
	records, err := l.PolicyRecords(l.Head().Size)
	if err != nil {
		return errors.Wrap(err, "read the directory's policies")
	}
	for _, index := range records {
		leaf, err := l.Leaf(index)
		if err != nil {
			return errors.Wrap(err, "read the directory's policies")
		}
		c, err := ledger.PolicyChangeOf(leaf)
		if err != nil {
			continue // the end of a hand-over
		}
		for i := range own.Members {
			for j := range g.Members {
				m, of := &own.Members[i], &g.Members[j]
				if m.ID == of.ID && slices.ContainsFunc(c.Policy.Members, func(p ledger.PolicyMember) bool { return p.ID == m.ID && p.Cosigner == of.Cosigner }) {
					m.Cosigner = of.Cosigner
				}
			}
		}
	}
	return nil
}
