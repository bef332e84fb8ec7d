package audit

import (
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// TestHandoverByBothSides: the entry that ends a hand-over shows a checkpoint that the policy before
// and the new one have signed. Anything else is a finding. An audit that has not read the policy
// before asks for the new one's signatures.
func TestHandoverByBothSides(t *testing.T) {
	t.Parallel()
	const origin = "example.org/ledger"
	cosigner := func(name string) *tlog.Cosigner {
		key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tlog.NewCosigner(name, key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	log, old, next := cosigner(origin), cosigner(origin+"/n1"), cosigner(origin+"/n1")
	note := func(by ...*tlog.Cosigner) []byte {
		cp := tlog.Checkpoint{Origin: origin, Size: 9}
		n := tlog.Note{Text: cp.Text()}
		for _, c := range append([]*tlog.Cosigner{log}, by...) {
			sig, err := c.Cosign(cp, 1)
			if err != nil {
				t.Fatal(err)
			}
			n.Signatures = append(n.Signatures, sig)
		}
		return n.Marshal()
	}
	leafOf := func(body []byte, err error) (leaf, _ []byte) {
		if err != nil {
			t.Fatal(err)
		}
		e := ledger.Entry{Kind: ledger.KindRecord, Time: 1, Principal: "p", Body: body}
		return e.AppendLeaf(nil), body
	}
	g := &ledger.Genesis{FeatureLevel: 1, Origin: origin, Program: "log", ProgramVersion: 1, LogKeys: []string{log.Key().String()}, SealQuorum: 1,
		Members: []ledger.Member{{ID: 1, Name: "n1", Cosigner: old.Key().String()}}}
	c := &ledger.PolicyChange{Policy: *g.Policy0(), Reason: ledger.PolicyRotateCosigner}
	c.Policy.Epoch = 1
	c.Policy.Members = []ledger.PolicyMember{{Member: ledger.Member{ID: 1, Name: "n1", Cosigner: next.Key().String()}}}
	handover := func(epoch uint32, by ...*tlog.Cosigner) (leaf, body []byte) {
		b, err := ledger.HandoverBatch("n1", ledger.Handover{Epoch: epoch, Note: note(by...)})
		if err != nil {
			t.Fatal(err)
		}
		return leafOf(b.Entries[0].Body, nil)
	}
	for name, tc := range map[string]struct {
		resumed bool
		epoch   uint32
		by      []*tlog.Cosigner
		says    string
	}{
		"both":                       {false, 1, []*tlog.Cosigner{old, next}, ""},
		"the new key alone":          {false, 1, []*tlog.Cosigner{next}, "policy of epoch 0"},
		"the old key alone":          {false, 1, []*tlog.Cosigner{old}, "policy of epoch 1"},
		"another epoch":              {false, 2, []*tlog.Cosigner{old, next}, "the newest change is to epoch 1"},
		"resumed, both":              {true, 1, []*tlog.Cosigner{old, next}, ""},
		"resumed, the old key alone": {true, 1, []*tlog.Cosigner{old}, "policy of epoch 1"},
	} {
		var took []uint32
		p := policies{origin: origin, tookOver: func(p *ledger.Policy) { took = append(took, p.Epoch) }}
		if !tc.resumed {
			leaf, body := leafOf(g.Marshal())
			if err := p.record(0, leaf, body); err != nil {
				t.Fatal(err)
			}
		}
		leaf, body := leafOf(c.Marshal())
		if err := p.record(7, leaf, body); err != nil {
			t.Fatal(err)
		}
		leaf, body = handover(tc.epoch, tc.by...)
		err := p.record(9, leaf, body)
		if tc.says == "" && (err != nil || len(took) != 1 || took[0] != 1) {
			t.Errorf("%s: %v, took over: %v", name, err, took)
		}
		if tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says) || len(took) > 0) {
			t.Errorf("%s: %v, took over: %v; want an error with %q", name, err, took, tc.says)
		}
	}
}
