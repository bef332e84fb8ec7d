package gateway

import (
	"strings"
	"testing"
)

// TestFind: what came of a transaction is found by the identifications of its message, and nothing is
// asked for.
func TestFind(t *testing.T) {
	b := newBooks(t)
	b.open("EUR", 2, "100", iban1, iban2)
	raw := pacs008("M-1", pay("T-1", "10"), pay("T-2", "1000"))
	send(t, b, opts, raw)
	send(t, b, opts, []byte(strings.Replace(string(about("pacs.004.001.10", "R-1", "M-1", "T-1")), "AMOUNT", "4", 1)))
	o := opts
	o.Reserve = true
	send(t, b, o, pacs008("M-2", pay("T-3", "5")))
	g, err := New(b, opts)
	if err != nil {
		t.Fatal(err)
	}
	requests := b.requests
	for _, c := range []struct{ message, transaction, want string }{
		{"M-1", "T-1", "ACSC"}, {"M-1", "T-2", "RJCT insufficient_funds"}, {"M-2", "T-3", "ACSP"},
		{"R-1", "R-R-1", "ACSC"}, // a return, by RtrId
		{"M-1", "T-3", "unknown"}, {"M-2", "T-1", "unknown"}, {"M-9", "T-1", "unknown"}, {"M-1", "E-T-1", "unknown"},
	} {
		i, err := g.Find(t.Context(), c.message, c.transaction)
		if err != nil {
			t.Fatal(err)
		}
		if got := foundWords(i); got != c.want {
			t.Errorf("%s of %s: %q, want %q", c.transaction, c.message, got, c.want)
		}
	}
	for _, c := range []struct {
		raw  []byte
		want string
	}{
		{raw, "ACSC, RJCT insufficient_funds"},
		{pacs008("M-1", pay("T-1", "77"), pay("T-8", "1")), "ACSC, unknown"},
		{about("pacs.028.001.03", "A-1", "M-1", "T-2"), "RJCT insufficient_funds"},
		{about("camt.056.001.08", "A-1", "M-2", "T-3"), "ACSP"},
	} {
		_, items, err := g.FindAll(t.Context(), c.raw)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, i := range items {
			all = append(all, foundWords(i))
		}
		if got := strings.Join(all, ", "); got != c.want {
			t.Errorf("%.120s: %q, want %q", c.raw, got, c.want)
		}
	}
	if _, _, err := g.FindAll(t.Context(), []byte("<x/>")); err == nil {
		t.Error("what is no message is looked for")
	}
	if b.requests != requests {
		t.Error("to look asks the ledger for something")
	}
}

func foundWords(i *Item) string {
	if i == nil {
		return "unknown"
	}
	return strings.TrimSpace(i.Code + " " + i.Name)
}
