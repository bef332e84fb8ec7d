package node

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/signer"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	keyseal "github.com/cairnledger/cairn/pqcrypto/seal"
)

// pageKey derives from the log key, which all nodes have, the secret that seals where the next page
// of a list begins.
func pageKey(log *pqcrypto.SigningKey) []byte {
	key, err := hkdf.Key(sha256.New, log.Seed(), nil, "cairn/page/v1", 32)
	if err != nil {
		panic(err) // of 32 bytes it never fails
	}
	return key
}

// LogKeyLabel is what the sealed log key's file says the key is for: only a file made for the
// cluster with this directory opens as its log key.
func LogKeyLabel(directory string) string { return "cairn log key of " + directory }

// keyring is everything that the node signs and authenticates with.
type keyring struct {
	identity *pki.Identity
	// roots are those of the start; after a reload node.roots are in force.
	roots *pki.Pool
	// log is the cluster's log key. Under the origin of each ledger it signs that ledger's
	// checkpoints (logCosigner).
	log *pqcrypto.SigningKey
	// cosigners are this node's, for all ledgers: a signature covers the origin. The first one is
	// keys.cosigner or keys.signer, the second one, if there is one, keys.cosigner_next.
	cosigners []seal.Cosigner
	signer    *signer.Client // the first of cosigners, if keys.signer is set
	// voters are the cosigner keys of the founders.
	voters map[uint64]*tlog.VerifierKey
}

func loadKeys(c *Config) (*keyring, error) {
	k := &keyring{voters: map[uint64]*tlog.VerifierKey{}}
	var err error
	if k.identity, err = loadIdentity(c); err != nil {
		return nil, err
	}
	if k.roots, err = loadRoots(c); err != nil {
		return nil, err
	}
	// Nobody would accept the node otherwise. Time may heal the rest, and the log warns of it.
	switch err := leadsTo(k.identity, k.roots); pki.ReasonOf(err) {
	case "", pki.ReasonExpired, pki.ReasonNotYetValid, pki.ReasonRevoked:
	default:
		return nil, errors.Wrap(err, "keys.certificate, keys.kem_certificate: they do not lead to keys.roots")
	}
	sealing, err := keyseal.ReadKeyFile(c.Keys.Sealing)
	if err != nil {
		return nil, errors.Wrap(err, "keys.sealing")
	}
	opened, err := keyseal.OpenKeyFile(sealing, LogKeyLabel(c.Directory), c.Keys.LogKey)
	if err != nil {
		return nil, errors.Wrap(err, "keys.log_key: open it with keys.sealing")
	}
	logKey, ok := opened.(*pqcrypto.SigningKey)
	if !ok {
		return nil, errors.Newf("keys.log_key: holds a %T, want an ML-DSA-44 signing key", opened)
	}
	k.log = logKey
	if _, err := k.logCosigner(c.Directory); err != nil {
		return nil, errors.Wrap(err, "keys.log_key")
	}
	for _, m := range c.Members {
		if k.voters[m.ID], err = tlog.ParseVerifierKey(m.Cosigner); err != nil {
			return nil, errors.Wrapf(err, "cosigner of member %s", m.Name)
		}
	}
	key, err := tlog.ParseVerifierKey(c.Self().Cosigner)
	if err != nil {
		return nil, errors.Wrapf(err, "cosigner of %s", c.Name)
	}
	if err := k.loadCosigners(c, key); err != nil {
		return nil, err
	}
	return k, nil
}

// loadCosigners reads this node's cosigner keys. row is the key of its row of members, which it had
// when the cluster was made. Since then it may have been replaced: whether the keys are those that
// the policies name is known when the directory is open (hosting.checkCosigners). A node that has no
// data directory yet must have the key of its row.
func (k *keyring) loadCosigners(c *Config, row *tlog.VerifierKey) error {
	_, err := os.Stat(filepath.Join(c.DataDir, walDir))
	fresh := err != nil
	if c.Keys.Signer != "" {
		for _, s := range []struct{ name, vkey string }{{"keys.signer_key", cmp.Or(c.Keys.SignerKey, row.String())}, {"keys.signer_next", c.Keys.SignerNext}} {
			if s.vkey == "" {
				continue
			}
			key, err := tlog.ParseVerifierKey(s.vkey)
			if err == nil && key.Name() != row.Name() {
				err = errors.Newf("it is a key of %s, this node signs as %s", key.Name(), row.Name())
			}
			if err != nil {
				return errors.Wrap(err, s.name)
			}
			k.cosigners = append(k.cosigners, signer.NewClient(c.Keys.Signer, key))
		}
		k.signer = k.cosigners[0].(*signer.Client)
	} else {
		first, err := readCosigner(c.Keys.Cosigner, row.Name())
		if err == nil && fresh && first.Key().String() != row.String() {
			err = errors.New("the key does not match this node's row of members")
		}
		if err != nil {
			return errors.Wrap(err, "keys.cosigner")
		}
		k.cosigners = append(k.cosigners, first)
	}
	if c.Keys.CosignerNext == "" {
		return nil
	}
	next, err := readCosigner(c.Keys.CosignerNext, row.Name())
	if err == nil && next.Key().String() == k.cosigners[0].Key().String() {
		err = errors.New("it is the key that the node has already: `cairn node keys --rotate` makes another one")
	}
	if err != nil {
		return errors.Wrap(err, "keys.cosigner_next")
	}
	k.cosigners = append(k.cosigners, next)
	return nil
}

// loadRoots reads the trust anchors, and what is revoked below them.
func loadRoots(c *Config) (*pki.Pool, error) {
	roots, err := pki.LoadPool(c.Keys.Roots)
	if err != nil {
		return nil, errors.Wrap(err, "keys.roots")
	}
	if c.Keys.Revoked == "" {
		return roots, nil
	}
	revoked, err := pki.ReadRevocations(c.Keys.Revoked)
	if err == nil {
		roots, err = roots.WithRevocations(revoked)
	}
	return roots, errors.Wrap(err, "keys.revoked")
}

// readCosigner reads a key file. name is the cosigner's.
func readCosigner(path, name string) (*tlog.Cosigner, error) {
	key, err := readSigningKey(path)
	if err != nil {
		return nil, err
	}
	return tlog.NewCosigner(name, key)
}

// logCosigner returns what signs the checkpoints of a ledger as its log.
func (k *keyring) logCosigner(origin string) (*tlog.Cosigner, error) {
	return tlog.NewCosigner(origin, k.log)
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
	want, err := c.sealQuorum(len(c.Members))
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
