package merkle

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"runtime"
	"sync"
	"sync/atomic"
)

// HashSize is the size of a [Hash] in bytes.
const HashSize = sha256.Size

// Domain separation of RFC 6962, section 2.1: without it an interior node
// could be passed off as a leaf.
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// A Hash is a Merkle tree hash: of a leaf, of an interior node, or a root.
type Hash [HashSize]byte

// String returns the hash as 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether every byte is zero. Nothing is known to hash to that,
// so the zero Hash can stand for "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// ParseHash parses 64 hexadecimal digits of either case.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 2*HashSize {
		return Hash{}, fmt.Errorf("parse hash: %d characters, want %d", len(s), 2*HashSize)
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, fmt.Errorf("parse hash: %w", err)
	}
	return h, nil
}

// EmptyRoot returns the root of the tree without leaves: SHA-256 of nothing.
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// LeafHash returns the hash of a leaf: SHA-256(0x00 ‖ leaf).
func LeafHash(leaf []byte) Hash {
	// Leaves up to this size are hashed from the stack, without allocation.
	const small = 1023
	if len(leaf) <= small {
		var buf [1 + small]byte
		buf[0] = leafPrefix
		n := copy(buf[1:], leaf)
		return sha256.Sum256(buf[:1+n])
	}
	var h Hash
	newLeafHasher().sum(&h, leaf)
	return h
}

// NodeHash returns the hash of the interior node above l and r:
// SHA-256(0x01 ‖ l ‖ r). It does not allocate.
func NodeHash(l, r Hash) Hash {
	var buf [1 + 2*HashSize]byte
	buf[0] = nodePrefix
	copy(buf[1:], l[:])
	copy(buf[1+HashSize:], r[:])
	return sha256.Sum256(buf[:])
}

// leafHasher hashes many leaves with one allocation.
type leafHasher struct {
	h      hash.Hash
	prefix [1]byte
}

func newLeafHasher() *leafHasher {
	return &leafHasher{h: sha256.New(), prefix: [1]byte{leafPrefix}}
}

// sum writes the leaf's hash to dst: returning it would allocate it, behind
// the interface.
func (lh *leafHasher) sum(dst *Hash, leaf []byte) {
	lh.h.Reset()
	lh.h.Write(lh.prefix[:])
	lh.h.Write(leaf)
	lh.h.Sum(dst[:0])
}

const (
	// parallelBytes is how much there must be to hash before a second
	// goroutine pays for its start.
	parallelBytes = 128 << 10
	// leafOverhead is what hashing one leaf costs beside its bytes, in bytes.
	leafOverhead = 64
	// leafChunk is how many leaves a worker takes at a time.
	leafChunk = 64
)

// LeafHashes returns the hash of every leaf, in order. Large batches are
// hashed on all processors.
func LeafHashes(leaves [][]byte) []Hash {
	if len(leaves) == 0 {
		return nil
	}
	out := make([]Hash, len(leaves))
	cost := 0
	for _, leaf := range leaves {
		cost += len(leaf) + leafOverhead
	}
	chunks := (len(leaves) + leafChunk - 1) / leafChunk
	workers := min(runtime.GOMAXPROCS(0), cost/parallelBytes+1, chunks)

	var next atomic.Int64
	work := func() {
		lh := newLeafHasher()
		for {
			end := int(next.Add(leafChunk))
			start := end - leafChunk
			if start >= len(leaves) {
				return
			}
			end = min(end, len(leaves))
			for i := start; i < end; i++ {
				lh.sum(&out[i], leaves[i])
			}
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return out
}
