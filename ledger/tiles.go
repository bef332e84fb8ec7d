package ledger

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// provedTiles serves tiles of a view, each checked against the tile above it up to the right edge
// in memory.
type provedTiles struct {
	l *Ledger
	v *view
}

func (t provedTiles) ReadTile(level uint8, index uint64, width int) ([]merkle.Hash, error) {
	return t.l.tile(t.v, level, index, width)
}

// tile returns at least width proved hashes.
func (l *Ledger) tile(v *view, level uint8, index uint64, width int) ([]merkle.Hash, error) {
	have := merkle.WidthAt(level, index, v.head.Size)
	if have < width {
		return nil, &NotFoundError{Index: index, Size: v.head.Size}
	}
	if have < merkle.TileWidth {
		return v.partial[level], nil
	}
	id := tileID{level, index}
	if hashes, ok := l.cache.tile(id); ok {
		return hashes, nil
	}
	hashes, err := readFullTile(l.store, l.keys, level, index)
	if err != nil {
		return nil, err
	}
	above, err := l.tile(v, level+1, index/merkle.TileWidth, int(index%merkle.TileWidth)+1)
	if err != nil {
		return nil, err
	}
	if root, want := tileRoot(hashes), above[index%merkle.TileWidth]; root != want {
		return nil, damagedTile(level, index, errors.Newf("root %s, the tile above has %s", root, want))
	}
	l.cache.putTile(id, hashes)
	return hashes, nil
}

func tileName(level uint8) string { return "tile of level " + string(rune('0'+level)) }

// readFullTile reads a tile that must be in the store. Every failure is a *CorruptError.
func readFullTile(store Store, keys keyspace, level uint8, index uint64) ([]merkle.Hash, error) {
	b, err := store.Get(keys.tile(level, index))
	if err != nil {
		return nil, damagedTile(level, index, err)
	}
	hashes, err := merkle.ParseTile(b, merkle.TileWidth)
	if err != nil {
		return nil, damagedTile(level, index, err)
	}
	return hashes, nil
}

// tileRoot returns the root of a full tile.
func tileRoot(hashes []merkle.Hash) merkle.Hash {
	var level [merkle.TileWidth / 2]merkle.Hash
	n := len(hashes) / 2
	for i := range n {
		level[i] = merkle.NodeHash(hashes[2*i], hashes[2*i+1])
	}
	for ; n > 1; n /= 2 {
		for i := range n / 2 {
			level[i] = merkle.NodeHash(level[2*i], level[2*i+1])
		}
	}
	return level[0]
}

// unprovedTiles serves the partial tiles of the right edge from the full tiles and the leaves below
// them, for RestoreTree, whose root proves them. Partial tiles are not stored.
type unprovedTiles struct {
	store Store
	keys  keyspace
	size  uint64
}

func (t unprovedTiles) ReadTile(level uint8, index uint64, width int) ([]merkle.Hash, error) {
	first := index * merkle.TileWidth
	hashes := make([]merkle.Hash, 0, width)
	if level > 0 {
		for i := range uint64(width) {
			below, err := readFullTile(t.store, t.keys, level-1, first+i)
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, tileRoot(below))
		}
		return hashes, nil
	}
	var rec *record
	for i := first; i < first+uint64(width); i++ {
		if rec == nil || !rec.holds(i) {
			var err error
			if rec, err = readRecord(t.store, t.keys, i); err != nil {
				return nil, err
			}
		}
		leaf, err := rec.leaf(i)
		if err != nil {
			return nil, damagedEntry("block", i, err)
		}
		hashes = append(hashes, merkle.LeafHash(leaf))
	}
	return hashes, nil
}
