package replica

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// ChangePolicy proposes another policy of the ledger with the same members, in the name of who asked
// for it. done hears what came of it, as of Submit; an error of the change itself comes before it is
// proposed.
func (r *Replica) ChangePolicy(asked string, c *ledger.PolicyChange, done func(ledger.Result, error)) {
	if c.Reason.ChangesMembers() {
		done(ledger.Result{}, memberError(MemberInvalid, "%q is a change of members: ChangeMembers", c.Reason))
		return
	}
	b, err := ledger.PolicyBatch(asked, c)
	if err == nil && c.Reason == ledger.PolicyRestore {
		err = ErrRestores
	}
	if err != nil {
		done(ledger.Result{}, err)
		return
	}
	r.Submit(b, done)
}

// endHandover proposes the record that ends a hand-over, when this node leads and both policies have
// sealed the change. One proposal is on its way at a time. One that gets lost is made again with the
// next seal, or by the next leader.
func (r *Replica) endHandover() {
	s := r.ledger.Sealed()
	if s == nil || !r.State().Serving {
		return
	}
	in, err := r.ledger.PolicyAt(r.ledger.Head().Size)
	if err != nil || in.Before == nil || s.Size <= in.Index || !r.handingOver.CompareAndSwap(false, true) {
		return
	}
	b, err := ledger.HandoverBatch(r.principal, ledger.Handover{Epoch: in.Newest.Epoch, Note: s.Note})
	if err != nil {
		r.handingOver.Store(false)
		r.shell.Problem(errors.Wrap(err, "end a hand-over"))
		return
	}
	r.Submit(b, func(ledger.Result, error) { r.handingOver.Store(false) })
}
