package report

import (
	"strconv"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/codes"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// summary writes number and sum of the entries, in all and by side, and their net.
func (s *Statement) summary(parent *xmltree.Element) error {
	if len(s.Entries) == 0 {
		return nil
	}
	var credits, debits codes.Decimal
	creditCount, debitCount := 0, 0
	for i := range s.Entries {
		d, err := s.Entries[i].signed()
		if err != nil {
			return indexed(err, "entry %d", i+1)
		}
		if s.Entries[i].Side == Debit {
			debits, debitCount = debits.Add(d.Neg()), debitCount+1
		} else {
			credits, creditCount = credits.Add(d), creditCount+1
		}
	}
	scale := s.scale()
	numbers := func(e *xmltree.Element, count int, sum codes.Decimal) {
		e.AddText("NbOfNtries", strconv.Itoa(count))
		e.AddText("Sum", sum.Fixed(scale))
	}
	e := parent.Add("TxsSummry")
	all := e.Add("TtlNtries")
	numbers(all, creditCount+debitCount, credits.Add(debits))
	net, side := credits.Add(debits.Neg()), Credit
	if net.Sign() < 0 {
		net, side = net.Neg(), Debit
	}
	n := all.Add("TtlNetNtry")
	n.AddText("Amt", net.Fixed(scale))
	n.AddText("CdtDbtInd", side)
	numbers(e.Add("TtlCdtNtries"), creditCount, credits)
	numbers(e.Add("TtlDbtNtries"), debitCount, debits)
	return nil
}

// entry writes one entry.
func (s *Statement) entry(e *xmltree.Element, n *Entry) error {
	total, err := n.signed()
	if err != nil {
		return err
	}
	e.AddText("NtryRef", n.Reference)
	amount(e, "Amt", iso20022.Amount{Value: n.Amount, Currency: s.Account.Currency})
	e.AddText("CdtDbtInd", n.Side)
	if n.Reversal {
		e.AddText("RvslInd", "true")
	}
	code(e.Add("Sts"), n.Status, 4)
	dateOrTime(e, "BookgDt", n.Booked)
	dateOrTime(e, "ValDt", n.Value)
	e.AddText("AcctSvcrRef", n.ServicerReference)
	bankCode(e, n.Code)
	if len(n.Details) > 0 || n.BatchID != "" {
		if err := s.details(e.Add("NtryDtls"), n, total); err != nil {
			return err
		}
	}
	e.AddText("AddtlNtryInf", n.Information)
	return nil
}

// bankCode writes BkTxCd, which every entry has.
func bankCode(parent *xmltree.Element, c BankCode) {
	e := parent.Add("BkTxCd")
	if c.Domain != "" {
		d := e.Add("Domn")
		d.AddText("Cd", c.Domain)
		f := d.Add("Fmly")
		f.AddText("Cd", c.Family)
		f.AddText("SubFmlyCd", c.SubFamily)
	}
	inside(e, "Prtry", func(e *xmltree.Element) {
		e.AddText("Cd", c.Proprietary)
		e.AddText("Issr", c.Issuer)
	})
}

// details writes the transactions behind an entry. Several of them are a batch, whose number and
// total are written, and have to add up to the entry.
func (s *Statement) details(e *xmltree.Element, n *Entry, total codes.Decimal) error {
	if len(n.Details) > 1 || n.BatchID != "" {
		b := e.Add("Btch")
		b.AddText("MsgId", n.BatchID)
		if len(n.Details) > 0 {
			b.AddText("NbOfTxs", strconv.Itoa(len(n.Details)))
		}
		amount(b, "TtlAmt", iso20022.Amount{Value: n.Amount, Currency: s.Account.Currency})
		b.AddText("CdtDbtInd", n.Side)
	}
	var sum codes.Decimal
	summed := len(n.Details) > 0
	for i := range n.Details {
		d := &n.Details[i]
		if d.Amount == "" {
			if len(n.Details) > 1 {
				return errors.Newf("detail %d has no amount, and the entry has several details: give each its amount", i+1)
			}
			summed = false
		} else {
			part, err := (&Entry{Amount: d.Amount, Side: or(d.Side, n.Side)}).signed()
			if err != nil {
				return indexed(err, "detail %d", i+1)
			}
			sum = sum.Add(part)
		}
		s.detail(e.Add("TxDtls"), d, n.Side)
	}
	if summed && sum.Cmp(total) != 0 {
		return errors.Newf("the details add up to %s, but the entry is %s: correct one of them", sum, total)
	}
	return nil
}

func (s *Statement) detail(e *xmltree.Element, d *Detail, side string) {
	inside(e, "Refs", func(e *xmltree.Element) {
		e.AddText("MsgId", d.MessageID)
		e.AddText("AcctSvcrRef", d.ServicerReference)
		e.AddText("InstrId", d.InstructionID)
		e.AddText("EndToEndId", d.EndToEndID)
		e.AddText("UETR", d.UETR)
		e.AddText("TxId", d.TransactionID)
		e.AddText("ClrSysRef", d.ClearingReference)
		for _, r := range d.Proprietary {
			p := e.Add("Prtry")
			p.AddText("Tp", r.Type)
			p.AddText("Ref", r.Value)
		}
	})
	if d.Amount != "" {
		amount(e, "Amt", iso20022.Amount{Value: d.Amount, Currency: s.Account.Currency})
		e.AddText("CdtDbtInd", or(d.Side, side))
	}
	inside(e, "RltdPties", func(e *xmltree.Element) {
		inside(e, "Dbtr", func(e *xmltree.Element) { party(e, "Pty", d.Debtor) })
		inside(e, "DbtrAcct", func(e *xmltree.Element) { account(e, d.DebtorAccount) })
		inside(e, "Cdtr", func(e *xmltree.Element) { party(e, "Pty", d.Creditor) })
		inside(e, "CdtrAcct", func(e *xmltree.Element) { account(e, d.CreditorAccount) })
	})
	inside(e, "RltdAgts", func(e *xmltree.Element) {
		agent(e, "DbtrAgt", d.DebtorAgent)
		agent(e, "CdtrAgt", d.CreditorAgent)
	})
	inside(e, "Purp", func(e *xmltree.Element) { code(e, d.Purpose, 4) })
	inside(e, "RmtInf", func(e *xmltree.Element) {
		for _, text := range d.Remittance {
			e.AddText("Ustrd", text)
		}
		inside(e, "Strd", func(e *xmltree.Element) {
			inside(e, "CdtrRefInf", func(e *xmltree.Element) { e.AddText("Ref", d.CreditorReference) })
		})
	})
	if r := d.ReturnReason; hasReason([]iso20022.Reason{r}) {
		reasons(e, "RtrInf", []iso20022.Reason{r})
	}
	e.AddText("AddtlTxInf", d.Information)
}
