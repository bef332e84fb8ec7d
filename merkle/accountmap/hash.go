package accountmap

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"github.com/cairnledger/cairn/merkle"
)

// Domain separation: the first byte of what is hashed. RFC 6962 has 00 and 01, the chain of an
// account's entries has 04.
const (
	leafPrefix  = 0x02
	innerPrefix = 0x03
	emptyPrefix = 0x05
)

// KeySize is the size of a [Key] in bytes.
const KeySize = sha256.Size

// A Key is where an account lies in the map. Bit 0 of a key is the most significant bit of its
// first byte.
type Key [KeySize]byte

// String returns the key as 64 lower-case hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// KeyOf returns the key of an account of the ledger with this origin, which has at most 65,535
// bytes: SHA-256(u16 length of the origin ‖ origin ‖ account).
func KeyOf(ledger string, account []byte) Key {
	var room [256]byte
	b := binary.BigEndian.AppendUint16(room[:0], uint16(len(ledger)))
	b = append(b, ledger...)
	return sha256.Sum256(append(b, account...))
}

// bit returns the bit with this number, 0 or 1.
func (k *Key) bit(n uint8) uint8 { return k[n/8] >> (7 - n%8) & 1 }

// prefix returns the first 64 bits.
func (k *Key) prefix() uint64 { return binary.BigEndian.Uint64(k[:8]) }

func (k *Key) compare(o *Key) int { return bytes.Compare(k[:], o[:]) }

// firstDifference returns the first bit in which the keys differ; ok is false when they are equal.
func firstDifference(a, b *Key) (bit uint8, ok bool) {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return uint8(8*i + bits.LeadingZeros8(x)), true
		}
	}
	return 0, false
}

// Leaf is an account in the map. Record is the SHA-256 of the account's record.
type Leaf struct {
	Key    Key
	Record merkle.Hash
}

// EmptyRoot returns the root of the map without accounts: SHA-256(05).
func EmptyRoot() merkle.Hash { return sha256.Sum256([]byte{emptyPrefix}) }

// LeafHash returns the hash of an account's leaf: SHA-256(02 ‖ key ‖ SHA-256 of the record).
func LeafHash(key Key, record merkle.Hash) merkle.Hash {
	var b [1 + KeySize + merkle.HashSize]byte
	b[0] = leafPrefix
	copy(b[1:], key[:])
	copy(b[1+KeySize:], record[:])
	return sha256.Sum256(b[:])
}

// InnerHash returns the hash of a node whose leaves agree in all bits before this one: left holds
// those that have 0 in it, right those that have 1. It is SHA-256(03 ‖ bit ‖ left ‖ right).
func InnerHash(bit uint8, left, right merkle.Hash) merkle.Hash {
	var b [2 + 2*merkle.HashSize]byte
	b[0], b[1] = innerPrefix, bit
	copy(b[2:], left[:])
	copy(b[2+merkle.HashSize:], right[:])
	return sha256.Sum256(b[:])
}
