package report

import (
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

const (
	definitionSese024 = "sese.024.001.13"
	definitionSese025 = "sese.025.001.12"
)

// SecuritiesState is what a sese.024 says about an instruction.
type SecuritiesState string

// States of an instruction: of its processing, its matching and its settlement.
const (
	InstructionAccepted            SecuritiesState = "PrcgSts/AckdAccptd"
	InstructionPending             SecuritiesState = "PrcgSts/PdgPrcg"
	InstructionRejected            SecuritiesState = "PrcgSts/Rjctd"
	InstructionCancelled           SecuritiesState = "PrcgSts/Canc"
	InstructionCancellationPending SecuritiesState = "PrcgSts/PdgCxl"
	Matched                        SecuritiesState = "MtchgSts/Mtchd"
	Unmatched                      SecuritiesState = "MtchgSts/Umtchd"
	SettlementPending              SecuritiesState = "SttlmSts/Pdg"
	SettlementFailing              SecuritiesState = "SttlmSts/Flng"
)

// SecuritiesReason is a reason of a state.
type SecuritiesReason struct {
	Code string // four capital letters of the state's code set, such as LACK or PREA
	Text string // at most 210 characters
}

// SecuritiesIDs identify an instruction.
type SecuritiesIDs struct {
	Owner          string // AcctOwnrTxId: TxId of sese.023
	Servicer       string // AcctSvcrTxId, such as the id in a ledger
	Infrastructure string // MktInfrstrctrTxId
	Common         string // CmonId
}

// StateReport is a state with its reasons. A state without a reason has the reason NORE; Matched
// has none.
type StateReport struct {
	State   SecuritiesState
	Reasons []SecuritiesReason
}

// SecuritiesStatus is a sese.024.001.13: at most one state of processing, of matching and of
// settlement.
type SecuritiesStatus struct {
	IDs    SecuritiesIDs
	States []StateReport
}

// Encode writes the message. An error says which element is wrong.
func (s SecuritiesStatus) Encode() ([]byte, error) {
	body := newDocument(definitionSese024)
	id := body.Add("TxId")
	id.AddText("AcctOwnrTxId", s.IDs.Owner)
	id.AddText("AcctSvcrTxId", s.IDs.Servicer)
	id.AddText("MktInfrstrctrTxId", s.IDs.Infrastructure)
	id.AddText("CmonId", s.IDs.Common)
	if len(s.States) == 0 {
		return nil, errors.New("a status advice without a state: give one")
	}
	written := 0
	for _, group := range []string{"PrcgSts", "MtchgSts", "SttlmSts"} {
		for _, r := range s.States {
			name, state, _ := strings.Cut(string(r.State), "/")
			if name != group {
				continue
			}
			written++
			e := body.Add(group).Add(state)
			if r.State == Matched {
				continue
			}
			if len(r.Reasons) == 0 {
				e.AddText("NoSpcfdRsn", "NORE")
			}
			for _, reason := range r.Reasons {
				re := e.Add("Rsn")
				re.Add("Cd").AddText("Cd", reason.Code)
				re.AddText("AddtlRsnInf", reason.Text)
			}
		}
	}
	if written < len(s.States) {
		return nil, errors.New("a state is unknown: use the constants of this package")
	}
	return encode(definitionSese024, body)
}

// SecuritiesConfirmation is a sese.025.001.12: an instruction was settled, in whole or in part.
type SecuritiesConfirmation struct {
	IDs         SecuritiesIDs
	Instruction iso20022.SecuritiesInstruction // what was instructed
	Effective   string                         // date, or date and time, of settlement
	// Quantity is what settled now, in the instruction's kind of quantity. Where less than all
	// settled, Previous and Remaining are what settled before and what is left, "" for none.
	Quantity, Previous, Remaining string
	Settled                       iso20022.Amount // what was paid, empty when free of payment
	Partial                       string          // PAIN for a part, PARC for the last part, "" for all at once
	PreviousConfirmation          string          // identification of the confirmation before
}

// Encode writes the message. An error says which element is wrong.
func (c SecuritiesConfirmation) Encode() ([]byte, error) {
	in := &c.Instruction
	body := newDocument(definitionSese025)
	id := body.Add("TxIdDtls")
	id.AddText("AcctOwnrTxId", or(c.IDs.Owner, in.TransactionID))
	id.AddText("AcctSvcrTxId", c.IDs.Servicer)
	id.AddText("MktInfrstrctrTxId", c.IDs.Infrastructure)
	id.AddText("SctiesMvmntTp", in.Movement)
	id.AddText("Pmt", in.Payment)
	id.AddText("CmonId", or(c.IDs.Common, in.CommonID))
	inside(body, "AddtlParams", func(e *xmltree.Element) {
		e.AddText("PrtlSttlm", c.Partial)
		e.AddText("PrvsPrtlConfId", c.PreviousConfirmation)
	})
	trade := body.Add("TradDtls")
	securityDate(trade, "TradDt", in.TradeDate)
	securityDate(trade, "SttlmDt", in.SettlementDate)
	securityDate(trade, "FctvSttlmDt", c.Effective)
	security := body.Add("FinInstrmId")
	security.AddText("ISIN", in.ISIN)
	if in.ISIN == "" {
		security.AddText("Desc", in.OtherID)
	}
	quantities := body.Add("QtyAndAcctDtls")
	kind := or(in.QuantityKind, "Unit")
	quantities.Add("SttldQty").Add("Qty").AddText(kind, c.Quantity)
	inside(quantities, "PrevslySttldQty", func(e *xmltree.Element) { e.AddText(kind, c.Previous) })
	inside(quantities, "RmngToBeSttldQty", func(e *xmltree.Element) { e.AddText(kind, c.Remaining) })
	settlementParty(quantities, "AcctOwnr", iso20022.SettlementParty{Party: in.Owner})
	inside(quantities, "SfkpgAcct", func(e *xmltree.Element) { e.AddText("Id", in.SafekeepingAccount) })
	body.Add("SttlmParams").Add("SctiesTxTp").AddText("Cd", or(in.Transaction, "TRAD"))
	chain(body, "DlvrgSttlmPties", in.Delivering)
	chain(body, "RcvgSttlmPties", in.Receiving)
	if c.Settled.Value != "" {
		e := body.Add("SttldAmt")
		amount(e, "Amt", c.Settled)
		e.AddText("CdtDbtInd", map[string]string{"DELI": Credit, "RECE": Debit}[in.Movement])
	}
	return encode(definitionSese025, body)
}

// securityDate writes a date, or a date and time, as securities messages do. A code instead of a
// date, which an instruction may have, is left out.
func securityDate(parent *xmltree.Element, name, value string) {
	if len(value) >= len("2026-11-30") {
		dateOrTime(parent.Add(name), "Dt", value)
	}
}

func chain(parent *xmltree.Element, name string, c iso20022.SettlementChain) {
	inside(parent, name, func(e *xmltree.Element) {
		settlementParty(e, "Dpstry", iso20022.SettlementParty{Party: c.Depository})
		for i, p := range c.Parties {
			settlementParty(e, []string{"Pty1", "Pty2", "Pty3", "Pty4", "Pty5"}[min(i, 4)], p)
		}
	})
}

func settlementParty(parent *xmltree.Element, name string, p iso20022.SettlementParty) {
	inside(parent, name, func(e *xmltree.Element) {
		inside(e, "Id", func(e *xmltree.Element) {
			switch {
			case p.BIC != "":
				e.AddText("AnyBIC", p.BIC)
			case p.Other != "":
				id := e.Add("PrtryId")
				id.AddText("Id", p.Other)
				id.AddText("Issr", p.OtherIssuer)
			case p.Name != "":
				e.Add("NmAndAdr").AddText("Nm", p.Name)
			}
		})
		if len(e.Children) == 0 {
			return
		}
		e.AddText("LEI", p.LEI)
		inside(e, "SfkpgAcct", func(e *xmltree.Element) { e.AddText("Id", p.Account) })
		e.AddText("PrcgId", p.ProcessingID)
	})
}
