package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"

	"github.com/cairnledger/cairn/pqcrypto"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidAuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidRelated          = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 36} // id-pe-relatedCert, RFC 9763, section 4
	oidServerAuth       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	oidClientAuth       = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	oidSHA256           = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// Key usages as the DER of their BIT STRING: only these values exist in the profiles, so comparing
// bytes is the strictest check.
var (
	usageDigitalSignature = []byte{0x03, 0x02, 0x07, 0x80}
	usageKeyEncipherment  = []byte{0x03, 0x02, 0x05, 0x20}
	usageCertSign         = []byte{0x03, 0x02, 0x02, 0x04}
	usageCertAndCRLSign   = []byte{0x03, 0x02, 0x01, 0x06}
)

// checkProfile decides the kind by the key and the basic constraints, and then insists on all the
// rest of that kind.
func (c *Certificate) checkProfile(std *x509.Certificate) error {
	known := []asn1.ObjectIdentifier{oidSubjectKeyID, oidKeyUsage, oidSubjectAltName, oidBasicConstraints, oidAuthorityKeyID, oidExtKeyUsage, oidRelated}
	ext := make(map[string]pkix.Extension, len(std.Extensions))
	for _, e := range std.Extensions { // crypto/x509 refuses duplicates
		isKnown := false
		for _, oid := range known {
			isKnown = isKnown || oid.Equal(e.Id)
		}
		if e.Critical && !isKnown {
			return refuse(ReasonExtension, "unknown critical extension %s", e.Id)
		}
		ext[e.Id.String()] = e
	}
	has := func(oid asn1.ObjectIdentifier) bool { _, ok := ext[oid.String()]; return ok }

	_, c.IsKEM = c.PublicKey.(*pqcrypto.EncapsulationKey)
	c.IsCA = std.BasicConstraintsValid && std.IsCA
	if c.IsKEM && c.IsCA {
		return refuse(ReasonAlgorithm, "an authority cannot have an ML-KEM key")
	}
	if k := c.VerifyingKey(); k != nil && k.Params() == pqcrypto.MLDSA44 {
		return refuse(ReasonAlgorithm, "certificates for %s keys are not allowed", k.Params())
	}
	if !c.IsKEM && c.VerifyingKey() == nil {
		return refuse(ReasonAlgorithm, "certificates for keys of type %T are not allowed", c.PublicKey)
	}

	usage := ext[oidKeyUsage.String()]
	if !usage.Critical {
		return refuse(ReasonKeyUsage, "key usage is missing or not critical")
	}
	if err := c.checkNames(std, ext[oidSubjectAltName.String()]); err != nil {
		return err
	}
	if len(std.SubjectKeyId) == 0 {
		return refuse(ReasonExtension, "subject key identifier is missing")
	}
	c.subjectKeyID, c.authorityKeyID = std.SubjectKeyId, std.AuthorityKeyId
	if has(oidRelated) != c.IsKEM {
		return refuse(ReasonExtension, "related certificate extension belongs in KEM certificates, and only there")
	}

	if c.IsCA {
		if !ext[oidBasicConstraints.String()].Critical {
			return refuse(ReasonExtension, "basic constraints of an authority are not critical")
		}
		if !bytes.Equal(usage.Value, usageCertAndCRLSign) && !bytes.Equal(usage.Value, usageCertSign) {
			return refuse(ReasonKeyUsage, "key usage of an authority is %x, want keyCertSign and at most cRLSign", usage.Value)
		}
		c.crlSign = bytes.Equal(usage.Value, usageCertAndCRLSign)
		if has(oidExtKeyUsage) {
			return refuse(ReasonKeyUsage, "an authority has extended key usages")
		}
		if len(std.Subject.Names) == 0 {
			return refuse(ReasonMalformed, "subject name of an authority is empty")
		}
		if std.MaxPathLen > 0 || std.MaxPathLenZero {
			c.MaxPathLen = std.MaxPathLen
		}
		return nil
	}
	if len(c.authorityKeyID) == 0 {
		return refuse(ReasonExtension, "authority key identifier is missing")
	}
	if c.IsKEM {
		if !bytes.Equal(usage.Value, usageKeyEncipherment) {
			return refuse(ReasonKeyUsage, "key usage of an ML-KEM key is %x, want keyEncipherment alone", usage.Value)
		}
		if len(std.ExtKeyUsage) != 0 || len(std.UnknownExtKeyUsage) != 1 || !std.UnknownExtKeyUsage[0].Equal(oidKEMAuth) {
			return refuse(ReasonKeyUsage, "extended key usage of a KEM certificate is not KEM authentication alone")
		}
		var err error
		c.related, err = parseRelated(ext[oidRelated.String()].Value)
		return err
	}
	if !bytes.Equal(usage.Value, usageDigitalSignature) {
		return refuse(ReasonKeyUsage, "key usage of an identity is %x, want digitalSignature alone", usage.Value)
	}
	return c.readRoles(std)
}

// checkNames wants exactly one name, a SPIFFE ID as URI (X509-SVID, section 2), critical when the
// subject is empty (RFC 5280, section 4.2.1.6).
func (c *Certificate) checkNames(std *x509.Certificate, san pkix.Extension) error {
	if san.Id == nil {
		return refuse(ReasonName, "subject alternative name is missing")
	}
	if len(std.Subject.Names) == 0 && !san.Critical {
		return refuse(ReasonName, "subject is empty and the subject alternative name is not critical")
	}
	der := cryptobyte.String(san.Value)
	var names, uri cryptobyte.String
	if !der.ReadASN1(&names, cbasn1.SEQUENCE) || !der.Empty() {
		return refuse(ReasonName, "malformed subject alternative name")
	}
	if !names.ReadASN1(&uri, cbasn1.Tag(6).ContextSpecific()) || !names.Empty() {
		return refuse(ReasonName, "subject alternative name is not exactly one URI")
	}
	var err error
	if c.IsCA {
		c.TrustDomain, err = parseTrustDomainID(string(uri))
	} else {
		c.ID, err = ParseID(string(uri))
		c.TrustDomain = c.ID.TrustDomain()
	}
	if err != nil {
		return refuse(ReasonName, "%v", err)
	}
	return nil
}

// readRoles wants serverAuth and clientAuth, which SPIFFE asks for, and at least one role; usages
// that it doesn't know are an error, since they could be roles of a later version that this one
// must not ignore.
func (c *Certificate) readRoles(std *x509.Certificate) error {
	usages := std.ExtKeyUsage
	if len(usages) != 2 || !slices.Contains(usages, x509.ExtKeyUsageServerAuth) || !slices.Contains(usages, x509.ExtKeyUsageClientAuth) {
		return refuse(ReasonKeyUsage, "extended key usages of an identity are not serverAuth, clientAuth and roles")
	}
next:
	for _, oid := range std.UnknownExtKeyUsage {
		for role, roleOID := range roleOIDs {
			if roleOID.Equal(oid) {
				c.Roles |= role
				continue next
			}
		}
		return refuse(ReasonKeyUsage, "extended key usage %s of an identity is not a role", oid)
	}
	if c.Roles == 0 {
		return refuse(ReasonKeyUsage, "identity has no role")
	}
	return nil
}

// parseRelated reads RelatedCertificate (RFC 9763, section 4.1) and takes SHA-256 only.
func parseRelated(der cryptobyte.String) ([]byte, error) {
	var related, alg cryptobyte.String
	var oid asn1.ObjectIdentifier
	var hash []byte
	if !der.ReadASN1(&related, cbasn1.SEQUENCE) || !der.Empty() ||
		!related.ReadASN1(&alg, cbasn1.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) || !alg.Empty() ||
		!related.ReadASN1Bytes(&hash, cbasn1.OCTET_STRING) || !related.Empty() {
		return nil, refuse(ReasonExtension, "malformed related certificate extension")
	}
	if !oid.Equal(oidSHA256) || len(hash) != sha256.Size {
		return nil, refuse(ReasonExtension, "related certificate is not named by SHA-256")
	}
	return hash, nil
}
