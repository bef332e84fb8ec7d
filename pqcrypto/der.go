package pqcrypto

import (
	"encoding/asn1"

	"github.com/cockroachdb/errors"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxKeyDER bounds an encoded key: the largest is an ML-DSA-87 private key that holds both forms,
// just below 5 kB.
const maxKeyDER = 8 << 10

// seedTag is the [0] of "seed" in the private key CHOICE of RFC 9881, section 6, and RFC 9935,
// section 6.
var seedTag = cbasn1.Tag(0).ContextSpecific()

// addAlgorithm writes an AlgorithmIdentifier whose parameters are absent, as all algorithms here
// want them.
func addAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid) })
}

// readAlgorithm refuses parameters, NULL included (RFC 9881, section 2; RFC 9935, section 3).
func readAlgorithm(s *cryptobyte.String) (asn1.ObjectIdentifier, error) {
	var alg cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1(&alg, cbasn1.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&oid) {
		return nil, errors.New("malformed algorithm identifier")
	}
	if !alg.Empty() {
		return nil, errors.Newf("algorithm %s has parameters, they must be absent", oid)
	}
	return oid, nil
}

// marshalSPKI panics only on an OID that this package got wrong.
func marshalSPKI(oid asn1.ObjectIdentifier, raw []byte) []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(raw)+32))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addAlgorithm(b, oid)
		b.AddASN1BitString(raw)
	})
	return b.BytesOrPanic()
}

// MarshalPublicKeyDER encodes a *VerifyingKey, *EncapsulationKey or *XWingPublicKey as
// SubjectPublicKeyInfo (RFC 5280, section 4.1).
func MarshalPublicKeyDER(k any) ([]byte, error) {
	switch k := k.(type) {
	case *VerifyingKey:
		return marshalSPKI(k.params.OID(), k.raw), nil
	case *EncapsulationKey:
		return marshalSPKI(k.params.OID(), k.raw), nil
	case *XWingPublicKey:
		return marshalSPKI(oidXWing, k.raw), nil
	}
	return nil, errors.Newf("encode public key of type %T: not supported", k)
}

// ParsePublicKeyDER reads a SubjectPublicKeyInfo and returns a *VerifyingKey, *EncapsulationKey or
// *XWingPublicKey. It refuses algorithm parameters, unused bits and trailing bytes.
func ParsePublicKeyDER(der []byte) (any, error) {
	if len(der) > maxKeyDER {
		return nil, errors.Newf("public key has %d bytes, at most %d are allowed", len(der), maxKeyDER)
	}
	input := cryptobyte.String(der)
	var spki cryptobyte.String
	if !input.ReadASN1(&spki, cbasn1.SEQUENCE) {
		return nil, errors.New("public key is not a DER sequence")
	}
	if !input.Empty() {
		return nil, errors.Newf("%d trailing bytes after the public key", len(input))
	}
	oid, err := readAlgorithm(&spki)
	if err != nil {
		return nil, err
	}
	var raw []byte
	if !spki.ReadASN1BitStringAsBytes(&raw) || !spki.Empty() {
		return nil, errors.New("malformed public key bits")
	}
	if p, ok := SigParamsByOID(oid); ok {
		return asAny(ParseVerifyingKey(p, raw))
	}
	if p, ok := KEMParamsByOID(oid); ok {
		return asAny(ParseEncapsulationKey(p, raw))
	}
	if oid.Equal(oidXWing) {
		return asAny(ParseXWingPublicKey(raw))
	}
	return nil, errors.Newf("public key algorithm %s is not supported", oid)
}

// MarshalPrivateKeyDER encodes a *SigningKey, *DecapsulationKey or *XWingPrivateKey as PKCS#8 (RFC
// 5958) in its seed form: [0] for ML-DSA (RFC 9881) and ML-KEM (RFC 9935), the bare seed for
// X-Wing.
func MarshalPrivateKeyDER(k any) ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		seedForm := func(oid asn1.ObjectIdentifier, seed []byte) {
			addAlgorithm(b, oid)
			b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
				b.AddASN1(seedTag, func(b *cryptobyte.Builder) { b.AddBytes(seed) })
			})
		}
		switch k := k.(type) {
		case *SigningKey:
			seedForm(k.params.OID(), k.seed[:])
		case *DecapsulationKey:
			seedForm(k.params.OID(), k.seed[:])
		case *XWingPrivateKey:
			addAlgorithm(b, oidXWing)
			b.AddASN1OctetString(k.seed[:])
		default:
			b.SetError(errors.Newf("encode private key of type %T: not supported", k))
		}
	})
	return b.Bytes()
}

// ParsePrivateKeyDER reads PKCS#8 and returns a *SigningKey, *DecapsulationKey or *XWingPrivateKey.
// It takes version 0 without attributes, in seed form or, when they agree, with seed and expanded
// key.
func ParsePrivateKeyDER(der []byte) (any, error) {
	if len(der) > maxKeyDER {
		return nil, errors.Newf("private key has %d bytes, at most %d are allowed", len(der), maxKeyDER)
	}
	input := cryptobyte.String(der)
	var info, private cryptobyte.String
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) {
		return nil, errors.New("private key is not a DER sequence")
	}
	if !input.Empty() {
		return nil, errors.Newf("%d trailing bytes after the private key", len(input))
	}
	var version int64
	if !info.ReadASN1Integer(&version) {
		return nil, errors.New("malformed private key version")
	}
	if version != 0 {
		return nil, errors.Newf("private key version %d is not supported, only 0 is", version)
	}
	oid, err := readAlgorithm(&info)
	if err != nil {
		return nil, err
	}
	if !info.ReadASN1(&private, cbasn1.OCTET_STRING) {
		return nil, errors.New("malformed private key")
	}
	if !info.Empty() {
		return nil, errors.New("private key has attributes or other fields, they are not supported")
	}
	if p, ok := SigParamsByOID(oid); ok {
		return parseSeedChoice(private, func(seed []byte) (*SigningKey, error) { return NewSigningKey(p, seed) })
	}
	if p, ok := KEMParamsByOID(oid); ok {
		return parseSeedChoice(private, func(seed []byte) (*DecapsulationKey, error) { return NewDecapsulationKey(p, seed) })
	}
	if oid.Equal(oidXWing) {
		return asAny(NewXWingKey(private))
	}
	return nil, errors.Newf("private key algorithm %s is not supported", oid)
}

// parseSeedChoice reads the CHOICE seed / expandedKey / both of RFC 9881 and RFC 9935 and insists
// on the seed.
func parseSeedChoice[K interface{ checkExpanded([]byte) bool }](s cryptobyte.String, derive func([]byte) (K, error)) (any, error) {
	var seed, expanded, both cryptobyte.String
	switch {
	case s.PeekASN1Tag(seedTag):
		if !s.ReadASN1(&seed, seedTag) || !s.Empty() {
			return nil, errors.New("malformed private key seed")
		}
		return asAny(derive(seed))
	case s.PeekASN1Tag(cbasn1.OCTET_STRING):
		return nil, ErrExpandedOnly
	case s.PeekASN1Tag(cbasn1.SEQUENCE):
		if !s.ReadASN1(&both, cbasn1.SEQUENCE) || !s.Empty() ||
			!both.ReadASN1(&seed, cbasn1.OCTET_STRING) || !both.ReadASN1(&expanded, cbasn1.OCTET_STRING) || !both.Empty() {
			return nil, errors.New("malformed private key with seed and expanded form")
		}
		k, err := derive(seed)
		if err != nil {
			return nil, err
		}
		if !k.checkExpanded(expanded) {
			return nil, ErrInconsistentKey
		}
		return k, nil
	}
	return nil, errors.New("private key is none of seed, expanded form and both")
}

// asAny keeps a nil key from becoming a non-nil interface.
func asAny[K any](k K, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return k, nil
}

var (
	// ErrExpandedOnly is returned for a private key without its seed.
	ErrExpandedOnly = errors.New("private key has only the expanded form, its seed is required")
	// ErrInconsistentKey is returned for a private key whose expanded form is not that of its seed.
	ErrInconsistentKey = errors.New("private key's expanded form does not belong to its seed")
)
