package merkle

import (
	"fmt"
	"math/bits"
)

// InclusionProof returns the proof that the entry at index is in the tree of
// the given size: RFC 6962, section 2.1.1, from the leaf's sibling up to the
// root's child. It has at most 63 hashes. Tiles are read with the widths that
// they have in a tree of this size, each at most once.
func InclusionProof(r TileReader, index, size uint64) ([]Hash, error) {
	if size > MaxSize {
		return nil, fmt.Errorf("prove inclusion: size %d is beyond the largest, %d", size, uint64(MaxSize))
	}
	if index >= size {
		return nil, fmt.Errorf("prove inclusion: index %d is beyond size %d", index, size)
	}
	p := newProver(r, size)
	proof, err := p.path(index, 0, size)
	if err != nil {
		return nil, fmt.Errorf("prove inclusion of %d in %d: %w", index, size, err)
	}
	return proof, nil
}

// ConsistencyProof returns the proof that the tree of newSize begins with the
// tree of oldSize: RFC 6962, section 2.1.2. It is empty when oldSize is 0 or
// newSize. Tiles are read with the widths that they have in a tree of newSize,
// each at most once.
func ConsistencyProof(r TileReader, oldSize, newSize uint64) ([]Hash, error) {
	if newSize > MaxSize {
		return nil, fmt.Errorf("prove consistency: size %d is beyond the largest, %d", newSize, uint64(MaxSize))
	}
	if oldSize > newSize {
		return nil, fmt.Errorf("prove consistency: old size %d is beyond new size %d", oldSize, newSize)
	}
	if oldSize == 0 || oldSize == newSize {
		return nil, nil
	}
	p := newProver(r, newSize)
	proof, err := p.subproof(oldSize, 0, newSize, true)
	if err != nil {
		return nil, fmt.Errorf("prove consistency of %d and %d: %w", oldSize, newSize, err)
	}
	return proof, nil
}

// RootAt returns the root of the tree of the given size, from its tiles.
func RootAt(r TileReader, size uint64) (Hash, error) {
	if size > MaxSize {
		return Hash{}, fmt.Errorf("compute root: size %d is beyond the largest, %d", size, uint64(MaxSize))
	}
	if size == 0 {
		return EmptyRoot(), nil
	}
	root, err := newProver(r, size).mth(0, size)
	if err != nil {
		return Hash{}, fmt.Errorf("compute root of %d: %w", size, err)
	}
	return root, nil
}

// prover computes hashes of subtrees of a tree of one size.
type prover struct {
	r     TileReader
	size  uint64
	tiles map[tileID][]Hash // those read so far
}

type tileID struct {
	level uint8
	index uint64
}

func newProver(r TileReader, size uint64) *prover {
	return &prover{r: r, size: size, tiles: make(map[tileID][]Hash, levels)}
}

// split returns the largest power of two smaller than n, which is at least 2.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// path is PATH(index-lo, D[lo:hi]) of RFC 6962, section 2.1.1.
func (p *prover) path(index, lo, hi uint64) ([]Hash, error) {
	if hi-lo == 1 {
		return make([]Hash, 0, bits.Len64(p.size)), nil
	}
	mid := lo + split(hi-lo)
	near, farLo, farHi := [2]uint64{lo, mid}, mid, hi
	if index >= mid {
		near, farLo, farHi = [2]uint64{mid, hi}, lo, mid
	}
	proof, err := p.path(index, near[0], near[1])
	if err != nil {
		return nil, err
	}
	far, err := p.mth(farLo, farHi)
	if err != nil {
		return nil, err
	}
	return append(proof, far), nil
}

// subproof is SUBPROOF(m-lo, D[lo:hi], known) of RFC 6962, section 2.1.2,
// where m lies in (lo, hi]; known is true while D[lo:m] is the whole old tree,
// whose root the verifier has.
func (p *prover) subproof(m, lo, hi uint64, known bool) ([]Hash, error) {
	if m == hi {
		proof := make([]Hash, 0, 1+bits.Len64(p.size))
		if known {
			return proof, nil
		}
		h, err := p.mth(lo, hi)
		return append(proof, h), err
	}
	mid := lo + split(hi-lo)
	if m <= mid {
		proof, err := p.subproof(m, lo, mid, known)
		if err != nil {
			return nil, err
		}
		right, err := p.mth(mid, hi)
		return append(proof, right), err
	}
	proof, err := p.subproof(m, mid, hi, false)
	if err != nil {
		return nil, err
	}
	left, err := p.mth(lo, mid)
	return append(proof, left), err
}

// mth is MTH(D[lo:hi]) for a range that occurs in the tree: lo is a multiple
// of the power of two that is at least hi-lo. The range is a sequence of
// perfect subtrees of falling height, which hash together from the right.
func (p *prover) mth(lo, hi uint64) (root Hash, err error) {
	have := false
	for n, end := hi-lo, hi; n != 0; n &= n - 1 {
		height := uint(bits.TrailingZeros64(n))
		end -= 1 << height
		h, err := p.node(height, end>>height)
		if err != nil {
			return Hash{}, err
		}
		if have {
			root = NodeHash(h, root)
		} else {
			root, have = h, true
		}
	}
	return root, nil
}

// node returns the root of the perfect subtree over
// D[index·2^height : (index+1)·2^height].
func (p *prover) node(height uint, index uint64) (Hash, error) {
	level, inTile := uint8(height/TileHeight), height%TileHeight
	first := index << inTile // position of the subtree's first hash in its level
	id := tileID{level, first >> TileHeight}
	tile, ok := p.tiles[id]
	if !ok {
		var err error
		if tile, err = readTile(p.r, id.level, id.index, WidthAt(id.level, id.index, p.size)); err != nil {
			return Hash{}, err
		}
		p.tiles[id] = tile
	}
	start := first % TileWidth
	return perfectRoot(tile[start : start+1<<inTile]), nil
}

// perfectRoot returns the root above hashes, whose number is a power of two
// and at most half a tile.
func perfectRoot(hashes []Hash) Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	var buf [TileWidth / 4]Hash
	row := buf[:len(hashes)/2]
	for i := range row {
		row[i] = NodeHash(hashes[2*i], hashes[2*i+1])
	}
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = NodeHash(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}
