package merkle

import (
	"fmt"
	"slices"
)

// Tree is the right edge of the tile tree: for every level the hashes of the
// rightmost tile that is not yet full. That is all that appending needs, at
// most 64 KiB for a tree of any size. A Tree has a single owner and is not safe
// for concurrent use. Make one with [NewTree] or [RestoreTree].
type Tree struct {
	size  uint64
	edges [levels]edge
}

// edge is the rightmost, partial tile of one level.
type edge struct {
	// hashes of the tile; invariant: len(hashes) = size >> (8·level) mod 256.
	// The backing array is handed over to the caller of Append when it is full,
	// so it is never written to again after that.
	hashes []Hash
	// peaks[h] is the root of the perfect subtree of height h in the binary
	// decomposition of len(hashes), left to right from the highest; it is
	// meaningful only when bit h of len(hashes) is set.
	peaks [TileHeight]Hash
}

// push adds a hash. When it fills the tile, push returns the tile's hashes and
// root and empties the edge.
func (e *edge) push(h Hash) (full []Hash, root Hash) {
	if len(e.hashes) == cap(e.hashes) {
		e.hashes = append(make([]Hash, 0, TileWidth), e.hashes...)
	}
	n := len(e.hashes)
	e.hashes = append(e.hashes, h)
	height := 0
	for ; n>>height&1 == 1; height++ {
		h = NodeHash(e.peaks[height], h)
	}
	if height < TileHeight {
		e.peaks[height] = h
		return nil, Hash{}
	}
	full, e.hashes = e.hashes, nil
	return full, h
}

// fold combines the edge's peaks, from the right, with what lies to the right
// of the tile.
func (e *edge) fold(right Hash, haveRight bool) (Hash, bool) {
	n := len(e.hashes)
	for height := range TileHeight {
		switch {
		case n>>height&1 == 0:
		case haveRight:
			right = NodeHash(e.peaks[height], right)
		default:
			right, haveRight = e.peaks[height], true
		}
	}
	return right, haveRight
}

// NewTree returns a tree without leaves.
func NewTree() *Tree { return &Tree{} }

// RestoreTree returns the tree of the given size. It reads one partial tile
// for each level that has one. Whoever knows the root should compare it.
func RestoreTree(size uint64, read TileReader) (*Tree, error) {
	if size > MaxSize {
		return nil, fmt.Errorf("restore tree: size %d is beyond the largest, %d", size, uint64(MaxSize))
	}
	t := &Tree{size: size}
	for level := range uint8(levels) {
		index := size >> (TileHeight * (uint(level) + 1))
		width := WidthAt(level, index, size)
		if width == 0 {
			continue
		}
		hashes, err := readTile(read, level, index, width)
		if err != nil {
			return nil, fmt.Errorf("restore tree of size %d: %w", size, err)
		}
		t.edges[level].hashes = make([]Hash, 0, width) // most trees are restored to be read
		for _, h := range hashes {
			t.edges[level].push(h)
		}
	}
	return t, nil
}

// Append adds leaves and returns the tiles that became full, in the order in
// which they did. A tile of level l+1 thus comes after the last tile of level l
// that it stands on. The tiles belong to the caller. Append panics when the
// size would exceed [MaxSize].
func (t *Tree) Append(leaves []Hash) (full []Tile) {
	if uint64(len(leaves)) > MaxSize-t.size {
		panic(fmt.Sprintf("merkle: %d leaves appended to a tree of size %d", len(leaves), t.size))
	}
	for _, h := range leaves {
		t.size++
		for level := range uint8(levels) {
			hashes, root := t.edges[level].push(h)
			if hashes == nil {
				break
			}
			index := t.size>>(TileHeight*(uint(level)+1)) - 1
			full = append(full, Tile{Level: level, Index: index, Hashes: hashes})
			h = root
		}
	}
	return full
}

// Size returns the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Root returns the tree's root, [EmptyRoot] when it has no leaves. It costs at
// most 64 hashes.
func (t *Tree) Root() Hash {
	var root Hash
	have := false
	for level := range t.edges {
		root, have = t.edges[level].fold(root, have)
	}
	if !have {
		return EmptyRoot()
	}
	return root
}

// Clone returns an independent copy.
func (t *Tree) Clone() *Tree {
	c := *t
	for level := range c.edges {
		c.edges[level].hashes = t.copyPartial(level)
	}
	return &c
}

// copyPartial returns a copy of a level's hashes with room for a full tile.
func (t *Tree) copyPartial(level int) []Hash {
	hashes := t.edges[level].hashes
	if len(hashes) == 0 {
		return nil
	}
	return append(make([]Hash, 0, TileWidth), hashes...)
}

// Partial returns the hashes of the level's rightmost tile when that is
// partial: between 0 and 255 of them. The caller must not change them; later
// appends do not either.
func (t *Tree) Partial(level uint8) []Hash {
	if int(level) >= len(t.edges) {
		return nil
	}
	return slices.Clip(t.edges[level].hashes)
}
