package gateway

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/iso20022"
)

const (
	iban1 = "DE89370400440532013000"
	iban2 = "FR1420041010050500013M02606"
)

// opts are the options of the tests.
var opts = Options{Participant: "COBADEFFXXX", Rail: "rtgs"}

// transaction is one transaction of a pacs.008 that a test makes.
type transaction struct{ tx, amount, debtor, creditor, text string }

// pacs008 makes a message.
func pacs008(id string, all ...transaction) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"><FIToFICstmrCdtTrf><GrpHdr><MsgId>%s</MsgId>`+
		`<CreDtTm>2026-11-30T11:00:00Z</CreDtTm><NbOfTxs>%d</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf>`+
		`<InstgAgt><FinInstnId><BICFI>COBADEFFXXX</BICFI></FinInstnId></InstgAgt><InstdAgt><FinInstnId><BICFI>BNPAFRPPXXX</BICFI></FinInstnId></InstdAgt></GrpHdr>`, id, len(all))
	for _, t := range all {
		fmt.Fprintf(&b, `<CdtTrfTxInf><PmtId><InstrId>I-%[1]s</InstrId><EndToEndId>E-%[1]s</EndToEndId><TxId>%[1]s</TxId></PmtId>`+
			`<IntrBkSttlmAmt Ccy="EUR">%s</IntrBkSttlmAmt><IntrBkSttlmDt>2026-11-30</IntrBkSttlmDt><ChrgBr>SHAR</ChrgBr>`+
			`<Dbtr><Nm>Debtor</Nm></Dbtr><DbtrAcct><Id><IBAN>%s</IBAN></Id></DbtrAcct><DbtrAgt><FinInstnId><BICFI>COBADEFFXXX</BICFI></FinInstnId></DbtrAgt>`+
			`<CdtrAgt><FinInstnId><BICFI>BNPAFRPPXXX</BICFI></FinInstnId></CdtrAgt><Cdtr><Nm>Creditor</Nm></Cdtr><CdtrAcct><Id><IBAN>%s</IBAN></Id></CdtrAcct>`+
			`<RmtInf><Ustrd>%s</Ustrd></RmtInf></CdtTrfTxInf>`, t.tx, t.amount, t.debtor, t.creditor, t.text)
	}
	b.WriteString(`</FIToFICstmrCdtTrf></Document>`)
	return []byte(b.String())
}

func pay(tx, amount string) transaction { return transaction{tx, amount, iban1, iban2, "invoice"} }

// about makes a message about one transaction of an earlier one.
func about(kind, own, message, original string) []byte {
	group := `<OrgnlGrpInf><OrgnlMsgId>` + message + `</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId></OrgnlGrpInf>`
	head := `<GrpHdr><MsgId>` + own + `</MsgId><CreDtTm>2026-11-30T11:30:00Z</CreDtTm></GrpHdr>`
	agents := `<Assgnr><Agt><FinInstnId><BICFI>COBADEFFXXX</BICFI></FinInstnId></Agt></Assgnr><Assgne><Agt><FinInstnId><BICFI>BNPAFRPPXXX</BICFI></FinInstnId></Agt></Assgne>`
	body := map[string]string{
		"pacs.028.001.03": `<FIToFIPmtStsReq>` + head + `<TxInf>` + group + `<OrgnlTxId>` + original + `</OrgnlTxId></TxInf></FIToFIPmtStsReq>`,
		"ACSC":            `<FIToFIPmtStsRpt>` + head + `<TxInfAndSts>` + group + `<OrgnlTxId>` + original + `</OrgnlTxId><TxSts>ACSC</TxSts></TxInfAndSts></FIToFIPmtStsRpt>`,
		"RJCT": `<FIToFIPmtStsRpt>` + head + `<TxInfAndSts>` + group + `<OrgnlTxId>` + original + `</OrgnlTxId><TxSts>RJCT</TxSts>` +
			`<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf></TxInfAndSts></FIToFIPmtStsRpt>`,
		"PDNG": `<FIToFIPmtStsRpt>` + head + `<TxInfAndSts>` + group + `<OrgnlTxId>` + original + `</OrgnlTxId><TxSts>PDNG</TxSts></TxInfAndSts></FIToFIPmtStsRpt>`,
		"camt.056.001.08": `<FIToFIPmtCxlReq><Assgnmt><Id>` + own + `</Id>` + agents + `<CreDtTm>2026-11-30T11:30:00Z</CreDtTm></Assgnmt>` +
			`<Undrlyg><TxInf><CxlId>C-1</CxlId>` + group + `<OrgnlTxId>` + original + `</OrgnlTxId></TxInf></Undrlyg></FIToFIPmtCxlReq>`,
		"pacs.004.001.10": `<PmtRtr><GrpHdr><MsgId>` + own + `</MsgId><CreDtTm>2026-11-30T11:30:00Z</CreDtTm><NbOfTxs>1</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf>` +
			`<InstgAgt><FinInstnId><BICFI>BNPAFRPPXXX</BICFI></FinInstnId></InstgAgt><InstdAgt><FinInstnId><BICFI>COBADEFFXXX</BICFI></FinInstnId></InstdAgt></GrpHdr>` +
			`<TxInf><RtrId>R-` + own + `</RtrId>` + group + `<OrgnlTxId>` + original + `</OrgnlTxId><RtrdIntrBkSttlmAmt Ccy="EUR">AMOUNT</RtrdIntrBkSttlmAmt>` +
			`<IntrBkSttlmDt>2026-11-30</IntrBkSttlmDt><RtrRsnInf><Rsn><Cd>AC04</Cd></Rsn></RtrRsnInf></TxInf></PmtRtr>`,
	}[kind]
	if len(kind) == len("ACSC") {
		kind = "pacs.002.001.10"
	}
	return []byte(`<Document xmlns="urn:iso:std:iso:20022:tech:xsd:` + kind + `">` + body + `</Document>`)
}

// send gives a message to a gateway.
func send(t *testing.T, l Ledger, o Options, raw []byte) *Answer {
	t.Helper()
	g, err := New(l, o)
	if err != nil {
		t.Fatal(err)
	}
	a, err := g.Answer(t.Context(), Incoming{Raw: raw, Received: noon})
	if err != nil {
		t.Fatal(err)
	}
	if a.Definition == definitionStatus {
		for _, bad := range iso20022.Lint(a.Reply) {
			if bad.Rule != "duplicate_identity" { // which the message itself may have
				t.Errorf("the reply is no good message: %v\n%s", bad, a.Reply)
			}
		}
	}
	return a
}

// says writes what an answer says in a line: rejected or done, definition, and of every item status,
// reason and word.
func says(a *Answer) string {
	verdict := "done"
	if a.Rejected {
		verdict = "rejected"
	}
	words := []string{verdict, a.Definition}
	for _, i := range a.Items {
		w := i.Code
		if i.Name != "" {
			w += "/" + i.Reason + "/" + i.Name
		}
		if i.Repeated {
			w += "/again"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func wantSays(t *testing.T, a *Answer, want string) {
	t.Helper()
	if got := says(a); got != want {
		t.Errorf("the answer says %q, want %q\n%s", got, want, a.Reply)
	}
}

// TestPayments: a pacs.008 of several transactions, each decided by itself.
func TestPayments(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	raw := pacs008("M-1", pay("T-1", "60"), pay("T-2", "60.00"), pay("T-3", "40"), transaction{"T-4", "1", iban1, "GB33BUKB20201555555555", "x"})
	a := send(t, b, opts, raw)
	wantSays(t, a, "done pacs.002.001.10 ACSC RJCT/AM04/insufficient_funds ACSC RJCT/AC03/credit_account_unknown")
	if b.balance(iban1) != "0.00" || b.balance(iban2) != "200.00" {
		t.Errorf("the accounts have %s and %s", b.balance(iban1), b.balance(iban2))
	}
	m, err := iso20022.Decode(a.Reply)
	if err != nil {
		t.Fatal(err)
	}
	if g := m.Groups[0]; g.Status != "PART" || g.Original.MessageID != "M-1" || g.Original.MessageName != "pacs.008.001.08" {
		t.Errorf("the group is %+v", g)
	}
	if r := m.Transactions[1]; r.Status != "RJCT" || r.Original.TransactionID != "T-2" || r.Reasons[0].Code != "AM04" || !strings.HasPrefix(r.Reasons[0].Additional[0], "insufficient_funds: ") {
		t.Errorf("the second transaction is %+v", r)
	}
	if m.Instructing.BIC != "BNPAFRPPXXX" || m.Instructed.BIC != "COBADEFFXXX" {
		t.Errorf("the answer goes from %s to %s", m.Instructing.BIC, m.Instructed.BIC)
	}

	// The same again, written in another way, moves nothing, though there is money now, and has the
	// same answer.
	again := strings.Replace(string(raw), "<GrpHdr>", "<!-- again --> <GrpHdr>\n", 1)
	entries, size := b.entries, b.l.Head().Size
	second := send(t, b, opts, []byte(again))
	wantSays(t, second, "done pacs.002.001.10 ACSC/again RJCT/AM04/insufficient_funds/again ACSC/again RJCT/AC03/credit_account_unknown/again")
	if string(second.Reply) != string(a.Reply) {
		t.Errorf("the second answer is another one:\n%s\n%s", second.Reply, a.Reply)
	}
	if b.entries != entries || b.l.Head().Size != size {
		t.Errorf("a repetition appended %d entries", b.entries-entries)
	}
}

// TestSameIdentity: one message identification on several bodies.
func TestSameIdentity(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	wantSays(t, send(t, b, opts, pacs008("M-1", pay("T-1", "10"))), "done pacs.002.001.10 ACSC")
	for name, c := range map[string]struct {
		tx   transaction
		want string
	}{
		"another amount":      {pay("T-1", "11"), "rejected pacs.002.001.10 RJCT/AM05/conflict"},
		"other remittance":    {transaction{"T-1", "10", iban1, iban2, "another invoice"}, "rejected pacs.002.001.10 RJCT/AM05/conflict"},
		"another transaction": {pay("T-2", "10"), "done pacs.002.001.10 ACSC"},
	} {
		a := send(t, b, opts, pacs008("M-1", c.tx))
		if says(a) != c.want {
			t.Errorf("%s: %s, want %s", name, says(a), c.want)
		}
	}
	// What the ledger does not record counts, too.
	charges := bytes.Replace(pacs008("M-1", pay("T-1", "10")), []byte("SHAR"), []byte("DEBT"), 1)
	wantSays(t, send(t, b, opts, charges), "rejected pacs.002.001.10 RJCT/AM05/conflict")
	if got := b.balance(iban2); got != "120.00" {
		t.Errorf("the creditor has %s", got)
	}
	// Another participant, another rail and another message have the same transaction for
	// themselves. Where some transactions of a message are known, they get their first answer.
	o := opts
	o.Participant = "DEUTDEFFXXX"
	wantSays(t, send(t, b, o, pacs008("M-1", pay("T-1", "10"))), "done pacs.002.001.10 ACSC")
	wantSays(t, send(t, b, opts, pacs008("M-1", pay("T-3", "1"), pay("T-1", "10"), pay("T-2", "12"))), "done pacs.002.001.10 ACSC ACSC/again RJCT/AM05/conflict")
	if got := b.balance(iban2); got != "131.00" {
		t.Errorf("the creditor has %s", got)
	}
}

// TestReservations: pacs.008 reserves, pacs.002 posts and voids, camt.056 cancels, pacs.028 asks.
func TestReservations(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	o := opts
	o.Reserve = true
	raw := pacs008("M-1", pay("T-1", "10"), pay("T-2", "20"), pay("T-3", "30"), pay("T-4", "1"))
	first := send(t, b, o, raw)
	wantSays(t, first, "done pacs.002.001.10 ACSP ACSP ACSP ACSP")
	for _, c := range []struct{ kind, tx, want string }{
		{"pacs.028.001.03", "T-1", "done pacs.002.001.10 ACSP"},
		{"PDNG", "T-1", "done pacs.002.001.10 ACSP"},
		{"ACSC", "T-1", "done pacs.002.001.10 ACSC"},
		{"ACSC", "T-1", "done pacs.002.001.10 ACSC"},
		{"RJCT", "T-1", "rejected pacs.002.001.10 ACSC/AM05/already_posted"},
		{"camt.056.001.08", "T-1", "rejected camt.029.001.09 ACSC"},
		{"RJCT", "T-2", "done pacs.002.001.10 CANC"},
		{"ACSC", "T-2", "rejected pacs.002.001.10 CANC/AG01/already_voided"},
		{"camt.056.001.08", "T-3", "done camt.029.001.09 CANC"},
		{"camt.056.001.08", "T-3", "done camt.029.001.09 CANC"},
		{"pacs.028.001.03", "T-3", "done pacs.002.001.10 CANC"},
		{"pacs.028.001.03", "T-9", "done pacs.002.001.10 //transfer_unknown"},
		{"ACSC", "T-9", "rejected pacs.002.001.10 //transfer_unknown"},
		{"camt.056.001.08", "T-9", "rejected camt.029.001.09 //transfer_unknown"},
	} {
		if a := send(t, b, o, about(c.kind, "A-1", "M-1", c.tx)); says(a) != c.want {
			t.Errorf("%s about %s: %s, want %s\n%s", c.kind, c.tx, says(a), c.want, a.Reply)
		}
	}
	if b.balance(iban1) != "89.00" || b.balance(iban2) != "110.00" {
		t.Errorf("the accounts have %s and %s", b.balance(iban1), b.balance(iban2))
	}
	// The payment again gets the first answer, whatever came of it meanwhile.
	if again := send(t, b, o, raw); string(again.Reply) != string(first.Reply) {
		t.Errorf("the answer is another one: %s", again.Reply)
	}
}

// TestReturns: a return names its original, is found under the participant of the original, and
// never returns too much.
func TestReturns(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	wantSays(t, send(t, b, opts, pacs008("M-1", pay("T-1", "10"), pay("T-2", "1000"))), "done pacs.002.001.10 ACSC RJCT/AM04/insufficient_funds")
	back := func(own, tx, amount string) []byte {
		return []byte(strings.Replace(string(about("pacs.004.001.10", own, "M-1", tx)), "AMOUNT", amount, 1))
	}
	o := Options{Participant: "BNPAFRPPXXX", Rail: "rtgs"} // the bank of the creditor
	for _, c := range []struct{ own, tx, amount, want string }{
		{"R-1", "T-1", "4", "done pacs.002.001.10 ACSC"},
		{"R-1", "T-1", "4", "done pacs.002.001.10 ACSC/again"},
		{"R-1", "T-1", "5", "rejected pacs.002.001.10 RJCT/AM05/conflict"},
		{"R-2", "T-1", "6.01", "rejected pacs.002.001.10 RJCT/AM09/return_exceeds_original"},
		{"R-3", "T-1", "6", "done pacs.002.001.10 ACSC"},
		{"R-4", "T-2", "1", "rejected pacs.002.001.10 RJCT/RF01/original_not_posted"},
		{"R-5", "T-9", "1", "rejected pacs.002.001.10 RJCT/RF01/original_unknown"},
	} {
		if a := send(t, b, o, back(c.own, c.tx, c.amount)); says(a) != c.want {
			t.Errorf("return %s of %s of %s: %s, want %s", c.own, c.amount, c.tx, says(a), c.want)
		}
	}
	if b.balance(iban1) != "100.00" || b.balance(iban2) != "100.00" {
		t.Errorf("the accounts have %s and %s", b.balance(iban1), b.balance(iban2))
	}
	// What a message says about the original has to be true.
	wrong := strings.Replace(string(back("R-6", "T-1", "1")), "<OrgnlTxId>", "<OrgnlEndToEndId>E-OTHER</OrgnlEndToEndId><OrgnlTxId>", 1)
	wantSays(t, send(t, b, o, []byte(wrong)), "rejected pacs.002.001.10 RJCT/RF01/original_contradicts")
}

// TestOwners: the ledger decides who may debit. A participant's gateway has no more rights than the
// participant.
func TestOwners(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	wantSays(t, send(t, b.as("spiffe://example.org/svc/bank"), opts, pacs008("M-1", pay("T-1", "10"))), "done pacs.002.001.10 ACSC")
	wantSays(t, send(t, b.as("spiffe://example.org/svc/thief"), opts, pacs008("M-2", pay("T-2", "10"))), "rejected pacs.002.001.10 RJCT/AG01/not_permitted")
}
