package ledger

import (
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/tlog"
)

// Policy returns the policy of a verifier who trusts the genesis: a checkpoint counts with the
// log's line and the cosignatures of SealQuorum members.
func (g *Genesis) Policy() (*tlog.Policy, error) {
	var logs, members []*tlog.VerifierKey
	add := func(to *[]*tlog.VerifierKey, vkey string) error {
		k, err := tlog.ParseVerifierKey(vkey)
		*to = append(*to, k)
		return err
	}
	for _, vkey := range g.LogKeys {
		if err := add(&logs, vkey); err != nil {
			return nil, errors.Wrap(err, "genesis: log key")
		}
		if name := logs[len(logs)-1].Name(); name != g.Origin {
			return nil, errors.Newf("genesis: a log key is named %q, the ledger is %q", name, g.Origin)
		}
	}
	for _, m := range g.Members {
		if err := add(&members, m.Cosigner); err != nil {
			return nil, errors.Wrapf(err, "genesis: cosigner key of %s", m.Name)
		}
	}
	return tlog.NewPolicy(logs, members, int(g.SealQuorum))
}

// Agrees says what a policy for the ledger of this origin demands otherwise than the genesis says:
// another origin, a log key or a cosigner key that the genesis does not have, too few of the
// members' keys, or another quorum. It is nil when nothing differs. Names and the order of the keys
// do not count.
func (g *Genesis) Agrees(origin string, policy *tlog.Policy) error {
	if g.Origin != origin {
		return errors.Newf("it is the genesis of ledger %q, not of %q", g.Origin, origin)
	}
	if !slices.ContainsFunc(policy.Logs(), func(k *tlog.VerifierKey) bool { return slices.Contains(g.LogKeys, k.String()) }) {
		return errors.New("the policy has no log key of the genesis")
	}
	var members []string
	for _, m := range g.Members {
		members = append(members, m.Cosigner)
	}
	for _, k := range policy.Cosigners() {
		at := slices.Index(members, k.String())
		if at < 0 {
			return errors.Newf("the policy counts the cosigner key %s, which is no member's", k.Name())
		}
		members = slices.Delete(members, at, at+1)
	}
	if len(members) > 0 {
		name, _, _ := strings.Cut(members[0], "+")
		return errors.Newf("the policy lacks the cosigner key %s of a member", name)
	}
	if needed, of := policy.Threshold(); uint64(needed) != uint64(g.SealQuorum) || of != len(g.Members) {
		return errors.Newf("the ledger is sealed by %d of its %d members, the policy demands %d of %d", g.SealQuorum, len(g.Members), needed, of)
	}
	return nil
}
