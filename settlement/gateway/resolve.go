package gateway

import (
	"strings"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022/report"
)

// verb says what a status of pacs.002 does to a reservation: it posts it, it voids it, or it does
// nothing.
func verb(status string) (void, acts bool) {
	switch status {
	case report.Settled, report.Credited:
		return false, true
	case report.Rejected, report.Cancelled:
		return true, true
	}
	return false, false
}

// statusReport carries out a pacs.002: what is reserved is posted or voided.
func (e *exchange) statusReport() step {
	return e.namesSome(func() step {
		return e.resolve(func(it *item) (void, acts bool) { return verb(it.tx.Status) })
	})
}

// statusRequest answers a pacs.028 with what became of the transactions.
func (e *exchange) statusRequest() step { return e.namesSome(e.present) }

// cancellation carries out a camt.056: what is reserved is voided.
func (e *exchange) cancellation() step {
	return e.namesSome(func() step {
		return e.resolve(func(*item) (void, acts bool) { return true, true })
	})
}

// namesSome looks for the transfers that a message names, one by one or by their whole message, and
// goes on.
func (e *exchange) namesSome(then func() step) step {
	e.list()
	if len(e.items) == 0 && len(wholeGroups(e.m)) == 0 {
		return e.reject([]problem{namesNone})
	}
	return e.originals(func() step { return e.expand(then) })
}

var namesNone = problem{codeMissing, "transactions_missing", "the message names no transaction: name each by OrgnlMsgId and OrgnlTxId, or all of a message by OrgnlMsgId"}

// resolve posts or voids what is pending, and goes on with what became of it. What is not pending any
// more never changes, so nothing is asked for. The first command holds the message, if there is room
// for it; all others hold its digest.
func (e *exchange) resolve(how func(*item) (void, acts bool)) step {
	var asked []*item
	var actions []settlement.Action
	var again []string
	for _, it := range e.items {
		if it.problem != nil || it.original == nil || it.original.Status != settlement.Pending {
			continue
		}
		if void, acts := how(it); acts {
			asked, again = append(asked, it), append(again, it.original.ID)
			resolve := &settlement.Resolve{ID: it.original.ID, Void: void}
			if len(actions) == 0 {
				resolve.Source = sourceOf(resolve, e.m.Definition, e.in.Raw)
			} else {
				resolve.Source = settlement.NewSource(e.m.Definition, e.in.Raw, -1)
			}
			actions = append(actions, resolve)
		}
	}
	if len(actions) == 0 {
		return e.present()
	}
	return step{actions: actions, then: func(f *facts) step {
		for i, it := range asked {
			switch d := &f.decisions[i]; {
			case d.refused != nil:
				it.problem = &problem{codeNarrative, "refused", d.refused.Error()}
			case len(d.Results) == 1 && d.Results[0].Status == settlement.Rejected:
				it.problem = problemOfReason(d.Results[0].Reason)
			}
		}
		return step{reads: again, then: func(f *facts) step {
			for _, it := range asked {
				if t := f.transfers[it.original.ID]; t != nil {
					it.original = t
				}
			}
			return e.present()
		}}
	}}
}

// present notes what became of the originals, and answers.
func (e *exchange) present() step {
	for _, it := range e.items {
		t := it.original
		if t == nil {
			if it.problem == nil {
				it.problem = &unknownTransfer
			}
			continue
		}
		it.show(t)
		if it.problem == nil {
			it.problem = e.tooLate(it)
		}
	}
	return e.report()
}

// show notes what became of a transfer.
func (it *item) show(t *Transfer) {
	it.id, it.index, it.decided = t.ID, t.Resolved, true
	var why *problem
	switch t.Status {
	case settlement.Posted:
		it.code = statusSettled
		if t.Posted != "" && t.Posted != t.Amount {
			it.note = "posted " + t.Posted + " " + t.Asset + " of " + t.Amount + " reserved"
		}
	case settlement.Pending:
		it.code = statusReserved
	case settlement.Voided:
		it.code = report.Cancelled
	case settlement.Expired:
		it.code, why = report.Rejected, problemOfReason(settlement.AlreadyExpired)
	default:
		it.code, why = report.Rejected, problemOfReason(t.Reason)
	}
	if it.problem == nil {
		it.problem = why
	}
}

// tooLate says that a pacs.002 comes after the opposite of what it says was decided.
func (e *exchange) tooLate(it *item) *problem {
	if e.m.Type() != "pacs.002" {
		return nil
	}
	switch void, acts := verb(it.tx.Status); {
	case acts && void && it.code == statusSettled:
		return problemOfReason(settlement.AlreadyPosted)
	case acts && !void && it.code == report.Cancelled:
		return problemOfReason(settlement.AlreadyVoided)
	}
	return nil
}

// unknownTransfer is about a transaction that the ledger does not know. It is no rejection: the
// message with the transaction may still come.
var unknownTransfer = problem{"", "transfer_unknown", "the ledger knows no such transaction that the caller may read; it may still come. " +
	"OrgnlMsgId, OrgnlMsgNmId and the first of OrgnlTxId, OrgnlInstrId and OrgnlEndToEndId that the original has identify it"}

// problemOfReason returns a reason of the ledger.
func problemOfReason(r settlement.Reason) *problem {
	return &problem{r.ISO(), r.String(), strings.TrimSuffix(r.Text(), ".")}
}
