package iso20022

import (
	"runtime"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// hostile are messages of 10 MiB that cost as much as their sender can make them.
var hostile = []struct{ name, definition, before, unit, after string }{
	{"empty transactions", "pacs.008.001.08", "<FIToFICstmrCdtTrf>", "<CdtTrfTxInf/>", "</FIToFICstmrCdtTrf>"},
	{"same identification", "pacs.008.001.08", "<FIToFICstmrCdtTrf>",
		"<CdtTrfTxInf><PmtId><TxId>T</TxId></PmtId></CdtTrfTxInf>", "</FIToFICstmrCdtTrf>"},
	{"many underlying groups", "camt.056.001.08", "<FIToFIPmtCxlReq>", "<Undrlyg><TxInf/></Undrlyg>", "</FIToFIPmtCxlReq>"},
	{"many group statuses", "pacs.002.001.10", "<FIToFIPmtStsRpt>", "<OrgnlGrpInfAndSts/>", "</FIToFIPmtStsRpt>"},
	{"unknown elements", "pacs.009.001.08", "<FICdtTrf>", "<X/>", "</FICdtTrf>"},
	{"many header parts", "pacs.008.001.08", "<FIToFICstmrCdtTrf><GrpHdr>", "<MsgId/>", "</GrpHdr></FIToFICstmrCdtTrf>"},
	{"many amounts", "pacs.008.001.08", "<FIToFICstmrCdtTrf><CdtTrfTxInf>", "<ChrgsInf><Amt Ccy='E'>x</Amt></ChrgsInf>",
		"</CdtTrfTxInf></FIToFICstmrCdtTrf>"},
	{"many links", "sese.023.001.12", "<SctiesSttlmTxInstr>", "<Lnkgs><Ref/></Lnkgs>", "</SctiesSttlmTxInstr>"},
	{"many remittance lines", "pacs.008.001.08", "<FIToFICstmrCdtTrf><CdtTrfTxInf><RmtInf>", "<Ustrd>x</Ustrd>",
		"</RmtInf></CdtTrfTxInf></FIToFICstmrCdtTrf>"},
	{"long digits", "pacs.008.001.08", "<FIToFICstmrCdtTrf><CdtTrfTxInf><IntrBkSttlmAmt Ccy='EUR'>", "9999999999",
		"</IntrBkSttlmAmt></CdtTrfTxInf></FIToFICstmrCdtTrf>"},
}

// TestHostileCost: whatever a message of 10 MiB holds, Check answers and allocates a bounded
// multiple of its size. A cost that grows with the square of the size would make the test run into
// its timeout.
func TestHostileCost(t *testing.T) {
	const bound = 60 * xmltree.DefaultBytes
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			before := `<Document xmlns="` + namespace + h.definition + `">` + h.before
			after := h.after + "</Document>"
			n := (xmltree.DefaultBytes - len(before) - len(after)) / len(h.unit)
			n = min(n, (xmltree.DefaultElements-10)/max(1, strings.Count(h.unit, "<")-strings.Count(h.unit, "</")))
			raw := []byte(before + strings.Repeat(h.unit, n) + after)
			var m1, m2 runtime.MemStats
			runtime.ReadMemStats(&m1)
			m, findings := Check(raw, corpusRules)
			runtime.ReadMemStats(&m2)
			if len(findings) == 0 || len(findings) > maxFindings+1 {
				t.Errorf("%d findings", len(findings))
			}
			got := m2.TotalAlloc - m1.TotalAlloc
			if got > bound {
				t.Errorf("a message of %d bytes allocates %d, more than %d", len(raw), got, bound)
			}
			t.Logf("%d bytes allocate %d MB, %d findings, read: %v", len(raw), got>>20, len(findings), m != nil)
		})
	}
}

// TestFiftyMegabytes: a message beyond the limit is refused without being read; the limit can be
// raised.
func TestFiftyMegabytes(t *testing.T) {
	raw := []byte(`<Document xmlns="` + namespace + `pacs.008.001.08"><FIToFICstmrCdtTrf><SplmtryData><PlcAndNm>` +
		strings.Repeat("x", 50<<20) + `</PlcAndNm></SplmtryData></FIToFICstmrCdtTrf></Document>`)
	if m, findings := Check(raw, Rules{}); m != nil || len(findings) != 1 || findings[0].Rule != string(xmltree.TooLarge) {
		t.Errorf("got %v", findings)
	}
	if m, _ := Check(raw, Rules{Limits: xmltree.Limits{Bytes: 64 << 20}}); m == nil {
		t.Error("a raised limit is not kept to")
	}
}

func BenchmarkCheck(b *testing.B) {
	tx := `<CdtTrfTxInf><PmtId><InstrId>I</InstrId><EndToEndId>E</EndToEndId></PmtId><IntrBkSttlmAmt Ccy="EUR">12.34</IntrBkSttlmAmt>` +
		`<IntrBkSttlmDt>2026-11-30</IntrBkSttlmDt><ChrgBr>SHAR</ChrgBr><Dbtr><Nm>A</Nm></Dbtr><DbtrAcct><Id><IBAN>DE89370400440532013000</IBAN></Id></DbtrAcct>` +
		`<DbtrAgt><FinInstnId><BICFI>COBADEFFXXX</BICFI></FinInstnId></DbtrAgt><CdtrAgt><FinInstnId><BICFI>BNPAFRPPXXX</BICFI></FinInstnId></CdtrAgt>` +
		`<Cdtr><Nm>B</Nm></Cdtr></CdtTrfTxInf>`
	for _, n := range []int{1, 1000} {
		raw := []byte(`<Document xmlns="` + namespace + `pacs.008.001.08"><FIToFICstmrCdtTrf><GrpHdr><MsgId>M</MsgId><CreDtTm>2026-11-30T00:00:00Z</CreDtTm>` +
			`<NbOfTxs>1</NbOfTxs><SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf></GrpHdr>` + strings.Repeat(tx, n) + `</FIToFICstmrCdtTrf></Document>`)
		b.Run(map[int]string{1: "one", 1000: "thousand"}[n], func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				Check(raw, Rules{})
			}
		})
	}
}
