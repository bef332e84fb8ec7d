package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/reconcile"
	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// readBook reads what the ledger says about an account in a period, and in the days of the window
// before it.
func readBook(ctx context.Context, s *settle.Client, id string, from, to reconcile.Day, window int) (*reconcile.Book, error) {
	var entries []*settle.StatementEntry
	enough := errors.New("enough")
	account, size, err := s.Account(ctx, id)
	if err == nil {
		_, _, err = s.Statement(ctx, id, 0, size, func(e *settle.StatementEntry) error {
			entries = append(entries, e)
			day := statement.DayOf(time.UnixMicro(e.GetTime()).UTC())
			if from != 0 && int64(day) < int64(from)-int64(window) {
				return enough
			}
			return nil
		})
	}
	if err != nil && !errors.Is(err, enough) {
		return nil, errors.Wrap(err, "read the account")
	}
	book, err := bookOf(account, entries, from, to)
	if err != nil {
		return nil, err
	}
	book.Size = size
	return book, nil
}

// bookOf makes the ledger's side of a reconciliation from the statement of an account. entries are
// all entries that touched the account, the newest first, or those back to some day before
// from. Days are those of ledger time in UTC.
func bookOf(account *settle.Account, entries []*settle.StatementEntry, from, to reconcile.Day) (*reconcile.Book, error) {
	b := &reconcile.Book{Account: account.GetId(), From: from, To: to}
	opening, closing := account.GetPosted(), account.GetPosted()
	inside, behind := false, false // whether the balances are known from an entry of the period, or of another day
	for _, e := range entries {
		day := statement.DayOf(time.UnixMicro(e.GetTime()).UTC())
		before, err := posted(e.GetBefore())
		if err != nil {
			return nil, err
		}
		after, err := posted(e.GetAfter())
		if err != nil {
			return nil, err
		}
		switch {
		case to != 0 && day > to:
			behind = true
			opening, closing = before.String(), before.String()
		case from == 0 || day >= from:
			if !inside {
				closing = after.String()
			}
			inside = true
			opening = before.String()
		case !inside && !behind: // the newest one before the period, in which nothing was booked
			opening, closing = after.String(), after.String()
			behind = true
		}
		movements, err := movementsOf(e, account, day)
		if err != nil {
			return nil, errors.Wrapf(err, "entry %d", e.GetIndex())
		}
		sum := reconcile.Amount{}
		for i := range movements {
			if !movements[i].Pending {
				sum = sum.Add(movements[i].Amount)
			}
		}
		if change := after.Sub(before); !sum.Equal(change) {
			return nil, errors.Newf("entry %d changes the balance by %s, and its transfers by %s: read the statement of another node", e.GetIndex(), change, sum)
		}
		b.Movements = append(b.Movements, movements...)
	}
	balance := reconcile.BookBalance{Currency: account.GetAsset()}
	for _, x := range []struct {
		text string
		to   **reconcile.Amount
	}{{opening, &balance.Opening}, {closing, &balance.Closing}} {
		a, err := statement.ParseAmount(x.text)
		if err != nil {
			return nil, err
		}
		*x.to = &a
	}
	b.Balances = []reconcile.BookBalance{balance}
	return b, nil
}

// posted returns posted credits less posted debits.
func posted(b *cairnv1.AccountBalances) (reconcile.Amount, error) {
	credits, err := statement.ParseAmount(b.GetCreditsPosted())
	if err != nil {
		return credits, err
	}
	debits, err := statement.ParseAmount(b.GetDebitsPosted())
	return credits.Sub(debits), err
}

// movementsOf returns what an entry did to an account: what it posted, and what it reserved and is
// reserved still.
func movementsOf(e *settle.StatementEntry, account *settle.Account, day reconcile.Day) ([]reconcile.Movement, error) {
	var list []reconcile.Movement
	add := func(credit bool, amount string, m reconcile.Movement) error {
		a, err := statement.ParseAmount(amount)
		if err != nil || a.IsZero() {
			return err
		}
		if !credit {
			a = a.Neg()
		}
		m.Index, m.Time, m.Day, m.Amount, m.Currency = e.GetIndex(), time.UnixMicro(e.GetTime()).UTC(), day, a, account.GetAsset()
		list = append(list, m)
		return nil
	}
	for _, t := range e.GetTransfers() {
		pending := t.GetStatus() == settlement.Pending.String()
		amount := t.GetPosted()
		switch {
		case pending:
			amount = t.GetAmount()
		case t.GetStatus() != settlement.Posted.String() || t.GetResolved() != e.GetIndex():
			continue // it was reserved or released here
		}
		credit := t.GetCredit() == account.GetId()
		m := reconcile.Movement{TransferID: t.GetId(), Pending: pending}
		refer(&m, t.GetReferences(), credit)
		if m.Counterparty.Account = t.GetDebit(); !credit {
			m.Counterparty.Account = t.GetCredit()
		}
		if err := add(credit, amount, m); err != nil {
			return nil, err
		}
	}
	for _, i := range e.GetInstructions() {
		for _, leg := range []struct {
			leg    *cairnv1.InstructionLeg
			credit bool
			amount string
		}{{i.GetSaid().GetDelivers(), false, i.GetDelivered()}, {i.GetSaid().GetReceives(), true, i.GetReceived()}} {
			if leg.leg.GetAccount() != account.GetId() || leg.leg == nil {
				continue
			}
			m := reconcile.Movement{TransferID: i.GetId(), Counterparty: statement.Party{Name: i.GetSaid().GetCounterparty()}}
			refer(&m, i.GetSaid().GetReferences(), leg.credit)
			if err := add(leg.credit, leg.amount, m); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// refer takes over the references of a transfer. The counterparty is the debtor of a credit.
func refer(m *reconcile.Movement, references []*cairnv1.Reference, credit bool) {
	name := settlement.CreditorName
	if credit {
		name = settlement.DebtorName
	}
	for _, r := range references {
		switch kind := r.GetKind(); kind {
		case settlement.EndToEndID.String():
			m.EndToEndID = r.GetValue()
		case settlement.InstructionID.String():
			m.InstructionID = r.GetValue()
		case settlement.TransactionID.String():
			m.TransactionID = r.GetValue()
		case settlement.UETR.String():
			m.UETR = r.GetValue()
		case settlement.MessageID.String():
			m.Batch = r.GetValue()
		case settlement.CreditorReference.String():
			m.CreditorRef = r.GetValue()
		case settlement.Remittance.String():
			m.Text = r.GetValue()
		case name.String():
			m.Counterparty.Name = r.GetValue()
		case settlement.ValueDate.String():
			if d, err := statement.ParseDay(r.GetValue()); err == nil {
				m.Value = d // another text says nothing about the day
			}
		}
	}
}

// dayFlag is a flag with a day.
type dayFlag struct{ d *reconcile.Day }

func (f dayFlag) String() string {
	if f.d == nil || *f.d == 0 {
		return ""
	}
	return f.d.String()
}

func (f dayFlag) Set(s string) (err error) {
	if *f.d, err = statement.ParseDay(s); err == nil && *f.d == 0 {
		err = fmt.Errorf("write a day as YYYY-MM-DD")
	}
	return err
}

func (dayFlag) Type() string { return "date" }
