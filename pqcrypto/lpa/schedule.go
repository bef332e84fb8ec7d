package lpa

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"

	"github.com/cockroachdb/errors"
)

const (
	ekmSize = 48 // bytes exported from the outer TLS
	macSize = sha512.Size384
	gcmTag  = 16
	// exporterLabel is private use in the sense of RFC 5705; it is not the label of RFC 9266, so
	// that nothing else can be bound to the same value.
	exporterLabel = "EXPERIMENTAL-ledger-lpa-v1"
)

// transcriptHash is SHA-384 over len32(x) ‖ x for each x: no two different lists have the same
// input.
func transcriptHash(parts ...[]byte) []byte {
	h := sha512.New384()
	var n [4]byte
	for _, p := range parts {
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	return h.Sum(nil)
}

// schedule holds what both sides derive once the ciphertext is on the table. Every key is used for
// one message of one connection.
type schedule struct {
	suite     *Suite
	m1        []byte // the whole frame
	th1       []byte
	proof     cipher.AEAD // seals the client's proof
	proofIV   []byte
	finished  []byte // MAC key of M3
	channelID [32]byte
}

// newSchedule runs HKDF-SHA-384 (RFC 5869) with the TLS exporter as salt and the ML-KEM secret as
// input: without both, none of the keys.
func newSchedule(s *Suite, ekm, ss, m1, ct []byte) (*schedule, error) {
	if len(ekm) != ekmSize {
		return nil, errors.Newf("exporter of %d bytes, want %d", len(ekm), ekmSize)
	}
	prk, err := hkdf.Extract(sha512.New384, ss, ekm)
	if err != nil {
		return nil, errors.Wrap(err, "extract handshake key")
	}
	k := &schedule{suite: s, m1: m1, th1: transcriptHash(s.prologue(), m1, ct)}
	expand := func(label string, n int) []byte {
		if err != nil {
			return nil
		}
		label = "lpa1 " + label
		info := binary.BigEndian.AppendUint16(nil, uint16(n))
		info = append(info, byte(len(label)))
		info = append(info, label...)
		info = append(info, k.th1...)
		var key []byte
		key, err = hkdf.Expand(sha512.New384, prk, string(info), n)
		return key
	}
	proofKey := expand("c auth key", 32)
	k.proofIV = expand("c auth iv", 12)
	k.finished = expand("s finished", macSize)
	copy(k.channelID[:], expand("channel id", len(k.channelID)))
	if err != nil {
		return nil, errors.Wrap(err, "expand handshake keys")
	}
	block, err := aes.NewCipher(proofKey)
	if err != nil {
		return nil, errors.Wrap(err, "key the proof cipher")
	}
	if k.proof, err = cipher.NewGCM(block); err != nil {
		return nil, errors.Wrap(err, "key the proof cipher")
	}
	return k, nil
}

// prologue is mixed into every hash, so that a transcript of one suite or version means nothing in
// another.
func (s *Suite) prologue() []byte { return []byte("ledger LPA v1|" + s.alpn) }

// toBeSigned is the message of the client's ML-DSA signature.
func (k *schedule) toBeSigned(encodedChain []byte) []byte {
	return transcriptHash(k.suite.prologue(), k.m1, k.th1, encodedChain, k.channelID[:])
}

func (k *schedule) seal(plaintext []byte) []byte {
	return k.proof.Seal(nil, k.proofIV, plaintext, k.th1)
}

func (k *schedule) open(sealed []byte) ([]byte, error) {
	return k.proof.Open(nil, k.proofIV, sealed, k.th1)
}

// finishedMAC authenticates M1, M2 and the verdict, and proves that the server could decapsulate on
// this TLS connection.
func (k *schedule) finishedMAC(m2 []byte, s status) []byte {
	mac := hmac.New(sha512.New384, k.finished)
	mac.Write(transcriptHash(k.suite.prologue(), k.m1, m2, []byte{byte(s)}))
	return mac.Sum(nil)
}
