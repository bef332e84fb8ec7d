package iso20022

import (
	"os"
	"reflect"
	"testing"

	"github.com/cairnledger/cairn/settlement/iso20022/xmltree"
)

// FuzzDecode: whatever the bytes are, Check answers with well-formed findings, and the same again.
// A message that is taken is the same when it is written anew. Without an error no two identities
// are equal.
func FuzzDecode(f *testing.F) {
	for _, folder := range []string{"valid", "invalid", "hostile"} {
		for _, file := range corpus(f, folder) {
			raw, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		rules := corpusRules
		rules.Limits = xmltree.Limits{Bytes: 1 << 16, Elements: 2000}
		m, findings := Check(raw, rules)
		for i, found := range findings {
			if found.Rule == "" || found.Text == "" || found.Line < 1 || found.Column < 1 {
				t.Fatalf("%q: finding %d is %+v", raw, i, found)
			}
			if found.Transaction < -1 || m == nil && found.Transaction >= 0 || m != nil && found.Transaction >= len(m.Transactions) {
				t.Fatalf("%q: finding %d is about the transaction %d", raw, i, found.Transaction)
			}
		}
		if m == nil {
			if len(findings) == 0 {
				t.Fatalf("%q is refused without a finding", raw)
			}
			return
		}
		root, err := xmltree.Parse(raw, rules.Limits)
		if err != nil {
			t.Fatal(err)
		}
		if written, err := xmltree.Write(root); err == nil {
			again, _, refused := decode(written, xmltree.Limits{})
			if refused != nil {
				t.Fatalf("%q is read, but not when written as %q: %v", raw, written, refused)
			}
			if got, want := placeless(again), placeless(m); !reflect.DeepEqual(got, want) {
				t.Fatalf("%q\nwritten as %q\ngot  %+v\nwant %+v", raw, written, got, want)
			}
		}
		seen := map[string]bool{}
		for _, id := range m.Identify("p", "r") {
			if key := id.Key(); !rejectedAtAll(findings) && seen[key] {
				t.Fatalf("%q has the identity %s twice, and no error", raw, key)
			} else {
				seen[key] = true
			}
		}
	})
}

func rejectedAtAll(findings []Finding) bool {
	for _, f := range findings {
		if f.Severity == Error {
			return true
		}
	}
	return false
}

// placeless is a message without lines.
func placeless(m *Message) *Message {
	m.Transactions = append([]Transaction(nil), m.Transactions...)
	for i := range m.Transactions {
		m.Transactions[i].Line = 0
	}
	m.Groups = append([]Group(nil), m.Groups...)
	for i := range m.Groups {
		m.Groups[i].Line = 0
	}
	if m.Securities != nil {
		s := *m.Securities
		s.Line = 0
		m.Securities = &s
	}
	return m
}
