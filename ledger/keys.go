package ledger

import (
	"crypto/sha256"
	"encoding/binary"
)

// Every key begins with the group's id (8 bytes, big endian) and one byte that says what it is:
// docs/format-ledger.md.
const (
	kindMeta    = 'm'
	kindApplied = 'a'
	kindBlock   = 'b'
	kindPart    = 'p'
	kindTile    = 'h'
	kindKey     = 'k'
	kindSealed  = 'c'
	kindState   = 's'
	kindLevel   = 'l'
	kindMapRoot = 'r'
	kindDay     = 'd'
	kindWalk    = 'w'
	kindBase    = 'x'
	kindPolicy  = 'y'
)

// keyspace makes the keys of one group.
type keyspace struct{ group uint64 }

func (s keyspace) prefix(kind byte, room int) []byte {
	b := make([]byte, 0, 9+room)
	b = binary.BigEndian.AppendUint64(b, s.group)
	return append(b, kind)
}

func (s keyspace) meta() []byte    { return s.prefix(kindMeta, 0) }
func (s keyspace) applied() []byte { return s.prefix(kindApplied, 0) }

// block is keyed by the size of the ledger after it, so that the block that holds an index is the
// first one whose key is >= block(index+1).
func (s keyspace) block(end uint64) []byte {
	return binary.BigEndian.AppendUint64(s.prefix(kindBlock, 8), end)
}

func (s keyspace) part(end uint64, n int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(s.prefix(kindPart, 10), end), uint16(n))
}

func (s keyspace) tile(level uint8, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(s.prefix(kindTile, 9), level), index)
}

func (s keyspace) key(digest *[32]byte) []byte {
	return append(s.prefix(kindKey, len(digest)), digest[:]...)
}

func (s keyspace) sealed(size uint64) []byte {
	return binary.BigEndian.AppendUint64(s.prefix(kindSealed, 8), size)
}

// level is keyed by the index of the entry that raised the feature level.
func (s keyspace) level(index uint64) []byte {
	return binary.BigEndian.AppendUint64(s.prefix(kindLevel, 8), index)
}

// policy is keyed by the index of the record that changed the policies in force.
func (s keyspace) policy(index uint64) []byte {
	return binary.BigEndian.AppendUint64(s.prefix(kindPolicy, 8), index)
}

// mapRoot is keyed by the index of the last entry of a block that changed the map of accounts.
func (s keyspace) mapRoot(index uint64) []byte {
	return binary.BigEndian.AppendUint64(s.prefix(kindMapRoot, 8), index)
}

// dayEnd is keyed by the size at the end of a UTC day.
func (s keyspace) dayEnd(size uint64) []byte {
	return binary.BigEndian.AppendUint64(s.prefix(kindDay, 8), size)
}

// base is keyed by the size as of which the store has every row of the map.
func (s keyspace) base(size uint64) []byte {
	return binary.BigEndian.AppendUint64(s.prefix(kindBase, 8), size)
}

func (s keyspace) walk() []byte { return s.prefix(kindWalk, 0) }

// keyDigest names an idempotency key: SHA-256(u16 length of principal ‖ principal ‖ key).
func keyDigest(principal, key []byte) [32]byte {
	var room [256]byte
	b := binary.BigEndian.AppendUint16(room[:0], uint16(len(principal)))
	b = append(b, principal...)
	return sha256.Sum256(append(b, key...))
}

// keyRef is what the store holds for an idempotency key.
type keyRef struct {
	index uint64
	bodyRef
}

// bodyRef tells one body from all others: a retry must have the same.
type bodyRef struct {
	kind   Kind
	digest [32]byte // SHA-256 of the body
}

const keyRefSize = 8 + 1 + 32

func (r *keyRef) marshal() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, keyRefSize), r.index)
	return append(append(b, byte(r.kind)), r.digest[:]...)
}

func parseKeyRef(b []byte) (r keyRef, ok bool) {
	if len(b) != keyRefSize {
		return r, false
	}
	r.index = binary.BigEndian.Uint64(b)
	r.kind = Kind(b[8])
	copy(r.digest[:], b[9:])
	return r, true
}
