// Package seal encrypts secrets to a node's sealing key: HPKE (RFC 9180) in base mode with X-Wing,
// HKDF-SHA256 and AES-256-GCM.
//
// It delivers the log key of a cluster to its nodes. Whoever records a sealed secret today learns
// nothing from it with a quantum computer tomorrow: X-Wing is X25519 and ML-KEM-768 together, and
// stays safe while one of them does.
//
// What it doesn't say is who sealed: base mode has no sender authentication. The opener checks what
// it got, here the public key of the log, against what it expects.
//
// [Seal] and [PrivateKey.Open] work on bytes; [SealKey] and [OpenKey] on the sealed key file, whose
// format file.go specifies. Anybody with an HPKE library that has KEM 0x647a, KDF 0x0001 and AEAD
// 0x0002 can open both, Go's crypto/hpke for example.
package seal

import (
	"crypto/rand"
	"fmt"
	"io"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cloudflare/circl/hpke"
	"github.com/cloudflare/circl/kem"
	"github.com/cockroachdb/errors"
)

// suite is KEM 0x647a, KDF 0x0001, AEAD 0x0002.
var suite = hpke.NewSuite(hpke.KEM_XWING, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES256GCM)

const (
	// EncapsulatedKeySize is the size in bytes of the X-Wing ciphertext that every sealed message
	// starts with.
	EncapsulatedKeySize = 1120
	// Overhead is how many bytes a sealed message has more than its plaintext.
	Overhead = EncapsulatedKeySize + 16
)

// ErrOpen is returned when a sealed message was not made for this key, info and aad, or was
// changed. It doesn't say which.
var ErrOpen = errors.New("sealed message does not open with this key")

// A PublicKey is what is sealed to.
type PublicKey = pqcrypto.XWingPublicKey

// A PrivateKey opens what was sealed to its public key.
type PrivateKey struct {
	key  *pqcrypto.XWingPrivateKey
	hpke kem.PrivateKey
}

// GenerateKey makes a key from fresh randomness.
func GenerateKey() (*PrivateKey, error) {
	k, err := pqcrypto.GenerateXWingKey()
	if err != nil {
		return nil, err
	}
	return NewPrivateKey(k)
}

// NewPrivateKey prepares a stored key for opening.
func NewPrivateKey(k *pqcrypto.XWingPrivateKey) (*PrivateKey, error) {
	h, err := hpke.KEM_XWING.Scheme().UnmarshalBinaryPrivateKey(k.Seed())
	if err != nil {
		return nil, errors.Wrap(err, "expand X-Wing key")
	}
	return &PrivateKey{key: k, hpke: h}, nil
}

// ReadKeyFile reads a sealing key that [pqcrypto.WriteKeyFile] stored.
func ReadKeyFile(path string) (*PrivateKey, error) {
	k, err := pqcrypto.ReadKeyFile(path)
	if err != nil {
		return nil, err
	}
	x, ok := k.(*pqcrypto.XWingPrivateKey)
	if !ok {
		return nil, errors.Newf("key file %s holds a %T, want an X-Wing key", path, k)
	}
	return NewPrivateKey(x)
}

// Public returns the public key.
func (k *PrivateKey) Public() *PublicKey { return k.key.Public() }

// Key returns the key in its storable form, for [pqcrypto.WriteKeyFile].
func (k *PrivateKey) Key() *pqcrypto.XWingPrivateKey { return k.key }

// String hides the key.
func (k *PrivateKey) String() string { return k.key.String() }

// Format hides the key from every verb of package fmt.
func (k *PrivateKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// Seal encrypts plaintext so that only pub's owner can open it, and only with the same info and
// aad: enc (1120 bytes) ‖ ciphertext ‖ tag (16 bytes). info says what the message is for, aad is
// data that goes along in the clear.
func Seal(pub *PublicKey, info, aad, plaintext []byte) ([]byte, error) {
	k, err := hpke.KEM_XWING.Scheme().UnmarshalBinaryPublicKey(pub.Bytes())
	if err != nil {
		return nil, errors.Wrap(err, "expand X-Wing key")
	}
	sender, err := suite.NewSender(k, info)
	if err != nil {
		return nil, errors.Wrap(err, "set up HPKE sender")
	}
	enc, sealer, err := sender.Setup(rand.Reader)
	if err != nil {
		return nil, errors.Wrap(err, "set up HPKE sender")
	}
	ct, err := sealer.Seal(plaintext, aad)
	if err != nil {
		return nil, errors.Wrap(err, "seal")
	}
	return append(enc, ct...), nil
}

// Open decrypts what [Seal] made. Every failure is [ErrOpen].
func (k *PrivateKey) Open(info, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, errors.Wrapf(ErrOpen, "%d bytes are less than the smallest message, %d", len(sealed), Overhead)
	}
	receiver, err := suite.NewReceiver(k.hpke, info)
	if err != nil {
		return nil, errors.Wrap(err, "set up HPKE receiver")
	}
	opener, err := receiver.Setup(sealed[:EncapsulatedKeySize])
	if err != nil {
		return nil, errors.Wrapf(ErrOpen, "set up HPKE receiver: %v", err)
	}
	plaintext, err := opener.Open(sealed[EncapsulatedKeySize:], aad)
	if err != nil {
		return nil, ErrOpen
	}
	return plaintext, nil
}
