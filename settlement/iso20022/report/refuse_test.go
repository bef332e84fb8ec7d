package report

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/codes"
)

// TestRefuse: what is wrong is an error that says what, not a message.
func TestRefuse(t *testing.T) {
	status := func(change func(r *StatusReport)) func() ([]byte, error) {
		r := statusReport()
		change(&r)
		return r.Encode
	}
	whole := statement()
	statement := func(change func(s *Statement)) func() ([]byte, error) {
		s := statement()
		s.Entries = append([]Entry(nil), s.Entries...)
		s.Balances = append([]Balance(nil), s.Balances...)
		change(&s)
		return func() ([]byte, error) { return EncodeStatement("M", "2026-11-30T18:00:00Z", s) }
	}
	for _, c := range []struct {
		name   string
		encode func() ([]byte, error)
		want   string
	}{
		{"long id", status(func(r *StatusReport) { r.ID = strings.Repeat("x", 36) }), "/Document/FIToFIPmtStsRpt/GrpHdr/MsgId has 36 characters"},
		{"no id", status(func(r *StatusReport) { r.ID = "" }), "GrpHdr/MsgId is missing"},
		{"bad time", status(func(r *StatusReport) { r.Created = "now" }), "not a date and time"},
		{"bad BIC", status(func(r *StatusReport) { r.Instructing.BIC = "X" }), "BICFI is"},
		{"control character", status(func(r *StatusReport) { r.Transactions[1].Reasons[0].Additional[0] = "\x01" }), "not allowed in XML"},
		{"long text", status(func(r *StatusReport) { r.Transactions[1].Reasons[0].Additional[0] = strings.Repeat("ä", 106) }), "106 characters"},
		{"rejected without reason", status(func(r *StatusReport) { r.Transactions[1].Reasons = nil }), "transaction 2 is rejected without a reason"},
		{"reason without code", status(func(r *StatusReport) { r.Transactions[1].Reasons = []iso20022.Reason{{Additional: []string{"no"}}} }), "without a reason"},
		{"group rejected without reason", status(func(r *StatusReport) { r.Group.Status, r.Transactions = Rejected, nil }), "the group is rejected without a reason"},
		{"cancellation rejected without reason", Resolution{ID: "1", Created: "2026-11-30T12:00:00Z", Assigner: bankA, Assignee: bankB, Status: "RJCR",
			Cancellations: []CancellationStatus{{Status: "RJCR"}}}.Encode, "cancellation 1 is rejected without a reason"},
		{"resolution without assigner", Resolution{ID: "1", Created: "2026-11-30T12:00:00Z", Assignee: bankB, Status: "CNCL"}.Encode, "Assgnr/Pty is missing"},
		{"closing balance off", statement(func(s *Statement) { s.Balances[2].Amount = "-1132.74" }), "give -1132.75, but CLBD is -1132.74"},
		{"entry off", statement(func(s *Statement) { s.Entries[1].Amount = "11" }), "give -1131.75"},
		{"entry on the other side", statement(func(s *Statement) { s.Entries[1].Side = Debit }), "give -1152.75"},
		{"no opening balance", statement(func(s *Statement) { s.Balances = s.Balances[2:] }), "0 balances OPBD"},
		{"two closing balances", statement(func(s *Statement) { s.Balances = append(s.Balances, s.Balances[2]) }), "2 balances CLBD"},
		{"interim balance in a whole statement", statement(func(s *Statement) { s.Balances = append(s.Balances, Balance{InterimBooked, "0", "2026-11-30"}) }), "1 balances ITBD"},
		{"closing balance on the first page", statement(func(s *Statement) { s.Page = 1 }), "page 1 of the statement has 1 balances CLBD"},
		{"opening balance on the last page", statement(func(s *Statement) { s.Page, s.LastPage = 2, true }), "page 2 of the statement has 1 balances OPBD"},
		{"previous balance off", statement(func(s *Statement) { s.Balances[0].Amount = "99.99" }), "PRCD is 99.99, but OPBD is 100:"},
		{"balance that is no number", statement(func(s *Statement) { s.Balances[3].Amount = "much" }), "CLAV"},
		{"pending entry", statement(func(s *Statement) { s.Entries[0].Status = PendingEntry }), "entry 1 has the status PDNG"},
		{"negative entry", statement(func(s *Statement) { s.Entries[0].Amount = "-1250.50" }), "without a sign"},
		{"entry without a side", statement(func(s *Statement) { s.Entries[0].Side = "" }), `the side is ""`},
		{"details off", statement(func(s *Statement) {
			s.Entries[2].Details = append([]Detail(nil), s.Entries[2].Details[0], Detail{Amount: "2.25"})
		}), "the details add up to 12.25, but the entry is 7.75"},
		{"details short", statement(func(s *Statement) { s.Entries[2].Details = []Detail{{Amount: "7.00"}, {Amount: "0.50"}} }), "the details add up to 7.5, but the entry is 7.75"},
		{"detail without amount", statement(func(s *Statement) { s.Entries[2].Details = []Detail{{Amount: "7.75"}, {}} }), "detail 2 has no amount"},
		{"no booking code", statement(func(s *Statement) { s.Entries[0].Status = Booked; s.Entries[0].Code = BankCode{Domain: "PMNT"} }), "Fmly/Cd is missing"},
		{"report off", func() ([]byte, error) {
			s := whole
			s.Balances = []Balance{{OpeningBooked, "0", "2026-11-30"}, {InterimBooked, "1", "2026-11-30"}}
			return EncodeReport("M", "2026-11-30T18:00:00Z", s)
		}, "but ITBD is 1"},
		{"notification with a balance", func() ([]byte, error) { return EncodeNotification("M", "2026-11-30T18:00:00Z", whole) }, "no balances"},
		{"status without a state", SecuritiesStatus{IDs: SecuritiesIDs{Owner: "1"}}.Encode, "without a state"},
		{"unknown state", SecuritiesStatus{IDs: SecuritiesIDs{Owner: "1"}, States: []StateReport{{State: "settled"}}}.Encode, "a state is unknown"},
		{"two states of processing", SecuritiesStatus{IDs: SecuritiesIDs{Owner: "1"}, States: []StateReport{{State: InstructionAccepted}, {State: InstructionRejected}}}.Encode, "stands 2 times"},
		{"state without instruction", SecuritiesStatus{States: []StateReport{{State: Matched}}}.Encode, "AcctOwnrTxId is missing"},
		{"bad reason", SecuritiesStatus{IDs: SecuritiesIDs{Owner: "1"}, States: []StateReport{{SettlementPending, []SecuritiesReason{{"lack", ""}}}}}.Encode, "[A-Z]{4}"},
		{"confirmation without a date", SecuritiesConfirmation{Instruction: securities(), Quantity: "1"}.Encode, "FctvSttlmDt is missing"},
		{"confirmation without a quantity", SecuritiesConfirmation{Instruction: securities(), Effective: "2026-11-30"}.Encode, "SttldQty/Qty/Unit is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := c.encode()
			if err == nil || raw != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want …%s…\n%s", err, c.want, raw)
			}
		})
	}
}

func TestGroupStatusOf(t *testing.T) {
	for want, statuses := range map[string][]string{
		"":             {},
		Settled:        {Settled, Settled},
		Rejected:       {Rejected},
		InProcess:      {Settled, InProcess, Credited},
		Technical:      {Credited, Technical},
		PartlyAccepted: {Settled, Rejected},
		Pending:        {Rejected, Pending},
		Cancelled:      {Cancelled, Cancelled},
	} {
		if got := GroupStatusOf(statuses...); got != want {
			t.Errorf("%v is %s, want %s", statuses, got, want)
		}
	}
	if got := GroupStatusOf(Pending, Settled); got != PartlyAccepted {
		t.Errorf("pending and settled is %s", got)
	}
	if got := GroupStatusOf(Rejected, Cancelled); got != Rejected {
		t.Errorf("rejected and cancelled is %s", got)
	}
}

// TestPages cuts random statements: every page can be written, the entries are those of the
// statement in their order, and each page opens with what the one before closed with.
func TestPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var s Statement
		s.ID, s.Account = "S", iso20022.Account{Other: "1", Currency: []string{"EUR", "JPY", "KWD"}[rng.IntN(3)]}
		cents := func() string {
			n, scale := rng.IntN(100_000), map[string]int{"EUR": 2, "JPY": 0, "KWD": 3}[s.Account.Currency]
			unit := []int{1, 10, 100, 1000}[scale]
			if scale == 0 {
				return fmt.Sprint(n)
			}
			return fmt.Sprintf("%d.%0*d", n/unit, scale, n%unit)
		}
		opening, _ := codes.ParseDecimal(cents())
		if rng.IntN(2) == 0 {
			opening = opening.Neg()
		}
		sum := opening
		for i := range rng.IntN(40) {
			e := Entry{Reference: fmt.Sprint(i), Amount: cents(), Side: []string{Credit, Debit}[rng.IntN(2)], Status: Booked, Booked: "2026-11-30", Code: BankCode{Proprietary: "X"}}
			d, err := e.signed()
			if err != nil {
				t.Fatal(err)
			}
			sum = sum.Add(d)
			s.Entries = append(s.Entries, e)
		}
		s.Balances = []Balance{{OpeningBooked, opening.String(), "2026-11-30"}, {ClosingBooked, sum.String(), "2026-11-30"}, {ClosingAvailable, "0", "2026-11-30"}}
		size := 1 + rng.IntN(12)
		pages, err := s.Pages(size)
		if err != nil {
			t.Fatal(err)
		}
		var entries []Entry
		for i, p := range pages {
			if _, err := EncodeStatement("M", "2026-11-30T18:00:00Z", p); err != nil {
				t.Fatalf("page %d of %d: %v", i+1, len(pages), err)
			}
			if p.Page != i+1 || p.LastPage != (i == len(pages)-1) || len(p.Entries) > size || len(p.Entries) == 0 && len(s.Entries) > 0 {
				t.Fatalf("page %d of %d with %d entries: %+v", i+1, len(pages), len(p.Entries), p)
			}
			entries = append(entries, p.Entries...)
			if i > 0 {
				_, before, _, _ := pages[i-1].balance(InterimBooked)
				if _, after, found, _ := p.balance(OpeningInterim); !found || after.Cmp(before) != 0 {
					t.Fatalf("page %d opens with %s, page %d closed with %s", i+1, after, i, before)
				}
			}
		}
		if len(entries) != len(s.Entries) {
			t.Fatalf("%d entries on pages, %d in the statement", len(entries), len(s.Entries))
		}
		for i := range entries {
			if entries[i].Reference != s.Entries[i].Reference {
				t.Fatalf("entry %d is on another place", i)
			}
		}
	}
	if _, err := (Statement{}).Pages(0); err == nil {
		t.Error("pages of no entries")
	}
	page := statement()
	page.Page = 1
	if _, err := page.Pages(1); err == nil {
		t.Error("a page is cut again")
	}
}

// TestFromFindings: every message of the corpus that can be read can be answered, and the answer is
// read without an error. It rejects what Check rejects.
func TestFromFindings(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "testdata", "*", "*.xml"))
	answered := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, findings := iso20022.Check(raw, iso20022.Rules{})
		if m == nil || m.Securities != nil {
			continue
		}
		answered++
		answer, err := FromFindings("A-1", "2026-11-30T12:00:00Z", m, findings).Encode()
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		a, wrong := iso20022.Check(answer, iso20022.Rules{})
		if a == nil {
			t.Errorf("%s: the answer is not read: %v", file, wrong)
			continue
		}
		if got, want := a.Groups[0].Status == Rejected && len(a.Transactions) == 0, iso20022.Rejected(findings); got != want {
			t.Errorf("%s: rejected as a whole is %v, want %v", file, got, want)
		}
		for i, s := range a.Transactions {
			if _, rejected := iso20022.RejectedTransaction(findings, i); (s.Status == Rejected) != rejected || rejected && s.Reasons[0].Code == "" {
				t.Errorf("%s: transaction %d has the status %s: %v", file, i, s.Status, s.Reasons)
			}
		}
	}
	if answered < 60 {
		t.Errorf("only %d messages were answered", answered)
	}
}

func TestReasonOf(t *testing.T) {
	r := ReasonOf(iso20022.Finding{Text: strings.Repeat("ä", 250)})
	if r.Code != "NARR" || len(r.Additional) != 3 || strings.Join(r.Additional, "") != strings.Repeat("ä", 250) {
		t.Errorf("got %+v", r)
	}
}
