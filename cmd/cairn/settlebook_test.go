package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement/reconcile"
	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

func day(t *testing.T, s string) reconcile.Day {
	t.Helper()
	d, err := statement.ParseDay(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// bookEntry is an entry that leaves these posted credits, at noon of a day.
func bookEntry(index uint64, at, before, after string, transfers ...*settle.Transfer) *settle.StatementEntry {
	noon, _ := time.Parse(time.DateOnly, at)
	balances := func(credits string) *cairnv1.AccountBalances {
		return &cairnv1.AccountBalances{DebitsPending: "0", DebitsPosted: "0", CreditsPending: "0", CreditsPosted: credits}
	}
	return &settle.StatementEntry{Index: index, Time: noon.Add(12 * time.Hour).UnixMicro(), Before: balances(before), After: balances(after), Transfers: transfers}
}

func paid(id string, index, resolved uint64, status, amount, posted string) *settle.Transfer {
	return &settle.Transfer{Id: id, Index: index, Resolved: resolved, Status: status, Debit: "b", Credit: "a", Amount: amount, Posted: posted,
		References: []*cairnv1.Reference{{Kind: "end_to_end_id", Value: "E-" + id}, {Kind: "debtor_name", Value: "Ada"}, {Kind: "creditor_name", Value: "me"}, {Kind: "value_date", Value: "2027-03-09"}}}
}

// TestBookOf: the ledger's side of a reconciliation has every posted change once, at the entry that
// posted it, and the balances at both ends of the period.
func TestBookOf(t *testing.T) {
	t.Parallel()
	entries := []*settle.StatementEntry{ // the newest first
		bookEntry(9, "2027-03-05", "17", "17", paid("t-4", 9, 9, "pending", "8", "0")),
		bookEntry(7, "2027-03-04", "12", "17", paid("t-3", 7, 7, "posted", "5", "5")),
		bookEntry(6, "2027-03-03", "10", "12", paid("t-2", 4, 6, "posted", "3", "2")),
		bookEntry(4, "2027-03-01", "10", "10", paid("t-2", 4, 6, "posted", "3", "2")),
		bookEntry(3, "2027-02-28", "0", "10", paid("t-1", 3, 3, "posted", "10", "10")),
	}
	account := &settle.Account{Id: "a", Asset: "EUR", Posted: "17"}
	for _, c := range []struct{ from, to, opening, closing string }{
		{"", "", "0", "17"},
		{"2027-03-01", "2027-03-03", "10", "12"},
		{"2027-03-02", "2027-03-02", "10", "10"},
		{"2027-03-04", "", "12", "17"},
		{"2027-04-01", "2027-04-30", "17", "17"},
		{"2027-01-01", "2027-01-31", "0", "0"},
		{"", "2027-03-03", "0", "12"},
	} {
		var from, to reconcile.Day
		if c.from != "" {
			from = day(t, c.from)
		}
		if c.to != "" {
			to = day(t, c.to)
		}
		b, err := bookOf(account, entries, from, to)
		if err != nil {
			t.Fatal(err)
		}
		x := b.Balances[0]
		if x.Opening.String() != c.opening || x.Closing.String() != c.closing || x.Currency != "EUR" {
			t.Errorf("%s to %s: from %s to %s, want %s to %s", c.from, c.to, x.Opening, x.Closing, c.opening, c.closing)
		}
		got := ""
		for _, m := range b.Movements {
			got += fmt.Sprintf("%d %s %s %v; ", m.Index, m.TransferID, m.Amount, m.Pending)
		}
		if want := "9 t-4 8 true; 7 t-3 5 false; 6 t-2 2 false; 3 t-1 10 false; "; got != want {
			t.Errorf("movements %s, want %s", got, want)
		}
		if m := b.Movements[1]; m.EndToEndID != "E-t-3" || m.Counterparty != (statement.Party{Name: "Ada", Account: "b"}) || m.Value != day(t, "2027-03-09") || m.Day != day(t, "2027-03-04") {
			t.Errorf("movement %+v", m)
		}
	}
	// Entries whose transfers do not account for the change are no book.
	if _, err := bookOf(account, []*settle.StatementEntry{bookEntry(3, "2027-02-28", "0", "11", paid("t-1", 3, 3, "posted", "10", "10"))}, 0, 0); err == nil {
		t.Error("an entry that changes the balance by 11 and transfers 10 is taken")
	}
	// A debit, and an instruction that settled.
	debit := paid("t-5", 3, 3, "posted", "4", "4")
	debit.Debit, debit.Credit = "a", "c"
	e := bookEntry(3, "2027-02-28", "9", "12", debit)
	e.Instructions = []*settle.Instruction{{Id: "i-1", Received: "7", Delivered: "1", Said: &cairnv1.Instruct{Counterparty: "BANK",
		Delivers: &cairnv1.InstructionLeg{Account: "x"}, Receives: &cairnv1.InstructionLeg{Account: "a"}}}}
	b, err := bookOf(account, []*settle.StatementEntry{e}, 0, 0)
	if err != nil || len(b.Movements) != 2 || b.Movements[0].Amount.String() != "-4" || b.Movements[0].Counterparty != (statement.Party{Name: "me", Account: "c"}) ||
		b.Movements[1].Amount.String() != "7" || b.Movements[1].TransferID != "i-1" || b.Movements[1].Counterparty.Name != "BANK" {
		t.Errorf("%+v, %v", b, err)
	}
}
