package schema

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

const space = "urn:iso:std:iso:20022:tech:xsd:"

func parse(t *testing.T, raw string) *xmltree.Element {
	t.Helper()
	root, err := xmltree.Parse([]byte(raw), xmltree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// check returns the problems of a message, one a line: rule, path, child and text.
func check(t *testing.T, root *xmltree.Element) string {
	t.Helper()
	m, exact, found := Lookup(strings.TrimPrefix(root.Space, space))
	if !found {
		t.Fatalf("no tables of %s", root.Space)
	}
	var b strings.Builder
	m.Check(root.Children[0], exact, func(p Problem) bool {
		b.WriteString(string(p.Rule) + " " + p.Element.Path())
		if p.Child != "" {
			b.WriteString("/" + p.Child)
		}
		b.WriteString(" " + p.Text + "\n")
		return true
	})
	return b.String()
}

func TestValid(t *testing.T) {
	samples, _ := filepath.Glob(filepath.Join("..", "testdata", "valid", "*.xml"))
	if len(samples) < 10 {
		t.Fatalf("only %d samples", len(samples))
	}
	for _, sample := range samples {
		raw, err := os.ReadFile(sample)
		if err != nil {
			t.Fatal(err)
		}
		root := parse(t, string(raw))
		if root.Name != "Document" {
			continue // in an envelope
		}
		if got := check(t, root); got != "" {
			t.Errorf("%s: %s", sample, got)
		}
	}
}

// minimal is a cancellation request with a place for changes.
const minimal = `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.056.001.08"><FIToFIPmtCxlReq><Assgnmt><Id>1</Id>` +
	`<Assgnr><Pty><Nm>A</Nm></Pty></Assgnr><Assgne><Pty><Nm>B</Nm></Pty></Assgne><CreDtTm>2026-11-30T00:00:00Z</CreDtTm></Assgnmt>` +
	`<Undrlyg><TxInf><OrgnlTxId>T</OrgnlTxId><OrgnlIntrBkSttlmAmt Ccy="EUR">1</OrgnlIntrBkSttlmAmt></TxInf></Undrlyg></FIToFIPmtCxlReq></Document>`

func TestProblems(t *testing.T) {
	const tx = "/Document/FIToFIPmtCxlReq/Undrlyg/TxInf"
	const head = "/Document/FIToFIPmtCxlReq/Assgnmt"
	for _, c := range []struct{ name, old, new, want string }{
		{"nothing", "", "", ""},
		{"missing", "<Id>1</Id>", "", "missing " + head + "/Id is missing: add it\n"},
		{"empty", "<Id>1</Id>", "<Id/>", "value " + head + "/Id is empty: fill it in or leave the element out\n"},
		{"long", "<Id>1</Id>", "<Id>" + strings.Repeat("ä", 36) + "</Id>",
			"value " + head + "/Id has 36 characters; at most 35 are allowed: shorten it\n"},
		{"repeated", "<Id>1</Id>", "<Id>1</Id><Id>1</Id>", "repeated " + head + "/Id[2] stands 2 times; at most 1 are allowed: remove one\n"},
		{"order", "<Undrlyg>", "<Undrlyg/><Case><Id>1</Id><Cretr><Pty/></Cretr></Case><Undrlyg>",
			"order /Document/FIToFIPmtCxlReq/Case stands behind Undrlyg: put it before\n"},
		{"unknown", "<Id>1</Id>", "<Id>1</Id><Idd/>", "unknown " + head + "/Idd is no element of Assgnmt: remove it or correct its name\n"},
		{"namespace", "<Id>1</Id>", `<Id>1</Id><Id xmlns="u"/>`, "namespace " + head + `/Id is of the namespace "u", which is not the message's: ` +
			"remove it, or put it into SplmtryData/Envlp\n"},
		{"choice", "<Pty><Nm>A</Nm></Pty>", "<Pty/><Agt><FinInstnId/></Agt>",
			"choice " + head + "/Assgnr/Agt stands beside Pty, and only one of the two is allowed: remove one\n"},
		{"no choice", "<Pty><Nm>A</Nm></Pty>", "", "missing " + head + "/Assgnr/Pty is missing: add it, or another of Pty, Agt\n"},
		{"choice twice", "<Pty><Nm>A</Nm></Pty>", "<Pty/><Pty/>", "repeated " + head + "/Assgnr/Pty[2] stands 2 times; at most 1 are allowed: remove one\n"},
		{"text", "<Undrlyg>", "<Undrlyg>x", "text /Document/FIToFIPmtCxlReq/Undrlyg holds the text \"x\" beside elements: remove the text\n"},
		{"elements", "<Id>1</Id>", "<Id><A/></Id>", "text " + head + "/Id/A stands inside Id, which holds text alone: remove it\n"},
		{"no currency", ` Ccy="EUR"`, "", "missing " + tx + "/OrgnlIntrBkSttlmAmt has no currency: add the attribute Ccy\n"},
		{"bad currency", `"EUR"`, `"eur"`, "value " + tx + "/OrgnlIntrBkSttlmAmt has a currency that is \"eur\", which does not have the form [A-Z]{3}: correct it\n"},
		{"attribute", "<Id>", `<Id a="1">`, "unknown " + head + "/Id has the attribute a, which the message does not know: remove it\n"},
		{"negative", ">1</OrgnlI", ">-1</OrgnlI", "value " + tx + "/OrgnlIntrBkSttlmAmt is -1, which is negative: write an amount of zero or more\n"},
		{"decimals", ">1</OrgnlI", ">1.000001</OrgnlI", "value " + tx + "/OrgnlIntrBkSttlmAmt is 1.000001, with 6 decimals; at most 5 are allowed: write no more\n"},
		{"zeros", ">1</OrgnlI", ">1.0000000</OrgnlI", ""},
		{"digits", ">1</OrgnlI", ">12345678901234.12345</OrgnlI", "value " + tx + "/OrgnlIntrBkSttlmAmt is 12345678901234.12345, with 19 digits; at most 18 are allowed: correct it\n"},
		{"supplementary data", "</TxInf>", `<SplmtryData><Envlp><a xmlns="u">x<b/></a></Envlp></SplmtryData></TxInf>`, ""},
		{"empty supplementary data", "</TxInf>", `<SplmtryData><Envlp/></SplmtryData></TxInf>`,
			"repeated " + tx + "/SplmtryData/Envlp holds 0 elements: put exactly one into it\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := strings.Replace(minimal, c.old, c.new, 1)
			if got := check(t, parse(t, raw)); got != c.want {
				t.Errorf("%s\ngot  %swant %s", raw, got, c.want)
			}
		})
	}
}

// TestOtherVersion: of a version without tables of its own, what the versions have in common is
// checked.
func TestOtherVersion(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"nothing", "", "", ""},
		{"unknown element", "<OrgnlTxId>", "<New/><OrgnlTxId>", ""},
		{"order", "<Undrlyg>", "<CtrlData><NbOfTxs>1</NbOfTxs></CtrlData><Case><Id>1</Id><Cretr><Pty/></Cretr></Case><Undrlyg>", ""},
		{"address", "<Nm>A</Nm>", "<Nm>A</Nm><PstlAdr><TwnNm>" + strings.Repeat("x", 99) + "</TwnNm></PstlAdr>", ""},
		{"missing", "<Id>1</Id>", "", "missing /Document/FIToFIPmtCxlReq/Assgnmt/Id is missing: add it\n"},
		{"repeated", "<OrgnlTxId>", "<OrgnlTxId>X</OrgnlTxId><OrgnlTxId>",
			"repeated /Document/FIToFIPmtCxlReq/Undrlyg/TxInf/OrgnlTxId[2] stands 2 times; at most 1 are allowed: remove one\n"},
		{"other namespace", "<OrgnlTxId>", `<OrgnlTxId xmlns="u"/><OrgnlTxId>`,
			"namespace /Document/FIToFIPmtCxlReq/Undrlyg/TxInf/OrgnlTxId is of the namespace \"u\", which is not the message's: " +
				"remove it, or put it into SplmtryData/Envlp\n"},
		{"value", ">1</OrgnlI", ">one</OrgnlI", "value /Document/FIToFIPmtCxlReq/Undrlyg/TxInf/OrgnlIntrBkSttlmAmt is \"one\", not a decimal number: " +
			"write digits with a point before the decimals, as in 1234.56\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := strings.Replace(strings.Replace(minimal, "camt.056.001.08", "camt.056.001.11", 1), c.old, c.new, 1)
			if got := check(t, parse(t, raw)); got != c.want {
				t.Errorf("%s\ngot  %swant %s", raw, got, c.want)
			}
		})
	}
}

func TestReportStops(t *testing.T) {
	root := parse(t, `<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.056.001.08"><FIToFIPmtCxlReq>`+strings.Repeat("<X/>", 100)+
		`</FIToFIPmtCxlReq></Document>`)
	m, _, _ := Lookup("camt.056.001.08")
	n := 0
	m.Check(root.Child(m.Body), true, func(Problem) bool { n++; return n < 7 })
	if n != 7 {
		t.Errorf("7 problems were wanted, %d reported", n)
	}
}

func TestLookup(t *testing.T) {
	for definition, want := range map[string]bool{"pacs.008.001.08": true, "pacs.008.001.09": false, "sese.023.001.12": false} {
		if _, exact, found := Lookup(definition); !found || exact != want {
			t.Errorf("%s: exact is %v, found %v", definition, exact, found)
		}
	}
	for _, definition := range []string{"", "pacs", "pain.001.001.09"} {
		if _, _, found := Lookup(definition); found {
			t.Errorf("%q is found", definition)
		}
	}
	for _, m := range Messages() {
		if tables()[m.typ] == nil {
			t.Errorf("%s has no type %s", m.Definition, m.typ)
		}
	}
}
