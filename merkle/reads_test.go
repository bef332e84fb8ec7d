package merkle

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestTilesAreReadOnce: a proof or a root reads no tile twice, whatever index and size.
func TestTilesAreReadOnce(t *testing.T) {
	t.Parallel()
	const size = TileWidth*TileWidth + 3*TileWidth + 77 // full and partial tiles of three levels
	hashes := make([]Hash, size)
	for i := range hashes {
		hashes[i] = LeafHash(fmt.Append(nil, i))
	}
	tree := NewTree()
	type id struct {
		level uint8
		index uint64
	}
	tiles := map[id][]Hash{}
	for _, tile := range tree.Append(hashes) {
		tiles[id{tile.Level, tile.Index}] = tile.Hashes
	}
	for level := range uint8(levels) {
		if p := tree.Partial(level); len(p) > 0 {
			tiles[id{level, uint64(size) >> (TileHeight * (uint(level) + 1))}] = p
		}
	}
	reads := map[id]int{}
	reader := TileReaderFunc(func(level uint8, index uint64, width int) ([]Hash, error) {
		reads[id{level, index}]++
		return tiles[id{level, index}][:width], nil
	})
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for tile, n := range reads {
			if n != 1 {
				t.Errorf("%s: tile %d of level %d was read %d times", what, tile.index, tile.level, n)
			}
		}
		clear(reads)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		n := 1 + rng.Uint64N(size)
		index, old := rng.Uint64N(n), 1+rng.Uint64N(n)
		_, err := InclusionProof(reader, index, n)
		check(fmt.Sprintf("inclusion of %d in %d", index, n), err)
		_, err = ConsistencyProof(reader, old, n)
		check(fmt.Sprintf("consistency of %d with %d", old, n), err)
		_, err = RootAt(reader, n)
		check(fmt.Sprintf("root of %d", n), err)
	}
}

// TestPartialStays: a partial tile stays what it was while the tree grows, and an append to it
// does not reach the tree.
func TestPartialStays(t *testing.T) {
	t.Parallel()
	leaves := make([]Hash, 3*TileWidth)
	for i := range leaves {
		leaves[i] = LeafHash([]byte{byte(i), byte(i >> 8)})
	}
	tree := NewTree()
	for n := range leaves {
		partial := tree.Partial(0)
		_ = append(partial, Hash{})
		tree.Append(leaves[n : n+1])
		for i, h := range partial {
			if want := leaves[n/TileWidth*TileWidth+i]; h != want {
				t.Fatalf("hash %d of the partial tile of %d leaves is %s after an append, want %s", i, n, h, want)
			}
		}
	}
	whole := NewTree()
	whole.Append(leaves)
	if tree.Root() != whole.Root() {
		t.Errorf("root %s, want %s", tree.Root(), whole.Root())
	}
}
