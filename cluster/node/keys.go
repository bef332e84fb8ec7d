package node

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/pqcrypto/seal"
)

// LogKeyLabel is what the sealed log key's file says the key is for: only a file
// made for this ledger opens as its log key.
func LogKeyLabel(origin string) string { return "cairn log key of " + origin }

// keyring is everything that the node signs and authenticates with.
type keyring struct {
	identity *pki.Identity
	roots    *pki.Pool
	log      *tlog.Cosigner // name = origin
	cosigner *tlog.Cosigner // name = origin/node
	voters   map[uint64]*tlog.VerifierKey
	members  map[pki.ID]uint64
}

func loadKeys(c *Config) (*keyring, error) {
	k := &keyring{voters: map[uint64]*tlog.VerifierKey{}, members: map[pki.ID]uint64{}}
	var err error
	cluster, err := c.clusterID()
	if err != nil {
		return nil, err
	}
	if k.identity, err = loadIdentity(c); err != nil {
		return nil, err
	}
	if k.roots, err = pki.LoadPool(c.Keys.Roots); err != nil {
		return nil, errors.Wrap(err, "keys.roots")
	}
	cosignerKey, err := readSigningKey(c.Keys.Cosigner)
	if err != nil {
		return nil, errors.Wrap(err, "keys.cosigner")
	}
	if k.cosigner, err = tlog.NewCosigner(c.Origin+"/"+c.Name, cosignerKey); err != nil {
		return nil, errors.Wrap(err, "keys.cosigner")
	}
	sealing, err := seal.ReadKeyFile(c.Keys.Sealing)
	if err != nil {
		return nil, errors.Wrap(err, "keys.sealing")
	}
	opened, err := seal.OpenKeyFile(sealing, LogKeyLabel(c.Origin), c.Keys.LogKey)
	if err != nil {
		return nil, errors.Wrap(err, "keys.log_key: open it with keys.sealing")
	}
	logKey, ok := opened.(*pqcrypto.SigningKey)
	if !ok {
		return nil, errors.Newf("keys.log_key: holds a %T, want an ML-DSA-44 signing key", opened)
	}
	if k.log, err = tlog.NewCosigner(c.Origin, logKey); err != nil {
		return nil, errors.Wrap(err, "keys.log_key")
	}
	for _, m := range c.Members {
		key, err := tlog.ParseVerifierKey(m.Cosigner)
		if err != nil {
			return nil, errors.Wrapf(err, "cosigner of member %s", m.Name)
		}
		k.voters[m.ID] = key
		k.members[pki.NodeID(c.TrustDomain, cluster, m.Name)] = m.ID
		if m.Name == c.Name && key.String() != k.cosigner.Key().String() {
			return nil, errors.Newf("keys.cosigner: the key does not match this node's row of members")
		}
	}
	return k, nil
}

// loadIdentity reads what the node authenticates with.
func loadIdentity(c *Config) (*pki.Identity, error) {
	id, err := pki.LoadIdentity(c.Keys.Certificate, c.Keys.Key, c.Keys.KEMCertificate, c.Keys.KEMKey)
	if err != nil {
		return nil, errors.Wrap(err, "load the node's identity")
	}
	cluster, err := c.clusterID()
	if err != nil {
		return nil, err
	}
	want := pki.NodeID(c.TrustDomain, cluster, c.Name)
	if got := id.Leaf().ID; got != want {
		return nil, errors.Newf("keys.certificate: it is for %s, this node is %s", got, want)
	}
	if !id.Leaf().Roles.Has(pki.RolePeer) {
		return nil, errors.Newf("keys.certificate: %s lacks the role peer", want)
	}
	return id, nil
}

// loadPolicy reads the policy and makes sure that it demands as many cosignatures as seal a
// checkpoint: with fewer, a verifier accepts what this node does not; with more, no receipt of this
// cluster verifies.
func loadPolicy(c *Config) (*tlog.Policy, error) {
	policy, err := tlog.LoadPolicy(c.Policy)
	if err != nil {
		return nil, errors.Wrap(err, "policy")
	}
	want, err := c.sealQuorum()
	if err != nil {
		return nil, err
	}
	if got, _ := policy.Threshold(); got > 0 && got != want {
		return nil, errors.Newf("policy: %s demands %d cosignatures, seal.quorum of %d members is %s, which is %d: make them agree, on every node",
			c.Policy, got, len(c.Members), c.Seal.Quorum, want)
	}
	return policy, nil
}

func readSigningKey(path string) (*pqcrypto.SigningKey, error) {
	k, err := pqcrypto.ReadKeyFile(path)
	if err != nil {
		return nil, err
	}
	key, ok := k.(*pqcrypto.SigningKey)
	if !ok {
		return nil, errors.Newf("%s holds a %T, want an ML-DSA signing key", path, k)
	}
	return key, nil
}
