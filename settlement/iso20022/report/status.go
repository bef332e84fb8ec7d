package report

import (
	"unicode/utf8"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// Statuses of payments, of the external code sets ExternalPaymentTransactionStatus1Code and
// ExternalPaymentGroupStatus1Code. The lower ones of Accepted come first.
const (
	Received        = "RCVD" // received, nothing more
	Pending         = "PDNG" // waits for funds or a check
	Technical       = "ACTC" // its form is right
	InProcess       = "ACSP" // reserved, to be settled
	WithoutPosting  = "ACWP" // settled, not yet posted for the creditor
	Settled         = "ACSC" // settled
	Credited        = "ACCC" // settled and credited to the creditor
	Rejected        = "RJCT"
	Cancelled       = "CANC"
	PartlyAccepted  = "PART" // of a group alone: some accepted, others not
	definitionPacs2 = "pacs.002.001.10"
)

// accepted are the statuses of accepted payments, the least advanced first.
var accepted = []string{Technical, InProcess, WithoutPosting, Settled, Credited}

// StatusReport is a pacs.002.001.10.
type StatusReport struct {
	ID, Created             string // MsgId, CreDtTm
	Instructing, Instructed iso20022.Party
	Group                   *GroupStatus  // of the original message, nil for none
	More                    []GroupStatus // of further original messages, as a whole
	Transactions            []TransactionStatus
}

// GroupStatus is the status of an original message as a whole.
type GroupStatus struct {
	Original   iso20022.Original // MessageID, MessageName and Created count
	Count      string            // OrgnlNbOfTxs
	ControlSum string            // OrgnlCtrlSum
	Status     string            // GroupStatusOf computes it from the transactions
	Reasons    []iso20022.Reason
	PerStatus  []iso20022.PerStatus
}

// TransactionStatus is the status of one original transaction.
type TransactionStatus struct {
	ID                string            // StsId
	Original          iso20022.Original // message, if it is not the group's, and transaction
	Status            string
	Reasons           []iso20022.Reason
	Accepted          string // AccptncDtTm
	Effective         string // FctvIntrBkSttlmDt, a date or a date and time
	AccountReference  string // AcctSvcrRef, such as the index in a ledger
	ClearingReference string // ClrSysRef
}

// GroupStatusOf returns the status of a group from those of its transactions: the one that all
// have; the least advanced one when all are accepted; PART when some are accepted and others not;
// PDNG when none is accepted or all rejected. It returns "" for no transaction.
func GroupStatusOf(statuses ...string) string {
	if len(statuses) == 0 {
		return ""
	}
	equal, lowest, acceptedCount := true, len(accepted), 0
	for _, s := range statuses {
		equal = equal && s == statuses[0]
		for i, a := range accepted {
			if s == a {
				lowest = min(lowest, i)
				acceptedCount++
			}
		}
	}
	switch {
	case equal:
		return statuses[0]
	case acceptedCount == len(statuses):
		return accepted[lowest]
	case acceptedCount > 0:
		return PartlyAccepted
	}
	for _, s := range statuses {
		if s == Pending || s == Received {
			return Pending
		}
	}
	return Rejected
}

// Encode writes the message. An error says which element is wrong, or that a rejection has no
// reason.
func (r StatusReport) Encode() ([]byte, error) {
	body := newDocument(definitionPacs2)
	head := body.Add("GrpHdr")
	head.AddText("MsgId", r.ID)
	head.AddText("CreDtTm", r.Created)
	agent(head, "InstgAgt", r.Instructing)
	agent(head, "InstdAgt", r.Instructed)
	if g := r.Group; g != nil {
		if g.Status == Rejected && !hasReason(g.Reasons) && !r.rejectsEach() {
			return nil, errors.New("the group is rejected without a reason: give one, here or to each transaction")
		}
		g.write(body.Add("OrgnlGrpInfAndSts"))
	}
	for i := range r.More {
		r.More[i].write(body.Add("OrgnlGrpInfAndSts"))
	}
	for i, t := range r.Transactions {
		if t.Status == Rejected && !hasReason(t.Reasons) {
			return nil, errors.Newf("transaction %d is rejected without a reason: give one", i+1)
		}
		r.transaction(body.Add("TxInfAndSts"), t)
	}
	return encode(definitionPacs2, body)
}

func (g *GroupStatus) write(e *xmltree.Element) {
	e.AddText("OrgnlMsgId", g.Original.MessageID)
	e.AddText("OrgnlMsgNmId", g.Original.MessageName)
	e.AddText("OrgnlCreDtTm", g.Original.Created)
	e.AddText("OrgnlNbOfTxs", g.Count)
	e.AddText("OrgnlCtrlSum", g.ControlSum)
	e.AddText("GrpSts", g.Status)
	reasons(e, "StsRsnInf", g.Reasons)
	for _, p := range g.PerStatus {
		n := e.Add("NbOfTxsPerSts")
		n.AddText("DtldNbOfTxs", p.Count)
		n.AddText("DtldSts", p.Status)
		n.AddText("DtldCtrlSum", p.ControlSum)
	}
}

// rejectsEach says that there are transactions, all rejected. Encode wants a reason of each.
func (r StatusReport) rejectsEach() bool {
	for _, t := range r.Transactions {
		if t.Status != Rejected {
			return false
		}
	}
	return len(r.Transactions) > 0
}

func (r StatusReport) transaction(e *xmltree.Element, t TransactionStatus) {
	e.AddText("StsId", t.ID)
	o := t.Original
	if r.Group == nil || o.MessageID != r.Group.Original.MessageID {
		original(e, "OrgnlGrpInf", o)
	}
	e.AddText("OrgnlInstrId", o.InstructionID)
	e.AddText("OrgnlEndToEndId", o.EndToEndID)
	e.AddText("OrgnlTxId", o.TransactionID)
	e.AddText("OrgnlUETR", o.UETR)
	e.AddText("TxSts", t.Status)
	reasons(e, "StsRsnInf", t.Reasons)
	e.AddText("AccptncDtTm", t.Accepted)
	dateOrTime(e, "FctvIntrBkSttlmDt", t.Effective)
	e.AddText("AcctSvcrRef", t.AccountReference)
	e.AddText("ClrSysRef", t.ClearingReference)
	if o.Settlement.Value != "" {
		reference := e.Add("OrgnlTxRef")
		amount(reference, "IntrBkSttlmAmt", o.Settlement)
		reference.AddText("IntrBkSttlmDt", o.SettlementDate)
	}
}

// OriginalOf returns what a report says about a transaction of a message that came.
func OriginalOf(m *iso20022.Message, t *iso20022.Transaction) iso20022.Original {
	return iso20022.Original{
		MessageID: m.ID, MessageName: m.Definition, Created: m.Created,
		InstructionID: t.InstructionID, EndToEndID: t.EndToEndID, TransactionID: or(t.TransactionID, t.OwnID), UETR: t.UETR,
		Settlement: t.Settlement, SettlementDate: t.SettlementDate,
	}
}

// FromFindings answers a message of payments or returns that was judged: it is rejected as a whole
// when a finding of severity error is about the whole of it; else each transaction is rejected or
// has the status ACTC, with its findings as reasons. Values that the message had wrong, such as an
// identification that is too long, are cut or left out, so that the answer can be written.
func FromFindings(id, created string, m *iso20022.Message, findings []iso20022.Finding) StatusReport {
	r := StatusReport{ID: id, Created: created, Group: &GroupStatus{
		Original: iso20022.Original{MessageID: or(cut(m.ID, 35), "NOTPROVIDED"), MessageName: m.Definition},
	}}
	for _, f := range findings {
		if f.Transaction < 0 && f.Severity == iso20022.Error {
			r.Group.Status = Rejected
			r.Group.Reasons = append(r.Group.Reasons, ReasonOf(f))
		}
	}
	if r.Group.Status == Rejected {
		return r
	}
	var statuses []string
	for i := range m.Transactions {
		t := &m.Transactions[i]
		s := TransactionStatus{Status: Technical, Original: iso20022.Original{
			MessageID: r.Group.Original.MessageID, InstructionID: cut(t.InstructionID, 35), EndToEndID: cut(t.EndToEndID, 35),
			TransactionID: cut(or(t.TransactionID, t.OwnID), 35),
		}}
		for _, f := range findings {
			if f.Transaction == i && f.Severity == iso20022.Error {
				s.Status = Rejected
				s.Reasons = append(s.Reasons, ReasonOf(f))
			}
		}
		statuses = append(statuses, s.Status)
		r.Transactions = append(r.Transactions, s)
	}
	r.Group.Status = GroupStatusOf(statuses...)
	return r
}

// ReasonOf makes a reason of a finding: its code, or NARR without one, and its path and text in
// pieces of at most 105 characters.
func ReasonOf(f iso20022.Finding) iso20022.Reason {
	r := iso20022.Reason{Code: or(f.Code, "NARR")}
	text := f.Text
	if f.Path != "" {
		text = f.Path + ": " + text
	}
	for text != "" {
		piece := cut(text, 105)
		r.Additional = append(r.Additional, piece)
		text = text[len(piece):]
	}
	return r
}

// cut returns at most so many characters from the start of s.
func cut(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n == most {
			return s[:i]
		}
		n++
	}
	return s
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
