package main

import (
	"context"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/policychain"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// verifier is what receipts and checkpoints have to meet, and how the command came to it: a policy, or
// with a chain of policies each for its sizes.
type verifier struct {
	*tlog.Policy // that is trusted
	// chain leads from the trusted policy to the later ones; nil where none was given.
	chain  *client.Policies
	origin string // of the ledger that is meant; "" where no command line and no environment names one
	// from is the origin of the ledger whose policy file the policy is derived from; "" where the
	// file lists a log of the ledger itself.
	from string
	// confirmed: the ledger's genesis says what a derived policy demands.
	confirmed bool
	// stale: a checkpoint was refused that is signed by keys which no known policy has.
	stale bool
}

// Verify implements tlog.Verifier.
func (v *verifier) Verify(note []byte) (*tlog.VerifiedCheckpoint, error) {
	var by tlog.Verifier = v.Policy
	if v.chain != nil {
		by = v.chain
	}
	cp, err := by.Verify(note)
	return cp, v.explain(err, note)
}

// VerifyReceipt implements tlog.Verifier.
func (v *verifier) VerifyReceipt(r *tlog.Receipt) (*tlog.VerifiedCheckpoint, error) {
	var by tlog.Verifier = v.Policy
	if v.chain != nil {
		by = v.chain
	}
	cp, err := by.VerifyReceipt(r)
	return cp, v.explain(err, r.Checkpoint)
}

// errStale marks the refusal of a checkpoint that is signed by keys which no known policy has: the
// policy may only be older than the checkpoint.
var errStale = errors.New("the policy may be older than the checkpoint")

func (v *verifier) explain(err error, note []byte) error {
	if !errors.IsAny(err, tlog.ErrQuorum, tlog.ErrNoLogSignature) {
		return err
	}
	all := []*tlog.Policy{v.Policy}
	if v.chain != nil {
		for i := range v.chain.Steps {
			all = append(all, v.chain.Steps[i].Policy)
		}
	}
	strangers := policychain.Strangers(note, all...)
	if len(strangers) == 0 {
		return err
	}
	for i, s := range strangers {
		strangers[i] = printable(s)
	}
	v.stale = true
	return errors.Mark(errors.Wrapf(err, "it is signed by keys that the policy does not have, %s", strings.Join(strangers, ", ")), errStale)
}

// at returns the policy of a size that has been verified, and its epoch, which only a chain tells.
func (v *verifier) at(size uint64) (*tlog.Policy, *uint32) {
	if v.chain != nil {
		if step, err := v.chain.At(size); err == nil {
			epoch := step.Epoch()
			return step.Policy, &epoch
		}
	}
	return v.Policy, nil
}

// knows reports whether a policy of the ledger is among those that it judges by.
func (v *verifier) knows(origin string, p *ledger.Policy) bool {
	if v.chain == nil {
		return p.Agrees(origin, v.Policy) == nil
	}
	return slices.ContainsFunc(v.chain.Steps, func(s policychain.Step) bool { return s.Epoch() == p.Epoch && s.Says.Equal(p) })
}

// chainNext says how to come to a later policy.
const chainNext = "if keys or members of the ledger have changed since: `cairn policy chain -o FILE` gets the chain of policies with a profile; pass it with --chain FILE, beside the policy that you trust"

// refused gives a refusal its code, and says what to do.
func refused(err error) error {
	if errors.Is(err, errStale) {
		return fail(exitRefused, chainNext, err)
	}
	return fail(exitRefused, refusedNext, err)
}

// policy loads the policy, of the command line, the environment or the profile, and what --chain
// names.
func (a *app) policy() (*verifier, error) {
	v, err := a.trustedPolicy()
	if err != nil || a.chainPath == "" {
		return v, err
	}
	raw, err := readFile(a.chainPath, policychain.MaxSize)
	if err != nil {
		return nil, fail(exitUsage, "", errors.Wrap(err, "--chain"))
	}
	if v.chain, err = client.ParsePolicies(raw, v.Policy); err != nil {
		return nil, fail(exitRefused, "get the chain again with `cairn policy chain`, and check that the policy is one that you trust for this ledger", errors.Wrap(err, printable(a.chainPath)))
	}
	v.confirmed = true // the chain begins with the genesis
	return v, nil
}

func (a *app) trustedPolicy() (*verifier, error) {
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
