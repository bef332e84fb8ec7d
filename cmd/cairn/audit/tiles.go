package audit

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// tileError says that a tile is missing or malformed: a finding.
type tileError struct{ path, problem string }

func (e *tileError) Error() string { return e.path + ": " + e.problem }

// tileCache keeps the served tiles of the levels above 0 (a ledger of a million
// entries has sixteen) and those of the right edge. It is used by one goroutine.
type tileCache struct {
	src  Source
	size uint64
	kept map[tileID]servedTile
}

type tileID struct {
	level uint8
	index uint64
}

type servedTile struct {
	hashes []merkle.Hash
	ok     bool
	err    error
}

func newTileCache(src Source, size uint64) *tileCache {
	return &tileCache{src: src, size: size, kept: map[tileID]servedTile{}}
}

// tile returns a served tile with the width that it has in the audited tree. ok
// is false if the source has no tiles. A *tileError says what is wrong with it.
func (c *tileCache) tile(ctx context.Context, level uint8, index uint64) ([]merkle.Hash, bool, error) {
	id := tileID{level, index}
	if t, ok := c.kept[id]; ok {
		return t.hashes, t.ok, t.err
	}
	width := merkle.WidthAt(level, index, c.size)
	if width == 0 {
		return nil, true, nil
	}
	raw, ok, err := c.src.Tile(ctx, level, index, width)
	var t servedTile
	if ok || err != nil {
		t.hashes, t.err = parseServed(raw, err, level, index, width)
		t.ok = true
	}
	var damaged *tileError
	if t.err == nil || errors.As(t.err, &damaged) {
		c.kept[id] = t
	}
	return t.hashes, t.ok, t.err
}

// parseServed makes hashes of what a source answered.
func parseServed(raw []byte, err error, level uint8, index uint64, width int) ([]merkle.Hash, error) {
	path := merkle.TilePath(level, index, width)
	if errors.Is(err, ErrMissing) {
		return nil, &tileError{path, "missing"}
	}
	if err != nil {
		return nil, err
	}
	if want := width * merkle.HashSize; len(raw) > want && len(raw) == merkle.TileWidth*merkle.HashSize {
		raw = raw[:want] // a full tile where a partial one was asked for
	}
	hashes, err := merkle.ParseTile(raw, width)
	if err != nil {
		return nil, &tileError{path, err.Error()}
	}
	return hashes, nil
}

// reader serves the tiles to the algorithms of package merkle.
func (c *tileCache) reader(ctx context.Context) merkle.TileReader {
	return merkle.TileReaderFunc(func(level uint8, index uint64, _ int) ([]merkle.Hash, error) {
		hashes, _, err := c.tile(ctx, level, index)
		return hashes, err
	})
}

// rootWith returns the root of the audited tree if one tile held other hashes.
func (c *tileCache) rootWith(ctx context.Context, level uint8, index uint64, hashes []merkle.Hash) (merkle.Hash, error) {
	served := c.reader(ctx)
	return merkle.RootAt(merkle.TileReaderFunc(func(l uint8, i uint64, width int) ([]merkle.Hash, error) {
		if l == level && i == index {
			return hashes, nil
		}
		return served.ReadTile(l, i, width)
	}), c.size)
}

// subtreeRoot returns the root of a full tile, which the tile above holds.
func subtreeRoot(hashes []merkle.Hash) merkle.Hash {
	level := append([]merkle.Hash(nil), hashes...)
	for len(level) > 1 {
		for i := range len(level) / 2 {
			level[i] = merkle.NodeHash(level[2*i], level[2*i+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}

// compareTile reports every hash of a served tile that is not the computed one. If the
// source serves none, a copy gets the computed one.
func (a *auditor) compareTile(ctx context.Context, level uint8, index uint64, computed []merkle.Hash) error {
	if !a.report.Tiled {
		if a.copy != nil {
			return a.copy.keep(level, index, computed)
		}
		return nil
	}
	served, _, err := a.tiles.tile(ctx, level, index)
	path := merkle.TilePath(level, index, len(computed))
	var damaged *tileError
	switch {
	case errors.As(err, &damaged):
		return a.found(damaged.path, nil, "%s", damaged.problem)
	case err != nil:
		return errors.Wrapf(err, "read %s", path)
	}
	a.report.Tiles++
	for i := range computed {
		if served[i] == computed[i] {
			continue
		}
		if err := a.found(path, nil, "hash %d of %d (bytes %d to %d) is %s, but the tile below gives %s",
			i, len(computed), i*merkle.HashSize, (i+1)*merkle.HashSize-1, served[i], computed[i]); err != nil {
			return err
		}
	}
	return nil
}

// rightEdge compares the partial tiles; those of level 0 were compared with their
// bundles, unless the source serves none.
func (a *auditor) rightEdge(ctx context.Context) error {
	for level := uint8(0); level < 8; level++ {
		if level == 0 && a.report.Tiled {
			continue
		}
		hashes := a.tree.Partial(level)
		if len(hashes) == 0 {
			continue
		}
		index := (a.report.Size >> (merkle.TileHeight * uint(level))) / merkle.TileWidth
		if err := a.compareTile(ctx, level, index, hashes); err != nil {
			return err
		}
	}
	return nil
}

func hashRange(i int) string {
	return fmt.Sprintf("bytes %d to %d", i*merkle.HashSize, (i+1)*merkle.HashSize-1)
}
