package merkle

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Shape of the tiles, C2SP tlog-tiles.
const (
	// TileHeight is how many levels of the tree one tile spans.
	TileHeight = 8
	// TileWidth is how many hashes a full tile holds.
	TileWidth = 1 << TileHeight
	// EntryBundleWidth is how many entries a full entry bundle holds.
	EntryBundleWidth = TileWidth
	// MaxEntrySize is the size of the largest entry, in bytes: a bundle
	// prefixes each entry with its length as an unsigned 16-bit integer.
	MaxEntrySize = math.MaxUint16
	// MaxSize is the largest size of a tree. Sizes fit a signed 64-bit integer
	// because verifiers written by others keep them in one.
	MaxSize = math.MaxInt64

	// levels is how many levels of tiles a tree of MaxSize has.
	levels = 64 / TileHeight
)

// A Tile is a run of consecutive hashes of one tile level. The hashes of
// level 0 are leaf hashes; those of level l+1 are roots of full tiles of
// level l.
type Tile struct {
	Level uint8
	Index uint64 // position among the tiles of the level, from 0
	// Hashes has between 1 and TileWidth elements; a tile with fewer than
	// TileWidth is partial and has no parent yet.
	Hashes []Hash
}

// Path returns the tile's path as in [TilePath].
func (t Tile) Path() string { return TilePath(t.Level, t.Index, len(t.Hashes)) }

// TileReader serves the tiles of one tree.
type TileReader interface {
	// ReadTile returns at least the first width hashes of a tile; more may be
	// returned. width is between 1 and TileWidth. The caller does not change
	// what it gets.
	ReadTile(level uint8, index uint64, width int) ([]Hash, error)
}

// TileReaderFunc makes a [TileReader] of a function.
type TileReaderFunc func(level uint8, index uint64, width int) ([]Hash, error)

// ReadTile calls f.
func (f TileReaderFunc) ReadTile(level uint8, index uint64, width int) ([]Hash, error) {
	return f(level, index, width)
}

// WidthAt returns how many hashes the tile has in a tree of the given size:
// between 0, when the tile is beyond the tree, and TileWidth. An entry bundle
// has the width of the tile of level 0 with its index.
func WidthAt(level uint8, index, size uint64) int {
	if level >= levels {
		return 0
	}
	have := size >> (TileHeight * uint(level)) // hashes of this level
	if index > have>>TileHeight {
		return 0
	}
	return int(min(have-index<<TileHeight, TileWidth))
}

// readTile reads exactly width hashes.
func readTile(r TileReader, level uint8, index uint64, width int) ([]Hash, error) {
	hashes, err := r.ReadTile(level, index, width)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", TilePath(level, index, width), err)
	}
	if len(hashes) < width {
		return nil, fmt.Errorf("read %s: got %d hashes, want %d", TilePath(level, index, width), len(hashes), width)
	}
	return hashes[:width], nil
}

// AppendTile appends the bytes of a tile as they are served: the hashes one
// after the other.
func AppendTile(dst []byte, hashes []Hash) []byte {
	for i := range hashes {
		dst = append(dst, hashes[i][:]...)
	}
	return dst
}

// ParseTile parses the bytes of a tile of exactly width hashes.
func ParseTile(b []byte, width int) ([]Hash, error) {
	if width < 1 || width > TileWidth {
		return nil, fmt.Errorf("parse tile: width %d, want 1 to %d", width, TileWidth)
	}
	if len(b) != width*HashSize {
		return nil, fmt.Errorf("parse tile: %d bytes, want %d for width %d", len(b), width*HashSize, width)
	}
	hashes := make([]Hash, width)
	for i := range hashes {
		copy(hashes[i][:], b[i*HashSize:])
	}
	return hashes, nil
}

// AppendEntryBundle appends one entry to the bytes of an entry bundle: its
// length as a big-endian 16-bit integer, then the entry. It panics when the
// entry is larger than [MaxEntrySize]: entries are checked when they come in.
func AppendEntryBundle(dst []byte, leaf []byte) []byte {
	if len(leaf) > MaxEntrySize {
		panic(fmt.Sprintf("merkle: entry of %d bytes in a bundle, at most %d fit", len(leaf), MaxEntrySize))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(leaf)))
	return append(dst, leaf...)
}

// ParseEntryBundle parses the bytes of an entry bundle of exactly n entries.
// The entries share memory with b.
func ParseEntryBundle(b []byte, n int) ([][]byte, error) {
	if n < 1 || n > EntryBundleWidth {
		return nil, fmt.Errorf("parse entry bundle: %d entries, want 1 to %d", n, EntryBundleWidth)
	}
	leaves := make([][]byte, 0, n)
	rest := b
	for i := range n {
		if len(rest) < 2 {
			return nil, fmt.Errorf("parse entry bundle: entry %d of %d: %d bytes left, want a length of 2", i, n, len(rest))
		}
		size := int(binary.BigEndian.Uint16(rest))
		rest = rest[2:]
		if len(rest) < size {
			return nil, fmt.Errorf("parse entry bundle: entry %d of %d: %d bytes left, want %d", i, n, len(rest), size)
		}
		leaves = append(leaves, rest[:size:size])
		rest = rest[size:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("parse entry bundle: %d bytes after the last of %d entries", len(rest), n)
	}
	return leaves, nil
}
