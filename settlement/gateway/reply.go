package gateway

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/report"
)

const (
	statusSettled  = report.Settled
	statusReserved = report.InProcess

	definitionStatus     = "pacs.002.001.10"
	definitionResolution = "camt.029.001.09"
)

// report answers a message whose items are decided.
func (e *exchange) report() step {
	e.finish()
	var raw []byte
	var err error
	definition := definitionStatus
	if e.m.Type() == "camt.056" {
		definition = definitionResolution
		raw, err = e.resolution(false).Encode()
		if err != nil {
			raw, err = e.resolution(true).Encode()
		}
	} else {
		raw, err = e.status(false).Encode()
		if err != nil {
			// A version that is read leniently may have values that an answer cannot repeat.
			raw, err = e.status(true).Encode()
		}
	}
	if err != nil {
		return e.answer(nil, "", []problem{{codeNarrative, "answer", err.Error()}})
	}
	return e.answer(raw, definition, nil)
}

// finish gives the items that ask for something and got nothing the status RJCT. It gives none to an
// item about another transaction: to say RJCT of a transaction that is not known could make its
// sender pay twice.
func (e *exchange) finish() {
	for _, it := range e.items {
		if it.code == "" && it.problem != nil && !e.about() {
			it.code = report.Rejected
		}
	}
}

// about says that the message is about other transactions, and asks for no transfer of its own.
func (e *exchange) about() bool {
	switch e.m.Type() {
	case "pacs.002", "pacs.028", "camt.056":
		return true
	}
	return false
}

// status makes a pacs.002 about the items. A bare one repeats of the message what names the
// transactions, and nothing else.
func (e *exchange) status(bare bool) report.StatusReport {
	r := report.StatusReport{ID: e.replyID(), Created: stamp(e.when()), Instructing: bic(e.m.Instructed), Instructed: bic(e.m.Instructing)}
	var codes []string
	for _, it := range e.items {
		if it.rest {
			g := e.originalOf(it, bare)
			g.MessageName = cmp.Or(g.MessageName, "NOTPROVIDED")
			r.More = append(r.More, report.GroupStatus{Original: g, Reasons: it.reasons()})
			continue
		}
		s := report.TransactionStatus{Status: it.code, Original: e.originalOf(it, bare)}
		if it.decided {
			s.AccountReference = strconv.FormatUint(it.index, 10)
		}
		if !it.time.IsZero() && it.code != report.Rejected {
			s.Accepted = stamp(it.time)
			if it.code == statusSettled {
				s.Effective = it.time.UTC().Format(time.DateOnly)
			}
		}
		s.Reasons = it.reasons()
		if e.m.Type() == "pacs.002" && it.code == report.Cancelled {
			s.Reasons = append(s.Reasons, it.tx.Reasons...)
		}
		codes = append(codes, it.code)
		r.Transactions = append(r.Transactions, s)
	}
	if e.about() {
		return r
	}
	r.Group = &report.GroupStatus{
		Original: iso20022.Original{MessageID: e.m.ID, MessageName: e.m.Definition, Created: e.m.Created},
		Count:    e.m.Count, ControlSum: e.m.ControlSum, Status: report.GroupStatusOf(codes...),
	}
	if bare {
		r.Group.Original = iso20022.Original{MessageID: cut(e.m.ID), MessageName: e.m.Definition}
		r.Group.Count, r.Group.ControlSum = "", ""
		r.Instructing, r.Instructed = iso20022.Party{}, iso20022.Party{}
	}
	return r
}

// originalOf names the transaction that an item is about.
func (e *exchange) originalOf(it *item, bare bool) iso20022.Original {
	o := it.tx.Original
	if !e.about() {
		o = report.OriginalOf(e.m, it.tx)
		if !it.asked {
			// The amount may be what is wrong with the transaction.
			o.Settlement, o.SettlementDate = iso20022.Amount{}, ""
		}
	}
	if bare {
		o = iso20022.Original{
			MessageID: cut(o.MessageID), MessageName: cut(cmp.Or(o.MessageName, "NOTPROVIDED")), InstructionID: cut(o.InstructionID),
			EndToEndID: cut(o.EndToEndID), TransactionID: cut(o.TransactionID),
		}
		if o.MessageID == "" {
			o.MessageName = ""
		}
	}
	return o
}

// resolution makes the camt.029 about the items of a camt.056.
func (e *exchange) resolution(bare bool) report.Resolution {
	r := report.Resolution{ID: e.replyID(), Created: stamp(e.when()), Assigner: bic(e.m.Instructed), Assignee: bic(e.m.Instructing)}
	if bare {
		r.Assigner, r.Assignee = iso20022.Party{Name: "NOTPROVIDED"}, iso20022.Party{Name: "NOTPROVIDED"}
	}
	accepted := 0
	for _, it := range e.items {
		c := report.CancellationStatus{Original: e.originalOf(it, bare)}
		switch {
		case it.code == report.Cancelled:
			accepted++
			c.Status = report.CancellationAccepted
		case it.problem != nil && it.problem.name == unknownTransfer.name:
			c.Status, c.Reasons = report.CancellationRejected, []iso20022.Reason{{Code: "NOOR", Additional: lines(it.problem.text)}}
		default:
			p := it.problem
			if p == nil {
				p = cancelled(it.original)
			}
			// The reasons of the ledger are none of the code set for rejected cancellations.
			c.Status, c.Reasons = report.CancellationRejected, []iso20022.Reason{{Proprietary: cut(p.name), Additional: lines(p.text)}}
		}
		r.Cancellations = append(r.Cancellations, c)
	}
	switch accepted {
	case 0:
		r.Status = report.CancellationRejected
	case len(e.items):
		r.Status = report.CancelledAsRequested
	default:
		r.Status = report.CancelledInPart
	}
	return r
}

// cancelled says why a transfer that is not pending cannot be cancelled.
func cancelled(t *Transfer) *problem {
	if t != nil && t.Status == settlement.Rejected {
		return problemOfReason(settlement.NotPending)
	}
	return &problem{"", settlement.AlreadyPosted.String(), "the payment is settled, which is final: ask for a return of it"}
}

// when returns the time of the answer: the latest ledger time of what it reports, else when the
// message came.
func (e *exchange) when() time.Time {
	var latest time.Time
	for _, it := range e.items {
		if it.time.After(latest) {
			latest = it.time
		}
	}
	if latest.IsZero() {
		return e.in.Received
	}
	return latest
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// reasons are what a status report says about an item.
func (it *item) reasons() []iso20022.Reason {
	var all []iso20022.Reason
	if it.problem != nil {
		all = append(all, it.problem.reason())
	}
	if it.note != "" {
		all = append(all, iso20022.Reason{Additional: lines(it.note)})
	}
	return all
}

func (p *problem) reason() iso20022.Reason {
	r := iso20022.Reason{Code: p.code, Additional: lines(p.name + ": " + p.text)}
	if p.code == "" {
		r.Proprietary = cut(p.name)
	}
	return r
}

func conflict(index uint64) *problem {
	return &problem{codeDuplicate, "conflict", fmt.Sprintf("entry %d decided another transaction under this identification: give the new one its own", index)}
}

// maxLine is the longest AddtlInf, in characters, and maxLines how many of them a reason gets.
const (
	maxLine  = 105
	maxLines = 10
)

// lines cuts a text into pieces of AddtlInf, between words where it can.
func lines(text string) []string {
	text = clean(text)
	var all []string
	for text != "" && len(all) < maxLines {
		end, count, space := len(text), 0, 0
		for i, r := range text {
			if count == maxLine {
				end = i
				break
			}
			if r == ' ' {
				space = i
			}
			count++
		}
		if end < len(text) && space > 0 {
			end = space
		}
		all = append(all, strings.TrimSpace(text[:end]))
		text = strings.TrimSpace(text[end:])
	}
	return all
}

// cut returns at most 35 characters of an identification.
func cut(s string) string {
	if utf8.RuneCountInString(s) <= 35 {
		return s
	}
	return string([]rune(s)[:35])
}

// bic leaves of an institution what every version can say.
func bic(p iso20022.Party) iso20022.Party {
	if p.BIC != "" {
		return iso20022.Party{BIC: p.BIC}
	}
	return iso20022.Party{ClearingID: p.ClearingID, ClearingCode: p.ClearingCode, LEI: p.LEI, Name: p.Name}
}

// replyPrefix begins the identification of every answer. An answer that comes in is carried out and
// not answered by a message, so that two gateways do not answer one another for ever.
const replyPrefix = "CAIRN-"

var isReply = regexp.MustCompile(`^` + replyPrefix + `[0-9A-F]{24}$`)

// replyID returns the identification of the answer. The same message gets the same one.
func (e *exchange) replyID() string {
	h := sha256.New()
	o := &e.g.options
	for _, s := range []string{o.Participant, o.Rail} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	if e.m != nil {
		h.Write(e.m.Fingerprint[:])
	} else {
		h.Write(e.in.Raw)
	}
	return fmt.Sprintf("%s%X", replyPrefix, h.Sum(nil)[:12])
}
