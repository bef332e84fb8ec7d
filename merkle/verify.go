package merkle

import (
	"errors"
	"fmt"
	"math/bits"
)

// ErrProof is what every error of [VerifyInclusion] and [VerifyConsistency]
// wraps: the statement is not proved.
var ErrProof = errors.New("proof does not verify")

// VerifyInclusion checks that the leaf with the given hash is at index in the
// tree of the given size and root: RFC 9162, section 2.1.3.2.
func VerifyInclusion(index, size uint64, leaf Hash, proof []Hash, root Hash) error {
	if index >= size {
		return fmt.Errorf("%w: index %d is beyond size %d", ErrProof, index, size)
	}
	if want := inclusionProofLength(index, size); len(proof) != want {
		return fmt.Errorf("%w: %d hashes prove inclusion, want %d for index %d of %d", ErrProof, len(proof), want, index, size)
	}
	// node and last are the positions of the running hash and of the rightmost
	// node in the level that the walk has reached.
	h, node, last := leaf, index, size-1
	for _, sibling := range proof {
		if node&1 == 1 || node == last {
			h = NodeHash(sibling, h)
			// On the right edge a node without a sibling rises unchanged.
			for node&1 == 0 {
				node, last = node>>1, last>>1
			}
		} else {
			h = NodeHash(h, sibling)
		}
		node, last = node>>1, last>>1
	}
	if h != root {
		return fmt.Errorf("%w: leaf and proof give root %s for index %d of %d, want %s", ErrProof, h, index, size, root)
	}
	return nil
}

// inclusionProofLength returns how many hashes prove the inclusion of index,
// which is smaller than size: one for each level below the point where the
// path joins the right edge, and above it one for each left sibling.
func inclusionProofLength(index, size uint64) int {
	inner := bits.Len64(index ^ (size - 1))
	return inner + bits.OnesCount64(index>>inner)
}

// VerifyConsistency checks that the tree of newSize and newRoot begins with the
// tree of oldSize and oldRoot: RFC 9162, section 2.1.4.2. A tree of any size
// begins with the empty one; the proof is then empty, as it is for equal sizes.
func VerifyConsistency(oldSize, newSize uint64, proof []Hash, oldRoot, newRoot Hash) error {
	if oldSize > newSize {
		return fmt.Errorf("%w: old size %d is beyond new size %d", ErrProof, oldSize, newSize)
	}
	if want := consistencyProofLength(oldSize, newSize); len(proof) != want {
		return fmt.Errorf("%w: %d hashes prove consistency, want %d for sizes %d and %d", ErrProof, len(proof), want, oldSize, newSize)
	}
	if oldSize == 0 && oldRoot != EmptyRoot() {
		return fmt.Errorf("%w: old root of size 0 is %s, want %s", ErrProof, oldRoot, EmptyRoot())
	}
	if oldSize == newSize && oldRoot != newRoot {
		return fmt.Errorf("%w: two roots for size %d, %s and %s", ErrProof, newSize, oldRoot, newRoot)
	}
	if oldSize == 0 || oldSize == newSize {
		return nil
	}

	// The walk starts at the last perfect subtree of the old tree. It is in the
	// proof unless it is the whole old tree.
	shift := bits.TrailingZeros64(oldSize)
	node, last := (oldSize-1)>>shift, (newSize-1)>>shift
	start := oldRoot
	if node != 0 {
		start, proof = proof[0], proof[1:]
	}
	// node and last are, in the level that the walk has reached, the positions
	// of the running hash and of the rightmost node of the new tree.
	oldHash, newHash := start, start
	for _, sibling := range proof {
		if node&1 == 1 || node == last {
			oldHash = NodeHash(sibling, oldHash)
			newHash = NodeHash(sibling, newHash)
			for node&1 == 0 {
				node, last = node>>1, last>>1
			}
		} else {
			newHash = NodeHash(newHash, sibling)
		}
		node, last = node>>1, last>>1
	}
	if oldHash != oldRoot {
		return fmt.Errorf("%w: proof gives old root %s for sizes %d and %d, want %s", ErrProof, oldHash, oldSize, newSize, oldRoot)
	}
	if newHash != newRoot {
		return fmt.Errorf("%w: proof gives new root %s for sizes %d and %d, want %s", ErrProof, newHash, oldSize, newSize, newRoot)
	}
	return nil
}

// consistencyProofLength returns how many hashes prove consistency.
func consistencyProofLength(oldSize, newSize uint64) int {
	if oldSize == 0 || oldSize == newSize {
		return 0
	}
	// Beside the subtree that the walk starts at, the proof is the inclusion
	// proof of that subtree's last leaf, without the levels inside the subtree.
	shift := bits.TrailingZeros64(oldSize)
	n := inclusionProofLength(oldSize-1, newSize) - shift
	if oldSize != 1<<shift {
		n++
	}
	return n
}
