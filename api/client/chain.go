package client

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger/policychain"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Policies are those of a ledger from a trusted one on: what a chain of policies proves.
type Policies = policychain.Verified

// ParsePolicies parses a chain of policies and verifies it for who trusts a policy of it: that of
// the ledger's genesis, or any later one. The error is a *VerificationError.
func ParsePolicies(chain []byte, trusted *Policy) (*Policies, error) {
	bad := func(err error) (*Policies, error) {
		return nil, &VerificationError{What: "chain of policies", Err: err}
	}
	if trusted == nil {
		return bad(errors.New("there is no policy to verify it with"))
	}
	c, err := policychain.Parse(chain)
	if err != nil {
		return bad(err)
	}
	p, err := c.Verify(trusted)
	if err != nil {
		return bad(err)
	}
	return p, nil
}

// VerifyOfflineUnder is VerifyOffline under the policy of the receipt's size. So a receipt from
// before a change of members or keys stays valid, and one that was made with old keys after it is
// refused.
func VerifyOfflineUnder(receipt []byte, policies *Policies) (*Receipt, error) {
	bad := func(err error) (*Receipt, error) { return nil, &VerificationError{What: "receipt", Err: err} }
	parsed, err := tlog.ParseReceipt(receipt)
	if err != nil {
		return bad(err)
	}
	cp, _, err := policies.VerifyCheckpoint(parsed.Checkpoint)
	if err != nil {
		return bad(err)
	}
	r, err := proved(parsed, cp)
	if err != nil {
		return bad(err)
	}
	return r, nil
}
