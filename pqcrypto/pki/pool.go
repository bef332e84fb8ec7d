package pki

import (
	"bytes"
	"time"

	"github.com/cockroachdb/errors"
)

// MaxChain is the largest number of certificates on a path, root included: a leaf, an issuing
// authority, a root.
const MaxChain = 3

// A Pool is the set of roots that a party trusts. It is immutable and safe for concurrent use.
type Pool struct {
	roots   []*Certificate // self-signed authorities, no duplicates
	revoked revoked
}

// NewPool takes self-signed authorities and checks their signatures.
func NewPool(roots ...*Certificate) (*Pool, error) {
	p := &Pool{}
	for _, r := range roots {
		if !r.IsCA {
			return nil, refuse(ReasonKind, "%s cannot be a root", r.name())
		}
		if !bytes.Equal(r.rawIssuer, r.rawSubject) {
			return nil, refuse(ReasonChain, "%s is issued by %s and cannot be a root", r.name(), r.Issuer)
		}
		if err := checkSignature(r, r); err != nil {
			return nil, err
		}
		known := false
		for _, o := range p.roots {
			known = known || o.Equal(r)
		}
		if !known {
			p.roots = append(p.roots, r)
		}
	}
	if len(p.roots) == 0 {
		return nil, refuse(ReasonUnknownRoot, "pool has no roots")
	}
	return p, nil
}

// LoadPool reads the roots of a PEM file.
func LoadPool(file string) (*Pool, error) {
	certs, err := ReadCertificates(file)
	if err != nil {
		return nil, err
	}
	p, err := NewPool(certs...)
	return p, errors.Wrapf(err, "load roots from %s", file)
}

// Roots returns the roots.
func (p *Pool) Roots() []*Certificate { return append([]*Certificate(nil), p.roots...) }

// VerifyIdentity validates the path of an identity at a time and returns its certificate. chain
// starts with the leaf, each next certificate signs the one before, the root may be left out. An
// error has a [Reason].
func (p *Pool) VerifyIdentity(chain [][]byte, now time.Time) (*Certificate, error) {
	leaf, err := p.verify(chain, now)
	if err != nil {
		return nil, err
	}
	if leaf.IsKEM {
		return nil, refuse(ReasonKind, "%s cannot serve as identity", leaf.name())
	}
	return leaf, nil
}

// VerifyKEM is [Pool.VerifyIdentity] for a KEM certificate. With svid, which the caller has
// verified, it also checks that the certificate is the companion of that identity; nil leaves this
// out.
func (p *Pool) VerifyKEM(chain [][]byte, svid *Certificate, now time.Time) (*Certificate, error) {
	leaf, err := p.verify(chain, now)
	if err != nil {
		return nil, err
	}
	if !leaf.IsKEM {
		return nil, refuse(ReasonKind, "%s cannot serve as KEM certificate", leaf.name())
	}
	if svid != nil {
		if err := CheckRelated(leaf, svid); err != nil {
			return nil, err
		}
	}
	return leaf, nil
}

// CheckRelated checks that a KEM certificate is the companion of an identity: same ID, and the hash
// of RFC 9763.
func CheckRelated(kem, svid *Certificate) error {
	if !kem.IsKEM || svid.IsKEM || svid.IsCA {
		return refuse(ReasonKind, "%s is not the KEM companion of %s", kem.name(), svid.name())
	}
	if kem.ID != svid.ID {
		return refuse(ReasonRelated, "KEM certificate is for %s, identity for %s", kem.ID, svid.ID)
	}
	if named, _ := kem.Related(); named != svid.Fingerprint() {
		return refuse(ReasonRelated, "KEM certificate of %s names another identity certificate by its hash", kem.ID)
	}
	return nil
}

// verify does everything but the check of the leaf's kind.
func (p *Pool) verify(chain [][]byte, now time.Time) (*Certificate, error) {
	if len(chain) == 0 || len(chain) > MaxChain {
		return nil, refuse(ReasonChain, "chain has %d certificates, want 1 to %d", len(chain), MaxChain)
	}
	path := make([]*Certificate, 0, MaxChain)
	for i, der := range chain {
		c, err := ParseCertificate(der)
		if err != nil {
			return nil, errors.Wrapf(err, "parse certificate %d of the chain", i+1)
		}
		path = append(path, c)
	}
	root, err := p.findRoot(path[len(path)-1])
	if err != nil {
		return nil, err
	}
	if root.Equal(path[len(path)-1]) {
		path[len(path)-1] = root // its key is expanded already
	} else {
		path = append(path, root)
	}
	if len(path) > MaxChain {
		return nil, refuse(ReasonChain, "path has %d certificates, at most %d are allowed", len(path), MaxChain)
	}
	if err := checkPath(path, now); err != nil {
		return path[0], err
	}
	return path[0], p.revoked.check(path)
}

// findRoot returns the pool's root that last is or claims to be issued by. The signature decides
// later.
func (p *Pool) findRoot(last *Certificate) (*Certificate, error) {
	for _, r := range p.roots {
		if r.Equal(last) || issuedBy(last, r) {
			return r, nil
		}
	}
	return nil, refuse(ReasonUnknownRoot, "%s: issuer %s is not a known root", last.name(), last.Issuer)
}

func issuedBy(c, issuer *Certificate) bool {
	return bytes.Equal(c.rawIssuer, issuer.rawSubject) && bytes.Equal(c.authorityKeyID, issuer.subjectKeyID)
}

// checkPath validates path, leaf first and root last. The root is trusted, but its validity, path
// length and trust domain count.
func checkPath(path []*Certificate, now time.Time) error {
	if path[0].IsCA {
		return refuse(ReasonKind, "%s cannot serve as leaf", path[0].name())
	}
	for i, c := range path {
		if now.Before(c.NotBefore) {
			return refuse(ReasonNotYetValid, "%s is valid from %s, now is %s", c.name(), c.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
		if now.After(c.NotAfter) {
			return refuse(ReasonExpired, "%s ended %s, now is %s", c.name(), c.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
		if i == 0 {
			continue
		}
		if !c.IsCA {
			return refuse(ReasonKind, "%s cannot issue certificates", c.name())
		}
		if !issuedBy(path[i-1], c) {
			return refuse(ReasonChain, "%s is not issued by %s", path[i-1].name(), c.name())
		}
		if below := i - 1; c.MaxPathLen >= 0 && below > c.MaxPathLen {
			return refuse(ReasonPathLength, "%s allows %d authorities below it, there are %d", c.name(), c.MaxPathLen, below)
		}
		if path[i-1].TrustDomain != c.TrustDomain {
			return refuse(ReasonTrustDomain, "%s is in trust domain %s, its issuer in %s", path[i-1].name(), path[i-1].TrustDomain, c.TrustDomain)
		}
	}
	for i := len(path) - 1; i > 0; i-- {
		if err := checkSignature(path[i-1], path[i]); err != nil {
			return err
		}
	}
	return nil
}

func checkSignature(c, issuer *Certificate) error {
	key := issuer.VerifyingKey()
	if c.SignedWith != key.Params() {
		return refuse(ReasonAlgorithm, "%s is signed with %s, the issuer's key is %s", c.name(), c.SignedWith, key.Params())
	}
	if !key.VerifyStandard(c.tbs, c.signature) {
		return refuse(ReasonSignature, "signature of %s by %s does not verify", c.name(), issuer.name())
	}
	return nil
}
