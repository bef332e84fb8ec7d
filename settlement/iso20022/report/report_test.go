package report

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/iso20022"
	"github.com/cairnledger/cairn/settlement/iso20022/schema"
	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	bankA = iso20022.Party{BIC: "COBADEFFXXX", Name: "Bank A"}
	bankB = iso20022.Party{BIC: "BNPAFRPPXXX"}

	payment = iso20022.Original{
		MessageID: "MSG-1", MessageName: "pacs.008.001.08", Created: "2026-11-30T09:15:00+01:00",
		InstructionID: "I-1", EndToEndID: "E-1", TransactionID: "T-1", UETR: "97ed4827-7b6f-4491-a06f-b548d5a7512d",
		Settlement: iso20022.Amount{Value: "1250.50", Currency: "EUR"}, SettlementDate: "2026-11-30",
	}
)

func statusReport() StatusReport {
	second := payment
	second.InstructionID, second.TransactionID, second.UETR = "I-2", "T-2", ""
	foreign := payment
	foreign.MessageID = "MSG-2"
	return StatusReport{
		ID: "STS-1", Created: "2026-11-30T10:00:00Z", Instructing: bankB, Instructed: bankA,
		Group: &GroupStatus{
			Original: payment, Count: "3", ControlSum: "3751.50", Status: GroupStatusOf(Settled, Rejected, Pending),
			PerStatus: []iso20022.PerStatus{{Status: Settled, Count: "1", ControlSum: "1250.50"}},
		},
		Transactions: []TransactionStatus{
			{ID: "S-1", Original: payment, Status: Settled, Accepted: "2026-11-30T09:59:59.5Z", Effective: "2026-11-30", AccountReference: "1001", ClearingReference: "L-7"},
			{ID: "S-2", Original: second, Status: Rejected, Reasons: []iso20022.Reason{
				{Code: "AM04", Originator: bankB, Additional: []string{"available 12.00 < 1250.50 & more"}},
				{Proprietary: "limit_exceeded"},
			}},
			{ID: "S-3", Original: foreign, Status: Pending, Effective: "2026-11-30T17:00:00Z"},
		},
	}
}

func statement() Statement {
	return Statement{
		ID: "STM-2026-334", Created: "2026-11-30T18:00:00Z", Sequence: 334, From: "2026-11-30T00:00:00Z", To: "2026-11-30T23:59:59Z",
		Account: iso20022.Account{IBAN: "DE89370400440532013000", Currency: "EUR"}, AccountName: "Settlement", Owner: iso20022.Party{Name: "Bank A", BIC: "COBADEFFXXX"},
		Servicer: iso20022.Party{BIC: "MARKDEFFXXX"},
		Balances: []Balance{
			{PreviouslyClosed, "100", "2026-11-29"}, {OpeningBooked, "100.00", "2026-11-30"}, {ClosingBooked, "-1132.75", "2026-11-30"},
			{ClosingAvailable, "-1200.00", "2026-11-30"},
		},
		Entries: []Entry{
			{Reference: "1", Amount: "1250.50", Side: Debit, Status: Booked, Booked: "2026-11-30", Value: "2026-11-30", ServicerReference: "leaf-1001",
				Code: BankCode{Domain: "PMNT", Family: "ICDT", SubFamily: "ESCT"},
				Details: []Detail{{MessageID: "MSG-1", ServicerReference: "leaf-1001", InstructionID: "I-1", EndToEndID: "E-1", TransactionID: "T-1",
					UETR: "97ed4827-7b6f-4491-a06f-b548d5a7512d", ClearingReference: "L-7", Proprietary: []Reference{{"LEAF", "1001"}}, Amount: "1250.50",
					Debtor: iso20022.Party{Name: "Müller & Söhne"}, DebtorAccount: iso20022.Account{IBAN: "DE89370400440532013000"}, DebtorAgent: bankA,
					Creditor: iso20022.Party{Name: "Société", Country: "FR"}, CreditorAccount: iso20022.Account{Other: "77", Scheme: "INTERNAL"}, CreditorAgent: bankB,
					Purpose: "SUPP", Remittance: []string{"Invoice 4711"}, CreditorReference: "RF18539007547034", Information: "paid"}}},
			{Amount: "10", Side: Credit, Reversal: true, Status: Booked, Booked: "2026-11-30T12:00:00Z", Value: "2026-11-29",
				Code: BankCode{Proprietary: "RVSL", Issuer: "CAIRN"}, Details: []Detail{{ReturnReason: iso20022.Reason{Code: "AC04"}}}},
			{Amount: "7.75", Side: Credit, Status: Booked, Booked: "2026-11-30", Code: BankCode{Proprietary: "BATCH"}, BatchID: "B-1", Information: "two in one",
				Details: []Detail{{TransactionID: "X", Amount: "10.00"}, {TransactionID: "Y", Amount: "2.25", Side: Debit}}},
		},
		Information: "end of day",
	}
}

func securities() iso20022.SecuritiesInstruction {
	return iso20022.SecuritiesInstruction{
		TransactionID: "SEC-1", Movement: "DELI", Payment: "APMT", CommonID: "C-1", TradeDate: "2026-11-26", SettlementDate: "2026-11-30",
		ISIN: "DE000BAY0017", Quantity: "1000", QuantityKind: "Unit", Owner: bankA, SafekeepingAccount: "7001",
		Delivering: iso20022.SettlementChain{Depository: iso20022.Party{BIC: "DAKVDEFFXXX"}, Parties: []iso20022.SettlementParty{{Party: bankA, Account: "7001"}}},
		Receiving: iso20022.SettlementChain{Parties: []iso20022.SettlementParty{{Party: bankB, Account: "7002", ProcessingID: "P"},
			{Party: iso20022.Party{Other: "CLIENT", OtherIssuer: "BNP", LEI: "529900T8BM49AURSDO55"}}, {Party: iso20022.Party{Name: "Somebody"}}}},
	}
}

// messages are one of each kind, by the name of its golden file.
func messages(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	put := func(name string, raw []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = raw
	}
	raw, err := statusReport().Encode()
	put("pacs.002.001.10-part", raw, err)

	raw, err = Resolution{ID: "RES-1", Created: "2026-11-30T12:00:00Z", Assigner: bankB, Assignee: bankA, CaseID: "CASE-1", CaseCreator: iso20022.Party{Name: "Müller"},
		Status: CancelledInPart, Cancellations: []CancellationStatus{{ID: "R-1", Original: payment, Status: CancellationAccepted},
			{Original: payment, Status: CancellationRejected, Reasons: []iso20022.Reason{{Code: "ARDT", Additional: []string{"settled"}}}}}}.Encode()
	put("camt.029.001.09-part", raw, err)

	s := statement()
	raw, err = EncodeStatement("M-1", "2026-11-30T18:00:01Z", s)
	put("camt.053.001.08-day", raw, err)
	pages, err := s.Pages(2)
	if err != nil || len(pages) != 2 {
		t.Fatalf("%d pages: %v", len(pages), err)
	}
	for i, page := range pages {
		raw, err = EncodeStatement("M-2-"+string(rune('1'+i)), "2026-11-30T18:00:01Z", page)
		put("camt.053.001.08-page"+string(rune('1'+i)), raw, err)
	}
	empty := s
	empty.Entries = nil
	empty.Balances = []Balance{{OpeningBooked, "0", "2026-11-30"}, {ClosingBooked, "0.00", "2026-11-30"}}
	raw, err = EncodeStatement("M-3", "2026-11-30T18:00:01Z", empty)
	put("camt.053.001.08-empty", raw, err)

	intraday := s
	intraday.Balances = []Balance{{InterimBooked, "12.00", "2026-11-30T12:00:00Z"}, {InterimAvailable, "-3", "2026-11-30T12:00:00Z"}}
	intraday.Entries = append(intraday.Entries[:1:1], Entry{Amount: "15.00", Side: Debit, Status: PendingEntry, Code: BankCode{Proprietary: "HOLD"}})
	raw, err = EncodeReport("M-4", "2026-11-30T12:00:01Z", intraday)
	put("camt.052.001.08-intraday", raw, err)

	notification := s
	notification.Balances, notification.Entries = nil, s.Entries[:1]
	raw, err = EncodeNotification("M-5", "2026-11-30T12:00:01Z", notification)
	put("camt.054.001.08-debit", raw, err)

	ids := SecuritiesIDs{Owner: "SEC-1", Servicer: "L-9", Infrastructure: "MI-1", Common: "C-1"}
	raw, err = SecuritiesStatus{IDs: ids, States: []StateReport{{SettlementPending, []SecuritiesReason{{"LACK", "not enough securities"}, {"PREA", ""}}}, {Matched, nil},
		{InstructionAccepted, nil}}}.Encode()
	put("sese.024.001.13-pending", raw, err)
	raw, err = SecuritiesStatus{IDs: SecuritiesIDs{Owner: "SEC-1"}, States: []StateReport{{InstructionRejected, []SecuritiesReason{{"SAFE", ""}}}}}.Encode()
	put("sese.024.001.13-rejected", raw, err)
	raw, err = SecuritiesConfirmation{IDs: ids, Instruction: securities(), Effective: "2026-11-30T10:00:00Z", Quantity: "600", Previous: "0", Remaining: "400",
		Settled: iso20022.Amount{Value: "27072.00", Currency: "EUR"}, Partial: "PAIN"}.Encode()
	put("sese.025.001.12-partial", raw, err)
	free := securities()
	free.Payment, free.Movement, free.QuantityKind = "FREE", "RECE", "FaceAmt"
	raw, err = SecuritiesConfirmation{Instruction: free, Effective: "2026-11-30", Quantity: "1000"}.Encode()
	put("sese.025.001.12-free", raw, err)
	return all
}

// TestGolden: the messages are those of the golden files, twice.
func TestGolden(t *testing.T) {
	second := messages(t)
	for name, raw := range messages(t) {
		if !bytes.Equal(raw, second[name]) {
			t.Errorf("%s is written in two ways", name)
		}
		file := filepath.Join("testdata", name+".xml")
		if *update {
			if err := os.WriteFile(file, raw, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(raw, want) {
			t.Errorf("%s: got\n%s\nwant\n%s\n(-update writes the golden files anew)", name, raw, want)
		}
	}
}

// TestXmllint: the messages fit the published schemas.
func TestXmllint(t *testing.T) {
	dir := os.Getenv("CAIRN_ISO20022_XSD")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data", "iso20022", "xsd")
	}
	if _, err := os.Stat(filepath.Join(dir, "pacs.002.001.10.xsd")); err != nil {
		t.Skipf("no ISO 20022 schemas in %s: set CAIRN_ISO20022_XSD to their folder", dir)
	}
	if _, err := exec.LookPath("xmllint"); err != nil {
		t.Skip("no xmllint: install libxml2-utils")
	}
	checked := 0
	for name, raw := range messages(t) {
		xsd := filepath.Join(dir, name[:len("pacs.002.001.10")]+".xsd")
		if _, err := os.Stat(xsd); err != nil {
			if !strings.HasPrefix(name, "sese.") {
				t.Errorf("no schema for %s", name)
			}
			continue
		}
		checked++
		cmd := exec.Command("xmllint", "--noout", "--nonet", "--schema", xsd, "-")
		cmd.Stdin = bytes.NewReader(raw)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	if checked < 8 {
		t.Errorf("only %d messages were checked", checked)
	}
}

// TestReadAgain: a status report is read as it was meant, and nothing is wrong with it.
func TestReadAgain(t *testing.T) {
	raw, err := statusReport().Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, findings := iso20022.Check(raw, iso20022.Rules{})
	if m == nil || len(findings) > 0 {
		t.Fatalf("findings: %v", findings)
	}
	if g := m.Groups[0]; g.Status != PartlyAccepted || g.Original.MessageID != "MSG-1" || g.Count != "3" || len(g.PerStatus) != 1 {
		t.Errorf("the group is %+v", g)
	}
	for i, want := range []struct{ status, message, tx string }{{Settled, "MSG-1", "T-1"}, {Rejected, "MSG-1", "T-2"}, {Pending, "MSG-2", "T-1"}} {
		got := m.Transactions[i]
		if got.Status != want.status || got.Original.MessageID != want.message || got.Original.TransactionID != want.tx || got.Original.Settlement != payment.Settlement {
			t.Errorf("transaction %d is %+v", i, got)
		}
	}
	if r := m.Transactions[1].Reasons; len(r) != 2 || r[0].Code != "AM04" || r[1].Proprietary != "limit_exceeded" || r[0].Originator.BIC != bankB.BIC {
		t.Errorf("the reasons are %+v", r)
	}
}

// TestSchemasKnowReports: every message is in the tables, so that Encode checks it.
func TestSchemasKnowReports(t *testing.T) {
	for name, raw := range messages(t) {
		root, err := xmltree.Parse(raw, xmltree.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		m, _, found := schema.Lookup(name)
		if !found || m.Definition != name[:len(m.Definition)] || root.Child(m.Body) == nil {
			t.Errorf("%s: %+v, %v", name, m, found)
		}
	}
}
