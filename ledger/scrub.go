package ledger

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// Scrub reads again what the store holds about entries from first on, past every cache: their
// blocks with their details, their tiles up to the right edge of the tree, and the records of their
// idempotency keys.
// It goes on through whole blocks until it has read at least n bytes, and returns the first entry
// that it has not checked and the bytes that it read; next is the size when it has come to the end.
//
// An error that is a *CorruptError says what is damaged; the next call may go on behind it, at next.
// After any other error nothing more can be read. Safe for concurrent use.
func (l *Ledger) Scrub(first uint64, n int) (next uint64, read int, err error) {
	v := l.view.Load()
	var tile []merkle.Hash
	for next = first; next < v.head.Size && read < n; {
		rec, err := readRecord(l.store, l.keys, next)
		if err != nil {
			return nextTile(v, next), read, damage(err)
		}
		read += len(rec.encoded)
		if !soundBlock(rec.raw) {
			return nextTile(v, next), read, damagedEntry("block", next, errors.New("checksum mismatch"))
		}
		for ; next < min(rec.end(), v.head.Size); next++ {
			if at := next % merkle.TileWidth; tile == nil || at == 0 {
				if tile, err = l.scrubTile(v, 0, next/merkle.TileWidth); err != nil {
					return nextTile(v, next), read, damage(err)
				}
				read += len(tile) * merkle.HashSize
			}
			leaf, err := rec.leaf(next)
			if err != nil {
				return nextTile(v, next), read, damagedEntry("block", next, err)
			}
			if h := merkle.LeafHash(leaf); h != tile[next%merkle.TileWidth] {
				return nextTile(v, next), read, damagedEntry("leaf", next, errors.Newf("hash %s, the tree has %s", h, tile[next%merkle.TileWidth]))
			}
			if _, err := l.detail(rec, next, leaf); err != nil {
				return next + 1, read, err
			}
			if err := l.CheckKey(next, leaf); err != nil {
				return next + 1, read, damage(err)
			}
		}
	}
	return next, read, nil
}

// scrubTile reads a tile from the store and proves it. The tiles above are read again with the
// first tile below each.
func (l *Ledger) scrubTile(v *view, level uint8, index uint64) ([]merkle.Hash, error) {
	if merkle.WidthAt(level, index, v.head.Size) < merkle.TileWidth {
		return v.partial[level], nil
	}
	hashes, err := readFullTile(l.store, l.keys, level, index)
	if err != nil {
		return nil, err
	}
	at := index % merkle.TileWidth
	var above []merkle.Hash
	if at == 0 {
		above, err = l.scrubTile(v, level+1, index/merkle.TileWidth)
	} else {
		above, err = l.tile(v, level+1, index/merkle.TileWidth, int(at)+1)
	}
	if err != nil {
		return nil, err
	}
	if root := tileRoot(hashes); root != above[at] {
		return nil, damagedTile(level, index, errors.Newf("root %s, the tile above has %s", root, above[at]))
	}
	return hashes, nil
}

// nextTile is where reading goes on behind damage at an entry.
func nextTile(v *view, index uint64) uint64 {
	return min((index/merkle.TileWidth+1)*merkle.TileWidth, v.head.Size)
}

// damage returns an error of a read. A store that was closed meanwhile is not damaged.
func damage(err error) error {
	if errors.Is(err, ErrClosed) {
		return ErrClosed
	}
	return err
}

// ScrubSealed reads the oldest stored checkpoint of at least a size again and compares its root
// with the tree, and returns the size from which the next call goes on; it is 0 behind the newest
// one. Errors are those of Scrub: after a *CorruptError the next call may go on. Safe for
// concurrent use.
func (l *Ledger) ScrubSealed(from uint64) (next uint64, read int, err error) {
	p, err := l.store.Seek(l.keys.sealed(from), l.keys.prefix(kindSealed, 0))
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return 0, 0, nil
	case err != nil:
		return 0, 0, damage(errors.Wrap(err, "read a sealed checkpoint"))
	}
	size := binary.BigEndian.Uint64(p.Key[len(p.Key)-8:])
	if size > l.Head().Size {
		return 0, 0, nil // replay has not reached it
	}
	s, _, err := parseSealed(p)
	if err == nil {
		var root merkle.Hash
		if root, err = l.RootAt(size); err == nil && root != s.Root {
			err = damagedCheckpoint(size, errors.Newf("root %s, the tree has %s", s.Root, root))
		}
	}
	return size + 1, len(p.Value), damage(err)
}
