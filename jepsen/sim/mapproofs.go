package sim

import (
	"bytes"
	"crypto/sha256"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// pastProofs is how many past sizes the proofs of accounts are looked at for.
const pastProofs = 6

// checkProofs verifies proofs of accounts as of the newest size and of past ones. Each has to lead
// to the root in the leaf that it names, which is the newest with a root below the size. Past
// states may be gone.
func (m *member) checkProofs(accounts []string) {
	g, r := m.g, m.g.stream("proofs", 0)
	size := m.ledger.Head().Size
	accounts = append(accounts, "nobody")
	for i := range pastProofs {
		at := size
		if i > 0 {
			at = r.Uint64N(size + 1)
		}
		id := accounts[r.IntN(len(accounts))]
		p, err := m.ledger.MapProof(at, []byte(id))
		switch {
		case errors.Is(err, ledger.ErrStateGone) && at < size:
			g.w.stats.ProofsGone++
			continue
		case errors.Is(err, ledger.ErrNoMapRoot):
			continue
		case err != nil:
			g.fail("map", at, "node %d has no proof of account %s as of size %d: %v", m.n.id, id, at, err)
			return
		}
		leaf, err := m.ledger.Leaf(p.Index)
		if err != nil || p.Index >= at || !bytes.Contains(leaf, p.Root[:]) {
			g.fail("map", at, "the proof of account %s as of size %d is below a root that entry %d does not carry, %v", id, at, p.Index, err)
			return
		}
		record, present, err := p.Proof.Verify(p.Root, accountmap.KeyOf(originOf(g.id), []byte(id)))
		if err != nil || present != p.Present || present && record != sha256.Sum256(p.Record) {
			g.fail("map", at, "the proof of account %s as of size %d shows %s, %t, %v", id, at, record, present, err)
			return
		}
		g.w.stats.Proofs++
	}
}
