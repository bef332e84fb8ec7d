package ledger

import (
	"bytes"
	"context"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// Leaf returns the leaf of an index, checked against the tree. The caller must not change it. Its
// errors: *NotFoundError, *CorruptError.
func (l *Ledger) Leaf(index uint64) ([]byte, error) {
	leaves, err := l.Leaves(index, 1, 0)
	if err != nil {
		return nil, err
	}
	return leaves[0], nil
}

// Detail returns the leaf of an index, checked against the tree, and the detail of the entry, which
// the program has checked against the leaf; the detail is empty when the program is not Detailed.
// The caller must not change them. Its errors: *NotFoundError, *CorruptError.
func (l *Ledger) Detail(index uint64) (leaf, detail []byte, err error) {
	if leaf, err = l.Leaf(index); err != nil {
		return nil, nil, err
	}
	detail, err = l.DetailOf(index, leaf)
	return leaf, detail, err
}

// DetailOf returns the detail of the entry with this leaf, as Detail does.
func (l *Ledger) DetailOf(index uint64, leaf []byte) (detail []byte, err error) {
	if size := l.Head().Size; index >= size {
		return nil, &NotFoundError{Index: index, Size: size}
	}
	rec, err := l.record(index)
	if err != nil {
		return nil, err
	}
	if detail, err = l.detail(rec, index, leaf); err != nil {
		l.cache.dropBlock(index)
		return nil, err
	}
	return bytes.Clone(detail), nil
}

// detail returns the detail of an entry of the record, checked by the program.
func (l *Ledger) detail(rec *record, index uint64, leaf []byte) ([]byte, error) {
	p, ok := l.program.(Detailed)
	if !ok {
		return nil, nil
	}
	detail, err := rec.detail(index)
	if err == nil {
		var e Entry
		if e, err = ParseLeaf(leaf); err == nil && e.Kind != KindRecord {
			err = p.CheckDetail(index, leaf, detail)
		}
	}
	if err != nil {
		return nil, damagedEntry("detail", index, err)
	}
	return detail, nil
}

// smallBlock is what a leaf may keep in memory beyond itself, in bytes.
const smallBlock = 4 << 10

// detach copies leaves of the record that are a small part of it: they would keep all of it in
// memory.
func (r *record) detach(leaves [][]byte) {
	size := 0
	for _, leaf := range leaves {
		size += len(leaf)
	}
	if r == nil || len(r.raw) <= 4*size+smallBlock {
		return
	}
	copied := make([]byte, 0, size)
	for i, leaf := range leaves {
		at := len(copied)
		copied = append(copied, leaf...)
		leaves[i] = copied[at:len(copied):len(copied)]
	}
}

// Leaves returns consecutive leaves from first on, checked against the tree: at least one, at most
// maxLeaves, and no more than maxBytes unless the first alone is larger. The caller must not change
// them. Its errors: *NotFoundError when first is not below the size, *CorruptError; with an error
// there are no leaves.
func (l *Ledger) Leaves(first uint64, maxLeaves, maxBytes int) ([][]byte, error) {
	return l.leaves(l.view.Load(), first, maxLeaves, maxBytes)
}

func (l *Ledger) leaves(v *view, first uint64, maxLeaves, maxBytes int) ([][]byte, error) {
	if first >= v.head.Size {
		return nil, &NotFoundError{Index: first, Size: v.head.Size}
	}
	if maxLeaves < 1 {
		return nil, errors.Newf("read leaves: at most %d were asked for", maxLeaves)
	}
	n := min(v.head.Size-first, uint64(maxLeaves))
	leaves := make([][]byte, 0, min(n, 1024))
	bytes, mine := 0, 0 // mine: the leaves before this one are not of rec
	var rec *record
	for index := first; index < first+n; index++ {
		if rec == nil || !rec.holds(index) {
			var err error
			rec.detach(leaves[mine:])
			mine = len(leaves)
			if rec, err = l.record(index); err != nil {
				return nil, err
			}
		}
		leaf, err := rec.leaf(index)
		if err != nil {
			return nil, damagedEntry("block", index, err)
		}
		if bytes += len(leaf); bytes > maxBytes && len(leaves) > 0 {
			break
		}
		leaves = append(leaves, leaf)
	}
	rec.detach(leaves[mine:])
	if err := l.proveLeaves(v, first, leaves); err != nil {
		return nil, err
	}
	return leaves, nil
}

// proveLeaves compares leaves with the tiles of level 0.
func (l *Ledger) proveLeaves(v *view, first uint64, leaves [][]byte) error {
	hashes := merkle.LeafHashes(leaves)
	var tile []merkle.Hash
	for i, h := range hashes {
		index := first + uint64(i)
		if at := index % merkle.TileWidth; tile == nil || at == 0 {
			var err error
			tileIndex := index / merkle.TileWidth
			if tile, err = l.tile(v, 0, tileIndex, merkle.WidthAt(0, tileIndex, v.head.Size)); err != nil {
				return err
			}
		}
		if tile[index%merkle.TileWidth] != h {
			// Whatever was cached is not worth keeping.
			l.cache.dropBlock(index)
			return damagedEntry("leaf", index, errors.Newf("hash %s, the tree has %s", h, tile[index%merkle.TileWidth]))
		}
	}
	return nil
}

// record returns the record that holds an index below the size.
func (l *Ledger) record(index uint64) (*record, error) {
	if r, ok := l.cache.block(index); ok {
		return r, nil
	}
	r, err := readRecord(l.store, l.keys, index)
	if err != nil {
		return nil, err
	}
	l.cache.putBlock(r)
	return r, nil
}

// InclusionProof returns the RFC 6962 proof that the entry is in the tree of the given size. Its
// errors: *NotFoundError, *CorruptError.
func (l *Ledger) InclusionProof(index, size uint64) ([]merkle.Hash, error) {
	v := l.view.Load()
	if size > v.head.Size || index >= size {
		return nil, &NotFoundError{Index: max(index, size), Size: min(size, v.head.Size)}
	}
	return merkle.InclusionProof(provedTiles{l, v}, index, size)
}

// ConsistencyProof returns the RFC 6962 proof that the tree of oldSize is a prefix of the one of
// newSize. Its errors: *NotFoundError, *CorruptError.
func (l *Ledger) ConsistencyProof(oldSize, newSize uint64) ([]merkle.Hash, error) {
	v := l.view.Load()
	if newSize > v.head.Size || oldSize > newSize {
		return nil, &NotFoundError{Index: max(oldSize, newSize), Size: min(newSize, v.head.Size)}
	}
	return merkle.ConsistencyProof(provedTiles{l, v}, oldSize, newSize)
}

// RootAt returns the root of the first size entries. Its errors: *NotFoundError, *CorruptError.
func (l *Ledger) RootAt(size uint64) (merkle.Hash, error) {
	v := l.view.Load()
	if size == v.head.Size {
		return v.head.Root, nil
	}
	if size > v.head.Size {
		return merkle.Hash{}, &NotFoundError{Index: size, Size: v.head.Size}
	}
	if root, ok := recentRoot(v.roots, size); ok {
		return root, nil
	}
	return merkle.RootAt(provedTiles{l, v}, size)
}

// Tile returns the bytes of a tile: width hashes, C2SP tlog-tiles. Its errors: *NotFoundError when
// the tile has fewer hashes so far, *CorruptError.
func (l *Ledger) Tile(level uint8, index uint64, width int) ([]byte, error) {
	if width < 1 || width > merkle.TileWidth {
		return nil, errors.Newf("read tile: width %d", width)
	}
	hashes, err := l.tile(l.view.Load(), level, index, width)
	if err != nil {
		return nil, err
	}
	return merkle.AppendTile(make([]byte, 0, width*merkle.HashSize), hashes[:width]), nil
}

// EntryBundle returns the bytes of an entry bundle of width leaves, C2SP tlog-tiles. Its errors:
// *NotFoundError when there are fewer so far, *CorruptError.
func (l *Ledger) EntryBundle(index uint64, width int) ([]byte, error) {
	if width < 1 || width > merkle.EntryBundleWidth {
		return nil, errors.Newf("read entry bundle: width %d", width)
	}
	v := l.view.Load()
	if have := merkle.WidthAt(0, index, v.head.Size); have < width {
		return nil, &NotFoundError{Index: index, Size: v.head.Size}
	}
	leaves, err := l.leaves(v, index*merkle.EntryBundleWidth, width, width*MaxLeafSize)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, leaf := range leaves {
		size += 2 + len(leaf)
	}
	bundle := make([]byte, 0, size)
	for _, leaf := range leaves {
		bundle = merkle.AppendEntryBundle(bundle, leaf)
	}
	return bundle, nil
}

// WaitSize returns when the ledger has at least the size. Its errors: the context's, ErrClosed, or
// why the ledger stopped.
func (l *Ledger) WaitSize(ctx context.Context, size uint64) error { return l.grown.wait(ctx, size) }
