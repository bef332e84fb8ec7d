package tlog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto"
)

// KeyType is the signature type of a key: C2SP signed-note, "Signature types".
type KeyType uint8

// The signature types that are understood here.
const (
	// Ed25519 signs the text of a note. For log keys.
	Ed25519 KeyType = 0x01
	// Ed25519Cosignature is a timestamped Ed25519 cosignature. Only verified.
	Ed25519Cosignature KeyType = 0x04
	// MLDSA44 is a timestamped ML-DSA-44 cosignature. For logs and cosigners.
	MLDSA44 KeyType = 0x06
)

// String returns the algorithm's name.
func (t KeyType) String() string {
	switch t {
	case Ed25519:
		return "Ed25519"
	case Ed25519Cosignature:
		return "Ed25519 cosignature"
	case MLDSA44:
		return "ML-DSA-44"
	}
	return "signature type 0x" + hex.EncodeToString([]byte{byte(t)})
}

// Sizes in bytes.
const (
	timestampSize = 8
	// maxVerifierKeyLength is the length of the longest encoded verifier key,
	// generously.
	maxVerifierKeyLength = 4 << 10
)

// A VerifierKey verifies the signature lines of one key: C2SP signed-note,
// "Verifier keys". It is immutable.
type VerifierKey struct {
	name string
	id   uint32
	typ  KeyType
	raw  []byte // the public key's bytes

	// One of these is set, as typ says.
	ed25519 ed25519.PublicKey
	mldsa44 *pqcrypto.VerifyingKey
}

// NewMLDSA44VerifierKey returns the key with this name and public key, which
// must be an ML-DSA-44 key.
func NewMLDSA44VerifierKey(name string, pub *pqcrypto.VerifyingKey) (*VerifierKey, error) {
	if err := checkName(name); err != nil {
		return nil, errors.Wrap(err, "make verifier key")
	}
	if p := pub.Params(); p != pqcrypto.MLDSA44 {
		return nil, errors.Newf("make verifier key %s: public key is %s, want %s", name, p, pqcrypto.MLDSA44)
	}
	k := &VerifierKey{name: name, typ: MLDSA44, raw: bytes.Clone(pub.Bytes()), mldsa44: pub}
	k.id = keyID(name, k.typ, k.raw)
	return k, nil
}

// named returns the same public key under another name, which changes its id.
func (k *VerifierKey) named(name string) (*VerifierKey, error) {
	if err := checkName(name); err != nil {
		return nil, errors.Wrapf(err, "rename verifier key %s", k.name)
	}
	if strings.ContainsRune(name, 0x7f) { // which a policy cannot hold
		return nil, errors.Newf("rename verifier key %s: control character 0x7f", k.name)
	}
	renamed := *k
	renamed.name, renamed.id = name, keyID(name, k.typ, k.raw)
	return &renamed, nil
}

// keyID computes a key id: C2SP signed-note, "Signatures".
func keyID(name string, typ KeyType, public []byte) uint32 {
	b := make([]byte, 0, len(name)+2+len(public))
	b = append(b, name...)
	b = append(b, '\n', byte(typ))
	sum := sha256.Sum256(append(b, public...))
	return binary.BigEndian.Uint32(sum[:])
}

// ParseVerifierKey parses what [VerifierKey.String] returns. Key ids that are
// not those of the name and the public key are refused.
func ParseVerifierKey(s string) (*VerifierKey, error) {
	k, err := parseVerifierKey(s)
	return k, errors.Wrap(err, "parse verifier key")
}

func parseVerifierKey(s string) (*VerifierKey, error) {
	if len(s) > maxVerifierKeyLength {
		return nil, errors.Newf("%d bytes, at most %d are allowed", len(s), maxVerifierKeyLength)
	}
	name, rest, ok1 := strings.Cut(s, "+")
	id, b64, ok2 := strings.Cut(rest, "+")
	if !ok1 || !ok2 {
		return nil, errors.New("want name, key id and public key with plus signs between them")
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	material, err := decodeBase64(b64)
	if err != nil {
		return nil, errors.Wrapf(err, "public key of %s", name)
	}
	if len(material) == 0 {
		return nil, errors.Newf("public key of %s is empty", name)
	}
	k := &VerifierKey{name: name, typ: KeyType(material[0]), raw: material[1:]}
	switch k.typ {
	case Ed25519, Ed25519Cosignature:
		if len(k.raw) != ed25519.PublicKeySize {
			return nil, errors.Newf("public key of %s: %d bytes, want %d for %s", name, len(k.raw), ed25519.PublicKeySize, k.typ)
		}
		k.ed25519 = ed25519.PublicKey(k.raw)
	case MLDSA44:
		if k.mldsa44, err = pqcrypto.ParseVerifyingKey(pqcrypto.MLDSA44, k.raw); err != nil {
			return nil, errors.Wrapf(err, "public key of %s", name)
		}
	default:
		return nil, errors.Newf("key %s has %s, which is not supported", name, k.typ)
	}
	k.id = keyID(name, k.typ, k.raw)
	if want := formatKeyID(k.id); id != want {
		return nil, errors.Newf("key id of %s is %s, want %s for this name and public key", name, quoteShort(id), want)
	}
	return k, nil
}

// formatKeyID returns a key id as eight lower-case hexadecimal digits.
func formatKeyID(id uint32) string {
	return hex.EncodeToString(binary.BigEndian.AppendUint32(nil, id))
}

// String returns the encoded key: name, "+", key id in hexadecimal, "+",
// base64 of type and public key.
func (k *VerifierKey) String() string {
	return k.name + "+" + formatKeyID(k.id) + "+" + encoding.EncodeToString(append([]byte{byte(k.typ)}, k.raw...))
}

// Equal reports whether both keys have the same encoding: [VerifierKey.String].
func (k *VerifierKey) Equal(o *VerifierKey) bool {
	return k.id == o.id && k.typ == o.typ && k.name == o.name && bytes.Equal(k.raw, o.raw)
}

// Name returns the key's name: of a log key the origin, of a node's cosigner
// key the origin, a slash and the node's name.
func (k *VerifierKey) Name() string { return k.name }

// KeyID returns the first four bytes of SHA-256 of name, newline, type and
// public key.
func (k *VerifierKey) KeyID() uint32 { return k.id }

// Type returns the key's signature type.
func (k *VerifierKey) Type() KeyType { return k.typ }

// samePublicKey reports whether two keys wrap one public key, which makes them
// duplicates in a policy even under different names.
func (k *VerifierKey) samePublicKey(o *VerifierKey) bool { return bytes.Equal(k.raw, o.raw) }

// Signed reports whether the line claims to be by this key: it has the key's
// name and id. Lines by other keys are to be ignored.
func (k *VerifierKey) Signed(sig Signature) bool { return sig.Name == k.name && sig.KeyID == k.id }

// VerifyCheckpoint verifies a signature line by this key on a checkpoint and
// returns the cosignature's timestamp in seconds since the Unix epoch, 0 when it
// has none. A line that does not verify is [ErrBadSignature].
func (k *VerifierKey) VerifyCheckpoint(c Checkpoint, sig Signature) (timestamp uint64, err error) {
	if !k.Signed(sig) {
		return 0, errors.Newf("%w: line is by %s (key id %s), want %s (key id %s)",
			ErrBadSignature, sig.Name, formatKeyID(sig.KeyID), k.name, formatKeyID(k.id))
	}
	if err := c.Validate(); err != nil {
		return 0, errors.Wrapf(err, "verify signature by %s", k.name)
	}
	var ok bool
	switch k.typ {
	case Ed25519:
		ok = len(sig.Data) == ed25519.SignatureSize && ed25519.Verify(k.ed25519, []byte(c.Text()), sig.Data)
	case Ed25519Cosignature:
		timestamp, err = cosignatureTimestamp(sig.Data, ed25519.SignatureSize)
		ok = err == nil && ed25519.Verify(k.ed25519, c.ed25519CosignedMessage(timestamp), sig.Data[timestampSize:])
	case MLDSA44:
		timestamp, err = cosignatureTimestamp(sig.Data, pqcrypto.MLDSA44.SignatureSize())
		ok = err == nil && k.mldsa44.VerifyStandard(c.cosignedMessage(k.name, timestamp), sig.Data[timestampSize:])
	}
	if err != nil {
		return 0, errors.Newf("%w: line by %s (key id %s): %s", ErrBadSignature, k.name, formatKeyID(k.id), err.Error())
	}
	if !ok {
		return 0, errors.Newf("%w: line by %s (key id %s): not %s of size %d, root %s, origin %s",
			ErrBadSignature, k.name, formatKeyID(k.id), k.typ, c.Size, c.Root, quoteShort(c.Origin))
	}
	return timestamp, nil
}

// cosignatureTimestamp checks the length of a timestamped signature and
// returns its timestamp.
func cosignatureTimestamp(data []byte, signatureSize int) (uint64, error) {
	if len(data) != timestampSize+signatureSize {
		return 0, errors.Newf("cosignature has %d bytes, want %d", len(data), timestampSize+signatureSize)
	}
	timestamp := binary.BigEndian.Uint64(data)
	if timestamp > math.MaxInt64 {
		return 0, errors.Newf("timestamp %d is larger than %d", timestamp, uint64(math.MaxInt64))
	}
	return timestamp, nil
}
