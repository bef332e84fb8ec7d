package tlog_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

const origin = "ledger.example/audit"

// ledger is a log that is made by the packages merkle and merkle/tlog alone.
type ledger struct {
	log    *tlog.Cosigner
	nodes  []*tlog.Cosigner
	tree   *merkle.Tree
	full   map[string][]merkle.Hash // full tiles by path
	leaves [][]byte
}

func cosigner(t testing.TB, name string, number byte) *tlog.Cosigner {
	t.Helper()
	key, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, bytes.Repeat([]byte{number}, 32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newLedger(t testing.TB, size int) *ledger {
	l := &ledger{log: cosigner(t, origin, 1), tree: merkle.NewTree(), full: make(map[string][]merkle.Hash)}
	for i := range 3 {
		l.nodes = append(l.nodes, cosigner(t, fmt.Sprintf("%s/n%d", origin, i+1), byte(10+i)))
	}
	l.grow(size)
	return l
}

// grow appends entries, of 0 to 40 bytes and one of the largest.
func (l *ledger) grow(size int) {
	first := len(l.leaves)
	for i := first; i < size; i++ {
		leaf := fmt.Appendf(nil, "entry %d %*s", i, i%23, "")
		switch i {
		case 3:
			leaf = nil
		case 200:
			leaf = bytes.Repeat([]byte{7}, merkle.MaxEntrySize)
		}
		l.leaves = append(l.leaves, leaf)
	}
	for _, tile := range l.tree.Append(merkle.LeafHashes(l.leaves[first:])) {
		l.full[tile.Path()] = tile.Hashes
	}
}

// ReadTile implements merkle.TileReader.
func (l *ledger) ReadTile(level uint8, index uint64, _ int) ([]merkle.Hash, error) {
	if hashes, ok := l.full[merkle.TilePath(level, index, merkle.TileWidth)]; ok {
		return hashes, nil
	}
	return l.tree.Partial(level), nil
}

func (l *ledger) checkpoint() tlog.Checkpoint {
	return tlog.Checkpoint{Origin: origin, Size: l.tree.Size(), Root: l.tree.Root()}
}

// note returns the checkpoint signed by the log and the first k nodes.
func (l *ledger) note(t testing.TB, k int) []byte {
	t.Helper()
	n := tlog.Note{Text: l.checkpoint().Text()}
	for _, c := range append([]*tlog.Cosigner{l.log}, l.nodes[:k]...) {
		sig, err := c.Cosign(l.checkpoint(), 1_700_000_000)
		if err != nil {
			t.Fatal(err)
		}
		n.Signatures = append(n.Signatures, sig)
	}
	return n.Marshal()
}

// receipt returns an entry's receipt with the cosignatures of k nodes.
func (l *ledger) receipt(t testing.TB, index uint64, k int) []byte {
	t.Helper()
	proof, err := merkle.InclusionProof(l, index, l.tree.Size())
	if err != nil {
		t.Fatal(err)
	}
	r := tlog.Receipt{Extra: l.leaves[index], Index: index, Proof: proof, Checkpoint: l.note(t, k)}
	return r.Marshal()
}

// write writes all resources of C2SP tlog-tiles into a directory.
func (l *ledger) write(t testing.TB, dir string) {
	t.Helper()
	put := func(path string, b []byte) {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	size := l.tree.Size()
	put("checkpoint", l.note(t, 2))
	for path, hashes := range l.full {
		put(path, merkle.AppendTile(nil, hashes))
	}
	for level := range uint8(8) {
		if hashes := l.tree.Partial(level); len(hashes) > 0 {
			tile := merkle.Tile{Level: level, Index: size >> (8 * (uint(level) + 1)), Hashes: hashes}
			put(tile.Path(), merkle.AppendTile(nil, hashes))
		}
	}
	for index := uint64(0); merkle.WidthAt(0, index, size) > 0; index++ {
		width := merkle.WidthAt(0, index, size)
		var bundle []byte
		for _, leaf := range l.leaves[index*256:][:width] {
			bundle = merkle.AppendEntryBundle(bundle, leaf)
		}
		put(merkle.EntriesPath(index, width), bundle)
	}
}
