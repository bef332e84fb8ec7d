package statement_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/report"
	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

// ours is a statement as the ledger itself writes it, with a batch and a reversal.
func ours() report.Statement {
	detail := func(n int, amount string) report.Detail {
		return report.Detail{EndToEndID: fmt.Sprint("E", n), UETR: fmt.Sprintf("97ed4827-7b6f-4491-a06f-b548d5a751%02d", n), Amount: amount,
			Debtor: iso20022.Party{Name: "Müller & Söhne"}, DebtorAccount: iso20022.Account{IBAN: "DE89370400440532013000"},
			Remittance: []string{"invoice", "17"}, CreditorReference: "RF18539007547034"}
	}
	entry := func(n int, amount, side string) report.Entry {
		return report.Entry{Reference: fmt.Sprint(n), Amount: amount, Side: side, Status: report.Booked, Booked: "2026-11-30", Value: "2026-12-01",
			ServicerReference: fmt.Sprint("leaf-", n), Code: report.BankCode{Domain: "PMNT", Family: "RCDT", SubFamily: "ESCT"},
			Details: []report.Detail{detail(n, amount)}}
	}
	s := report.Statement{
		ID: "STM", Created: "2026-11-30T18:00:00Z", Sequence: 12, From: "2026-11-30T00:00:00Z", To: "2026-11-30T23:59:59Z",
		Account: iso20022.Account{Other: "acct-7", Scheme: "INTERNAL", Currency: "EUR"}, Owner: iso20022.Party{Name: "Bank A"},
		Balances: []report.Balance{{Type: report.PreviouslyClosed, Amount: "100", Date: "2026-11-29"}, {Type: report.OpeningBooked, Amount: "100.00", Date: "2026-11-30"},
			{Type: report.ClosingBooked, Amount: "57.75", Date: "2026-11-30"}, {Type: report.ClosingAvailable, Amount: "-3", Date: "2026-11-30"}},
		Entries: []report.Entry{entry(1, "100.00", report.Debit), entry(2, "50.00", report.Credit), entry(3, "7.75", report.Credit), entry(4, "0.00", report.Credit)},
	}
	s.Entries[1].Reversal = true
	s.Entries[2].BatchID = "B-1"
	s.Entries[2].Details = []report.Detail{detail(5, "10.00"), {TransactionID: "Y", Amount: "2.25", Side: report.Debit}}
	return s
}

// What the ledger's own encoder writes is read as it was meant, whole and in pages of any size.
func TestReadsWhatTheLedgerWrites(t *testing.T) {
	for pages := 1; pages <= 5; pages++ {
		cut, err := ours().Pages(pages)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(cut)
		var all []statement.Statement
		for i, page := range cut {
			raw, err := report.EncodeStatement(fmt.Sprint("M", i), "2026-11-30T18:00:01Z", page)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, *read(t, string(raw)))
		}
		j := join(t, all...)
		if len(j.Findings) > 0 || len(j.Entries) != 4 || j.Account != "acct-7" || j.Owner != "Bank A" {
			t.Fatalf("pages of %d entries: %+v", pages, j)
		}
		opening, _ := j.Statements[0].Opening("EUR")
		closing, _ := j.Statements[len(j.Statements)-1].Closing("EUR")
		if opening.Amount.String() != "100.00" || closing.Amount.String() != "57.75" {
			t.Errorf("pages of %d entries: from %s to %s", pages, opening.Amount, closing.Amount)
		}
		first, batch := j.Entries[0], j.Entries[2]
		if first.Amount.String() != "-100.00" || first.ServicerRef != "leaf-1" || first.Code != "PMNT-RCDT-ESCT" || !j.Entries[1].Reversal || first.Value.String() != "2026-12-01" {
			t.Errorf("entry %+v", first)
		}
		x := batch.Transactions[0]
		if len(batch.Transactions) != 2 || batch.Transactions[1].Amount.String() != "-2.25" || batch.Batches[0].MessageID != "B-1" || batch.Batches[0].Count != 2 {
			t.Errorf("batch %+v", batch)
		}
		if x.EndToEndID != "E5" || x.UETR != "97ed4827-7b6f-4491-a06f-b548d5a75105" || x.CreditorRefs[0] != "RF18539007547034" || x.Text[1] != "17" ||
			x.Counterparty(&batch) != (statement.Party{Name: "Müller & Söhne", Account: "DE89370400440532013000"}) {
			t.Errorf("transaction %+v", x)
		}
	}
	daily := ours()
	daily.Balances = []report.Balance{{Type: report.InterimBooked, Amount: "57.75", Date: "2026-11-30T12:00:00Z"}}
	daily.Entries = append(daily.Entries, report.Entry{Amount: "15.00", Side: report.Debit, Status: report.PendingEntry, Code: report.BankCode{Proprietary: "HOLD"}})
	raw, err := report.EncodeReport("M", "2026-11-30T12:00:01Z", daily)
	if err != nil {
		t.Fatal(err)
	}
	s := read(t, string(raw))
	if closing, ok := s.Closing("EUR"); !ok || closing.Amount.String() != "57.75" || s.Entries[4].Status != statement.Pending || s.Kind != statement.Intraday {
		t.Errorf("report %+v", s)
	}
	daily.Balances, daily.Entries = nil, daily.Entries[:2]
	if raw, err = report.EncodeNotification("M", "2026-11-30T12:00:01Z", daily); err != nil {
		t.Fatal(err)
	}
	if s = read(t, string(raw)); s.Kind != statement.Notification || len(s.Entries) != 2 || !bytes.Contains(raw, []byte("Ntfctn")) {
		t.Errorf("notification %+v", s)
	}
}
