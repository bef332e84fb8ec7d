package statement_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/reconcile/statement"
	"github.com/cairnledger/cairn/settlement/reconcile/statement/statementtest"
)

var kinds = []statement.Kind{statement.EndOfDay, statement.Intraday, statement.Notification}

// What a bank writes is read, in every kind and version, and agrees with itself.
func TestCAMTRoundTrip(t *testing.T) {
	for _, kind := range kinds {
		for version := 2; version <= 8; version++ {
			t.Run(fmt.Sprintf("%s.%02d", kind, version), func(t *testing.T) {
				for seed := range uint64(60) {
					want := statementtest.Random(rand.New(rand.NewPCG(seed, uint64(version))), kind, version)
					raw := statementtest.CAMT(want)
					got, err := statement.ReadCAMT(raw)
					if err != nil || len(got) != 1 {
						t.Fatalf("seed %d: %d statements, %v", seed, len(got), err)
					}
					if findings := got[0].Check(); len(findings) > 0 {
						t.Fatalf("seed %d: a statement in order has the findings %+v", seed, findings)
					}
					compare(t, seed, &got[0], &want)
				}
			})
		}
	}
}

func compare(t *testing.T, seed uint64, got, want *statement.Statement) {
	t.Helper()
	got.Source = statement.File{}
	want.Place = got.Place
	if len(want.Entries) == 0 {
		want.Entries = nil
	}
	if !reflect.DeepEqual(normal(got), normal(want)) {
		t.Fatalf("seed %d:\nread  %+v\nwrote %+v", seed, normal(got), normal(want))
	}
}

// normal returns a statement as text, because equal amounts may differ in their memory.
func normal(s *statement.Statement) []string {
	text := func(a *statement.Amount) string {
		if a == nil {
			return "none"
		}
		return a.Key()
	}
	lines := []string{fmt.Sprint(s.Kind, s.Version, s.MessageID, s.ID, s.Sequence, s.Page, s.LastPage, s.Created.UTC(), s.From, s.To, s.Account, s.Owner, s.Currency)}
	for _, b := range s.Balances {
		lines = append(lines, fmt.Sprint(b.Code, b.Intermediate, b.Amount.Key(), b.Currency, b.Day))
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		lines = append(lines, fmt.Sprint(e.Place, e.Ref, e.ServicerRef, e.Amount.Key(), e.Currency, e.Status, e.Booked, e.Value, e.Reversal, e.Code, e.Text, text(e.Charges)))
		for _, b := range e.Batches {
			lines = append(lines, fmt.Sprint("batch", b.MessageID, b.PaymentInfoID, b.Count, text(b.Total), b.Currency, b.First, b.End))
		}
		for k := range e.Transactions {
			x := &e.Transactions[k]
			lines = append(lines, fmt.Sprintf("%s %+v %s %q %+v %+v %s %s", x.Place, x.References, text(x.Amount), x.Text, x.Debtor, x.Creditor, x.ReturnReason, text(x.Charges)))
		}
	}
	return append(lines, fmt.Sprint(*s.Summary.Count, *s.Summary.CreditCount, *s.Summary.DebitCount, s.Summary.Sum.Key(), s.Summary.CreditSum.Key(), s.Summary.DebitSum.Key(), s.Summary.Net.Key()))
}

// What statementtest writes as version 8 is valid by the published schema, so that the test above
// reads real messages. The schemas and xmllint are not part of the project.
func TestGeneratedMessagesAreValid(t *testing.T) {
	dir := os.Getenv("CAIRN_ISO20022_XSD")
	if dir == "" {
		dir = "../../../../shared/data/iso20022/xsd"
	}
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("xmllint is not installed: what the tests write is not validated")
	}
	for _, kind := range kinds {
		schema := filepath.Join(dir, string(kind)+".001.08.xsd")
		if _, err := os.Stat(schema); err != nil {
			t.Skipf("no schema %s: what the tests write is not validated; set CAIRN_ISO20022_XSD", schema)
		}
		for seed := range uint64(20) {
			s := statementtest.Random(rand.New(rand.NewPCG(seed, 8)), kind, 8)
			file := filepath.Join(t.TempDir(), "message.xml")
			if err := os.WriteFile(file, statementtest.CAMT(s), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(lint, "--noout", "--nonet", "--schema", schema, file).CombinedOutput(); err != nil {
				t.Fatalf("%s, seed %d: %v\n%s", kind, seed, err, out)
			}
		}
	}
}

// message returns a camt.053 of version 8 with one statement of the account and these parts.
func message(parts ...string) string {
	return `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><GrpHdr><MsgId>M</MsgId><CreDtTm>2026-11-30T18:00:00Z</CreDtTm></GrpHdr>` +
		`<Stmt><Id>S</Id><Acct><Id><IBAN>FI21 1234 5600 0007 85</IBAN></Id><Ccy>EUR</Ccy></Acct>` + strings.Join(parts, "") + `</Stmt></BkToCstmrStmt></Document>`
}

func entry(amount, indicator, more string) string {
	return `<Ntry><Amt Ccy="EUR">` + amount + `</Amt><CdtDbtInd>` + indicator + `</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-11-30</Dt></BookgDt>` + more + `</Ntry>`
}

func read(t *testing.T, message string) *statement.Statement {
	t.Helper()
	statements, err := statement.ReadCAMT([]byte(message))
	if err != nil || len(statements) != 1 {
		t.Fatalf("%d statements, %v", len(statements), err)
	}
	return &statements[0]
}

func TestReadCAMTRefuses(t *testing.T) {
	for _, c := range []struct{ name, message, want string }{
		{"another message", `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"/>`, "no element Document in a namespace of camt.053"},
		{"no namespace", `<Document/>`, "no element Document"},
		{"version 1", strings.Replace(message(), "053.001.08", "053.001.01", 1), "camt.053.001.01 is not read: versions 02 to 08 are"},
		{"version 12", strings.Replace(message(), "053.001.08", "053.001.12", 1), "camt.053.001.12 is not read"},
		{"another content", `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrAcctRpt/></Document>`, "has no element BkToCstmrStmt"},
		{"no indicator", message(`<Ntry><Amt Ccy="EUR">1</Amt><Sts>BOOK</Sts></Ntry>`), "CdtDbtInd is \"\": it must be CRDT or DBIT"},
		{"negative", message(entry("-1.00", "CRDT", "")), "the amount -1.00 is negative: the sign belongs into CdtDbtInd"},
		{"no number", message(entry("1,00", "CRDT", "")), `"1,00" is no amount`},
		{"no currency", message(strings.Replace(entry("1", "CRDT", ""), ` Ccy="EUR"`, "", 1)), "the attribute Ccy is \"\""},
		{"no amount", message(`<Ntry><CdtDbtInd>CRDT</CdtDbtInd></Ntry>`), "there is no Amt"},
		{"status", message(strings.Replace(entry("1", "CRDT", ""), "BOOK", "DONE", 1)), `the status Sts is "DONE"`},
		{"date", message(entry("1", "CRDT", "<ValDt><Dt>30.11.2026</Dt></ValDt>")), `"30.11.2026" is no date: write it as 2006-01-02`},
		{"flag", message(entry("1", "CRDT", "<RvslInd>maybe</RvslInd>")), `"maybe" is neither true nor false`},
		{"page", message("<StmtPgntn><PgNb>0</PgNb><LastPgInd>true</LastPgInd></StmtPgntn>"), `the page number "0" is no number from 1`},
		{"batch", message(entry("1", "CRDT", "<NtryDtls><Btch><NbOfTxs>many</NbOfTxs></Btch></NtryDtls>")), `"many" is no number of entries`},
		{"entities", `<!DOCTYPE x [<!ENTITY a "b">]>` + message(), "document type"},
		{"not XML", "Date;Amount\n", "line 1"},
	} {
		_, err := statement.ReadCAMT([]byte(c.message))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one with %q", c.name, err, c.want)
		}
	}
}

// The forms in which banks write the same thing.
func TestReadCAMTForms(t *testing.T) {
	s := read(t, strings.NewReplacer("<Document xmlns=", "<e:Envelope xmlns:e=\"urn:bank\"><e:Body><b:Document xmlns:b=", "</Document>", "</b:Document></e:Body></e:Envelope>").
		Replace(prefixed(message(
			"<ElctrncSeqNb>12.0</ElctrncSeqNb>", "<FrToDt><FrDtTm>2026-11-30T00:00:00+02:00</FrDtTm><ToDtTm>2026-11-30T23:59:59.999</ToDtTm></FrToDt>",
			strings.Replace(entry("0", "DBIT", "<RvslInd>1</RvslInd><ValDt><DtTm>2026-12-01T00:30:00+02:00</DtTm></ValDt>"), "<Dt>2026-11-30</Dt>", "<Dt>2026-11-30+02:00</Dt>", 1)))))
	e := s.Entries[0]
	if s.Account != "FI2112345600000785" || s.Sequence != 12 || s.From.String() != "2026-11-30" || s.To != s.From {
		t.Errorf("account %s, sequence %d, period %s to %s", s.Account, s.Sequence, s.From, s.To)
	}
	if e.Amount.String() != "0" || !e.Reversal || e.Booked.String() != "2026-11-30" || e.Value.String() != "2026-12-01" {
		t.Errorf("entry %+v", e)
	}
}

// prefixed gives the elements of a message the prefix b.
func prefixed(message string) string {
	message = strings.ReplaceAll(message, "</", "\x00")
	message = strings.ReplaceAll(message, "<", "<b:")
	message = strings.ReplaceAll(message, "\x00", "</b:")
	return strings.NewReplacer("<b:Document", "<Document", "</b:Document", "</Document").Replace(message)
}

// The amount of a transaction: of the transaction, of its details in the currency of the entry, or
// what the others leave.
func TestTransactionAmounts(t *testing.T) {
	amounts := func(details ...string) string {
		var tx string
		for _, d := range details {
			tx += "<TxDtls>" + d + "</TxDtls>"
		}
		s := read(t, message(entry("100.00", "DBIT", "<NtryDtls>"+tx+"</NtryDtls>")))
		var all []string
		for _, x := range s.Entries[0].Transactions {
			if x.Amount == nil {
				all = append(all, "none")
			} else {
				all = append(all, x.Amount.String())
			}
		}
		return strings.Join(all, " ")
	}
	own := func(amount, indicator string) string {
		return `<Amt Ccy="EUR">` + amount + `</Amt><CdtDbtInd>` + indicator + `</CdtDbtInd>`
	}
	foreign := `<AmtDtls><InstdAmt><Amt Ccy="USD">55</Amt></InstdAmt></AmtDtls>`
	for _, c := range []struct {
		want    string
		details []string
	}{
		{"-100.00", []string{""}},
		{"-100.00", []string{own("105.00", "DBIT")}}, // before charges
		{"-60.00 -40.00", []string{own("60.00", "DBIT"), own("40.00", "DBIT")}},
		{"-160.00 60.00", []string{own("160.00", "DBIT"), own("60.00", "CRDT")}},
		{"-60.00 -40.00", []string{own("60.00", "DBIT"), foreign}},
		{"-60.00 none none", []string{own("60.00", "DBIT"), foreign, ""}},
		{"-160.00 none", []string{own("160.00", "DBIT"), foreign}}, // what is left has the other sign
		{"-50 -50.00", []string{`<AmtDtls><InstdAmt><Amt Ccy="USD">55</Amt></InstdAmt><TxAmt><Amt Ccy="EUR">50</Amt></TxAmt></AmtDtls>`, foreign}},
		{"-70 -30.00", []string{`<AmtDtls><InstdAmt><Amt Ccy="USD">75</Amt></InstdAmt><CntrValAmt><Amt Ccy="EUR">70</Amt></CntrValAmt></AmtDtls>`, foreign}},
	} {
		if got := amounts(c.details...); got != c.want {
			t.Errorf("transactions %q have the amounts %s, want %s", c.details, got, c.want)
		}
	}
}

// The counterparty is the other side of the money's way, also in a reversal.
func TestCounterparty(t *testing.T) {
	x := statement.Transaction{Debtor: statement.Party{Name: "D"}, Creditor: statement.Party{Name: "C"}}
	for _, c := range []struct {
		amount   int64
		reversal bool
		want     string
	}{{1, false, "D"}, {-1, false, "C"}, {1, true, "C"}, {-1, true, "D"}, {0, false, "D"}} {
		e := statement.Entry{Amount: statement.NewAmount(c.amount, 0), Reversal: c.reversal}
		if got := x.Counterparty(&e).Name; got != c.want {
			t.Errorf("amount %d, reversal %t: the counterparty is %s, want %s", c.amount, c.reversal, got, c.want)
		}
	}
}
