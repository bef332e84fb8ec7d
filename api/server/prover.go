package server

import (
	"math/bits"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// batchProver makes the inclusion proofs of many entries under one size. merkle.InclusionProof
// hashes most of a tile for every entry; here each tile is hashed once and shared, which is what
// makes receipts for thousands of entries affordable. RFC 6962, section 2.1.1. Not safe for
// concurrent use.
type batchProver struct {
	l     tileReader
	size  uint64
	tiles map[tileID]*tileTree
	edges map[uint64]merkle.Hash // root of [start, size) for the ragged ranges on the right
}

type tileReader interface {
	Tile(level uint8, index uint64, width int) ([]byte, error)
}

type tileID struct {
	level uint8
	index uint64
}

// tileTree is a tile with the nodes above its hashes: rows[h][i] is the root of hashes i·2^h to
// (i+1)·2^h - 1, for as many as the tile's width completes.
type tileTree struct {
	rows [merkle.TileHeight][]merkle.Hash
}

func newBatchProver(l tileReader, size uint64) *batchProver {
	return &batchProver{l: l, size: size, tiles: map[tileID]*tileTree{}, edges: map[uint64]merkle.Hash{}}
}

// inclusion returns the proof of one index, concatenated.
func (p *batchProver) inclusion(index uint64) ([]byte, error) {
	if index >= p.size || p.size > merkle.MaxSize {
		return nil, errors.Newf("index %d is beyond size %d", index, p.size)
	}
	// From the root down: the far side of each split is one hash of the proof, in reverse order.
	var far [64]merkle.Hash
	n := len(far)
	lo, hi := uint64(0), p.size
	for hi-lo > 1 {
		mid := lo + 1<<(bits.Len64(hi-lo-1)-1)
		farLo, farHi := mid, hi
		if index >= mid {
			farLo, farHi = lo, mid
			lo = mid
		} else {
			hi = mid
		}
		h, err := p.subtree(farLo, farHi)
		if err != nil {
			return nil, err
		}
		n--
		far[n] = h
	}
	return flatten(far[n:]), nil
}

// subtree returns the root of [lo, hi), a range that occurs in the tree.
func (p *batchProver) subtree(lo, hi uint64) (merkle.Hash, error) {
	if n := hi - lo; n&(n-1) == 0 {
		return p.node(uint(bits.TrailingZeros64(n)), lo)
	}
	if h, ok := p.edges[lo]; ok {
		return h, nil
	}
	mid := lo + 1<<(bits.Len64(hi-lo-1)-1)
	left, err := p.subtree(lo, mid)
	if err != nil {
		return left, err
	}
	right, err := p.subtree(mid, hi)
	if err != nil {
		return right, err
	}
	h := merkle.NodeHash(left, right)
	p.edges[lo] = h
	return h, nil
}

// node returns the root of the perfect subtree of 2^height entries from lo.
func (p *batchProver) node(height uint, lo uint64) (merkle.Hash, error) {
	level, row := uint8(height/merkle.TileHeight), height%merkle.TileHeight
	at := lo >> height // position among the nodes of this height
	id := tileID{level, at >> (merkle.TileHeight - row)}
	t, ok := p.tiles[id]
	if !ok {
		var err error
		if t, err = p.read(id); err != nil {
			return merkle.Hash{}, err
		}
		p.tiles[id] = t
	}
	return t.rows[row][at&(1<<(merkle.TileHeight-row)-1)], nil
}

func (p *batchProver) read(id tileID) (*tileTree, error) {
	width := merkle.WidthAt(id.level, id.index, p.size)
	raw, err := p.l.Tile(id.level, id.index, width)
	if err != nil {
		return nil, err
	}
	t := new(tileTree)
	if t.rows[0], err = merkle.ParseTile(raw, width); err != nil {
		return nil, err
	}
	for h := 1; h < len(t.rows); h++ {
		below := t.rows[h-1]
		t.rows[h] = make([]merkle.Hash, len(below)/2)
		for i := range t.rows[h] {
			t.rows[h][i] = merkle.NodeHash(below[2*i], below[2*i+1])
		}
	}
	return t, nil
}
