package xmltree

import (
	"runtime"
	"strings"
	"testing"
)

// hostile are documents of the largest size that cost as much as their sender can make them.
var hostile = []struct {
	name, before, unit, after string
}{
	{"elements", "<a>", "<b/>", "</a>"},
	{"attributes", "<a>", "<b c=''/>", "</a>"},
	{"text in pieces", "<a>", "x<!---->", "</a>"},
	{"white space in pieces, then elements", "<a>" + strings.Repeat(" <!---->", 600_000), " <b/>", "</a>"},
	{"references", "<a>", "&#65;", "</a>"},
	{"references in an attribute", "<a b='", "&lt;", "'/>"},
	{"carriage returns", "<a>", "\r", "</a>"},
	{"one text", "<a>", "x", "</a>"},
	{"ampersands without end", "<a>", "&", "</a>"},
	{"brackets", "<a>", "]]", "</a>"},
	{"open elements", "", "<a>", ""},
	{"line ends in tags", "<a>", "<b\n/>", "</a>"},
	{"many prefixes", "<a" + prefixes() + ">", "<p1:b/>", "</a>"},
	{"comments", "", "<!---->", "<a/>"},
	{"white space in an end tag", "<a></a", " ", ">"},
}

func prefixes() string {
	var b strings.Builder
	for i := range maxBindings {
		b.WriteString(" xmlns:p")
		b.WriteString(strings.Repeat("x", i))
		b.WriteString("='u'")
	}
	return b.String() + " xmlns:p1='u'"
}

// TestHostileCost: whatever a document holds, reading it allocates a bounded multiple of its limit.
// A cost that grows with the square of the size would make the test run into its timeout.
func TestHostileCost(t *testing.T) {
	const bound = 20 * DefaultBytes
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			n := (DefaultBytes - len(h.before) - len(h.after)) / len(h.unit)
			raw := []byte(h.before + strings.Repeat(h.unit, n) + h.after)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			root, err := Parse(raw, Limits{})
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > bound {
				t.Errorf("a document of %d bytes allocates %d, more than %d", len(raw), got, bound)
			} else {
				t.Logf("%d bytes allocate %d MB (%v)", len(raw), got>>20, err)
			}
			runtime.KeepAlive(root)
		})
	}
}

// TestTooLargeIsNotRead: a document beyond the limit costs nothing, whatever its size.
func TestTooLargeIsNotRead(t *testing.T) {
	raw := make([]byte, 50<<20)
	allocs := testing.AllocsPerRun(3, func() {
		if _, err := Parse(raw, Limits{}); err == nil {
			t.Fatal("50 MiB are taken")
		}
	})
	if allocs > 10 {
		t.Errorf("it costs %v allocations, want at most 10", allocs)
	}
}

func BenchmarkParse(b *testing.B) {
	tx := `<CdtTrfTxInf><PmtId><InstrId>I-1</InstrId><EndToEndId>E-1</EndToEndId></PmtId>` +
		`<IntrBkSttlmAmt Ccy="EUR">12.34</IntrBkSttlmAmt><Dbtr><Nm>M&#252;ller &amp; Co</Nm></Dbtr></CdtTrfTxInf>` + "\n"
	raw := []byte(`<Document xmlns="u"><FIToFICstmrCdtTrf>` + strings.Repeat(tx, 5000) + `</FIToFICstmrCdtTrf></Document>`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
