package merkle_test

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

// tileStore is a tree with all of its tiles, for tests.
type tileStore struct {
	tree *merkle.Tree
	full map[string][]merkle.Hash
	t    testing.TB
}

func newTileStore(t testing.TB) *tileStore {
	return &tileStore{tree: merkle.NewTree(), full: make(map[string][]merkle.Hash), t: t}
}

func (s *tileStore) append(leaves []merkle.Hash) {
	for _, tile := range s.tree.Append(leaves) {
		if len(tile.Hashes) != merkle.TileWidth {
			s.t.Fatalf("Append returned tile %s of %d hashes, want %d", tile.Path(), len(tile.Hashes), merkle.TileWidth)
		}
		if _, ok := s.full[tile.Path()]; ok {
			s.t.Fatalf("Append returned tile %s twice", tile.Path())
		}
		s.full[tile.Path()] = tile.Hashes
	}
}

// at returns a reader that fails the test when a tile is asked for with another
// width than it has in a tree of the given size: a partial tile is served only
// with a width that it has at a size with a checkpoint.
func (s *tileStore) at(size uint64) merkle.TileReader {
	return merkle.TileReaderFunc(func(level uint8, index uint64, width int) ([]merkle.Hash, error) {
		if want := merkle.WidthAt(level, index, size); width != want {
			s.t.Errorf("size %d: read tile %d/%d with width %d, want %d", size, level, index, width, want)
		}
		return s.ReadTile(level, index, width)
	})
}

func (s *tileStore) ReadTile(level uint8, index uint64, width int) ([]merkle.Hash, error) {
	if hashes, ok := s.full[merkle.TilePath(level, index, merkle.TileWidth)]; ok {
		return hashes, nil
	}
	if index != s.tree.Size()>>(8*(uint(level)+1)) {
		return nil, fmt.Errorf("no tile %d/%d", level, index)
	}
	return s.tree.Partial(level), nil
}

// testLeaf returns the bytes of the i-th leaf of test trees.
func testLeaf(i uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte("leaf "), i)
}

// testLeaves returns the hashes of leaves lo to hi.
func testLeaves(lo, hi uint64) []merkle.Hash {
	hashes := make([]merkle.Hash, 0, hi-lo)
	for i := lo; i < hi; i++ {
		hashes = append(hashes, merkle.LeafHash(testLeaf(i)))
	}
	return hashes
}

// storeOf returns the store of the test tree of the given size.
func storeOf(t testing.TB, size uint64) *tileStore {
	s := newTileStore(t)
	s.append(testLeaves(0, size))
	return s
}

// rfcRoot is MTH of RFC 6962, section 2.1, word for word.
func rfcRoot(leaves []merkle.Hash) merkle.Hash {
	switch len(leaves) {
	case 0:
		return merkle.EmptyRoot()
	case 1:
		return leaves[0]
	}
	k := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	return merkle.NodeHash(rfcRoot(leaves[:k]), rfcRoot(leaves[k:]))
}

// uniform is the tree of any size whose leaves are all the same: its hashes
// depend on their level alone, so that huge trees can be read.
type uniform struct{ byLevel [8][]merkle.Hash }

func newUniform() *uniform {
	u := &uniform{}
	h := merkle.LeafHash([]byte("always the same"))
	for level := range u.byLevel {
		u.byLevel[level] = make([]merkle.Hash, merkle.TileWidth)
		for i := range u.byLevel[level] {
			u.byLevel[level][i] = h
		}
		for range merkle.TileHeight {
			h = merkle.NodeHash(h, h)
		}
	}
	return u
}

func (u *uniform) leaf() merkle.Hash { return u.byLevel[0][0] }

func (u *uniform) ReadTile(level uint8, index uint64, width int) ([]merkle.Hash, error) {
	return u.byLevel[level][:width], nil
}

func raw(h merkle.Hash) []byte { return h[:] }

func rawProof(proof []merkle.Hash) [][]byte {
	out := make([][]byte, len(proof))
	for i := range proof {
		out[i] = proof[i][:]
	}
	return out
}
