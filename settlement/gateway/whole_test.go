package gateway

import (
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement"
)

// aboutAll makes a message about all transactions of an earlier one. extra stands in its group.
func aboutAll(kind, own, message, extra string) []byte {
	group := `<OrgnlMsgId>` + message + `</OrgnlMsgId><OrgnlMsgNmId>pacs.008.001.08</OrgnlMsgNmId>`
	head := `<GrpHdr><MsgId>` + own + `</MsgId><CreDtTm>2026-11-30T11:30:00Z</CreDtTm></GrpHdr>`
	agent := func(name, bic string) string {
		return `<` + name + `><Agt><FinInstnId><BICFI>` + bic + `</BICFI></FinInstnId></Agt></` + name + `>`
	}
	body := map[string]string{
		"pacs.028.001.03": `<FIToFIPmtStsReq>` + head + `<OrgnlGrpInf>` + group + extra + `</OrgnlGrpInf></FIToFIPmtStsReq>`,
		"pacs.002.001.10": `<FIToFIPmtStsRpt>` + head + `<OrgnlGrpInfAndSts>` + group + extra + `</OrgnlGrpInfAndSts></FIToFIPmtStsRpt>`,
		"camt.056.001.08": `<FIToFIPmtCxlReq><Assgnmt><Id>` + own + `</Id>` + agent("Assgnr", "COBADEFFXXX") + agent("Assgne", "BNPAFRPPXXX") +
			`<CreDtTm>2026-11-30T11:30:00Z</CreDtTm></Assgnmt><Undrlyg><OrgnlGrpInfAndCxl>` + group + extra + `</OrgnlGrpInfAndCxl></Undrlyg></FIToFIPmtCxlReq>`,
	}[kind]
	return []byte(`<Document xmlns="urn:iso:std:iso:20022:tech:xsd:` + kind + `">` + body + `</Document>`)
}

// TestWholeMessages: a message about another one as a whole is about each of its transactions, also
// about those whose ids are too long to be written out, and about no other message's.
func TestWholeMessages(t *testing.T) {
	long := strings.Repeat("%", 30) // three characters each in an id
	unknown := "//transfer_unknown"
	for _, c := range []struct {
		name  string
		raw   []byte
		want  string
		after string // what the two reservations are then
	}{
		{"status", aboutAll("pacs.028.001.03", "A-1", "M-1", ""), "done pacs.002.001.10 ACSP ACSP RJCT/AM04/insufficient_funds", "pending pending"},
		{"post", aboutAll("pacs.002.001.10", "A-1", "M-1", "<GrpSts>ACSC</GrpSts>"), "done pacs.002.001.10 ACSC ACSC RJCT/AM04/insufficient_funds", "posted posted"},
		{"void", aboutAll("pacs.002.001.10", "A-1", "M-1", "<GrpSts>RJCT</GrpSts><StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf>"), "done pacs.002.001.10 CANC CANC RJCT/AM04/insufficient_funds", "voided voided"},
		{"nothing yet", aboutAll("pacs.002.001.10", "A-1", "M-1", "<GrpSts>PDNG</GrpSts>"), "done pacs.002.001.10 ACSP ACSP RJCT/AM04/insufficient_funds", "pending pending"},
		{"cancel", aboutAll("camt.056.001.08", "A-1", "M-1", "<NbOfTxs>3</NbOfTxs><GrpCxl>true</GrpCxl>"), "done camt.029.001.09 CANC CANC RJCT/AM04/insufficient_funds", "voided voided"},
		{"cancel, by the group alone", aboutAll("camt.056.001.08", "A-1", "M-1", ""), "done camt.029.001.09 CANC CANC RJCT/AM04/insufficient_funds", "voided voided"},
		{"cancel nothing", aboutAll("camt.056.001.08", "A-1", "M-1", "<GrpCxl>false</GrpCxl>"), "rejected pacs.002.001.10", "pending pending"},
		{"more are said than known", aboutAll("camt.056.001.08", "A-1", "M-1", "<NbOfTxs>4</NbOfTxs><GrpCxl>true</GrpCxl>"), "done camt.029.001.09 CANC CANC RJCT/AM04/insufficient_funds " + unknown, "voided voided"},
		{"fewer are said than known", aboutAll("camt.056.001.08", "A-1", "M-1", "<NbOfTxs>2</NbOfTxs><GrpCxl>true</GrpCxl>"), "rejected camt.029.001.09 ACSP/RF01/original_contradicts ACSP/RF01/original_contradicts RJCT/RF01/original_contradicts", "pending pending"},
		{"another sum", aboutAll("camt.056.001.08", "A-1", "M-2", "<NbOfTxs>1</NbOfTxs><CtrlSum>8</CtrlSum><GrpCxl>true</GrpCxl>"), "rejected camt.029.001.09 ACSP/RF01/original_contradicts", "pending pending"},
		{"the sum", aboutAll("camt.056.001.08", "A-1", "M-2", "<NbOfTxs>1</NbOfTxs><CtrlSum>7.0</CtrlSum><GrpCxl>true</GrpCxl>"), "done camt.029.001.09 CANC", "pending pending"},
		{"no such message", aboutAll("pacs.028.001.03", "A-1", "M-3", ""), "done pacs.002.001.10 " + unknown, "pending pending"},
		{"the beginning of a name", aboutAll("pacs.028.001.03", "A-1", "M", ""), "done pacs.002.001.10 " + unknown, "pending pending"},
	} {
		b := newBooks(t)
		b.open("EUR", 2, "100", iban1, iban2)
		o := opts
		o.Reserve, o.Participant = true, strings.Repeat("P", 100)
		send(t, b, o, pacs008("M-1", pay("T-1", "10"), pay(long, "20"), pay("T-3", "1000")))
		send(t, b, o, pacs008("M-2", pay("T-1", "7")))
		answer := send(t, b, o, c.raw)
		if !sameWords(says(answer), c.want) {
			t.Errorf("%s: the answer says %q, want %q\n%s", c.name, says(answer), c.want, answer.Reply)
		}
		var after []string
		g, err := New(b, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range []string{"T-1", long} {
			i, err := g.Find(t.Context(), "M-1", tx)
			if err != nil || i == nil {
				t.Fatalf("%s: %s: %v, %v", c.name, tx, i, err)
			}
			after = append(after, map[string]string{"ACSP": "pending", "ACSC": "posted", "CANC": "voided"}[i.Code])
		}
		if got := strings.Join(after, " "); got != c.after {
			t.Errorf("%s: the reservations are %s, want %s", c.name, got, c.after)
		}
		if again := send(t, b, o, c.raw); says(again) != says(answer) {
			t.Errorf("%s: given again it says %q, first %q", c.name, says(again), says(answer))
		}
		audit := NewAudit(Options{}, nil)
		for index := range b.l.Head().Size {
			leaf, err := b.l.Leaf(index)
			if err != nil {
				t.Fatal(err)
			}
			if d, err := settlement.ParseLeaf(index, leaf); err == nil {
				if bad := audit.Check(index, d.Command); len(bad) > 0 {
					t.Errorf("%s: %v", c.name, bad)
				}
				if r, ok := d.Command.Action.(*settlement.Resolve); ok {
					r.Void = !r.Void
					if bad := audit.Check(index, d.Command); len(bad) != 1 || bad[0].Field != "resolution" {
						if !strings.HasPrefix(r.ID, "sha256:") {
							t.Errorf("%s: a resolution that was turned round: %v", c.name, bad)
						}
					}
				}
			}
		}
		all, err := g.FindMessage(t.Context(), "M-1")
		if err != nil || len(all) != 3 {
			t.Errorf("%s: the message has %d transactions, %v", c.name, len(all), err)
		}
	}
}
