package ledger

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

const (
	// MaxLeafSize is the largest leaf, the encoded entry with its outcome, in bytes (C2SP
	// tlog-tiles bundles carry a 16-bit length).
	MaxLeafSize = merkle.MaxEntrySize
	// MaxKeySize is the largest idempotency key, in bytes.
	MaxKeySize = 128
	// MaxPrincipalSize is the largest principal, in bytes (SPIFFE-ID §2.3 allows URIs of 2,048
	// bytes).
	MaxPrincipalSize = 2048

	entryVersion = 2
	// version, kind, flags, time, principal length, key length, body length
	entryHeaderSize = 1 + 1 + 1 + 8 + 2 + 1 + 2
)

// ErrBadLeaf is the cause of every error of ParseLeaf.
var ErrBadLeaf = errors.New("bad leaf")

// Kind says what an entry's body is.
type Kind uint8

// The kinds of entries. An entry of another kind does not parse.
const (
	// KindPayload: the body is opaque.
	KindPayload Kind = 1
	// KindCommand: the body is a command of the ledger's program.
	KindCommand Kind = 2
	// KindRecord: the body is a record of the ledger itself.
	KindRecord Kind = 3
)

func (k Kind) valid() bool { return k >= KindPayload && k <= KindRecord }

// String returns the kind as the documentation calls it.
func (k Kind) String() string {
	switch k {
	case KindPayload:
		return "payload"
	case KindCommand:
		return "command"
	case KindRecord:
		return "record"
	}
	return "unknown"
}

// Entry is what a user appended, stamped by the leader with the ledger's time and the authenticated
// principal, and what came of it. The encoded entry followed by the outcome is the Merkle leaf;
// docs/format-ledger.md has the byte offsets.
type Entry struct {
	Kind Kind
	// Time is the leader's clock when the entry was put into a block, in microseconds since the
	// Unix epoch. Invariant: within one ledger it never decreases with the index.
	Time int64
	// Principal is the SPIFFE ID of the writer, 1 to MaxPrincipalSize bytes.
	Principal string
	// Key is the idempotency key within the principal, at most MaxKeySize bytes; empty means none.
	Key []byte
	// Body is the payload, the command or the record.
	Body []byte
	// Outcome is what the ledger's program decided about the entry; empty for payloads.
	Outcome []byte
}

// MaxBody returns the largest body in bytes that fits into a leaf with this principal, a key of
// keyLen bytes and no outcome. It is negative when nothing fits.
func MaxBody(principal string, keyLen int) int {
	return MaxLeafSize - entryHeaderSize - len(principal) - keyLen
}

// LeafSize returns the size of the entry's leaf in bytes.
func (e *Entry) LeafSize() int {
	return entryHeaderSize + len(e.Principal) + len(e.Key) + len(e.Body) + len(e.Outcome)
}

// AppendLeaf appends the entry's leaf to dst. The entry must be valid (see Batch.Validate):
// AppendLeaf panics when the kind is unknown or a length does not fit its field, because that would
// be a different entry.
func (e *Entry) AppendLeaf(dst []byte) []byte {
	if e.LeafSize() > MaxLeafSize {
		panic("ledger: entry does not fit into a leaf")
	}
	return append(appendEntry(dst, e.Kind, e.Time, e.Principal, e.Key, e.Body), e.Outcome...)
}

// appendEntry appends an encoded entry, which is a leaf without its outcome.
func appendEntry(dst []byte, kind Kind, time int64, principal string, key, body []byte) []byte {
	fits := len(principal) <= MaxPrincipalSize && len(key) <= MaxKeySize && len(body) <= MaxBody(principal, len(key))
	if !fits || !kind.valid() {
		panic("ledger: entry does not fit into a leaf")
	}
	dst = append(dst, entryVersion, byte(kind), 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(time))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(principal)))
	dst = append(dst, byte(len(key)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(body)))
	dst = append(dst, principal...)
	dst = append(dst, key...)
	return append(dst, body...)
}

// ParseLeaf decodes a leaf. Key, Body and Outcome alias it. Every byte string either is refused
// (ErrBadLeaf) or encodes back to itself.
func ParseLeaf(leaf []byte) (Entry, error) {
	if len(leaf) > MaxLeafSize {
		return Entry{}, errors.Wrapf(ErrBadLeaf, "%d bytes are more than %d", len(leaf), MaxLeafSize)
	}
	var v BlockEntry
	time, err := v.parse(leaf)
	if err != nil {
		return Entry{}, err
	}
	return Entry{
		Kind: v.Kind, Time: time, Principal: string(v.Principal), Key: v.Key, Body: v.Body,
		Outcome: leaf[len(v.Encoded):len(leaf):len(leaf)],
	}, nil
}

// parse decodes the encoded entry that b begins with, all but its offset, and returns its time.
func (e *BlockEntry) parse(b []byte) (time int64, err error) {
	n, err := entrySize(b)
	if err != nil {
		return 0, err
	}
	if b[0] != entryVersion {
		return 0, errors.Wrapf(ErrBadLeaf, "version %d", b[0])
	}
	if e.Kind = Kind(b[1]); !e.Kind.valid() || b[2] != 0 {
		return 0, errors.Wrapf(ErrBadLeaf, "kind %d with flags %#x", b[1], b[2])
	}
	principalLen, keyLen := int(binary.BigEndian.Uint16(b[11:])), int(b[13])
	if principalLen == 0 || principalLen > MaxPrincipalSize {
		return 0, errors.Wrapf(ErrBadLeaf, "principal of %d bytes", principalLen)
	}
	if keyLen > MaxKeySize {
		return 0, errors.Wrapf(ErrBadLeaf, "key of %d bytes", keyLen)
	}
	keyAt := entryHeaderSize + principalLen
	bodyAt := keyAt + keyLen
	e.Encoded = b[:n:n]
	e.Principal = b[entryHeaderSize:keyAt:keyAt]
	e.Key = b[keyAt:bodyAt:bodyAt]
	e.Body = b[bodyAt:n:n]
	return int64(binary.BigEndian.Uint64(b[3:])), nil
}

// entrySize returns the size of the encoded entry that b begins with, in bytes. It looks at the
// lengths alone.
func entrySize(b []byte) (int, error) {
	if len(b) < entryHeaderSize {
		return 0, errors.Wrapf(ErrBadLeaf, "%d bytes are less than the header", len(b))
	}
	n := entryHeaderSize + int(binary.BigEndian.Uint16(b[11:])) + int(b[13]) + int(binary.BigEndian.Uint16(b[14:]))
	if n > len(b) || n > MaxLeafSize {
		return 0, errors.Wrapf(ErrBadLeaf, "an entry of %d bytes in %d", n, len(b))
	}
	return n, nil
}
