package audit

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// policies follows what the entries say of whose signatures seal the ledger. Used by one goroutine.
type policies struct {
	origin string
	// in are those in force behind the entries so far; Newest is nil if no entry that was read says
	// it. before is unknown, and Before nil, where an earlier audit has read the policy before.
	in       ledger.PolicyInForce
	tookOver func(*ledger.Policy)
}

// record takes a record over. The error says that it ends a hand-over without the signatures that
// this needs: no honest replica has taken it.
func (p *policies) record(index uint64, leaf, body []byte) error {
	if g, err := ledger.GenesisOf(leaf); err == nil && index == 0 {
		p.origin, p.in = g.Origin, ledger.PolicyInForce{Newest: g.Policy0()}
		return nil
	}
	if c, err := ledger.ParsePolicyChange(body); err == nil {
		before := p.in.Before
		if before == nil {
			before = p.in.Newest
		}
		p.in = ledger.PolicyInForce{Newest: &c.Policy, Index: index, Before: before}
		return nil
	}
	h, err := ledger.ParseHandover(body)
	if err != nil || p.in.Newest == nil {
		return nil // another record, or the end of what an earlier audit has read
	}
	if h.Epoch != p.in.Newest.Epoch {
		return errors.Newf("it ends the hand-over to the policy of epoch %d, and the newest change is to epoch %d", h.Epoch, p.in.Newest.Epoch)
	}
	if err := p.in.Verify(p.origin, h.Note); err != nil {
		return errors.Wrapf(err, "the hand-over to the policy of epoch %d", h.Epoch)
	}
	p.in.Before = nil
	if p.tookOver != nil {
		p.tookOver(p.in.Newest)
	}
	return nil
}
