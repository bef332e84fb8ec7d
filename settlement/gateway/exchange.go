package gateway

import (
	"slices"
	"time"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

// exchange is one message on its way to its answer. The steps of the message share it; it has one
// owner, who runs the steps one after the other.
type exchange struct {
	g     *Gateway
	in    Incoming
	m     *iso20022.Message
	warn  []iso20022.Finding // all findings
	items []*item            // in the order of the message
}

// item is one transaction of a message.
type item struct {
	tx   *iso20022.Transaction
	name string // identification in the message, as in "TxId=T-1"
	id   string // of the transfer in the ledger; of a message about another one, of that

	// rest says that the item is no transaction, but what a whole message has beyond those that the
	// ledger knows.
	rest bool

	// problem is why the ledger was not asked, or what it answered; nil for nothing.
	problem *problem
	// late is set while the only thing against a payment is when it came. A payment that the ledger
	// knows already keeps its first answer.
	late *problem

	candidates []string  // ids that the original may have, in the order in which they are tried
	original   *Transfer // what the item is about, of returns and the like; nil while it is not known

	transfer settlement.Transfer // what is asked for
	asked    bool

	code     string // status of ISO 20022
	state    string // of an instruction that waits: what the answer says, as in Followed.State
	index    uint64
	decided  bool
	repeated bool
	time     time.Time // ledger time of the decision, zero when it is not known
	note     string    // what else is to be said
}

// timely are the rules about when a message came. All others are about what it says.
var timely = []string{"settlement_date_past", "cut_off", "created_earlier"}

// begin reads and judges a message, and returns its first step.
func (g *Gateway) begin(in Incoming) step {
	e := &exchange{g: g, in: in}
	if in.Oversize {
		return e.unreadable(problem{codeFile, "xml_too_large", "the message is larger than 10 MiB: split it into several messages"})
	}
	e.m, e.warn = iso20022.Check(in.Raw, g.options.Rules(in.Received))
	if e.m == nil {
		return e.unreadable(problemOf(e.warn[0]))
	}
	var against []problem
	for _, f := range e.warn {
		if f.Severity == iso20022.Error && f.Transaction < 0 && !slices.Contains(timely, f.Rule) {
			against = append(against, problemOf(f))
		}
	}
	if len(against) > 0 {
		return e.reject(against)
	}
	switch e.m.Type() {
	case "pacs.008", "pacs.009", "pacs.004":
		return e.payments()
	case "pacs.002":
		return e.statusReport()
	case "pacs.028":
		return e.statusRequest()
	case "camt.056":
		return e.cancellation()
	case "sese.023":
		return e.securities()
	}
	return e.reject([]problem{{codeFile, "unsupported_message", "the gateway does not carry out " + e.m.Type() + ": send it another way"}})
}

func problemOf(f iso20022.Finding) problem {
	text := f.Text
	if f.Path != "" {
		text = f.Path + ": " + text
	}
	return problem{f.Code, f.Rule, text}
}

// list makes the items of a message, with what is wrong with each.
func (e *exchange) list() {
	identities := e.m.Identify(e.g.options.Participant, e.g.options.Rail)
	for i := range e.m.Transactions {
		it := &item{tx: &e.m.Transactions[i], name: identities[i].Transaction, id: identities[i].Key()}
		for _, f := range e.warn {
			if f.Severity != iso20022.Error || f.Transaction >= 0 && f.Transaction != i {
				continue
			}
			p := problemOf(f)
			if slices.Contains(timely, f.Rule) {
				it.late = &p
			} else if it.problem == nil {
				it.problem = &p
			}
		}
		e.items = append(e.items, it)
	}
}

// payments carries out transfers and returns.
func (e *exchange) payments() step {
	e.list()
	if e.m.Type() == "pacs.004" {
		return e.originals(func() step {
			for _, it := range e.items {
				e.prepareReturn(it)
			}
			return e.submit()
		})
	}
	for _, it := range e.items {
		if it.problem == nil {
			it.transfer, it.problem = e.payment(it)
		}
	}
	return e.submit()
}

// submit asks for the transfers of the items, after it has asked whether the ledger knows those that
// came too late.
func (e *exchange) submit() step {
	var late []string
	for _, it := range e.items {
		if it.problem == nil && it.late != nil {
			late = append(late, it.id)
		}
	}
	if len(late) == 0 {
		return e.ask()
	}
	return step{reads: late, then: func(f *facts) step {
		for _, it := range e.items {
			if it.problem == nil && it.late != nil && f.transfers[it.id] == nil {
				it.problem = it.late
			}
		}
		return e.ask()
	}}
}

func (e *exchange) ask() step {
	var asked []*item
	var transfers []settlement.Transfer
	for _, it := range e.items {
		if it.problem == nil {
			it.asked = true
			asked, transfers = append(asked, it), append(transfers, it.transfer)
		}
	}
	if len(asked) == 0 {
		return e.report()
	}
	actions := pack(settlement.Submit{Pending: e.reserves(), Timeout: e.timeout()}, transfers, e.m.Definition, e.in.Raw)
	return step{actions: actions, then: func(f *facts) step { return e.decided(asked, actions, f.decisions) }}
}

func (e *exchange) reserves() bool { return e.g.options.Reserve && e.m.Type() != "pacs.004" }

func (e *exchange) timeout() int64 {
	if !e.reserves() {
		return 0
	}
	return e.g.options.ReserveFor.Microseconds()
}

// decided notes what came of the items that were asked for. What was decided before as part of
// another command is read once more: the decision names only the entry.
func (e *exchange) decided(asked []*item, actions []settlement.Action, decisions []Decision) step {
	var again []string
	n := 0
	for i, a := range actions {
		d := &decisions[i]
		for k := range a.(*settlement.Submit).Transfers {
			it := asked[n]
			n++
			switch {
			case d.refused != nil:
				it.problem = &problem{codeNarrative, "refused", d.refused.Error()}
			case k >= len(d.Results):
				it.problem = &problem{codeNarrative, "no_outcome", "the ledger gave no outcome: send the message again"}
			default:
				if it.decide(d, d.Results[k]) {
					again = append(again, it.id)
				}
			}
		}
	}
	if len(again) == 0 {
		return e.report()
	}
	return step{reads: again, then: func(f *facts) step {
		for _, it := range e.items {
			if it.asked && it.code == "" && it.problem == nil {
				it.first(f.transfers[it.id], e.reserves())
			}
		}
		return e.report()
	}}
}

// decide notes a result. It returns true when another entry has decided the item, whose answer is
// still to be read.
func (it *item) decide(d *Decision, r settlement.Result) bool {
	it.index, it.decided, it.repeated, it.time = d.Index, true, d.Existed, d.Time
	switch r.Status {
	case settlement.Posted:
		it.code = statusSettled
	case settlement.Pending:
		it.code = statusReserved
	case settlement.Exists:
		it.index, it.repeated, it.time = r.Index, true, time.Time{}
		return true
	case settlement.Conflict:
		it.index, it.time = r.Index, time.Time{}
		it.problem = conflict(r.Index)
	default:
		it.problem = problemOfReason(r.Reason)
	}
	return false
}

// first notes the first answer to an item that was decided before.
func (it *item) first(t *Transfer, reserves bool) {
	switch {
	case t == nil:
		it.problem = &problem{codeNarrative, "not_readable", "an earlier entry decided this transaction, and the caller may not read it: ask an operator"}
	case t.Status == settlement.Rejected:
		it.problem = problemOfReason(t.Reason)
	case reserves:
		it.code = statusReserved
	default:
		it.code = statusSettled
	}
}
