package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// MaxCertificateSize bounds one certificate in bytes; the largest that this package issues has
// about 8 kB.
const MaxCertificateSize = 16 << 10

// A Certificate is a parsed certificate of one of the three kinds. Parsing checks its profile, and
// neither its signature nor its validity: that is the job of [Pool]. It must not be changed.
type Certificate struct {
	Raw []byte // complete DER

	ID           ID     // "" for an authority
	TrustDomain  string // of ID, or of the authority
	Roles        Role   // identities only
	NotBefore    time.Time
	NotAfter     time.Time
	SerialNumber *big.Int
	Subject      string // distinguished name, RFC 2253 order; may be empty
	Issuer       string

	IsCA  bool
	IsKEM bool
	// MaxPathLen is how many authorities may follow below this one; -1 means any number.
	// Authorities only.
	MaxPathLen int
	// PublicKey is a *pqcrypto.VerifyingKey, for a KEM certificate a *pqcrypto.EncapsulationKey.
	PublicKey any
	// SignedWith is the parameter set of the signature over this certificate.
	SignedWith pqcrypto.SigParams

	crlSign        bool   // the authority may sign revocation lists
	related        []byte // SHA-256 of the identity certificate; KEM certificates only
	tbs, signature []byte
	rawSubject     []byte
	rawIssuer      []byte
	subjectKeyID   []byte
	authorityKeyID []byte // may be absent in a self-issued certificate
}

// VerifyingKey returns the key of an authority or identity, nil for a KEM certificate.
func (c *Certificate) VerifyingKey() *pqcrypto.VerifyingKey {
	k, _ := c.PublicKey.(*pqcrypto.VerifyingKey)
	return k
}

// EncapsulationKey returns the key of a KEM certificate, nil for the other kinds.
func (c *Certificate) EncapsulationKey() *pqcrypto.EncapsulationKey {
	k, _ := c.PublicKey.(*pqcrypto.EncapsulationKey)
	return k
}

// Validity returns for how long the certificate was issued: the Validity of its request.
func (c *Certificate) Validity() time.Duration { return c.NotAfter.Sub(c.NotBefore) - skew }

// Fingerprint returns the SHA-256 hash of the DER. A KEM certificate names its identity certificate
// by it.
func (c *Certificate) Fingerprint() [sha256.Size]byte { return sha256.Sum256(c.Raw) }

// Related returns the fingerprint that a KEM certificate names; ok is false for the other kinds.
func (c *Certificate) Related() (fingerprint [sha256.Size]byte, ok bool) {
	return fingerprint, copy(fingerprint[:], c.related) == sha256.Size
}

// Equal reports whether both are the same certificate, byte for byte.
func (c *Certificate) Equal(o *Certificate) bool {
	return c != nil && o != nil && bytes.Equal(c.Raw, o.Raw)
}

func (c *Certificate) kind() string {
	switch {
	case c.IsCA:
		return "authority"
	case c.IsKEM:
		return "KEM"
	}
	return "identity"
}

// name is for error messages.
func (c *Certificate) name() string {
	if c.IsCA {
		return "authority " + c.Subject
	}
	return c.kind() + " certificate of " + string(c.ID)
}

// ParseCertificate reads one DER certificate and checks that it has exactly the profile of one of
// the three kinds (see the package documentation). An error has a [Reason].
func ParseCertificate(der []byte) (*Certificate, error) {
	if len(der) > MaxCertificateSize {
		return nil, refuse(ReasonMalformed, "certificate has %d bytes, at most %d are allowed", len(der), MaxCertificateSize)
	}
	c := &Certificate{Raw: bytes.Clone(der), MaxPathLen: -1}
	spki, err := c.readEnvelope()
	if err != nil {
		return nil, err
	}
	std, err := x509.ParseCertificate(c.Raw)
	if err != nil {
		return nil, refuse(ReasonMalformed, "%v", err)
	}
	if std.Version != 3 {
		return nil, refuse(ReasonMalformed, "certificate version is %d, want 3", std.Version)
	}
	if std.SerialNumber.Sign() <= 0 || std.SerialNumber.BitLen() > 20*8-1 {
		return nil, refuse(ReasonMalformed, "serial number is not positive or has more than 20 bytes")
	}
	if std.NotAfter.Before(std.NotBefore) {
		return nil, refuse(ReasonMalformed, "validity ends before it begins")
	}
	c.NotBefore, c.NotAfter, c.SerialNumber = std.NotBefore, std.NotAfter, std.SerialNumber
	c.Subject, c.Issuer = std.Subject.String(), std.Issuer.String()
	c.rawSubject, c.rawIssuer = std.RawSubject, std.RawIssuer
	if len(std.Issuer.Names) == 0 {
		return nil, refuse(ReasonMalformed, "issuer name is empty")
	}
	if c.PublicKey, err = pqcrypto.ParsePublicKeyDER(spki); err != nil {
		return nil, refuse(ReasonAlgorithm, "parse public key: %v", err)
	}
	if err := c.checkProfile(std); err != nil {
		return nil, err
	}
	return c, nil
}

// readEnvelope takes the outermost layers apart by itself: crypto/x509 tolerates algorithm
// parameters that RFC 9881 forbids, and doesn't give access to all of the bytes.
func (c *Certificate) readEnvelope() (spki []byte, err error) {
	input := cryptobyte.String(c.Raw)
	var cert, tbs, fields, signature cryptobyte.String
	if !input.ReadASN1(&cert, cbasn1.SEQUENCE) {
		return nil, refuse(ReasonMalformed, "not a DER sequence")
	}
	if !input.Empty() {
		return nil, refuse(ReasonMalformed, "%d trailing bytes", len(input))
	}
	if !cert.ReadASN1Element(&tbs, cbasn1.SEQUENCE) {
		return nil, refuse(ReasonMalformed, "certificate body is not a sequence")
	}
	outer, err := readSignatureAlgorithm(&cert)
	if err != nil {
		return nil, err
	}
	if !cert.ReadASN1(&signature, cbasn1.BIT_STRING) || !cert.Empty() || len(signature) == 0 || signature[0] != 0 {
		return nil, refuse(ReasonMalformed, "malformed signature bits")
	}
	c.tbs, c.signature, c.SignedWith = tbs, signature[1:], outer
	if len(c.signature) != outer.SignatureSize() {
		return nil, refuse(ReasonMalformed, "%s signature has %d bytes, want %d", outer, len(c.signature), outer.SignatureSize())
	}

	version := cbasn1.Tag(0).ContextSpecific().Constructed()
	extensions := cbasn1.Tag(3).ContextSpecific().Constructed()
	var key cryptobyte.String
	body := tbs
	if !body.ReadASN1(&fields, cbasn1.SEQUENCE) || !fields.SkipASN1(version) || !fields.SkipASN1(cbasn1.INTEGER) {
		return nil, refuse(ReasonMalformed, "malformed version or serial number")
	}
	inner, err := readSignatureAlgorithm(&fields)
	if err != nil {
		return nil, err
	}
	if inner != outer {
		return nil, refuse(ReasonAlgorithm, "signature algorithm is %s inside and %s outside", inner, outer)
	}
	for range 3 { // issuer, validity, subject
		if !fields.SkipASN1(cbasn1.SEQUENCE) {
			return nil, refuse(ReasonMalformed, "malformed names or validity")
		}
	}
	if !fields.ReadASN1Element(&key, cbasn1.SEQUENCE) {
		return nil, refuse(ReasonMalformed, "malformed key")
	}
	if !fields.SkipASN1(extensions) || !fields.Empty() {
		return nil, refuse(ReasonMalformed, "extensions are missing, or unique identifiers are present")
	}
	return key, nil
}

// readSignatureAlgorithm accepts the ML-DSA identifiers with absent parameters (RFC 9881, section
// 2).
func readSignatureAlgorithm(s *cryptobyte.String) (pqcrypto.SigParams, error) {
	var alg cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1(&alg, cbasn1.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) {
		return 0, refuse(ReasonMalformed, "malformed signature algorithm")
	}
	if !alg.Empty() {
		return 0, refuse(ReasonAlgorithm, "signature algorithm %s has parameters, they must be absent", oid)
	}
	p, ok := pqcrypto.SigParamsByOID(oid)
	if !ok {
		return 0, refuse(ReasonAlgorithm, "signature algorithm %s is not ML-DSA", oid)
	}
	if p == pqcrypto.MLDSA44 {
		return 0, refuse(ReasonAlgorithm, "certificates signed with %s are not allowed", p)
	}
	return p, nil
}

// IssuedBy reports whether an authority has signed the certificate.
func (c *Certificate) IssuedBy(authority *Certificate) bool {
	return authority.IsCA && issuedBy(c, authority) && checkSignature(c, authority) == nil
}
