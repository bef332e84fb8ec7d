package ledger

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

const (
	// MaxLeafSize is the largest encoded entry, in bytes (C2SP tlog-tiles bundles carry a 16-bit length).
	MaxLeafSize = merkle.MaxEntrySize
	// MaxKeySize is the largest idempotency key, in bytes.
	MaxKeySize = 128
	// MaxPrincipalSize is the largest principal, in bytes (SPIFFE-ID §2.3 allows URIs of 2,048 bytes).
	MaxPrincipalSize = 2048

	leafVersion    = 1
	leafHeaderSize = 1 + 8 + 2 + 1 // version, time, principal length, key length
)

// ErrBadLeaf is the cause of every error of ParseLeaf.
var ErrBadLeaf = errors.New("bad leaf")

// Entry is what a user appended, stamped by the leader with the ledger's time and the authenticated principal.
// Its encoding is the Merkle leaf; docs/format-ledger.md has the byte offsets.
type Entry struct {
	// Time is the leader's clock when the entry was put into a block, in microseconds since the Unix epoch.
	// Invariant: within one ledger it never decreases with the index.
	Time int64
	// Principal is the SPIFFE ID of the writer, 1 to MaxPrincipalSize bytes.
	Principal string
	// Key is the idempotency key within the principal, at most MaxKeySize bytes; empty means none.
	Key []byte
	// Payload is opaque.
	Payload []byte
}

// MaxPayload returns the largest payload in bytes that fits into a leaf with this principal and a key of keyLen bytes.
// It is negative when nothing fits.
func MaxPayload(principal string, keyLen int) int {
	return MaxLeafSize - leafHeaderSize - len(principal) - keyLen
}

// LeafSize returns the size of the entry's leaf in bytes.
func (e *Entry) LeafSize() int {
	return leafHeaderSize + len(e.Principal) + len(e.Key) + len(e.Payload)
}

// AppendLeaf appends the entry's leaf to dst. The entry must be valid (see Batch.Validate): AppendLeaf panics when a
// length does not fit its field, because a truncated length would be a different entry.
func (e *Entry) AppendLeaf(dst []byte) []byte {
	return appendLeaf(dst, e.Time, e.Principal, e.Key, e.Payload)
}

func appendLeaf(dst []byte, time int64, principal string, key, payload []byte) []byte {
	if len(principal) > MaxPrincipalSize || len(key) > MaxKeySize || len(payload) > MaxPayload(principal, len(key)) {
		panic("ledger: entry does not fit into a leaf")
	}
	dst = append(dst, leafVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(time))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(principal)))
	dst = append(dst, byte(len(key)))
	dst = append(dst, principal...)
	dst = append(dst, key...)
	return append(dst, payload...)
}

// ParseLeaf decodes a leaf. Key and Payload alias it. Every byte string either is refused (ErrBadLeaf) or encodes
// back to itself.
func ParseLeaf(leaf []byte) (Entry, error) {
	v, err := viewLeaf(leaf)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Time: v.time, Principal: string(v.principal), Key: v.key, Payload: v.payload}, nil
}

// leafView is an Entry whose fields all alias the leaf.
type leafView struct {
	time                    int64
	principal, key, payload []byte
}

func viewLeaf(leaf []byte) (leafView, error) {
	if len(leaf) < leafHeaderSize {
		return leafView{}, errors.Wrapf(ErrBadLeaf, "%d bytes are less than the header", len(leaf))
	}
	if len(leaf) > MaxLeafSize {
		return leafView{}, errors.Wrapf(ErrBadLeaf, "%d bytes are more than %d", len(leaf), MaxLeafSize)
	}
	if leaf[0] != leafVersion {
		return leafView{}, errors.Wrapf(ErrBadLeaf, "version %d", leaf[0])
	}
	principalLen := int(binary.BigEndian.Uint16(leaf[9:]))
	keyLen := int(leaf[11])
	if principalLen == 0 || principalLen > MaxPrincipalSize {
		return leafView{}, errors.Wrapf(ErrBadLeaf, "principal of %d bytes", principalLen)
	}
	if keyLen > MaxKeySize {
		return leafView{}, errors.Wrapf(ErrBadLeaf, "key of %d bytes", keyLen)
	}
	keyAt := leafHeaderSize + principalLen
	payloadAt := keyAt + keyLen
	if payloadAt > len(leaf) {
		return leafView{}, errors.Wrap(ErrBadLeaf, "principal and key exceed the leaf")
	}
	return leafView{
		time:      int64(binary.BigEndian.Uint64(leaf[1:])),
		principal: leaf[leafHeaderSize:keyAt:keyAt],
		key:       leaf[keyAt:payloadAt:payloadAt],
		payload:   leaf[payloadAt:len(leaf):len(leaf)],
	}, nil
}
