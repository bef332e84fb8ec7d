package workload

import (
	"testing"

	"github.com/cairnledger/cairn/ledger"
)

// TestBegins: a ledger's first entry has to be the genesis of its origin. A record that comes later
// is for others to judge.
func TestBegins(t *testing.T) {
	genesis := func(origin string) []byte {
		g := &ledger.Genesis{
			FeatureLevel: 1, Origin: origin, Program: "log", ProgramVersion: 1, LogKeys: []string{"log"},
			Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: "c1"}}, SealQuorum: 1,
		}
		body, err := g.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	for name, c := range map[string]struct {
		at    uint64
		kind  ledger.Kind
		body  []byte
		begun bool
		want  bool // an error
	}{
		"the genesis":         {0, ledger.KindRecord, genesis("a.example"), true, false},
		"another origin's":    {0, ledger.KindRecord, genesis("b.example"), false, true},
		"another record":      {0, ledger.KindRecord, []byte("record"), false, true},
		"an append":           {0, ledger.KindPayload, []byte("payload"), false, true},
		"a genesis elsewhere": {1, ledger.KindRecord, genesis("a.example"), false, false},
	} {
		batch := ledger.Batch{Principal: "p", Entries: []ledger.NewEntry{{Kind: c.kind, Body: c.body}}}
		raw, err := ledger.EncodeBlock(ledger.Anchor{}, 1, []ledger.Batch{batch})
		if err != nil {
			t.Fatal(err)
		}
		block, err := ledger.ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		leaf := block.Batches[0].Entries[0].Encoded
		if begun, err := begins(c.at, leaf, "a.example"); begun != c.begun || (err != nil) != c.want {
			t.Errorf("%s: %t, %v; want %t, an error: %t", name, begun, err, c.begun, c.want)
		}
	}
}
