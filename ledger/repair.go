package ledger

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// Fetch asks another replica for the block that appended an entry: BlockAt there. Repair believes
// nothing of it.
type Fetch func(index uint64) (*BlockRecord, error)

// ErrNotRepairable says that what is damaged cannot be written again in place.
var ErrNotRepairable = errors.New("cannot be repaired in place")

// Repair writes again what a *CorruptError of a read or of Scrub names, after it has proved every
// byte that it writes against the tree, whose right edge is in memory. The records of blocks come
// from another replica. Tiles come from the leaves and tiles below them, and records of idempotency
// keys from the leaves. The newest sealed checkpoint is in memory, and an older one is removed.
//
// Of a block's record the leaf hashes prove the entries and their outcomes, in their order, and the
// program checks the details against the leaves. The block's own checksum covers its headers and the
// entries that were not appended. Its place in the Raft log has to fit between those of the blocks
// beside it.
//
// Errors: ErrNotRepairable, those of fetch, a *CorruptError when what was fetched does not prove or
// something that the proof needs is damaged, too; another replica may be asked then. The places that
// were written again are returned with an error, too; they may be others than the one that was
// named. Safe for concurrent use.
func (l *Ledger) Repair(damage *CorruptError, fetch Fetch) (written []Place, err error) {
	if err := l.Err(); err != nil {
		return nil, err
	}
	r := &repair{l: l, v: l.view.Load(), fetch: fetch}
	switch damage.Part {
	case PartBlock:
		err = r.entries(damage.Index / merkle.TileWidth)
	case PartTile:
		err = r.tile(damage.Level, damage.Index)
	case PartKey:
		err = r.key(damage.Index)
	case PartCheckpoint:
		err = r.checkpoint(damage.Index)
	default:
		err = errors.Wrapf(ErrNotRepairable, "%v", damage)
	}
	return r.written, err
}

// Place is a part of the store that was repaired: the block that begins with the entry Index, a
// tile, the record of that entry's idempotency key, or the checkpoint of that size.
type Place struct {
	Part  Part
	Level uint8 // of a tile
	Index uint64
}

// repair is one call of Repair.
type repair struct {
	l     *Ledger
	v     *view
	fetch Fetch
	// written are the places that the store has right again.
	written []Place
}

// entries writes again what is damaged of the records that hold the entries of a tile of level 0,
// and of that tile.
func (r *repair) entries(tile uint64) error {
	want, err := r.leafHashes(tile)
	if err != nil {
		return err
	}
	if want != nil {
		_, fetched, err := r.leaves(tile, want, false)
		if err != nil {
			return err
		}
		return r.writeRecords(tile, fetched)
	}
	// The tile is damaged, too: all of its hashes together are proved by the tile above.
	above, err := r.proved(1, tile/merkle.TileWidth)
	if err != nil {
		return err
	}
	for _, all := range []bool{false, true} { // a record may be another one without looking damaged
		hashes, fetched, err := r.leaves(tile, nil, all)
		if err != nil {
			return err
		}
		if tileRoot(hashes) == above[tile%merkle.TileWidth] {
			if err := r.writeTile(0, tile, hashes); err != nil {
				return err
			}
			return r.writeRecords(tile, fetched)
		}
	}
	return damagedTile(0, tile, errors.New("the entries that another replica sent are not those of the tree"))
}

// leafHashes returns the proved hashes of a tile of level 0, and nil when the tile is damaged. The
// tiles above it are repaired.
func (r *repair) leafHashes(tile uint64) ([]merkle.Hash, error) {
	if _, err := r.proved(1, tile/merkle.TileWidth); err != nil {
		return nil, err
	}
	hashes, err := r.l.scrubTile(r.v, 0, tile)
	var corrupt *CorruptError
	if err = damage(err); errors.As(err, &corrupt) && corrupt.Part == PartTile && corrupt.Level == 0 {
		return nil, nil
	}
	return hashes, err
}

// proved returns the hashes of a tile of level 1 or more, after it has repaired the tile and those
// above it where they are damaged.
func (r *repair) proved(level uint8, index uint64) ([]merkle.Hash, error) {
	hashes, err := r.l.scrubTile(r.v, level, index)
	var corrupt *CorruptError
	if err = damage(err); !errors.As(err, &corrupt) || corrupt.Part != PartTile || corrupt.Level < level {
		return hashes, err
	}
	if err := r.tile(corrupt.Level, corrupt.Index); err != nil {
		return nil, err
	}
	hashes, err = r.l.scrubTile(r.v, level, index)
	return hashes, damage(err)
}

// leaves returns the hashes of the entries of a tile of level 0. Records come from the store, and
// from another replica where the store's are damaged or do not give the hashes in want; with all
// every one does. Without want nothing is proved yet.
func (r *repair) leaves(tile uint64, want []merkle.Hash, all bool) (hashes []merkle.Hash, fetched []*record, err error) {
	first := tile * merkle.TileWidth
	end := min(first+merkle.TileWidth, r.v.head.Size)
	for at := first; at < end; {
		var rec *record
		var got []merkle.Hash
		sound := false
		if !all {
			if rec, err = readRecord(r.l.store, r.l.keys, at); errors.Is(err, ErrClosed) {
				return nil, nil, ErrClosed
			}
			if err == nil && soundBlock(rec.raw) {
				got, err = r.hashes(rec, at, min(rec.end(), end))
				sound = err == nil && matches(want, got, at-first)
			}
		}
		if !sound {
			if rec, err = r.record(at); err != nil {
				return nil, nil, err
			}
			if got, err = r.hashes(rec, at, min(rec.end(), end)); err != nil {
				return nil, nil, err
			}
			if !matches(want, got, at-first) {
				return nil, nil, damagedEntry("leaf", at, errors.New("another replica sent other entries than those of the tree"))
			}
			fetched = append(fetched, rec)
		}
		hashes = append(hashes, got...)
		at = rec.end()
	}
	return hashes, fetched, nil
}

func matches(want, got []merkle.Hash, at uint64) bool {
	return want == nil || slices.Equal(want[at:at+uint64(len(got))], got)
}

// hashes returns the leaf hashes of entries of a record, whose details the program has checked
// against the leaves.
func (r *repair) hashes(rec *record, from, to uint64) ([]merkle.Hash, error) {
	leaves, err := r.entriesOf(rec, from, to)
	return merkle.LeafHashes(leaves), err
}

func (r *repair) entriesOf(rec *record, from, to uint64) ([][]byte, error) {
	leaves := make([][]byte, 0, to-from)
	for i := from; i < to; i++ {
		leaf, err := rec.leaf(i)
		if err != nil {
			return nil, damagedEntry("block", i, err)
		}
		if _, err := r.l.detail(rec, i, leaf); err != nil {
			return nil, err
		}
		leaves = append(leaves, leaf)
	}
	return leaves, nil
}

// record gets a record from another replica and checks what can be checked without the tree.
func (r *repair) record(index uint64) (*record, error) {
	wrong := func(format string, args ...any) error {
		return damagedEntry("block", index, errors.Newf("another replica sent a record "+format, args...))
	}
	fetched, err := r.fetch(index)
	if err != nil {
		return nil, errors.Wrapf(err, "fetch the block of entry %d", index)
	}
	// Parsed once more: the tree proves what is in the encoding, and the caller may have changed it.
	fetched, err = ParseBlockRecord(fetched.Encoded)
	if err != nil {
		return nil, wrong("that does not parse: %v", err)
	}
	rec := fetched.rec
	if _, ok := r.l.program.(Detailed); !ok && len(rec.details) > 0 {
		return nil, wrong("with details, which the program of the ledger has none of")
	}
	if !rec.holds(index) || rec.end() > r.v.head.Size {
		return nil, wrong("of entries %d to %d, the ledger has %d", rec.first, rec.end(), r.v.head.Size)
	}
	return rec, r.fits(rec, wrong)
}

// fits compares a record with the blocks beside it: it may overlap with none, and its place in the
// Raft log is between theirs.
func (r *repair) fits(rec *record, wrong func(string, ...any) error) error {
	l := r.l
	blocks := l.keys.prefix(kindBlock, 0)
	// The keys of the store say where blocks end, whatever their values are.
	end := rec.end()
	_, err := l.store.Scan(l.keys.block(rec.first+1), blocks, 1, func(key []byte) (take bool, next []byte) {
		end = binary.BigEndian.Uint64(key[len(key)-8:])
		return false, l.keys.prefix(kindBlock+1, 0)
	})
	if err != nil {
		return damage(err)
	}
	if end < rec.end() {
		return wrong("that ends at %d, a block ends at %d", rec.end(), end)
	}
	if rec.first > 0 {
		before, err := readRecord(l.store, l.keys, rec.first-1)
		if err == nil && (before.end() > rec.first || before.raftIndex >= rec.raftIndex || before.raftTerm > rec.raftTerm) {
			return wrong("of raft index %d, term %d, entries from %d; the block before ends at %d with raft index %d, term %d",
				rec.raftIndex, rec.raftTerm, rec.first, before.end(), before.raftIndex, before.raftTerm)
		}
	}
	next := r.v.head.RaftIndex + 1
	if rec.end() < r.v.head.Size {
		if behind, err := readRecord(l.store, l.keys, rec.end()); err == nil {
			next = behind.raftIndex
		}
	}
	if rec.raftIndex == 0 || rec.raftIndex >= next {
		return wrong("of raft index %d, it is below %d", rec.raftIndex, next)
	}
	return nil
}

// writeRecords writes fetched records, whose entries in the tile are proved, after it has proved
// those outside.
func (r *repair) writeRecords(tile uint64, fetched []*record) error {
	from := tile * merkle.TileWidth
	for _, rec := range fetched {
		to := min(max(rec.end(), from), from+merkle.TileWidth)
		for _, part := range [][2]uint64{{rec.first, min(from, rec.end())}, {to, rec.end()}} {
			if part[0] >= part[1] {
				continue
			}
			leaves, err := r.entriesOf(rec, part[0], part[1])
			if err != nil {
				return err
			}
			if err := r.l.proveLeaves(r.v, part[0], leaves); err != nil {
				return err
			}
		}
		if err := r.write(Place{Part: PartBlock, Index: rec.first}, rec.appendPairs(nil, r.l.keys)); err != nil {
			return err
		}
		r.l.cache.putBlock(rec)
	}
	return nil
}

// tile writes a full tile again.
func (r *repair) tile(level uint8, index uint64) error {
	if merkle.WidthAt(level, index, r.v.head.Size) < merkle.TileWidth {
		return errors.Wrapf(ErrNotRepairable, "%s %d is not full", tileName(level), index)
	}
	if level == 0 {
		return r.entries(index)
	}
	above, err := r.proved(level+1, index/merkle.TileWidth)
	if err != nil {
		return err
	}
	hashes, err := r.below(level, index)
	if err != nil {
		return err
	}
	if root := tileRoot(hashes); root != above[index%merkle.TileWidth] {
		return damagedTile(level, index, errors.Newf("what lies below it has root %s, the tile above %s", root, above[index%merkle.TileWidth]))
	}
	return r.writeTile(level, index, hashes)
}

// below computes a tile of level 1 or more from the tiles below it, and one of those from its
// entries when the store has lost it. Nothing is proved yet.
func (r *repair) below(level uint8, index uint64) ([]merkle.Hash, error) {
	hashes := make([]merkle.Hash, 0, merkle.TileWidth)
	for child := index * merkle.TileWidth; child < (index+1)*merkle.TileWidth; child++ {
		tile, err := readFullTile(r.l.store, r.l.keys, level-1, child)
		switch {
		case errors.Is(err, ErrClosed):
			return nil, ErrClosed
		case err != nil && level == 1:
			tile, _, err = r.leaves(child, nil, false)
		case err != nil:
			tile, err = r.below(level-1, child)
		}
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, tileRoot(tile))
	}
	return hashes, nil
}

// writeTile writes a tile whose hashes are proved.
func (r *repair) writeTile(level uint8, index uint64, hashes []merkle.Hash) error {
	b := merkle.AppendTile(make([]byte, 0, len(hashes)*merkle.HashSize), hashes)
	if err := r.write(Place{PartTile, level, index}, []Pair{{r.l.keys.tile(level, index), b}}); err != nil {
		return err
	}
	r.l.cache.putTile(tileID{level, index}, hashes)
	return nil
}

// key writes the record of an entry's idempotency key again.
func (r *repair) key(index uint64) error {
	leaf, err := r.l.Leaf(index)
	if err != nil {
		return err
	}
	e, err := ParseLeaf(leaf)
	if err != nil || len(e.Key) == 0 {
		return errors.Wrapf(ErrNotRepairable, "entry %d has no key", index)
	}
	name, ref := keyOf(index, &e)
	return r.write(Place{Part: PartKey, Index: index}, []Pair{{r.l.keys.key(&name), ref.marshal()}})
}

// checkpoint writes the newest sealed checkpoint again, which is in memory, and removes an older one:
// the newest covers all of its entries, and the history is thinned anyway.
func (r *repair) checkpoint(size uint64) error {
	l := r.l
	l.seals.Lock()
	p := Pair{Key: l.keys.sealed(size)}
	if newest := l.Sealed(); newest != nil && newest.Size == size {
		p.Value = marshalSealed(newest, l.seals.newestTime)
	}
	l.seals.Unlock()
	return r.write(Place{Part: PartCheckpoint, Index: size}, []Pair{p})
}

func (r *repair) write(at Place, pairs []Pair) error {
	if err := r.l.writeAgain(pairs); err != nil {
		return err
	}
	r.written = append(r.written, at)
	return nil
}

// writeAgain commits pairs whose keys the store may hold with other values.
//
// The store does not order two values of one key at one version, and the newest block was written
// at the version of the head. So a repair has a version behind it, which no pair of a block has
// had, and no other repair since Open. After a replay from an earlier position that of the store at
// Open counts. A repair before the last restart may have had a later version still: then the store
// goes on to return the old value, and a later version is tried.
func (l *Ledger) writeAgain(pairs []Pair) error {
	l.seals.Lock()
	defer l.seals.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	for step := uint64(1); ; step *= 2 {
		l.seals.repaired = max(l.seals.repaired, l.Head().RaftIndex, l.storedAtOpen) + step
		if err := l.store.Commit(l.seals.repaired, pairs); err != nil {
			return l.fail(errors.Wrap(err, "write a repair"))
		}
		stale, err := l.stale(pairs)
		if stale == nil || errors.Is(err, ErrClosed) {
			return err
		}
		if step == 1<<16 {
			return errors.Newf("the store does not take the repair of a %s: %v", kindName(stale), err)
		}
	}
}

// stale returns a key for which the store has another value than it was just given, nil if there is
// none.
func (l *Ledger) stale(pairs []Pair) (key []byte, err error) {
	for _, p := range pairs {
		b, err := l.store.Get(p.Key)
		if p.Value == nil && errors.Is(err, ErrKeyNotFound) {
			continue
		}
		if err != nil || p.Value == nil || !bytes.Equal(b, p.Value) {
			return p.Key, err
		}
	}
	return nil, nil
}
