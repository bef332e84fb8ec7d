package server

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

// memoryTiles are the tiles of a tree that grows.
type memoryTiles struct {
	tree *merkle.Tree
	full map[tileID][]merkle.Hash
}

func newMemoryTiles(size int) *memoryTiles {
	m := &memoryTiles{tree: merkle.NewTree(), full: map[tileID][]merkle.Hash{}}
	leaves := make([]merkle.Hash, size)
	for i := range leaves {
		leaves[i] = merkle.LeafHash(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	for _, t := range m.tree.Append(leaves) {
		m.full[tileID{t.Level, t.Index}] = t.Hashes
	}
	return m
}

func (m *memoryTiles) ReadTile(level uint8, index uint64, width int) ([]merkle.Hash, error) {
	if t, ok := m.full[tileID{level, index}]; ok {
		return t[:width], nil
	}
	return m.tree.Partial(level)[:width], nil
}

func (m *memoryTiles) Tile(level uint8, index uint64, width int) ([]byte, error) {
	hashes, err := m.ReadTile(level, index, width)
	return merkle.AppendTile(nil, hashes), err
}

func TestBatchProverAgreesWithMerkle(t *testing.T) {
	t.Parallel()
	const size = 66_000 // three levels of tiles, the topmost with one hash
	tiles := newMemoryTiles(size)
	for _, n := range []uint64{1, 2, 3, 255, 256, 257, 511, 512, 1000, 65535, 65536, 65537, size} {
		p := newBatchProver(tiles, n)
		step := max(1, n/97)
		for index := uint64(0); index < n; index += step {
			want, err := merkle.InclusionProof(tiles, index, n)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.inclusion(index)
			if err != nil || !bytes.Equal(got, flatten(want)) {
				t.Fatalf("proof of %d in %d: got %x (error %v), want %x", index, n, got, err, flatten(want))
			}
		}
		if _, err := p.inclusion(n); err == nil {
			t.Errorf("size %d: the proof of index %d was made", n, n)
		}
	}
}

func BenchmarkProofs8192(b *testing.B) {
	tiles := newMemoryTiles(100_000)
	b.Run("batch", func(b *testing.B) {
		for b.Loop() {
			p := newBatchProver(tiles, 100_000)
			for i := range uint64(8192) {
				if _, err := p.inclusion(90_000 + i); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("single", func(b *testing.B) {
		for b.Loop() {
			for i := range uint64(8192) {
				if _, err := merkle.InclusionProof(tiles, 90_000+i, 100_000); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
