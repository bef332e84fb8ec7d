package pki

import (
	"bytes"
	"encoding/asn1"
	"time"
	"unicode/utf8"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cockroachdb/errors"
)

// skew is how far a certificate's validity is dated back, for peers whose clock is behind the
// authority's.
const skew = time.Minute

// An Authority issues certificates within its trust domain. It is immutable and safe for concurrent
// use.
type Authority struct {
	chain []*Certificate // its own certificate first, then its issuers; the root is last
	key   *pqcrypto.SigningKey
}

// NewRoot makes a self-signed authority with a fresh key, ML-DSA-65 or ML-DSA-87, valid from now
// on. name is its common name, 1 to 64 characters. One issuing authority may stand between it and
// the leaves.
func NewRoot(name, td string, params pqcrypto.SigParams, validity time.Duration) (*Authority, error) {
	return newRoot(name, td, params, time.Now(), validity)
}

func newRoot(name, td string, params pqcrypto.SigParams, now time.Time, validity time.Duration) (*Authority, error) {
	if err := checkAuthority(name, params); err != nil {
		return nil, err
	}
	key, err := pqcrypto.GenerateSigningKey(params)
	if err != nil {
		return nil, err
	}
	if err := CheckTrustDomain(td); err != nil {
		return nil, refuse(ReasonIssueRequest, "%v", err)
	}
	self := &Authority{key: key}
	c, err := self.issue(authorityTemplate(name, td, key.Public(), 1), now, validity)
	if err != nil {
		return nil, err
	}
	self.chain = []*Certificate{c}
	return self, nil
}

func checkAuthority(name string, params pqcrypto.SigParams) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > 64 || !utf8.ValidString(name) {
		return refuse(ReasonIssueRequest, "authority name %q has %d characters, want 1 to 64", name, n)
	}
	if params != pqcrypto.MLDSA65 && params != pqcrypto.MLDSA87 {
		return refuse(ReasonIssueRequest, "authority key %s is not allowed, want %s or %s", params, pqcrypto.MLDSA65, pqcrypto.MLDSA87)
	}
	return nil
}

// authorityTemplate is for a root or an issuing authority with maxPathLen authorities below it.
func authorityTemplate(name, td string, key *pqcrypto.VerifyingKey, maxPathLen int) *template {
	return &template{
		subject: commonName(name),
		spki:    mustSPKI(key),
		extensions: []extension{
			{oid: oidBasicConstraints, critical: true, value: basicConstraints(maxPathLen)},
			{oid: oidKeyUsage, critical: true, value: usageCertAndCRLSign},
			{oid: oidSubjectAltName, value: uriNames(idScheme + td)},
			subjectKeyID(keyID(key.Bytes())),
		},
	}
}

// mustSPKI encodes a key of a type that cannot fail.
func mustSPKI(key any) []byte {
	der, err := pqcrypto.MarshalPublicKeyDER(key)
	if err != nil {
		panic(err)
	}
	return der
}

// LoadAuthority reads an authority's chain, its own certificate first, and its key file.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	chain, err := ReadCertificates(certFile)
	if err != nil {
		return nil, err
	}
	key, err := pqcrypto.ReadKeyFile(keyFile)
	if err != nil {
		return nil, err
	}
	signing, ok := key.(*pqcrypto.SigningKey)
	if !ok {
		return nil, refuse(ReasonKeyMismatch, "key file %s holds a %T, want an ML-DSA key", keyFile, key)
	}
	for i, c := range chain {
		if !c.IsCA {
			return nil, refuse(ReasonKind, "certificate %d of %s is no authority", i+1, certFile)
		}
	}
	if !chain[0].VerifyingKey().Equal(signing.Public()) {
		return nil, refuse(ReasonKeyMismatch, "key file %s does not belong to the certificate in %s", keyFile, certFile)
	}
	return &Authority{chain: chain, key: signing}, nil
}

// Certificate returns the authority's own certificate.
func (a *Authority) Certificate() *Certificate { return a.chain[0] }

// Key returns the authority's private key, to be stored with [pqcrypto.WriteKeyFile].
func (a *Authority) Key() *pqcrypto.SigningKey { return a.key }

// Chain returns the authority's certificate and those above it, root last.
func (a *Authority) Chain() []*Certificate { return append([]*Certificate(nil), a.chain...) }

// Issuers returns what a leaf's chain needs behind the leaf: the chain without the root.
func (a *Authority) Issuers() []*Certificate {
	var out []*Certificate
	for _, c := range a.chain {
		if !bytes.Equal(c.rawIssuer, c.rawSubject) {
			out = append(out, c)
		}
	}
	return out
}

// NewIssuing makes an authority below a root with a fresh key, which issues leaves only.
func (a *Authority) NewIssuing(name string, params pqcrypto.SigParams, validity time.Duration) (*Authority, error) {
	return a.newIssuing(name, params, time.Now(), validity)
}

func (a *Authority) newIssuing(name string, params pqcrypto.SigParams, now time.Time, validity time.Duration) (*Authority, error) {
	key, err := pqcrypto.GenerateSigningKey(params)
	if err != nil {
		return nil, err
	}
	c, err := a.IssueAuthority(AuthorityRequest{Name: name, PublicKey: key.Public(), Validity: validity, Now: now})
	if err != nil {
		return nil, err
	}
	return &Authority{chain: append([]*Certificate{c}, a.chain...), key: key}, nil
}

// An AuthorityRequest asks for the certificate of an issuing authority that made its own key.
type AuthorityRequest struct {
	Name      string                 // common name, 1 to 64 characters
	PublicKey *pqcrypto.VerifyingKey // ML-DSA-65 or ML-DSA-87
	Validity  time.Duration          // from Now; must end before the authority's
	Now       time.Time              // zero means the present
}

// IssueAuthority issues the certificate of an authority that issues leaves only, in the trust domain
// of a.
func (a *Authority) IssueAuthority(r AuthorityRequest) (*Certificate, error) {
	own := a.Certificate()
	if own.MaxPathLen == 0 {
		return nil, refuse(ReasonPathLength, "%s issues leaves only", own.name())
	}
	if r.PublicKey == nil {
		return nil, refuse(ReasonIssueRequest, "key of authority %q is missing", r.Name)
	}
	if err := checkAuthority(r.Name, r.PublicKey.Params()); err != nil {
		return nil, err
	}
	return a.issue(authorityTemplate(r.Name, own.TrustDomain, r.PublicKey, 0), r.Now, r.Validity)
}

// An IssueRequest asks for an identity certificate.
type IssueRequest struct {
	ID        ID
	Roles     Role
	PublicKey *pqcrypto.VerifyingKey // ML-DSA-65 or ML-DSA-87
	Validity  time.Duration          // from Now; must end before the authority's
	Now       time.Time              // zero means the present
}

// IssueIdentity issues an X509-SVID. The authority vouches for what the request says: the caller
// has made sure that the key is the principal's.
func (a *Authority) IssueIdentity(r IssueRequest) (*Certificate, error) {
	if err := a.checkID(r.ID); err != nil {
		return nil, err
	}
	if r.Roles == 0 || r.Roles&^allRoles != 0 {
		return nil, refuse(ReasonIssueRequest, "roles %#x of %s are empty or unknown", uint8(r.Roles), r.ID)
	}
	if r.PublicKey == nil || r.PublicKey.Params() == pqcrypto.MLDSA44 {
		return nil, refuse(ReasonIssueRequest, "key of %s is missing or %s", r.ID, pqcrypto.MLDSA44)
	}
	return a.issue(identityTemplate(r.ID, r.Roles, r.PublicKey), r.Now, r.Validity)
}

func identityTemplate(id ID, roles Role, key *pqcrypto.VerifyingKey) *template {
	usages := []asn1.ObjectIdentifier{oidServerAuth, oidClientAuth}
	for _, n := range roleNames {
		if roles&n.role != 0 {
			usages = append(usages, roleOIDs[n.role])
		}
	}
	return &template{
		subject: commonName(""),
		spki:    mustSPKI(key),
		extensions: []extension{
			{oid: oidKeyUsage, critical: true, value: usageDigitalSignature},
			{oid: oidExtKeyUsage, value: keyUsages(usages...)},
			{oid: oidSubjectAltName, critical: true, value: uriNames(string(id))},
			subjectKeyID(keyID(key.Bytes())),
		},
	}
}

// A KEMRequest asks for the KEM companion of an identity certificate.
type KEMRequest struct {
	SVID      *Certificate               // issued in the same trust domain; gives the ID
	PublicKey *pqcrypto.EncapsulationKey // any ML-KEM parameter set
	Validity  time.Duration              // from Now; must end before the authority's
	Now       time.Time                  // zero means the present
}

// IssueKEM issues a KEM certificate that names the identity certificate by its hash (RFC 9763).
func (a *Authority) IssueKEM(r KEMRequest) (*Certificate, error) {
	if r.SVID == nil || r.SVID.IsCA || r.SVID.IsKEM {
		return nil, refuse(ReasonIssueRequest, "a KEM certificate needs an identity certificate")
	}
	if err := a.checkID(r.SVID.ID); err != nil {
		return nil, err
	}
	if r.PublicKey == nil {
		return nil, refuse(ReasonIssueRequest, "key of %s is missing", r.SVID.ID)
	}
	return a.issue(kemTemplate(r.SVID, r.PublicKey), r.Now, r.Validity)
}

func kemTemplate(svid *Certificate, key *pqcrypto.EncapsulationKey) *template {
	return &template{
		subject: commonName(""),
		spki:    mustSPKI(key),
		extensions: []extension{
			{oid: oidKeyUsage, critical: true, value: usageKeyEncipherment},
			{oid: oidExtKeyUsage, value: keyUsages(oidKEMAuth)},
			{oid: oidSubjectAltName, critical: true, value: uriNames(string(svid.ID))},
			subjectKeyID(keyID(key.Bytes())),
			relatedCertificate(svid),
		},
	}
}

func (a *Authority) checkID(id ID) error {
	if _, err := ParseID(string(id)); err != nil {
		return refuse(ReasonIssueRequest, "%v", err)
	}
	if td := a.Certificate().TrustDomain; id.TrustDomain() != td {
		return refuse(ReasonTrustDomain, "%s is not in trust domain %s of the authority", id, td)
	}
	return nil
}

// issue completes and signs a template. An authority without a chain signs itself. The signature is
// verified and the certificate parsed before it is given out, so that neither a fault in the
// signing nor a template outside the profiles leaves this package.
func (a *Authority) issue(t *template, now time.Time, validity time.Duration) (*Certificate, error) {
	if now.IsZero() {
		now = time.Now()
	}
	if validity < time.Second {
		return nil, refuse(ReasonIssueRequest, "validity %v is too short", validity)
	}
	serial, err := randomSerial()
	if err != nil {
		return nil, err
	}
	t.serial, t.signedWith = serial, a.key.Params()
	t.notBefore, t.notAfter = now.Add(-skew), now.Add(validity)
	if len(a.chain) == 0 {
		t.issuer = t.subject
	} else {
		own := a.chain[0]
		if t.notAfter.After(own.NotAfter) {
			return nil, refuse(ReasonIssueRequest, "validity would end %s, after the authority's end %s",
				t.notAfter.UTC().Format(time.RFC3339), own.NotAfter.UTC().Format(time.RFC3339))
		}
		t.issuer = own.rawSubject
		t.extensions = append(t.extensions, authorityKeyID(own.subjectKeyID))
	}
	if len(a.chain) == 0 {
		t.extensions = append(t.extensions, authorityKeyID(keyID(a.key.Public().Bytes())))
	}
	der, err := t.build(func(tbs []byte) ([]byte, error) {
		sig, err := a.key.SignStandard(tbs)
		if err == nil && !a.key.Public().VerifyStandard(tbs, sig) {
			return nil, errors.New("fresh signature does not verify")
		}
		return sig, err
	})
	if err != nil {
		return nil, err
	}
	c, err := ParseCertificate(der)
	return c, errors.Wrap(err, "check issued certificate")
}
