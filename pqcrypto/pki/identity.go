package pki

import (
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cockroachdb/errors"
)

// An Identity is what a party proves itself with. The KEM half is what only servers have. It must
// not be changed.
type Identity struct {
	Chain    []*Certificate // identity certificate first, then its issuers without the root
	Key      *pqcrypto.SigningKey
	KEMChain []*Certificate // KEM certificate first; nil for a client
	KEMKey   *pqcrypto.DecapsulationKey
}

// NewIdentity checks that the parts belong together: keys to certificates, and the KEM certificate
// to the identity. Both KEM arguments may be nil. It doesn't validate the paths: the peers do, with
// their roots.
func NewIdentity(chain []*Certificate, key *pqcrypto.SigningKey, kemChain []*Certificate, kemKey *pqcrypto.DecapsulationKey) (*Identity, error) {
	if len(chain) == 0 || key == nil {
		return nil, refuse(ReasonChain, "identity certificate or key is missing")
	}
	leaf := chain[0]
	if leaf.IsCA || leaf.IsKEM {
		return nil, refuse(ReasonKind, "%s cannot serve as identity", leaf.name())
	}
	if !leaf.VerifyingKey().Equal(key.Public()) {
		return nil, refuse(ReasonKeyMismatch, "private key does not belong to the %s", leaf.name())
	}
	id := &Identity{Chain: chain, Key: key}
	if len(kemChain) == 0 && kemKey == nil {
		return id, nil
	}
	if len(kemChain) == 0 || kemKey == nil {
		return nil, refuse(ReasonChain, "KEM certificate and key must come together")
	}
	if err := CheckRelated(kemChain[0], leaf); err != nil {
		return nil, err
	}
	if !kemChain[0].EncapsulationKey().Equal(kemKey.Public()) {
		return nil, refuse(ReasonKeyMismatch, "private key does not belong to the %s", kemChain[0].name())
	}
	id.KEMChain, id.KEMKey = kemChain, kemKey
	return id, nil
}

// LoadIdentity reads certificate chains and key files; both KEM files may be "".
func LoadIdentity(certFile, keyFile, kemCertFile, kemKeyFile string) (*Identity, error) {
	chain, err := ReadCertificates(certFile)
	if err != nil {
		return nil, err
	}
	key, err := readKey[*pqcrypto.SigningKey](keyFile)
	if err != nil {
		return nil, err
	}
	var kemChain []*Certificate
	var kemKey *pqcrypto.DecapsulationKey
	if kemCertFile != "" {
		if kemChain, err = ReadCertificates(kemCertFile); err != nil {
			return nil, err
		}
	}
	if kemKeyFile != "" {
		if kemKey, err = readKey[*pqcrypto.DecapsulationKey](kemKeyFile); err != nil {
			return nil, err
		}
	}
	id, err := NewIdentity(chain, key, kemChain, kemKey)
	return id, errors.Wrapf(err, "load identity from %s and %s", certFile, keyFile)
}

func readKey[K any](path string) (K, error) {
	key, err := pqcrypto.ReadKeyFile(path)
	if err != nil {
		var none K
		return none, err
	}
	k, ok := key.(K)
	if !ok {
		return k, refuse(ReasonKeyMismatch, "key file %s holds a %T, want a %T", path, key, k)
	}
	return k, nil
}

// Leaf returns the identity certificate.
func (id *Identity) Leaf() *Certificate { return id.Chain[0] }
