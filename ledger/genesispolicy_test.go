package ledger_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

// TestAgrees: a genesis and a policy agree only if origin, keys and quorum are the same.
func TestAgrees(t *testing.T) {
	const origin = "ledger.example/payments"
	key := func(name string) *tlog.VerifierKey {
		secret, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tlog.NewCosigner(name, secret)
		if err != nil {
			t.Fatal(err)
		}
		return c.Key()
	}
	log := key(origin)
	nodes := []*tlog.VerifierKey{key("c/n1"), key("c/n2"), key("c/n3")}
	stranger := key("c/n3") // the same name, another key
	genesis := func(quorum uint32, members ...*tlog.VerifierKey) *ledger.Genesis {
		g := &ledger.Genesis{Origin: origin, SealQuorum: quorum, LogKeys: []string{log.String()}}
		for i, m := range members {
			g.Members = append(g.Members, ledger.Member{ID: uint64(i + 1), Name: fmt.Sprint("n", i+1), Cosigner: m.String()})
		}
		return g
	}
	policy, err := tlog.NewPolicy([]*tlog.VerifierKey{log}, nodes, 2)
	if err != nil {
		t.Fatal(err)
	}
	otherLog, err := tlog.NewPolicy([]*tlog.VerifierKey{key(origin)}, nodes, 2)
	if err != nil {
		t.Fatal(err)
	}
	nested, err := tlog.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness a %s\nwitness b %s\nwitness c %s\ngroup g any a b\ngroup all all g c\nquorum all\n", log, nodes[0], nodes[1], nodes[2]))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		g      *ledger.Genesis
		origin string
		policy *tlog.Policy
		says   string
	}{
		"the same":                  {genesis(2, nodes...), origin, policy, ""},
		"the same in another order": {genesis(2, nodes[2], nodes[0], nodes[1]), origin, policy, ""},
		"another origin":            {genesis(2, nodes...), "ledger.example/other", policy, `of ledger "ledger.example/payments", not of "ledger.example/other"`},
		"another log key":           {genesis(2, nodes...), origin, otherLog, "no log key of the genesis"},
		"a larger quorum":           {genesis(3, nodes...), origin, policy, "sealed by 3 of its 3 members, the policy demands 2 of 3"},
		"a smaller quorum":          {genesis(1, nodes...), origin, policy, "sealed by 1 of its 3 members, the policy demands 2 of 3"},
		"fewer members":             {genesis(2, nodes[:2]...), origin, policy, "counts the cosigner key c/n3, which is no member's"},
		"more members":              {genesis(2, append(nodes[:3:3], key("c/n4"))...), origin, policy, "lacks the cosigner key c/n4 of a member"},
		"another key":               {genesis(2, nodes[0], nodes[1], stranger), origin, policy, "counts the cosigner key c/n3, which is no member's"},
		"a quorum of groups":        {genesis(2, nodes...), origin, nested, "the policy demands 0 of 3"},
	} {
		err := tc.g.Agrees(tc.origin, tc.policy)
		if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}
