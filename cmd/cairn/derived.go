package main

import (
	"context"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// verifier is the policy that receipts and checkpoints have to meet, and how the command came to
// it.
type verifier struct {
	*tlog.Policy
	origin string // of the ledger that is meant; "" where no command line and no environment names one
	// from is the origin of the ledger whose policy file the policy is derived from; "" where the
	// file lists a log of the ledger itself.
	from string
	// confirmed: the ledger's genesis says what a derived policy demands.
	confirmed bool
}

// policy loads the policy: of the command line, the environment, or the profile.
func (a *app) policy() (*verifier, error) {
	path := a.policyPath
	if path == "" && a.profilePath != "" {
		p, err := loadProfile(a.profilePath)
		if err != nil {
			return nil, err
		}
		path = p.Policy
	}
	if path == "" {
		return nil, failf(exitUsage, "pass --policy FILE: a tlog-policy file from somebody you trust, not from who gave you the receipt",
			"no policy: CAIRN_POLICY is not set and there is no --policy")
	}
	p, err := readPolicy(path)
	if err != nil {
		return nil, err
	}
	if a.ledger == "" || a.policyAsIs {
		return &verifier{Policy: p}, nil
	}
	// The log key is one key of the cluster: under each origin it is that ledger's.
	v := &verifier{origin: a.ledger}
	if v.Policy, err = p.For(a.ledger); err != nil {
		return nil, fail(exitUsage, "", err)
	}
	if logs := p.Logs(); !slices.ContainsFunc(logs, func(k *tlog.VerifierKey) bool { return k.Name() == a.ledger }) {
		v.from = logs[0].Name()
	}
	return v, nil
}

const otherPolicyNext = "do not rely on what verifies with the derived policy: `cairn policy export` writes that of the genesis, for somebody who trusts the ledger's nodes"

// confirm compares a derived policy with the ledger's genesis, which stands in the leaf of entry 0.
// The leaf is proved under a checkpoint that the policy accepts. The error has the code for
// refusal.
func (v *verifier) confirm(leaf []byte) error {
	if v.from == "" {
		return nil
	}
	g, err := ledger.GenesisOf(leaf)
	if err == nil {
		err = g.Agrees(v.origin, v.Policy)
	}
	if err != nil {
		return fail(exitRefused, otherPolicyNext, errors.Wrapf(err, "the policy that was derived from that of %s is not that of the ledger", printable(v.from)))
	}
	v.confirmed = true
	return nil
}

// confirmOnline gets the genesis from the nodes of the profile, with its receipt.
func (v *verifier) confirmOnline(ctx context.Context, c *client.Client) error {
	if v.from == "" || v.confirmed {
		return nil
	}
	r, err := c.Receipt(ctx, 0)
	if err != nil {
		return errors.Wrap(err, "get the receipt of the genesis")
	}
	return v.confirm(r.Extra)
}

// derivation is where a policy comes from, in a result. It is absent for a policy that was given as
// it is.
type derivation struct {
	// PolicyFrom is the origin of the ledger whose policy was given, and the policy derived from
	// it.
	PolicyFrom string `json:"policy_derived_from,omitempty"`
	// Confirmed says whether the genesis of the ledger says what the derived policy demands.
	Confirmed *bool `json:"policy_confirmed_by_genesis,omitempty"`
}

func (v *verifier) derivation() derivation {
	if v.from == "" {
		return derivation{}
	}
	confirmed := v.confirmed
	return derivation{PolicyFrom: v.from, Confirmed: &confirmed}
}

// pairs are the lines of a text. how says how to have an unconfirmed policy compared.
func (d derivation) pairs(how string) []string {
	switch {
	case d.PolicyFrom == "":
		return nil
	case *d.Confirmed:
		return []string{"  derived", "from the policy of " + printable(d.PolicyFrom) + "; the ledger's genesis agrees"}
	}
	return []string{"  derived", doubtful("from the policy of "+printable(d.PolicyFrom)+", and not compared with the ledger's genesis") + how}
}
