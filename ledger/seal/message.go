package seal

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

const messageVersion = 1

// kind says what a message is.
type kind uint8

const (
	kindRequest     kind = 1 // size, root: please cosign
	kindCosignature kind = 2 // size, root, key id, signature
	kindRefusal     kind = 3 // size, last: signed a larger size already
	kindSealed      kind = 4 // note
	kindAck         kind = 5 // size: has a sealed checkpoint of at least this size
	kindObjection   kind = 6 // size, root: computed another root than it was to cosign, this one
	// kindShown: size, root, proof, note. The note holds a checkpoint with one cosignature or more.
	// The proof says which root the note's tree has at size; size 0 is no proof.
	kindShown    kind = 7
	kindAsk      kind = 8 // nothing more: which position have you applied?
	kindPosition kind = 9 // last, size, root: after raft index last the ledger has this size and root
)

// maxProofHashes bounds a consistency proof: two hashes for each level of the largest tree.
const maxProofHashes = 128

// maxSignatureSize bounds a cosignature: a timestamp and any ML-DSA signature.
const maxSignatureSize = 8 + 4627

// message is what nodes send each other; which fields count depends on the kind.
type message struct {
	kind  kind
	size  uint64
	root  merkle.Hash
	last  uint64
	keyID uint32
	proof []merkle.Hash
	data  []byte // signature or note
}

// marshal encodes the message: version, kind, the kind's fields; data, always last, goes to the
// end.
func (m message) marshal() []byte {
	b := make([]byte, 0, 2+8+merkle.HashSize+4+len(m.data))
	b = append(b, messageVersion, byte(m.kind))
	switch m.kind {
	case kindRequest, kindObjection:
		b = binary.BigEndian.AppendUint64(b, m.size)
		b = append(b, m.root[:]...)
	case kindCosignature:
		b = binary.BigEndian.AppendUint64(b, m.size)
		b = append(b, m.root[:]...)
		b = binary.BigEndian.AppendUint32(b, m.keyID)
		b = append(b, m.data...)
	case kindRefusal:
		b = binary.BigEndian.AppendUint64(b, m.size)
		b = binary.BigEndian.AppendUint64(b, m.last)
	case kindPosition:
		b = binary.BigEndian.AppendUint64(b, m.size)
		b = append(b, m.root[:]...)
		b = binary.BigEndian.AppendUint64(b, m.last)
	case kindSealed:
		b = append(b, m.data...)
	case kindAck:
		b = binary.BigEndian.AppendUint64(b, m.size)
	case kindShown:
		b = binary.BigEndian.AppendUint64(b, m.size)
		b = append(b, m.root[:]...)
		b = append(b, byte(len(m.proof)))
		for _, h := range m.proof {
			b = append(b, h[:]...)
		}
		b = append(b, m.data...)
	}
	return b
}

// parseMessage decodes a message. Its data and proof are copies. What it accepts encodes back to
// the same bytes.
func parseMessage(b []byte) (message, error) {
	if len(b) < 2 || b[0] != messageVersion {
		return message{}, errors.Newf("sealing message of %d bytes without version %d", len(b), messageVersion)
	}
	m := message{kind: kind(b[1])}
	b = b[2:]
	fixed, limit := 0, 0 // fields before data, and the largest data
	switch m.kind {
	case kindRequest, kindObjection:
		fixed = 8 + merkle.HashSize
	case kindCosignature:
		fixed, limit = 8+merkle.HashSize+4, maxSignatureSize
	case kindRefusal:
		fixed = 8 + 8
	case kindSealed:
		limit = tlog.MaxNoteSize
	case kindAck:
		fixed = 8
	case kindAsk:
	case kindPosition:
		fixed = 8 + merkle.HashSize + 8
	case kindShown:
		fixed, limit = 8+merkle.HashSize+1, tlog.MaxNoteSize+maxProofHashes*merkle.HashSize
	default:
		return message{}, errors.Newf("sealing message of unknown kind %d", m.kind)
	}
	if len(b) < fixed || len(b)-fixed > limit {
		return message{}, errors.Newf("sealing message of kind %d with %d bytes, want %d to %d", m.kind, len(b), fixed, fixed+limit)
	}
	switch m.kind {
	case kindRequest, kindCosignature, kindObjection, kindShown, kindPosition:
		m.size = binary.BigEndian.Uint64(b)
		copy(m.root[:], b[8:])
		switch rest := b[8+merkle.HashSize:]; m.kind {
		case kindCosignature:
			m.keyID = binary.BigEndian.Uint32(rest)
		case kindPosition:
			m.last = binary.BigEndian.Uint64(rest)
		}
	case kindRefusal:
		m.size, m.last = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	case kindAck:
		m.size = binary.BigEndian.Uint64(b)
	}
	if m.kind == kindShown {
		n := int(b[fixed-1])
		if n > maxProofHashes || len(b)-fixed < n*merkle.HashSize {
			return message{}, errors.Newf("sealing message of kind %d with a proof of %d hashes in %d bytes", m.kind, n, len(b))
		}
		for ; n > 0; n-- {
			m.proof = append(m.proof, merkle.Hash(b[fixed:fixed+merkle.HashSize]))
			fixed += merkle.HashSize
		}
	}
	if limit > 0 {
		m.data = append([]byte(nil), b[fixed:]...)
	}
	return m, nil
}
