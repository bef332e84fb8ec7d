package pqcrypto

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"github.com/cockroachdb/errors"
)

// A SigningKey is an ML-DSA private key. It is immutable and safe for concurrent use.
type SigningKey struct {
	params SigParams
	seed   [SeedSize]byte
	public *VerifyingKey

	// Exactly one of these is set, by params: the form expanded from seed.
	k44 *mldsa44.PrivateKey
	k65 *mldsa65.PrivateKey
	k87 *mldsa87.PrivateKey
}

// GenerateSigningKey makes a key from 32 fresh random bytes.
func GenerateSigningKey(p SigParams) (*SigningKey, error) {
	seed := make([]byte, SeedSize)
	if _, err := io.ReadFull(rand.Reader, seed); err != nil {
		return nil, errors.Wrap(err, "read random seed")
	}
	return NewSigningKey(p, seed)
}

// NewSigningKey derives the key of a 32-byte seed (FIPS 204, algorithm 6).
func NewSigningKey(p SigParams, seed []byte) (*SigningKey, error) {
	if !p.Valid() {
		return nil, errors.Newf("unknown ML-DSA parameter set %d", uint8(p))
	}
	if len(seed) != SeedSize {
		return nil, errors.Newf("%s seed has %d bytes, want %d", p, len(seed), SeedSize)
	}
	k := &SigningKey{params: p, public: &VerifyingKey{params: p}}
	copy(k.seed[:], seed)
	expanded := &expandedKey{}
	switch p {
	case MLDSA44:
		expanded.k44, k.k44 = mldsa44.NewKeyFromSeed(&k.seed)
		k.public.raw = expanded.k44.Bytes()
	case MLDSA65:
		expanded.k65, k.k65 = mldsa65.NewKeyFromSeed(&k.seed)
		k.public.raw = expanded.k65.Bytes()
	case MLDSA87:
		expanded.k87, k.k87 = mldsa87.NewKeyFromSeed(&k.seed)
		k.public.raw = expanded.k87.Bytes()
	}
	k.public.expanded.Store(expanded)
	return k, nil
}

// Params returns the parameter set.
func (k *SigningKey) Params() SigParams { return k.params }

// Public returns the public key.
func (k *SigningKey) Public() *VerifyingKey { return k.public }

// Seed returns a copy of the 32-byte seed. It is the private key: handle it as such.
func (k *SigningKey) Seed() []byte { return append([]byte(nil), k.seed[:]...) }

// Sign signs msg with one of the contexts of our own table; any other context gives [ErrContext].
// The signature is hedged, so two signatures of one message differ.
func (k *SigningKey) Sign(context string, msg []byte) ([]byte, error) {
	if !usableContext(context) {
		return nil, errors.Wrapf(ErrContext, "sign with context %q", context)
	}
	return k.sign([]byte(context), msg, true)
}

// SignStandard signs msg with the empty context. It is for X.509 (RFC 9881, section 3) and C2SP
// formats, and for nothing else: they demand it. The signature is hedged.
func (k *SigningKey) SignStandard(msg []byte) ([]byte, error) {
	return k.sign(nil, msg, true)
}

// sign is the only caller of CIRCL's signing. randomized is false in known-answer tests alone.
func (k *SigningKey) sign(context, msg []byte, randomized bool) ([]byte, error) {
	sig := make([]byte, k.params.SignatureSize())
	var err error
	switch k.params {
	case MLDSA44:
		err = mldsa44.SignTo(k.k44, msg, context, randomized, sig)
	case MLDSA65:
		err = mldsa65.SignTo(k.k65, msg, context, randomized, sig)
	case MLDSA87:
		err = mldsa87.SignTo(k.k87, msg, context, randomized, sig)
	}
	if err != nil {
		return nil, errors.Wrapf(err, "sign with %s", k.params)
	}
	return sig, nil
}

// checkExpanded reports whether expanded is the FIPS 204 encoding of this key, for PKCS#8 files
// that hold both forms.
func (k *SigningKey) checkExpanded(expanded []byte) bool {
	var own []byte
	switch k.params {
	case MLDSA44:
		own = k.k44.Bytes()
	case MLDSA65:
		own = k.k65.Bytes()
	case MLDSA87:
		own = k.k87.Bytes()
	}
	return constantTimeEqual(own, expanded)
}

// String names the parameter set and hides the key.
func (k *SigningKey) String() string { return redacted(k.params.String(), "signing") }

// GoString hides the key from %#v.
func (k *SigningKey) GoString() string { return k.String() }

// Format hides the key from every verb of package fmt.
func (k *SigningKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// LogValue hides the key from structured logs.
func (k *SigningKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText hides the key from text and JSON encoders; use [MarshalPrivateKeyPEM] to store it.
func (k *SigningKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func redacted(name, kind string) string { return name + " " + kind + " key (redacted)" }
