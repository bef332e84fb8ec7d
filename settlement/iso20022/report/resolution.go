package report

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

const definitionCamt029 = "camt.029.001.09"

// Outcomes of a cancellation request.
const (
	CancellationAccepted = "ACCR" // of a transaction
	CancellationRejected = "RJCR" // of a transaction and of a whole resolution
	CancellationPending  = "PDCR" // of a transaction and of a whole resolution
	CancelledAsRequested = "CNCL" // of a whole resolution
	CancelledInPart      = "PECR" // of a whole resolution
)

// Resolution is a camt.029.001.09, the answer to a cancellation request (camt.056).
type Resolution struct {
	ID, Created        string         // Assgnmt/Id and CreDtTm
	Assigner, Assignee iso20022.Party // who answers whom
	CaseID             string         // RslvdCase, "" for none
	CaseCreator        iso20022.Party
	Status             string // of the whole, an ExternalInvestigationExecutionConfirmation1Code
	Cancellations      []CancellationStatus
}

// CancellationStatus is the outcome for one original transaction.
type CancellationStatus struct {
	ID       string            // CxlStsId
	Original iso20022.Original // message and transaction
	Status   string            // ACCR, RJCR or PDCR
	Reasons  []iso20022.Reason // codes of ExternalPaymentCancellationRejection1Code
}

// Encode writes the message. An error says which element is wrong, or that a rejection has no
// reason.
func (r Resolution) Encode() ([]byte, error) {
	body := newDocument(definitionCamt029)
	assignment := body.Add("Assgnmt")
	assignment.AddText("Id", r.ID)
	agent(assignment.Add("Assgnr"), "Agt", r.Assigner)
	agent(assignment.Add("Assgne"), "Agt", r.Assignee)
	assignment.AddText("CreDtTm", r.Created)
	if r.CaseID != "" {
		c := body.Add("RslvdCase")
		c.AddText("Id", r.CaseID)
		party(c.Add("Cretr"), "Pty", r.CaseCreator)
	}
	body.Add("Sts").AddText("Conf", r.Status)
	var details *xmltree.Element
	for i, c := range r.Cancellations {
		if c.Status == CancellationRejected && !hasReason(c.Reasons) {
			return nil, errors.Newf("cancellation %d is rejected without a reason: give one", i+1)
		}
		if details == nil {
			details = body.Add("CxlDtls")
		}
		e := details.Add("TxInfAndSts")
		e.AddText("CxlStsId", c.ID)
		original(e, "OrgnlGrpInf", c.Original)
		e.AddText("OrgnlInstrId", c.Original.InstructionID)
		e.AddText("OrgnlEndToEndId", c.Original.EndToEndID)
		e.AddText("OrgnlTxId", c.Original.TransactionID)
		e.AddText("OrgnlClrSysRef", c.Original.ClearingReference)
		e.AddText("OrgnlUETR", c.Original.UETR)
		e.AddText("TxCxlSts", c.Status)
		reasons(e, "CxlStsRsnInf", c.Reasons)
		amount(e, "OrgnlIntrBkSttlmAmt", c.Original.Settlement)
		e.AddText("OrgnlIntrBkSttlmDt", c.Original.SettlementDate)
	}
	return encode(definitionCamt029, body)
}
