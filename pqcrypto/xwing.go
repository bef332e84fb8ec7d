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

	"github.com/cloudflare/circl/kem/xwing"
	"github.com/cockroachdb/errors"
)

// XWingPublicKeySize is the size in bytes of an X-Wing public key: ML-KEM-768 ‖ X25519.
const XWingPublicKeySize = xwing.PublicKeySize

// oidXWing is id-XWing of draft-connolly-cfrg-xwing-kem.
var oidXWing = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 62253, 25722}

// An XWingPrivateKey opens what was sealed to its public half (package seal). It is immutable and
// safe for concurrent use.
type XWingPrivateKey struct {
	seed   [SeedSize]byte
	public *XWingPublicKey
}

// GenerateXWingKey makes a key from 32 fresh random bytes.
func GenerateXWingKey() (*XWingPrivateKey, error) {
	seed := make([]byte, SeedSize)
	if _, err := io.ReadFull(rand.Reader, seed); err != nil {
		return nil, errors.Wrap(err, "read random seed")
	}
	return NewXWingKey(seed)
}

// NewXWingKey derives the key of a 32-byte seed.
func NewXWingKey(seed []byte) (*XWingPrivateKey, error) {
	if len(seed) != SeedSize {
		return nil, errors.Newf("X-Wing seed has %d bytes, want %d", len(seed), SeedSize)
	}
	k := &XWingPrivateKey{}
	copy(k.seed[:], seed)
	_, pub := xwing.DeriveKeyPairPacked(k.seed[:])
	k.public = &XWingPublicKey{raw: pub}
	return k, nil
}

// Public returns the public key.
func (k *XWingPrivateKey) Public() *XWingPublicKey { return k.public }

// Seed returns a copy of the 32-byte seed. It is the private key: handle it as such.
func (k *XWingPrivateKey) Seed() []byte { return append([]byte(nil), k.seed[:]...) }

// String hides the key.
func (k *XWingPrivateKey) String() string { return redacted("X-Wing", "private") }

// GoString hides the key from %#v.
func (k *XWingPrivateKey) GoString() string { return k.String() }

// Format hides the key from every verb of package fmt.
func (k *XWingPrivateKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// LogValue hides the key from structured logs.
func (k *XWingPrivateKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText hides the key from text and JSON encoders; use [MarshalPrivateKeyPEM] to store it.
func (k *XWingPrivateKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// An XWingPublicKey is what secrets are sealed to. It is immutable and safe for concurrent use.
type XWingPublicKey struct {
	raw []byte // ML-KEM-768 encapsulation key ‖ X25519 point, never changed
}

// ParseXWingPublicKey reads a 1216-byte public key; the ML-KEM half gets the modulus check of FIPS
// 203, section 7.2.
func ParseXWingPublicKey(raw []byte) (*XWingPublicKey, error) {
	if len(raw) != XWingPublicKeySize {
		return nil, errors.Newf("X-Wing public key has %d bytes, want %d", len(raw), XWingPublicKeySize)
	}
	if _, err := ParseEncapsulationKey(MLKEM768, raw[:MLKEM768.EncapsulationKeySize()]); err != nil {
		return nil, errors.Wrap(err, "check X-Wing public key")
	}
	return &XWingPublicKey{raw: bytes.Clone(raw)}, nil
}

// Bytes returns a copy of the encoding.
func (k *XWingPublicKey) Bytes() []byte { return bytes.Clone(k.raw) }

// Equal reports whether both are the same key.
func (k *XWingPublicKey) Equal(o *XWingPublicKey) bool {
	return k != nil && o != nil && bytes.Equal(k.raw, o.raw)
}

// Fingerprint returns the SHA-256 hash of the key's SubjectPublicKeyInfo.
func (k *XWingPublicKey) Fingerprint() [sha256.Size]byte {
	return sha256.Sum256(marshalSPKI(oidXWing, k.raw))
}

// String names the first 8 bytes of the fingerprint.
func (k *XWingPublicKey) String() string {
	f := k.Fingerprint()
	return "X-Wing key " + hex.EncodeToString(f[:8])
}
