package gateway

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/iso20022"
)

var update = flag.Bool("update", false, "write the expected replies anew")

// corpusBooks returns a ledger with the accounts of the corpus, each with enough money, and with the
// payment that several messages of the corpus are about.
func corpusBooks(t *testing.T, reserve bool) *books {
	t.Helper()
	b := newBooks(t)
	for _, c := range []struct {
		asset    string
		scale    uint8
		accounts []string
	}{
		{"EUR", 2, []string{iban1, iban2, "DECOBADEFFXXXTGT", "DEDEUTDEFFXXXTGT", "COBADEFFXXX", "BNPAFRPPXXX"}},
		{"USD", 2, []string{"000123456789", "987654321"}},
	} {
		b.open(c.asset, c.scale, "100000000", c.accounts...)
	}
	raw, err := os.ReadFile(filepath.Join(corpusDir, "valid", "pacs008-single.xml"))
	if err != nil {
		t.Fatal(err)
	}
	o := opts
	o.Reserve = reserve
	if a := send(t, b, o, raw); a.Rejected {
		t.Fatalf("the payment of the corpus: %s", a.Reply)
	}
	return b
}

const corpusDir = "../iso20022/testdata"

// corpusReplies answers every message of the corpus, each on a ledger of its own.
func corpusReplies(t *testing.T, each func(name string, a *Answer)) {
	t.Helper()
	count := 0
	for _, folder := range []string{"valid", "invalid", "hostile"} {
		files, err := filepath.Glob(filepath.Join(corpusDir, folder, "*.xml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := folder + "-" + strings.TrimSuffix(filepath.Base(file), ".xml")
			about := strings.Contains(name, "camt056") || strings.Contains(name, "pacs028") || strings.Contains(name, "pacs002")
			b := corpusBooks(t, about)
			o := opts
			o.BusinessDate, o.CutOff, o.Reserve = "2026-11-30", "17:00", about
			if strings.Contains(name, "pacs004") || strings.Contains(name, "return") {
				o.Participant, o.Others, o.BusinessDate, o.CutOff = "BNPAFRPPXXX", []string{"COBADEFFXXX"}, "", ""
			}
			before := b.entries
			a := send(t, b, o, raw)
			if folder == "hostile" && (!a.Rejected || b.entries != before) {
				t.Errorf("%s: a hostile message is carried out: %s", name, says(a))
			}
			audit := NewAudit(o, nil)
			for i := b.l.Head().Size - uint64(b.entries-before); i < b.l.Head().Size; i++ {
				if bad := audit.Check(i, b.leaf(i).Command); len(bad) > 0 {
					t.Errorf("%s: %v", name, bad)
				}
			}
			count++
			each(name, a)
		}
	}
	if count < 100 {
		t.Errorf("the corpus has %d messages", count)
	}
}

// TestCorpusReplies: every message of the corpus has the expected reply.
func TestCorpusReplies(t *testing.T) {
	seen := map[string]int{}
	corpusReplies(t, func(name string, a *Answer) {
		golden := filepath.Join("testdata", name+".golden")
		verdict := "done\n"
		if a.Rejected {
			verdict = "rejected\n"
		}
		got := append([]byte(verdict), a.Reply...)
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s\n(-update writes the expected replies anew)", name, got, want)
		}
		for _, i := range a.Items {
			seen[i.Code+i.Name]++
		}
	})
	t.Logf("the replies say %v", seen)
	if len(seen) < 12 {
		t.Errorf("the corpus shows only %d results", len(seen))
	}
}

// TestRepliesFitTheirSchemas: the replies to the corpus fit the published schemas, and a gateway that
// gets one answers by a text, so that two gateways do not answer one another for ever.
func TestRepliesFitTheirSchemas(t *testing.T) {
	dir := os.Getenv("CAIRN_ISO20022_XSD")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data", "iso20022", "xsd")
	}
	_, noSchemas := os.Stat(filepath.Join(dir, definitionStatus+".xsd"))
	_, noXmllint := exec.LookPath("xmllint")
	files := map[string][]string{}
	tmp := t.TempDir()
	b := corpusBooks(t, false)
	corpusReplies(t, func(name string, a *Answer) {
		if a.Definition == "" {
			return
		}
		file := filepath.Join(tmp, name+".xml")
		if err := os.WriteFile(file, a.Reply, 0o600); err != nil {
			t.Fatal(err)
		}
		files[a.Definition] = append(files[a.Definition], file)
		if echo := send(t, b, opts, a.Reply); a.Definition == definitionStatus && echo.Definition != "" && !echo.unsupported() {
			t.Errorf("the reply to %s is answered by %s", name, echo.Definition)
		}
	})
	if noSchemas != nil || noXmllint != nil {
		t.Skipf("no ISO 20022 schemas in %s, or no xmllint: set CAIRN_ISO20022_XSD, install libxml2-utils", dir)
	}
	for definition, list := range files {
		if definition == definitionAdvice {
			continue // no public schema is at hand
		}
		args := append([]string{"--noout", "--nonet", "--schema", filepath.Join(dir, definition+".xsd")}, list...)
		if out, err := exec.Command("xmllint", args...).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", definition, bytes.ReplaceAll(out, []byte(" validates\n"), nil))
		}
	}
	if len(files) != 3 {
		t.Errorf("replies of %d definitions, want 3", len(files))
	}
}

func (a *Answer) unsupported() bool {
	return a.Message != "" && !strings.HasPrefix(a.Message, "pacs.002")
}

// TestEcho: the gateway carries out an answer of another gateway and does not answer it by a message.
func TestEcho(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	o := opts
	o.Reserve = true
	raw := pacs008("M-1", pay("T-1", "10"))
	send(t, b, o, raw)
	// The answer of another ledger, on which the payment is settled.
	other := newBooks(t)
	other.open("EUR", 2, "100", iban1, iban2)
	a := send(t, b, o, send(t, other, opts, raw).Reply)
	wantSays(t, a, "done  ACSC")
	if !strings.HasPrefix(string(a.Reply), "read: pacs.002.001.10 CAIRN-") {
		t.Errorf("the text is %s", a.Reply)
	}
	if tr, _ := b.Transfer(t.Context(), "COBADEFFXXX/rtgs/pacs.008/M-1/TxId=T-1"); tr.Status != settlement.Posted {
		t.Errorf("the reservation is %s", tr.Status)
	}
}

// TestSalvage: what names a message that cannot be read.
func TestSalvage(t *testing.T) {
	for _, c := range []struct{ raw, id, kind string }{
		{`<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"><x><GrpHdr><MsgId> M-1 </MsgId>`, "M-1", "pacs.008.001.08"},
		{`<a:MsgId>M-1</a:MsgId> xmlns:a='urn:iso:std:iso:20022:tech:xsd:head.001.001.02' xmlns:b='urn:iso:std:iso:20022:tech:xsd:pacs.009.001.08'`, "M-1", "pacs.009.001.08"},
		{`<BizMsgIdr>B-1</BizMsgIdr><MsgId>M-1</MsgId>`, "M-1", ""},
		{`<BizMsgIdr>B-1</BizMsgIdr>`, "B-1", ""},
		{`<Assgnmt> <Id>C-1</Id>`, "C-1", ""},
		{`<MsgId>&e;</MsgId>`, "", ""},
		{`<MsgId>` + strings.Repeat("x", 36) + `</MsgId>`, "", ""},
		{`<MsgId></MsgId>`, "", ""},
		{"<MsgId>\xff</MsgId>", "", ""},
		{strings.Repeat(" ", salvageWithin) + `<MsgId>M-1</MsgId>`, "", ""},
	} {
		if id, kind := salvage([]byte(c.raw)); id != c.id || kind != c.kind {
			t.Errorf("%.60q: %q, %q; want %q, %q", c.raw, id, kind, c.id, c.kind)
		}
	}
}

// TestOversize: the beginning of a message that is too large names it in the answer.
func TestOversize(t *testing.T) {
	g, err := New(newBooks(t), opts)
	if err != nil {
		t.Fatal(err)
	}
	a, err := g.Answer(t.Context(), Incoming{Raw: many("M-1", 100, "x")[:30_000], Received: noon, Oversize: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := iso20022.Decode(a.Reply)
	if err != nil || !a.Rejected || m.Groups[0].Original.MessageID != "M-1" || m.Groups[0].Reasons[0].Code != "FF01" {
		t.Errorf("%v: %s", err, a.Reply)
	}
}
