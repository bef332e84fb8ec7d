package statement

import (
	"fmt"
	"strings"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

func (p *parser) entry(n *xmltree.Element, place string) {
	e := Entry{
		Place:       place,
		Ref:         text(n.Child("NtryRef")),
		ServicerRef: text(n.Child("AcctSvcrRef")),
		Booked:      p.day(n.Child("BookgDt")),
		Value:       p.day(n.Child("ValDt")),
		Reversal:    p.flag(n.Child("RvslInd")),
		Code:        bankCode(n.Child("BkTxCd")),
		Text:        text(n.Child("AddtlNtryInf")),
	}
	e.Amount, e.Currency = p.signed(n, "Amt")
	e.Status = p.status(n)
	e.Charges = p.charges(n.Child("Chrgs"), e.Currency)
	for _, details := range n.All("NtryDtls") {
		first := len(e.Transactions)
		for _, t := range details.All("TxDtls") {
			e.Transactions = append(e.Transactions, p.transaction(t, &e))
		}
		if b := details.Child("Btch"); b != nil {
			p.batch(b, &e, first)
		}
	}
	e.settle()
	p.s.Entries = append(p.s.Entries, e)
}

// settle fills in the amounts that follow from the entry: that of its only transaction, and that of
// the only one of several that has none.
func (e *Entry) settle() {
	if len(e.Transactions) == 1 {
		amount := e.Amount
		e.Transactions[0].Amount = &amount
		return
	}
	rest, open := e.Amount, -1
	for i := range e.Transactions {
		switch amount := e.Transactions[i].Amount; {
		case amount != nil:
			rest = rest.Sub(*amount)
		case open >= 0:
			return
		default:
			open = i
		}
	}
	// A rest of the other sign is no amount of a transaction but a contradiction.
	if open >= 0 && rest.Sign()*e.Amount.Sign() >= 0 {
		e.Transactions[open].Amount = &rest
	}
}

// status returns the status of an entry: a code up to version 6, a choice since version 7.
func (p *parser) status(n *xmltree.Element) Status {
	e := n.Child("Sts")
	s := text(e)
	if len(e.All("Cd"))+len(e.All("Prtry")) > 0 {
		s = code(e)
	}
	switch s {
	case "BOOK":
		return Booked
	case "PDNG":
		return Pending
	case "INFO":
		return Info
	case "FUTR":
		return Future
	}
	p.fail(n, "the status Sts is %s: it must be BOOK, PDNG, INFO or FUTR", quote(s))
	return ""
}

// bankCode returns a bank transaction code as domain, family and subfamily joined by "-", or the
// proprietary one.
func bankCode(e *xmltree.Element) string {
	domain := e.Child("Domn")
	family := domain.Child("Fmly")
	parts := []string{text(domain.Child("Cd")), text(family.Child("Cd")), text(family.Child("SubFmlyCd"))}
	if parts[0] != "" {
		return strings.Join(parts, "-")
	}
	return text(e.At("Prtry", "Cd"))
}

// charges returns the total of the charges that are stated in the currency, nil when none are.
func (p *parser) charges(e *xmltree.Element, currency string) *Amount {
	if e == nil {
		return nil
	}
	if total := e.Child("TtlChrgsAndTaxAmt"); total != nil {
		if amount, c := p.amount(e, "TtlChrgsAndTaxAmt"); c == currency {
			return &amount
		}
		return nil
	}
	// Up to version 3 Chrgs is the record itself.
	records := e.All("Rcrd")
	if len(records) == 0 {
		records = []*xmltree.Element{e}
	}
	var sum *Amount
	for _, r := range records {
		if r.Child("Amt") == nil {
			continue
		}
		if amount, c := p.amount(r, "Amt"); c == currency {
			if text(r.Child("CdtDbtInd")) == "CRDT" {
				amount = amount.Neg() // charges that are given back
			}
			if sum != nil {
				amount = amount.Add(*sum)
			}
			sum = &amount
		}
	}
	return sum
}

func (p *parser) batch(b *xmltree.Element, e *Entry, first int) {
	batch := Batch{
		MessageID:     text(b.Child("MsgId")),
		PaymentInfoID: text(b.Child("PmtInfId")),
		Count:         -1, First: first, End: len(e.Transactions),
	}
	if n := b.Child("NbOfTxs"); n != nil {
		batch.Count = p.count(n)
	}
	if b.Child("TtlAmt") != nil {
		total, currency := p.amount(b, "TtlAmt")
		debit := e.Amount.Sign() < 0
		if indicator := text(b.Child("CdtDbtInd")); indicator != "" {
			debit = indicator == "DBIT"
		}
		if debit {
			total = total.Neg()
		}
		batch.Total, batch.Currency = &total, currency
	}
	for i := first; i < len(e.Transactions); i++ {
		t := &e.Transactions[i]
		if t.MessageID == "" {
			t.MessageID = batch.MessageID
		}
		if t.PaymentInfoID == "" {
			t.PaymentInfoID = batch.PaymentInfoID
		}
	}
	e.Batches = append(e.Batches, batch)
}

func (p *parser) transaction(t *xmltree.Element, e *Entry) Transaction {
	refs := t.Child("Refs")
	tx := Transaction{
		Place: fmt.Sprintf("%s, transaction %d", e.Place, len(e.Transactions)+1),
		References: References{
			EndToEndID:    text(refs.Child("EndToEndId")),
			InstructionID: text(refs.Child("InstrId")),
			TransactionID: text(refs.Child("TxId")),
			UETR:          text(refs.Child("UETR")),
			ServicerRef:   text(refs.Child("AcctSvcrRef")),
			MessageID:     text(refs.Child("MsgId")),
			PaymentInfoID: text(refs.Child("PmtInfId")),
			ClearingRef:   text(refs.Child("ClrSysRef")),
			MandateID:     text(refs.Child("MndtId")),
			ChequeNumber:  text(refs.Child("ChqNb")),
		},
		Amount:  p.effect(t, e),
		Charges: p.charges(t.Child("Chrgs"), e.Currency),
		Debtor:  party(t, "Dbtr"), Creditor: party(t, "Cdtr"),
		ReturnReason: returnReason(t.Child("RtrInf")),
	}
	for _, r := range refs.All("Prtry") {
		tx.Proprietary = appendText(tx.Proprietary, r.Child("Ref"))
	}
	remittance := t.Child("RmtInf")
	for _, u := range remittance.All("Ustrd") {
		tx.Text = appendText(tx.Text, u)
	}
	for _, s := range remittance.All("Strd") {
		tx.CreditorRefs = appendText(tx.CreditorRefs, s.At("CdtrRefInf", "Ref"))
		// Up to version 2 of the remittance the name was CdtrRef.
		tx.CreditorRefs = appendText(tx.CreditorRefs, s.At("CdtrRefInf", "CdtrRef"))
		for _, a := range s.All("AddtlRmtInf") {
			tx.Text = appendText(tx.Text, a)
		}
	}
	tx.Text = appendText(tx.Text, t.Child("AddtlTxInf"))
	return tx
}

func appendText(list []string, e *xmltree.Element) []string {
	if s := text(e); s != "" {
		return append(list, s)
	}
	return list
}

// effect returns the amount of a transaction in the currency of the entry with its sign, nil when
// the file does not give one. The transaction's own amount comes first, then that of the
// transaction, of the instruction and the counter value among its details.
func (p *parser) effect(t *xmltree.Element, e *Entry) *Amount {
	details := t.Child("AmtDtls")
	for _, holder := range []*xmltree.Element{t, details.Child("TxAmt"), details.Child("CntrValAmt"), details.Child("InstdAmt")} {
		if holder.Child("Amt") == nil {
			continue
		}
		amount, currency := p.amount(holder, "Amt")
		if currency != e.Currency {
			continue
		}
		debit := e.Amount.Sign() < 0
		for _, h := range []*xmltree.Element{t, holder} {
			if indicator := text(h.Child("CdtDbtInd")); indicator != "" {
				debit = indicator == "DBIT"
				break
			}
		}
		if debit {
			amount = amount.Neg()
		}
		return &amount
	}
	return nil
}

// party returns one side of a transaction, "Dbtr" or "Cdtr". The name stands directly in the party
// up to version 7 and in a choice of party and agent since version 8.
func party(t *xmltree.Element, side string) Party {
	parties := t.Child("RltdPties")
	e := parties.Child(side)
	name := text(e.Child("Nm"))
	for _, alternative := range []*xmltree.Element{
		e.At("Pty", "Nm"), e.At("Agt", "FinInstnId", "Nm"),
		parties.At("Ultmt"+side, "Nm"), parties.At("Ultmt"+side, "Pty", "Nm"),
	} {
		if name == "" {
			name = text(alternative)
		}
	}
	agent := t.At("RltdAgts", side+"Agt", "FinInstnId")
	var bic string
	for _, id := range []*xmltree.Element{
		agent.Child("BICFI"), agent.Child("BIC"), agent.At("ClrSysMmbId", "MmbId"),
		e.At("Agt", "FinInstnId", "BICFI"),
	} {
		if bic == "" {
			bic = text(id)
		}
	}
	return Party{Name: name, Account: accountOf(parties.Child(side + "Acct")), Agent: bic}
}

func returnReason(e *xmltree.Element) string {
	if reason := code(e.Child("Rsn")); reason != "" {
		return reason
	}
	return text(e.Child("AddtlInf"))
}

func (p *parser) summary(e *xmltree.Element) {
	if e == nil {
		return
	}
	var s Summary
	number := func(parent, name string) *int {
		if n := e.At(parent, name); n != nil {
			count := p.count(n)
			return &count
		}
		return nil
	}
	sum := func(parent string) *Amount {
		if n := e.At(parent, "Sum"); n != nil {
			amount := p.decimal(n)
			return &amount
		}
		return nil
	}
	s.Count, s.Sum = number("TtlNtries", "NbOfNtries"), sum("TtlNtries")
	s.CreditCount, s.CreditSum = number("TtlCdtNtries", "NbOfNtries"), sum("TtlCdtNtries")
	s.DebitCount, s.DebitSum = number("TtlDbtNtries", "NbOfNtries"), sum("TtlDbtNtries")
	s.Net = p.net(e.Child("TtlNtries"))
	p.s.Summary = &s
}

// net returns the net amount of all entries: an element of its own since version 4, before that two
// elements of the totals.
func (p *parser) net(totals *xmltree.Element) *Amount {
	holder, name := totals.Child("TtlNetNtry"), "Amt"
	if holder == nil {
		holder, name = totals, "TtlNetNtryAmt"
	}
	n := holder.Child(name)
	if n == nil {
		return nil
	}
	amount := p.decimal(n)
	switch text(holder.Child("CdtDbtInd")) {
	case "DBIT":
		amount = amount.Neg()
	case "CRDT":
	default:
		p.fail(n, "there is no CdtDbtInd for the net amount")
	}
	return &amount
}
