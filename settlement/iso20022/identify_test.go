package iso20022

import (
	"os"
	"strings"
	"testing"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name + ".xml")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func decoded(t *testing.T, name string) *Message {
	t.Helper()
	m, err := Decode(read(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

// TestSameMessage: a message that comes again has the same identities and fingerprints, whatever
// its white space and envelope; a conflict has the same identities and another fingerprint; a
// message that shares nothing but the UETR has other identities.
func TestSameMessage(t *testing.T) {
	first := decoded(t, "valid/pacs008-single")
	id := first.Identify("bank-a", "rail-1")[0]
	for name, c := range map[string]struct{ identity, body bool }{
		"valid/pacs008-single":             {true, true},
		"valid/pacs008-same-id-again":      {true, true},
		"valid/pacs008-bom-crlf":           {true, true},
		"valid/env-businessmessage":        {true, true},
		"valid/env-prefixes":               {true, true},
		"valid/pacs008-same-id-other-body": {true, false},
		"valid/pacs008-v10":                {true, false},
		"valid/pacs009-uetr-of-another":    {false, false},
	} {
		m := decoded(t, name)
		if got := m.Identify("bank-a", "rail-1")[0] == id; got != c.identity {
			t.Errorf("%s: same identity is %v, want %v: %v", name, got, c.identity, m.Identify("bank-a", "rail-1"))
		}
		if got := m.Fingerprint == first.Fingerprint; got != c.body {
			t.Errorf("%s: same fingerprint is %v, want %v", name, got, c.body)
		}
		if got := m.Transactions[0].Fingerprint == first.Transactions[0].Fingerprint; got != c.body {
			t.Errorf("%s: same fingerprint of the transaction is %v, want %v", name, got, c.body)
		}
	}
	if id == first.Identify("bank-b", "rail-1")[0] || id == first.Identify("bank-a", "rail-2")[0] {
		t.Error("another participant or rail has the same identity")
	}
}

// TestFingerprintDepends: everything that Document says changes the fingerprint.
func TestFingerprintDepends(t *testing.T) {
	raw := string(read(t, "valid/pacs008-single"))
	seen := map[[32]byte]string{decoded(t, "valid/pacs008-single").Fingerprint: "the message"}
	for _, c := range [][2]string{
		{">1250.50</IntrBk", ">1250.51</IntrBk"}, {`<IntrBkSttlmAmt Ccy="EUR">`, `<IntrBkSttlmAmt Ccy="USD">`},
		{"INSTR-0001", "INSTR-0002"}, {"<Ustrd>Invoice 4711</Ustrd><Ustrd>Customer 88</Ustrd>", "<Ustrd>Invoice 4711Customer 88</Ustrd>"},
		{"<Purp><Cd>SUPP</Cd></Purp>", ""}, {"<Purp><Cd>SUPP</Cd></Purp>", "<Purp><Prtry>SUPP</Prtry></Purp>"},
		{"<Ustrd>Invoice 4711</Ustrd><Ustrd>Customer 88</Ustrd>", "<Ustrd>Customer 88</Ustrd><Ustrd>Invoice 4711</Ustrd>"},
	} {
		m, err := Decode([]byte(strings.Replace(raw, c[0], c[1], 1)))
		if err != nil {
			t.Fatal(err)
		}
		if other, found := seen[m.Fingerprint]; found {
			t.Errorf("%s has the fingerprint of %s", c[1], other)
		}
		seen[m.Fingerprint] = c[1]
	}
}

// TestKey: keys are identifiers of the settlement program, and different identities have different
// keys.
func TestKey(t *testing.T) {
	long := strings.Repeat("x", 100)
	identities := []Identity{
		{},
		{"p", "r", "pacs.008", "M", "TxId=T"},
		{"p", "r", "pacs.008", "M", "InstrId=T"},
		{"p", "r", "pacs.009", "M", "TxId=T"},
		{"p/r", "", "pacs.008", "M", "TxId=T"},
		{"p", "/r", "pacs.008", "M", "TxId=T"},
		{"p%2Fr", "", "pacs.008", "M", "TxId=T"},
		{"p", "r", "pacs.008", "M ", "TxId=T"},
		{"p", "r", "pacs.008", "M\u00a0", "TxId=T"},
		{"p", "r", "pacs.008", "日本", "TxId=Ä"},
		{long, long, "pacs.008", "M", "TxId=T"},
		{long, long, "pacs.008", "M", "TxId=U"},
		{"sha256:", "", "", "", ""},
		{"sha256", "", "", "", ""},
	}
	seen := map[string]Identity{}
	for _, id := range identities {
		key := id.Key()
		if len(key) < 1 || len(key) > 200 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%+v: %q is no identifier", id, key)
		}
		if other, found := seen[key]; found {
			t.Errorf("%+v and %+v have the key %s", id, other, key)
		}
		seen[key] = id
	}
	if got, want := (Identity{"bank a", "r", "pacs.008", "M/1", "#2"}).Key(), "bank%20a/r/pacs.008/M%2F1/#2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestIdentifyKinds: returns and the like are identified by what their message calls them.
func TestIdentifyKinds(t *testing.T) {
	for name, want := range map[string][]string{
		"valid/pacs004-return":             {"OwnId=R-1", "OwnId=R-2"},
		"valid/pacs002-part":               {"OwnId=S1", "OrgnlTxId=B42-T3"},
		"valid/pacs028-request":            {"OwnId=Q1"},
		"valid/camt056-cancel":             {"OwnId=C-1"},
		"valid/camt056-group":              {"Group=G-1"},
		"valid/sese023-deliver":            {"TxId=SEC-0001"},
		"valid/pacs008-no-transaction-id":  {"#1", "TxId=B42-T2", "TxId=B42-T3"},
		"invalid/end-to-end-twice-alone":   {"EndToEndId=SAME", "EndToEndId=SAME", "TxId=B42-T3"},
		"valid/pacs008-same-id-other-body": {"TxId=TX-0001"},
	} {
		m := decoded(t, name)
		ids := m.Identify("p", "r")
		if len(ids) != len(want) {
			t.Errorf("%s: got %v, want %v", name, ids, want)
			continue
		}
		for i, id := range ids {
			if id.Transaction != want[i] || id.Message != m.ID || id.Type != m.Type() {
				t.Errorf("%s: got %+v, want %s", name, id, want[i])
			}
		}
	}
}
