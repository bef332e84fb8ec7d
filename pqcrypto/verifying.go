package pqcrypto

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"sync/atomic"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/cloudflare/circl/sign/mldsa/mldsa87"
	"github.com/cockroachdb/errors"
)

// A VerifyingKey is an ML-DSA public key. It is immutable and safe for concurrent use.
//
// Expanding a key (FIPS 204, ExpandA) costs more than verifying with it and takes 20 to 70 kB, so
// it is done when the key first verifies something, never when it is parsed: a stranger's
// certificate costs nothing before its issuer's signature was found good. The expanded form stays
// with this value and in a cache of the process, so that parsing the same bytes again is cheap.
type VerifyingKey struct {
	params SigParams
	raw    []byte // FIPS 204 encoding, never changed

	// expanded is nil until the first verification. Racing writers store equal values.
	expanded atomic.Pointer[expandedKey]
}

// expandedKey holds CIRCL's form of a public key; exactly one field is set.
type expandedKey struct {
	k44 *mldsa44.PublicKey
	k65 *mldsa65.PublicKey
	k87 *mldsa87.PublicKey
}

// ParseVerifyingKey reads the FIPS 204 encoding of a public key. Every string of the right length
// is one.
func ParseVerifyingKey(p SigParams, raw []byte) (*VerifyingKey, error) {
	if !p.Valid() {
		return nil, errors.Newf("unknown ML-DSA parameter set %d", uint8(p))
	}
	if len(raw) != p.PublicKeySize() {
		return nil, errors.Newf("%s public key has %d bytes, want %d", p, len(raw), p.PublicKeySize())
	}
	return &VerifyingKey{params: p, raw: bytes.Clone(raw)}, nil
}

// Params returns the parameter set.
func (k *VerifyingKey) Params() SigParams { return k.params }

// Bytes returns a copy of the FIPS 204 encoding.
func (k *VerifyingKey) Bytes() []byte { return bytes.Clone(k.raw) }

// Equal reports whether both keys are the same key of the same parameter set.
func (k *VerifyingKey) Equal(o *VerifyingKey) bool {
	return k != nil && o != nil && k.params == o.params && bytes.Equal(k.raw, o.raw)
}

// Fingerprint returns the SHA-256 hash of the key's SubjectPublicKeyInfo (RFC 9881, section 4).
func (k *VerifyingKey) Fingerprint() [sha256.Size]byte {
	return sha256.Sum256(marshalSPKI(k.params.OID(), k.raw))
}

// String names the parameter set and the first 8 bytes of the fingerprint.
func (k *VerifyingKey) String() string {
	f := k.Fingerprint()
	return k.params.String() + " key " + hex.EncodeToString(f[:8])
}

// Verify reports whether sig is a signature of msg with a context of our own table. With any other
// context it is false.
func (k *VerifyingKey) Verify(context string, msg, sig []byte) bool {
	return usableContext(context) && k.verify([]byte(context), msg, sig)
}

// VerifyStandard reports whether sig is a signature of msg with the empty context, as X.509 and
// C2SP formats have it.
func (k *VerifyingKey) VerifyStandard(msg, sig []byte) bool {
	return k.verify(nil, msg, sig)
}

// verify is the only caller of CIRCL's verification.
func (k *VerifyingKey) verify(context, msg, sig []byte) bool {
	if len(sig) != k.params.SignatureSize() || len(context) > 255 {
		return false
	}
	e := k.expand()
	switch k.params {
	case MLDSA44:
		return mldsa44.Verify(e.k44, msg, context, sig)
	case MLDSA65:
		return mldsa65.Verify(e.k65, msg, context, sig)
	default:
		return mldsa87.Verify(e.k87, msg, context, sig)
	}
}

func (k *VerifyingKey) expand() *expandedKey {
	if e := k.expanded.Load(); e != nil {
		return e
	}
	id := keyCacheID(k.params, k.raw)
	e := expandedKeys.get(id)
	if e == nil {
		e = expandPublic(k.params, k.raw)
		expandedKeys.put(id, e)
	}
	k.expanded.Store(e)
	return e
}

// expandPublic panics when raw has the wrong length, which ParseVerifyingKey excludes.
func expandPublic(p SigParams, raw []byte) *expandedKey {
	e := &expandedKey{}
	var err error
	switch p {
	case MLDSA44:
		e.k44 = new(mldsa44.PublicKey)
		err = e.k44.UnmarshalBinary(raw)
	case MLDSA65:
		e.k65 = new(mldsa65.PublicKey)
		err = e.k65.UnmarshalBinary(raw)
	default:
		e.k87 = new(mldsa87.PublicKey)
		err = e.k87.UnmarshalBinary(raw)
	}
	if err != nil {
		panic(errors.Wrapf(err, "expand %s public key of %d bytes", p, len(raw)))
	}
	return e
}

func constantTimeEqual(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
