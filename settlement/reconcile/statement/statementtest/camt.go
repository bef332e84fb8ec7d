// Package statementtest writes statements as banks do, for tests of what reads them. It writes the
// elements that the package statement reads, in the places where each version has them.
package statementtest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
	"time"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// CAMT returns a message of the kind and version of the first statement with all statements. What a
// version has no place for is left out: the UETR before version 8 and the amounts of transactions
// without a currency.
func CAMT(statements ...statement.Statement) []byte {
	first := statements[0]
	root := map[statement.Kind][2]string{
		statement.EndOfDay:     {"BkToCstmrStmt", "Stmt"},
		statement.Intraday:     {"BkToCstmrAcctRpt", "Rpt"},
		statement.Notification: {"BkToCstmrDbtCdtNtfctn", "Ntfctn"},
	}[first.Kind]
	w := &writer{version: first.Version}
	w.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	fmt.Fprintf(w, `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:%s.001.%02d">`, first.Kind, first.Version)
	w.in(root[0], func() {
		w.in("GrpHdr", func() {
			w.leaf("MsgId", first.MessageID)
			w.leaf("CreDtTm", stamp(first.Created))
		})
		for i := range statements {
			w.in(root[1], func() { w.statement(&statements[i]) })
		}
	})
	w.WriteString("</Document>\n")
	return w.Bytes()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		t = time.Date(2026, 11, 30, 18, 0, 0, 0, time.UTC)
	}
	return t.UTC().Format(time.RFC3339)
}

type writer struct {
	bytes.Buffer
	version int
}

func (w *writer) in(name string, content func()) {
	before := w.Len()
	w.WriteString("<" + name + ">")
	start := w.Len()
	content()
	if w.Len() == start {
		w.Truncate(before) // an element without content is not valid
		return
	}
	w.WriteString("</" + name + ">")
}

func (w *writer) text(s string) {
	// bytes.Buffer never fails.
	_ = xml.EscapeText(w, []byte(s))
}

func (w *writer) leaf(name, s string) {
	if s != "" {
		w.in(name, func() { w.text(s) })
	}
}

func (w *writer) money(name string, a statement.Amount, currency string) {
	fmt.Fprintf(w, `<%s Ccy="`, name)
	w.text(currency)
	fmt.Fprintf(w, `">%s</%s>`, a.Abs(), name)
}

func (w *writer) direction(a statement.Amount) {
	if a.Sign() < 0 {
		w.leaf("CdtDbtInd", "DBIT")
	} else {
		w.leaf("CdtDbtInd", "CRDT")
	}
}

func (w *writer) day(name string, d statement.Day) {
	w.in(name, func() { w.leaf("Dt", d.String()) })
}

func (w *writer) statement(s *statement.Statement) {
	w.leaf("Id", s.ID)
	if s.Page > 0 && w.version >= 8 {
		w.in("StmtPgntn", func() {
			w.leaf("PgNb", strconv.Itoa(s.Page))
			w.leaf("LastPgInd", strconv.FormatBool(s.LastPage))
		})
	}
	if s.Sequence > 0 {
		w.leaf("ElctrncSeqNb", strconv.FormatUint(s.Sequence, 10))
	}
	w.leaf("CreDtTm", stamp(s.Created))
	if s.From != 0 {
		w.in("FrToDt", func() {
			w.leaf("FrDtTm", s.From.String()+"T00:00:00")
			w.leaf("ToDtTm", s.To.String()+"T23:59:59")
		})
	}
	w.in("Acct", func() {
		w.account(s.Account)
		w.leaf("Ccy", s.Currency)
		w.in("Ownr", func() { w.leaf("Nm", s.Owner) })
	})
	for _, b := range s.Balances {
		w.in("Bal", func() {
			w.in("Tp", func() {
				w.in("CdOrPrtry", func() { w.leaf("Cd", b.Code) })
				if b.Intermediate {
					w.in("SubTp", func() { w.leaf("Cd", "INTM") })
				}
			})
			w.money("Amt", b.Amount, b.Currency)
			w.direction(b.Amount)
			w.day("Dt", b.Day)
		})
	}
	w.summary(s.Summary)
	for i := range s.Entries {
		w.in("Ntry", func() { w.entry(&s.Entries[i]) })
	}
}

// account writes an account number that begins with two letters as an IBAN.
func (w *writer) account(number string) {
	if number == "" {
		return
	}
	w.in("Id", func() {
		if len(number) > 4 && number[0] >= 'A' && number[0] <= 'Z' && number[1] >= 'A' && number[1] <= 'Z' {
			w.leaf("IBAN", number)
		} else {
			w.in("Othr", func() { w.leaf("Id", number) })
		}
	})
}

func (w *writer) summary(s *statement.Summary) {
	if s == nil {
		return
	}
	totals := func(name string, count *int, sum, net *statement.Amount) {
		w.in(name, func() {
			if count != nil {
				w.leaf("NbOfNtries", strconv.Itoa(*count))
			}
			if sum != nil {
				w.leaf("Sum", sum.String())
			}
			if net == nil {
				return
			}
			if w.version >= 4 {
				w.in("TtlNetNtry", func() {
					w.leaf("Amt", net.Abs().String())
					w.direction(*net)
				})
			} else {
				w.leaf("TtlNetNtryAmt", net.Abs().String())
				w.direction(*net)
			}
		})
	}
	w.in("TxsSummry", func() {
		totals("TtlNtries", s.Count, s.Sum, s.Net)
		totals("TtlCdtNtries", s.CreditCount, s.CreditSum, nil)
		totals("TtlDbtNtries", s.DebitCount, s.DebitSum, nil)
	})
}

func (w *writer) entry(e *statement.Entry) {
	w.leaf("NtryRef", e.Ref)
	w.money("Amt", e.Amount, e.Currency)
	w.direction(e.Amount)
	if e.Reversal {
		w.leaf("RvslInd", "true")
	}
	status := map[statement.Status]string{
		statement.Booked: "BOOK", statement.Pending: "PDNG", statement.Info: "INFO", statement.Future: "FUTR",
	}[e.Status]
	if w.version >= 7 {
		w.in("Sts", func() { w.leaf("Cd", status) })
	} else {
		w.leaf("Sts", status)
	}
	if e.Booked != 0 {
		w.day("BookgDt", e.Booked)
	}
	if e.Value != 0 {
		w.day("ValDt", e.Value)
	}
	w.leaf("AcctSvcrRef", e.ServicerRef)
	w.in("BkTxCd", func() { w.in("Prtry", func() { w.leaf("Cd", e.Code) }) })
	w.charges(e.Charges, e.Currency)
	next := 0
	for _, b := range e.Batches {
		next = b.End
		w.in("NtryDtls", func() {
			w.in("Btch", func() { w.batch(&b) })
			for i := b.First; i < b.End; i++ {
				w.in("TxDtls", func() { w.transaction(&e.Transactions[i], e) })
			}
		})
	}
	w.in("NtryDtls", func() {
		for i := next; i < len(e.Transactions); i++ {
			w.in("TxDtls", func() { w.transaction(&e.Transactions[i], e) })
		}
	})
	w.leaf("AddtlNtryInf", e.Text)
}

func (w *writer) charges(total *statement.Amount, currency string) {
	if total == nil {
		return
	}
	w.in("Chrgs", func() {
		if w.version >= 4 {
			w.in("Rcrd", func() { w.money("Amt", *total, currency) })
		} else {
			w.money("Amt", *total, currency)
		}
	})
}

func (w *writer) batch(b *statement.Batch) {
	w.leaf("MsgId", b.MessageID)
	w.leaf("PmtInfId", b.PaymentInfoID)
	if b.Count >= 0 {
		w.leaf("NbOfTxs", strconv.Itoa(b.Count))
	}
	if b.Total != nil {
		w.money("TtlAmt", *b.Total, b.Currency)
		w.direction(*b.Total)
	}
}

func (w *writer) transaction(t *statement.Transaction, e *statement.Entry) {
	w.in("Refs", func() {
		w.leaf("MsgId", t.MessageID)
		w.leaf("AcctSvcrRef", t.ServicerRef)
		w.leaf("PmtInfId", t.PaymentInfoID)
		w.leaf("InstrId", t.InstructionID)
		w.leaf("EndToEndId", t.EndToEndID)
		if w.version >= 8 {
			w.leaf("UETR", t.UETR)
		}
		w.leaf("TxId", t.TransactionID)
		w.leaf("MndtId", t.MandateID)
		w.leaf("ChqNb", t.ChequeNumber)
		w.leaf("ClrSysRef", t.ClearingRef)
	})
	switch {
	case t.Amount == nil:
	case w.version >= 4:
		w.money("Amt", *t.Amount, e.Currency)
		w.direction(*t.Amount)
	default:
		w.in("AmtDtls", func() { w.in("TxAmt", func() { w.money("Amt", *t.Amount, e.Currency) }) })
	}
	w.charges(t.Charges, e.Currency)
	w.in("RltdPties", func() {
		for _, side := range []struct {
			name  string
			party statement.Party
		}{{"Dbtr", t.Debtor}, {"Cdtr", t.Creditor}} {
			w.in(side.name, func() {
				if w.version >= 8 {
					w.in("Pty", func() { w.leaf("Nm", side.party.Name) })
				} else {
					w.leaf("Nm", side.party.Name)
				}
			})
			w.in(side.name+"Acct", func() { w.account(side.party.Account) })
		}
	})
	w.in("RltdAgts", func() {
		bic := "BICFI"
		if w.version < 3 {
			bic = "BIC"
		}
		w.in("DbtrAgt", func() { w.in("FinInstnId", func() { w.leaf(bic, t.Debtor.Agent) }) })
		w.in("CdtrAgt", func() { w.in("FinInstnId", func() { w.leaf(bic, t.Creditor.Agent) }) })
	})
	w.in("RmtInf", func() {
		for _, line := range t.Text {
			w.leaf("Ustrd", line)
		}
		for _, ref := range t.CreditorRefs {
			w.in("Strd", func() { w.in("CdtrRefInf", func() { w.leaf("Ref", ref) }) })
		}
	})
	w.in("RtrInf", func() { w.in("Rsn", func() { w.leaf("Cd", t.ReturnReason) }) })
}
