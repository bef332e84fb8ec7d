package pqcrypto

import (
	"encoding/asn1"
	"fmt"
)

// SeedSize is the size in bytes of an ML-DSA or X-Wing seed, the only form in which their private
// keys are stored.
const SeedSize = 32

// SigParams is an ML-DSA parameter set (FIPS 204, section 4). The zero value is none of them.
type SigParams uint8

// The parameter sets, by NIST security category.
const (
	MLDSA44 SigParams = iota + 1 // category 2: C2SP cosignatures
	MLDSA65                      // category 3: identities of the default suite
	MLDSA87                      // category 5: roots, and identities of the cat5 suite
)

type sigSizes struct {
	name      string
	publicKey int
	private   int // expanded form
	signature int
	oid       asn1.ObjectIdentifier
}

var sigTable = map[SigParams]sigSizes{
	MLDSA44: {"ML-DSA-44", 1312, 2560, 2420, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 17}},
	MLDSA65: {"ML-DSA-65", 1952, 4032, 3309, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18}},
	MLDSA87: {"ML-DSA-87", 2592, 4896, 4627, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 19}},
}

// Valid reports whether p is one of the three parameter sets.
func (p SigParams) Valid() bool { return p >= MLDSA44 && p <= MLDSA87 }

// String returns the name of the standard, such as "ML-DSA-65".
func (p SigParams) String() string {
	if !p.Valid() {
		return fmt.Sprintf("SigParams(%d)", uint8(p))
	}
	return sigTable[p].name
}

// PublicKeySize returns the size of an encoded public key in bytes, 0 for an invalid p.
func (p SigParams) PublicKeySize() int { return sigTable[p].publicKey }

// SignatureSize returns the size of a signature in bytes, 0 for an invalid p.
func (p SigParams) SignatureSize() int { return sigTable[p].signature }

// OID returns a copy of the object identifier of RFC 9881, section 2, which names both the key and
// the signature algorithm.
func (p SigParams) OID() asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier(nil), sigTable[p].oid...)
}

// SigParamsByOID returns the parameter set that an object identifier names.
func SigParamsByOID(oid asn1.ObjectIdentifier) (SigParams, bool) {
	for p, s := range sigTable {
		if s.oid.Equal(oid) {
			return p, true
		}
	}
	return 0, false
}
