package client_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
)

// TestPolicies: the published receipts are accepted and refused under the policy of their size, and
// so are the published chains.
func TestPolicies(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../ledger/policychain/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	type vector struct{ Name, Chain, Receipt, Says string }
	var v struct {
		Policy, Chain     string
		Accepted, Refused []vector
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	trusted, err := client.ParsePolicy([]byte(v.Policy))
	if err != nil {
		t.Fatal(err)
	}
	policies, err := client.ParsePolicies([]byte(v.Chain), trusted)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Accepted {
		r, err := client.VerifyOfflineUnder([]byte(c.Receipt), policies)
		if err != nil || r.Sealed().Size <= r.Entry().Index {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	for _, c := range v.Refused {
		if c.Chain != "" {
			_, err = client.ParsePolicies([]byte(c.Chain), trusted)
		} else {
			_, err = client.VerifyOfflineUnder([]byte(c.Receipt), policies)
		}
		var bad *client.VerificationError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.Says) {
			t.Errorf("%s: %v, want a *VerificationError with %q", c.Name, err, c.Says)
		}
	}
	if _, err := client.ParsePolicies([]byte(v.Chain), nil); err == nil {
		t.Error("a chain is accepted without trust in any policy")
	}
}
