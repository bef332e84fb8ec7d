package statementtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// Random returns a statement whose parts agree: entries of all kinds between two balances, batches
// with their totals, and a summary.
func Random(rnd *rand.Rand, kind statement.Kind, version int) statement.Statement {
	day, _ := statement.ParseDay("2026-11-02")
	s := statement.Statement{
		Kind: kind, Version: version, MessageID: fmt.Sprintf("MSG%d", rnd.Uint32()), ID: fmt.Sprintf("STMT%d", rnd.Uint32()),
		Sequence: rnd.Uint64N(1000), LastPage: true, Created: time.Date(2026, 11, 2, 18, rnd.IntN(60), 0, 0, time.UTC),
		From: day, To: day, Account: "FI2112345600000785", Owner: "Smith & Söhne <Oy>", Currency: "EUR",
	}
	if rnd.IntN(2) == 0 {
		s.Account = "0123456789"
	}
	var booked, creditSum, debitSum statement.Amount
	var credits, debits int
	for n := rnd.IntN(12); n > 0; n-- {
		e := randomEntry(rnd, day, version)
		if e.Status == statement.Booked {
			booked = booked.Add(e.Amount)
		}
		if e.Amount.Sign() < 0 {
			debits++
			debitSum = debitSum.Sub(e.Amount)
		} else {
			credits++
			creditSum = creditSum.Add(e.Amount)
		}
		s.Entries = append(s.Entries, e)
	}
	for i := range s.Entries {
		s.Entries[i].Place = fmt.Sprintf("entry %d", i+1)
		for k := range s.Entries[i].Transactions {
			s.Entries[i].Transactions[k].Place = fmt.Sprintf("%s, transaction %d", s.Entries[i].Place, k+1)
		}
	}
	if kind != statement.Notification {
		opening := statement.NewAmount(rnd.Int64N(2_000_000)-1_000_000, 2)
		closing := "CLBD"
		if kind == statement.Intraday {
			closing = "ITBD"
		}
		s.Balances = []statement.Balance{
			{Code: "OPBD", Amount: opening, Currency: "EUR", Day: day},
			{Code: closing, Amount: opening.Add(booked), Currency: "EUR", Day: day},
		}
	}
	count, sum, net := credits+debits, creditSum.Add(debitSum), creditSum.Sub(debitSum)
	s.Summary = &statement.Summary{Count: &count, CreditCount: &credits, DebitCount: &debits,
		Sum: &sum, CreditSum: &creditSum, DebitSum: &debitSum, Net: &net}
	return s
}

func randomEntry(rnd *rand.Rand, day statement.Day, version int) statement.Entry {
	e := statement.Entry{
		Amount:   statement.NewAmount(rnd.Int64N(20_001)-10_000, 2),
		Currency: "EUR", Status: statement.Booked, Booked: day, Value: day + statement.Day(rnd.IntN(3)),
		Code: "NTRF", Reversal: rnd.IntN(10) == 0,
	}
	if rnd.IntN(8) == 0 {
		e.Status = []statement.Status{statement.Pending, statement.Info, statement.Future}[rnd.IntN(3)]
	}
	if rnd.IntN(2) == 0 {
		e.Ref, e.ServicerRef, e.Text = fmt.Sprint(rnd.Uint32()), fmt.Sprintf("REF%d", rnd.Uint32()), "additional <information> & more"
	}
	if rnd.IntN(6) == 0 {
		charges := statement.NewAmount(rnd.Int64N(500), 2)
		e.Charges = &charges
	}
	switch n := rnd.IntN(5); {
	case n == 0:
	case n == 1:
		amount := e.Amount
		e.Transactions = []statement.Transaction{randomTransaction(rnd, &amount, version)}
	default:
		var sum statement.Amount
		sign := int64(1 - 2*rnd.IntN(2))
		for range n {
			amount := statement.NewAmount(sign*rnd.Int64N(10_000), 2)
			sum = sum.Add(amount)
			e.Transactions = append(e.Transactions, randomTransaction(rnd, &amount, version))
		}
		e.Amount = sum
		if rnd.IntN(2) == 0 {
			e.Batches = []statement.Batch{{MessageID: "BATCHMSG", PaymentInfoID: fmt.Sprintf("PMT%d", rnd.Uint32()), Count: n,
				Total: &sum, Currency: "EUR", End: n}}
			for i := range e.Transactions {
				e.Transactions[i].MessageID, e.Transactions[i].PaymentInfoID = "BATCHMSG", e.Batches[0].PaymentInfoID
			}
		}
	}
	return e
}

func randomTransaction(rnd *rand.Rand, amount *statement.Amount, version int) statement.Transaction {
	t := statement.Transaction{Amount: amount}
	maybe := func(field *string, value string) {
		if rnd.IntN(2) == 0 {
			*field = value
		}
	}
	n := rnd.Uint32()
	maybe(&t.EndToEndID, fmt.Sprintf("E2E-%d", n))
	maybe(&t.InstructionID, fmt.Sprintf("INS-%d", n))
	maybe(&t.TransactionID, fmt.Sprintf("TX-%d", n))
	maybe(&t.ServicerRef, fmt.Sprintf("SVC-%d", n))
	maybe(&t.MessageID, fmt.Sprintf("M-%d", n))
	maybe(&t.PaymentInfoID, fmt.Sprintf("P-%d", n))
	maybe(&t.MandateID, fmt.Sprintf("MD-%d", n))
	maybe(&t.ChequeNumber, fmt.Sprint(n))
	maybe(&t.ClearingRef, fmt.Sprintf("C-%d", n))
	maybe(&t.ReturnReason, "AC04")
	if version >= 8 {
		maybe(&t.UETR, fmt.Sprintf("%08x-0000-4000-8000-000000000000", n))
	}
	maybe(&t.Debtor.Name, "Debtor "+fmt.Sprint(n%7))
	maybe(&t.Debtor.Account, "DE89370400440532013000")
	maybe(&t.Debtor.Agent, "COBADEFFXXX")
	maybe(&t.Creditor.Name, "Crédit & Co")
	maybe(&t.Creditor.Account, "12345678")
	maybe(&t.Creditor.Agent, "NDEAFIHH")
	for range rnd.IntN(3) {
		t.Text = append(t.Text, fmt.Sprintf("invoice %d", rnd.Uint32()))
	}
	for range rnd.IntN(3) {
		t.CreditorRefs = append(t.CreditorRefs, fmt.Sprint(rnd.Uint32()))
	}
	return t
}
