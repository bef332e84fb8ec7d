package iso20022

import (
	"slices"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// MaxTransactions is the largest number of transactions, and of original messages, of one message.
// A Transaction takes about 2 KiB.
const MaxTransactions = 20_000

// groupHeader reads what the group headers of payments, returns and reports share.
func (d *reader) groupHeader(m *Message, e *xmltree.Element) {
	m.ID = d.text(e, "MsgId")
	m.Created = d.text(e, "CreDtTm")
	m.Instructing = d.agent(d.one(e, "InstgAgt"))
	m.Instructed = d.agent(d.one(e, "InstdAgt"))
	m.Count = d.text(e, "NbOfTxs")
	m.ControlSum = d.text(e, "CtrlSum")
	m.Total = d.amount(d.choice(e, "TtlIntrBkSttlmAmt", "TtlRtrdIntrBkSttlmAmt"))
	m.SettlementDate = d.text(e, "IntrBkSttlmDt")
	in := d.one(e, "SttlmInf")
	m.SettlementMethod = d.text(in, "SttlmMtd")
	m.ClearingSystem = d.codeOr(d.one(in, "ClrSys"))
}

// each calls read for every child of a name, with the transaction to fill. base is the path of
// parent.
func (d *reader) each(m *Message, parent *xmltree.Element, base, name string, read func(e *xmltree.Element, t *Transaction)) {
	elements := parent.All(name)
	if n := len(m.Transactions) + len(elements); n > MaxTransactions {
		d.refuse("too_many_transactions", codeGroupCount, elements[0], "the message holds %d transactions or more; at most %d are read: "+
			"split it into several messages", n, MaxTransactions)
		return
	}
	m.Transactions = slices.Grow(m.Transactions, len(elements))
	for i, e := range elements {
		t := Transaction{
			Path:        path(base, name, i+1, len(elements)),
			Line:        e.Line,
			Fingerprint: d.fingerprint(e),
			Instructing: or(d.agent(d.one(e, "InstgAgt")), m.Instructing),
			Instructed:  or(d.agent(d.one(e, "InstdAgt")), m.Instructed),
		}
		read(e, &t)
		m.Transactions = append(m.Transactions, t)
	}
}

// transfers reads pacs.008 and pacs.009, whose debtor and creditor are institutions.
func (d *reader) transfers(m *Message, body *xmltree.Element) {
	d.groupHeader(m, d.one(body, "GrpHdr"))
	party := d.party
	if m.Type() == "pacs.009" {
		party = d.agent
	}
	d.each(m, body, body.Path(), "CdtTrfTxInf", func(e *xmltree.Element, t *Transaction) {
		id := d.one(e, "PmtId")
		t.InstructionID = d.text(id, "InstrId")
		t.EndToEndID = d.text(id, "EndToEndId")
		t.TransactionID = d.text(id, "TxId")
		t.UETR = d.text(id, "UETR")
		t.ClearingReference = d.text(id, "ClrSysRef")
		t.Settlement = d.amount(d.one(e, "IntrBkSttlmAmt"))
		t.SettlementDate = or(d.text(e, "IntrBkSttlmDt"), m.SettlementDate)
		t.InstructedSum = d.amount(d.one(e, "InstdAmt"))
		t.Priority = d.text(e, "SttlmPrty")
		t.ChargeBearer = d.text(e, "ChrgBr")
		d.parties(e, t, party)
		d.purpose(e, t)
	})
}

// parties reads debtor and creditor with their accounts and agents.
func (d *reader) parties(e *xmltree.Element, t *Transaction, party func(*xmltree.Element) Party) {
	t.Debtor = party(d.one(e, "Dbtr"))
	t.DebtorAccount = d.account(d.one(e, "DbtrAcct"))
	t.DebtorAgent = d.agent(d.one(e, "DbtrAgt"))
	t.DebtorAgentAccount = d.account(d.one(e, "DbtrAgtAcct"))
	t.Creditor = party(d.one(e, "Cdtr"))
	t.CreditorAccount = d.account(d.one(e, "CdtrAcct"))
	t.CreditorAgent = d.agent(d.one(e, "CdtrAgt"))
	t.CreditorAgentAccount = d.account(d.one(e, "CdtrAgtAcct"))
}

func (d *reader) purpose(e *xmltree.Element, t *Transaction) {
	t.Purpose = d.codeOr(d.one(e, "Purp"))
	remittance := d.one(e, "RmtInf")
	t.Remittance = d.texts(remittance, "Ustrd")
	for _, s := range remittance.All("Strd") {
		t.CreditorReference = or(t.CreditorReference, d.text(s, "CdtrRefInf", "Ref"))
	}
}

// original reads the identification of an original message.
func (d *reader) original(e *xmltree.Element) Original {
	return Original{
		MessageID:   d.text(e, "OrgnlMsgId"),
		MessageName: d.text(e, "OrgnlMsgNmId"),
		Created:     d.text(e, "OrgnlCreDtTm"),
	}
}

// originalTransaction reads the identification of an original transaction, whose message is of the
// group when the transaction names none.
func (d *reader) originalTransaction(e *xmltree.Element, groups []Group) Original {
	o := d.original(d.one(e, "OrgnlGrpInf"))
	if o == (Original{}) && len(groups) == 1 {
		o = groups[0].Original
	}
	o.InstructionID = d.text(e, "OrgnlInstrId")
	o.EndToEndID = d.text(e, "OrgnlEndToEndId")
	o.TransactionID = d.text(e, "OrgnlTxId")
	o.UETR = d.text(e, "OrgnlUETR")
	o.ClearingReference = d.text(e, "OrgnlClrSysRef")
	reference := d.one(e, "OrgnlTxRef")
	o.Settlement = or(d.amount(d.one(e, "OrgnlIntrBkSttlmAmt")), d.amount(d.one(reference, "IntrBkSttlmAmt")))
	o.SettlementDate = or(d.text(e, "OrgnlIntrBkSttlmDt"), d.text(reference, "IntrBkSttlmDt"))
	return o
}

// paymentReturn reads pacs.004.
func (d *reader) paymentReturn(m *Message, body *xmltree.Element) {
	head := d.one(body, "GrpHdr")
	d.groupHeader(m, head)
	if e := d.one(body, "OrgnlGrpInf"); e != nil {
		m.Groups = []Group{{
			Original: d.original(e),
			Whole:    d.text(head, "GrpRtr"),
			Reasons:  d.reasons(e, "RtrRsnInf"),
			Path:     e.Path(),
			Line:     e.Line,
		}}
	}
	d.each(m, body, body.Path(), "TxInf", func(e *xmltree.Element, t *Transaction) {
		t.OwnID = d.text(e, "RtrId")
		t.ClearingReference = d.text(e, "ClrSysRef")
		t.Original = d.originalTransaction(e, m.Groups)
		t.Settlement = d.amount(d.one(e, "RtrdIntrBkSttlmAmt"))
		t.SettlementDate = or(d.text(e, "IntrBkSttlmDt"), m.SettlementDate)
		t.InstructedSum = d.amount(d.one(e, "RtrdInstdAmt"))
		t.Priority = d.text(e, "SttlmPrty")
		t.ChargeBearer = d.text(e, "ChrgBr")
		t.Reasons = d.reasons(e, "RtrRsnInf")
		if chain := d.one(e, "RtrChain"); chain != nil {
			d.parties(chain, t, d.partyOrAgent)
		}
	})
}
