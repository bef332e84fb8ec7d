package pqcrypto

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"

	"github.com/cloudflare/circl/kem"
	"github.com/cloudflare/circl/kem/mlkem/mlkem1024"
	"github.com/cloudflare/circl/kem/mlkem/mlkem768"
	"github.com/cockroachdb/errors"
)

const (
	// KEMSeedSize is the size in bytes of an ML-KEM seed, d ‖ z (FIPS 203, section 7.1).
	KEMSeedSize = 64
	// SharedKeySize is the size in bytes of what a KEM agrees on.
	SharedKeySize = 32
)

// KEMParams is an ML-KEM parameter set (FIPS 203, section 8). The zero value is none of them.
type KEMParams uint8

// The parameter sets, by NIST security category.
const (
	MLKEM768  KEMParams = iota + 1 // category 3: the default suite
	MLKEM1024                      // category 5: the cat5 suite
)

type kemInfo struct {
	scheme kem.Scheme
	oid    asn1.ObjectIdentifier
}

var kemTable = map[KEMParams]kemInfo{
	MLKEM768:  {mlkem768.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 2}},
	MLKEM1024: {mlkem1024.Scheme(), asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 4, 3}},
}

// Valid reports whether p is one of the two parameter sets.
func (p KEMParams) Valid() bool { return p == MLKEM768 || p == MLKEM1024 }

// String returns the name of the standard, such as "ML-KEM-768".
func (p KEMParams) String() string {
	if !p.Valid() {
		return fmt.Sprintf("KEMParams(%d)", uint8(p))
	}
	return kemTable[p].scheme.Name()
}

// EncapsulationKeySize returns the size of an encoded encapsulation key in bytes, 0 for an invalid
// p.
func (p KEMParams) EncapsulationKeySize() int {
	if !p.Valid() {
		return 0
	}
	return kemTable[p].scheme.PublicKeySize()
}

// CiphertextSize returns the size of a ciphertext in bytes, 0 for an invalid p.
func (p KEMParams) CiphertextSize() int {
	if !p.Valid() {
		return 0
	}
	return kemTable[p].scheme.CiphertextSize()
}

// OID returns a copy of the object identifier of RFC 9935, section 3.
func (p KEMParams) OID() asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier(nil), kemTable[p].oid...)
}

// KEMParamsByOID returns the parameter set that an object identifier names.
func KEMParamsByOID(oid asn1.ObjectIdentifier) (KEMParams, bool) {
	for p, k := range kemTable {
		if k.oid.Equal(oid) {
			return p, true
		}
	}
	return 0, false
}

// A DecapsulationKey is an ML-KEM private key. It is immutable and safe for concurrent use.
type DecapsulationKey struct {
	params KEMParams
	seed   [KEMSeedSize]byte
	key    kem.PrivateKey // expanded from seed
	public *EncapsulationKey
}

// GenerateDecapsulationKey makes a key from 64 fresh random bytes.
func GenerateDecapsulationKey(p KEMParams) (*DecapsulationKey, error) {
	seed := make([]byte, KEMSeedSize)
	if _, err := io.ReadFull(rand.Reader, seed); err != nil {
		return nil, errors.Wrap(err, "read random seed")
	}
	return NewDecapsulationKey(p, seed)
}

// NewDecapsulationKey derives the key of a 64-byte seed d ‖ z (FIPS 203, algorithm 16).
func NewDecapsulationKey(p KEMParams, seed []byte) (*DecapsulationKey, error) {
	if !p.Valid() {
		return nil, errors.Newf("unknown ML-KEM parameter set %d", uint8(p))
	}
	if len(seed) != KEMSeedSize {
		return nil, errors.Newf("%s seed has %d bytes, want %d", p, len(seed), KEMSeedSize)
	}
	k := &DecapsulationKey{params: p}
	copy(k.seed[:], seed)
	pub, priv := kemTable[p].scheme.DeriveKeyPair(k.seed[:])
	raw, err := pub.MarshalBinary()
	if err != nil {
		return nil, errors.Wrapf(err, "encode %s encapsulation key", p)
	}
	k.key, k.public = priv, &EncapsulationKey{params: p, raw: raw, key: pub}
	return k, nil
}

// Params returns the parameter set.
func (k *DecapsulationKey) Params() KEMParams { return k.params }

// Public returns the encapsulation key.
func (k *DecapsulationKey) Public() *EncapsulationKey { return k.public }

// Seed returns a copy of the 64-byte seed. It is the private key: handle it as such.
func (k *DecapsulationKey) Seed() []byte { return append([]byte(nil), k.seed[:]...) }

// Decapsulate returns the 32-byte shared key of a ciphertext. A ciphertext of the right length that
// was not made for this key gives another, unpredictable shared key and no error (implicit
// rejection, FIPS 203, algorithm 18); the error is for a wrong length.
func (k *DecapsulationKey) Decapsulate(ct []byte) ([]byte, error) {
	if len(ct) != k.params.CiphertextSize() {
		return nil, errors.Newf("%s ciphertext has %d bytes, want %d", k.params, len(ct), k.params.CiphertextSize())
	}
	ss, err := kemTable[k.params].scheme.Decapsulate(k.key, ct)
	return ss, errors.Wrapf(err, "decapsulate with %s", k.params)
}

// checkExpanded reports whether expanded is the FIPS 203 encoding of this key, for PKCS#8 files
// that hold both forms.
func (k *DecapsulationKey) checkExpanded(expanded []byte) bool {
	own, err := k.key.MarshalBinary()
	return err == nil && constantTimeEqual(own, expanded)
}

// String names the parameter set and hides the key.
func (k *DecapsulationKey) String() string { return redacted(k.params.String(), "decapsulation") }

// GoString hides the key from %#v.
func (k *DecapsulationKey) GoString() string { return k.String() }

// Format hides the key from every verb of package fmt.
func (k *DecapsulationKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// LogValue hides the key from structured logs.
func (k *DecapsulationKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText hides the key from text and JSON encoders; use [MarshalPrivateKeyPEM] to store it.
func (k *DecapsulationKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// An EncapsulationKey is an ML-KEM public key. It is immutable and safe for concurrent use.
type EncapsulationKey struct {
	params KEMParams
	raw    []byte // FIPS 203 encoding, never changed
	key    kem.PublicKey
}

// ParseEncapsulationKey reads the FIPS 203 encoding of a public key, with the checks of section
// 7.2: length, and every coefficient below q.
func ParseEncapsulationKey(p KEMParams, raw []byte) (*EncapsulationKey, error) {
	if !p.Valid() {
		return nil, errors.Newf("unknown ML-KEM parameter set %d", uint8(p))
	}
	if len(raw) != p.EncapsulationKeySize() {
		return nil, errors.Newf("%s encapsulation key has %d bytes, want %d", p, len(raw), p.EncapsulationKeySize())
	}
	key, err := kemTable[p].scheme.UnmarshalBinaryPublicKey(raw)
	if err != nil {
		return nil, errors.Wrapf(err, "check %s encapsulation key", p)
	}
	return &EncapsulationKey{params: p, raw: bytes.Clone(raw), key: key}, nil
}

// Params returns the parameter set.
func (k *EncapsulationKey) Params() KEMParams { return k.params }

// Bytes returns a copy of the FIPS 203 encoding.
func (k *EncapsulationKey) Bytes() []byte { return bytes.Clone(k.raw) }

// Equal reports whether both keys are the same key of the same parameter set.
func (k *EncapsulationKey) Equal(o *EncapsulationKey) bool {
	return k != nil && o != nil && k.params == o.params && bytes.Equal(k.raw, o.raw)
}

// Fingerprint returns the SHA-256 hash of the key's SubjectPublicKeyInfo (RFC 9935, section 4).
func (k *EncapsulationKey) Fingerprint() [sha256.Size]byte {
	return sha256.Sum256(marshalSPKI(k.params.OID(), k.raw))
}

// String names the parameter set and the first 8 bytes of the fingerprint.
func (k *EncapsulationKey) String() string {
	f := k.Fingerprint()
	return k.params.String() + " key " + hex.EncodeToString(f[:8])
}

// Encapsulate makes a ciphertext that only the holder of the decapsulation key can open, and the
// 32-byte shared key it carries.
func (k *EncapsulationKey) Encapsulate() (ct, ss []byte, err error) {
	ct, ss, err = kemTable[k.params].scheme.Encapsulate(k.key)
	return ct, ss, errors.Wrapf(err, "encapsulate with %s", k.params)
}

// EncapsulateDeterministic is Encapsulate with 32 chosen bytes in place of randomness (FIPS 203,
// algorithm 17). It is for known-answer tests: whoever knows the bytes knows the shared key.
func (k *EncapsulationKey) EncapsulateDeterministic(random []byte) (ct, ss []byte, err error) {
	ct, ss, err = kemTable[k.params].scheme.EncapsulateDeterministically(k.key, random)
	return ct, ss, errors.Wrapf(err, "encapsulate with %s", k.params)
}
