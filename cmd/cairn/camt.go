package main

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/settlement/iso20022"
	camt "github.com/cairnledger/cairn/settlement/iso20022/report"
	"github.com/cairnledger/cairn/settlement/reconcile"
)

// maxReference is the longest identification of a camt.053, in characters.
const maxReference = 35

// statementOf makes a statement from what the ledger says about an account: what was booked in the
// period of the book, or all of it, in the order of the ledger.
func statementOf(book *reconcile.Book, created time.Time) (camt.Statement, error) {
	balance := &book.Balances[0]
	first, last := book.From, book.To
	s := camt.Statement{
		Created: created.UTC().Format(time.RFC3339),
		Account: iso20022.Account{Other: book.Account, Scheme: "CAIRN", Currency: balance.Currency},
	}
	movements := slices.Clone(book.Movements)
	slices.SortStableFunc(movements, func(a, b reconcile.Movement) int { return cmp.Compare(a.Index, b.Index) })
	for i := range movements {
		m := &movements[i]
		if m.Pending || book.From != 0 && m.Day < book.From || book.To != 0 && m.Day > book.To {
			continue
		}
		if first == 0 {
			first = m.Day
		}
		if book.To == 0 {
			last = m.Day
		}
		s.Entries = append(s.Entries, entryOf(m))
	}
	if first == 0 || last == 0 {
		return s, errors.Newf("nothing was booked on the account %s: name the first and the last day of the statement", book.Account)
	}
	s.ID = last.String() + "/" + strconv.FormatUint(book.Size, 10)
	s.From, s.To = first.String()+"T00:00:00Z", last.String()+"T23:59:59Z"
	s.Balances = []camt.Balance{
		{Type: camt.OpeningBooked, Amount: balance.Opening.String(), Date: first.String()},
		{Type: camt.ClosingBooked, Amount: balance.Closing.String(), Date: last.String()},
	}
	return s, nil
}

// entryOf makes an entry of a statement from a movement. Its reference is the index of the ledger's
// entry.
func entryOf(m *reconcile.Movement) camt.Entry {
	day := m.Day.String()
	value := day
	if m.Value != 0 {
		value = m.Value.String()
	}
	e := camt.Entry{
		Reference: strconv.FormatUint(m.Index, 10), Amount: m.Amount.Abs().String(), Side: camt.Credit, Status: camt.Booked, Booked: day, Value: value,
		ServicerReference: strconv.FormatUint(m.Index, 10), Code: camt.BankCode{Domain: "PMNT", Family: "RCDT", SubFamily: "NTAV"},
	}
	d := camt.Detail{
		MessageID: short(m.Batch), InstructionID: short(m.InstructionID), EndToEndID: short(m.EndToEndID), UETR: m.UETR, TransactionID: short(m.TransactionID),
		CreditorReference: short(m.CreditorRef),
	}
	if d.TransactionID == "" {
		d.TransactionID = short(m.TransferID)
	}
	if m.Text != "" {
		d.Remittance = []string{m.Text}
	}
	counterparty, account := iso20022.Party{Name: m.Counterparty.Name}, iso20022.Account{Other: m.Counterparty.Account}
	if d.Debtor, d.DebtorAccount = counterparty, account; m.Amount.Sign() < 0 {
		e.Side, e.Code.Family = camt.Debit, "ICDT"
		d.Debtor, d.DebtorAccount, d.Creditor, d.CreditorAccount = iso20022.Party{}, iso20022.Account{}, counterparty, account
	}
	e.Details = []camt.Detail{d}
	return e
}

// short leaves out an identification that is too long for a statement: a part of it would name
// something else.
func short(id string) string {
	if len(id) > maxReference {
		return ""
	}
	return id
}
