package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

// tall is a ledger of more than 65,536 entries: its tree has full tiles of level 1.
func tall(t *testing.T) (h *history, store *memstore.Store, mark ledger.Summary) {
	t.Helper()
	h = newHistory(1)
	const perBlock, blocks = 8192, 9
	for i := range uint64(blocks) {
		batch := ledger.Batch{Principal: "p"}
		for range perBlock {
			batch.Entries = append(batch.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: binary.BigEndian.AppendUint32(nil, uint32(len(batch.Entries))<<8|uint32(i))})
		}
		block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, h.now, []ledger.Batch{batch})
		if err != nil {
			t.Fatal(err)
		}
		h.entries = append(h.entries, ledger.Committed{RaftIndex: i + 1, RaftTerm: 1, Block: block})
		for _, e := range batch.Entries {
			entry := ledger.Entry{Kind: ledger.KindPayload, Time: h.now, Principal: batch.Principal, Body: e.Body}
			h.model.leaves = append(h.model.leaves, entry.AppendLeaf(nil))
		}
	}
	store = memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	if _, err := l.ApplyMany(h.entries); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mark, _ = l.Durable()
	return h, store.Reopen(), mark
}

// TestTilesOfEveryLevelAreProved damages a stored tile of level 1 after the ledger was opened.
// Whatever needs the tile is refused: the tile itself, a root and proofs that are computed from it,
// and leaves with the tile of level 0 below it, even if that tile and its leaf were changed to
// agree with the damaged one.
func TestTilesOfEveryLevelAreProved(t *testing.T) {
	t.Parallel()
	h, mem, mark := tall(t)
	flips := map[string]func([]byte) []byte{}
	l := open(t, &flipper{Store: mem, flip: func(key, v []byte) ([]byte, error) {
		if f := flips[string(key[8:])]; f != nil {
			return f(v), nil
		}
		return v, nil
	}}, mark)
	defer l.Close()
	const tileSpan = merkle.TileWidth * merkle.TileWidth // entries below a full tile of level 1
	const at = 17                                        // the hash in that tile that changes
	tile1 := tileKey(1, 0)
	flips[tile1] = func(v []byte) []byte { v[at*merkle.HashSize] ^= 1; return v }
	wantCorrupt := func(what string, err error) {
		t.Helper()
		var corrupt *ledger.CorruptError
		if !errors.As(err, &corrupt) {
			t.Errorf("%s: %v, want a *CorruptError", what, err)
		}
	}
	check := func() {
		t.Helper()
		_, err := l.Tile(1, 0, merkle.TileWidth)
		wantCorrupt("the damaged tile", err)
		_, err = l.Tile(1, 0, 3)
		wantCorrupt("a part of the damaged tile", err)
		_, err = l.RootAt(tileSpan - merkle.TileWidth)
		wantCorrupt("a root", err)
		_, err = l.InclusionProof(5, tileSpan-merkle.TileWidth)
		wantCorrupt("an inclusion proof", err)
		_, err = l.ConsistencyProof(merkle.TileWidth*(at+1), tileSpan)
		wantCorrupt("a consistency proof", err)
		_, err = l.Leaf(at * merkle.TileWidth)
		wantCorrupt("a leaf", err)
	}
	check()

	// Somebody changed a leaf, its hash in the tile of level 0 and that tile's hash in the tile of
	// level 1.
	leaf := func(i uint64) []byte {
		changed := bytes.Clone(h.model.leaves[i])
		if i == at*merkle.TileWidth {
			changed[len(changed)-1] ^= 1
		}
		return changed
	}
	hashes := make([]merkle.Hash, merkle.TileWidth)
	tree := merkle.NewTree()
	for i := range hashes {
		hashes[i] = merkle.LeafHash(leaf(at*merkle.TileWidth + uint64(i)))
	}
	tree.Append(slices.Clone(hashes))
	root := tree.Root()
	flips[tileKey(0, at)] = func([]byte) []byte { return merkle.AppendTile(nil, hashes) }
	flips[tile1] = func(v []byte) []byte { copy(v[at*merkle.HashSize:], root[:]); return v }
	old := h.model.leaves[at*merkle.TileWidth]
	flips[string(blockKey('b', 8192)[8:])] = func(v []byte) []byte { return bytes.Replace(v, old, leaf(at*merkle.TileWidth), 1) }
	check()

	clear(flips)
	if got, err := l.Leaf(at * merkle.TileWidth); err != nil || !bytes.Equal(got, old) {
		t.Errorf("without the damage: %x, %v, want %x", got, err, old)
	}
	if _, err := l.Tile(1, 0, merkle.TileWidth); err != nil {
		t.Errorf("without the damage: %v", err)
	}
}

// tileKey returns the key of a tile without the group.
func tileKey(level uint8, index byte) string {
	return string([]byte{'h', level, 0, 0, 0, 0, 0, 0, 0, index})
}
