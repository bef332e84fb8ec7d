package merkle_test

import (
	"bytes"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/cairnledger/cairn/merkle"
)

// splitHashes makes a proof of arbitrary bytes.
func splitHashes(b []byte) []merkle.Hash {
	var out []merkle.Hash
	for len(b) > 0 && len(out) < 70 {
		var h merkle.Hash
		b = b[copy(h[:], b):]
		out = append(out, h)
	}
	return out
}

// mutate flips one bit of a proof, or adds or removes a hash, as the two bytes
// say. It reports false when that changes nothing.
func mutate(p []merkle.Hash, where uint16, how uint8) ([]merkle.Hash, bool) {
	m := append([]merkle.Hash(nil), p...)
	switch {
	case how == 8:
		return append(m, merkle.Hash{byte(where)}), true
	case len(m) == 0:
		return nil, false
	case how == 9:
		i := int(where) % len(m)
		return append(m[:i], m[i+1:]...), true
	}
	i := int(where) % (len(m) * merkle.HashSize)
	m[i/merkle.HashSize][i%merkle.HashSize] ^= 1 << (how % 8)
	return m, true
}

// FuzzVerifyInclusion holds our verifier against the reference, on proofs of
// arbitrary bytes, and against mutations of valid proofs.
func FuzzVerifyInclusion(f *testing.F) {
	f.Add(uint64(3), uint64(7), []byte("proof"), uint16(1), uint8(8))
	f.Add(uint64(0), uint64(1), []byte{}, uint16(0), uint8(0))
	f.Add(uint64(1)<<63, ^uint64(0), bytes.Repeat([]byte{1}, 64*32), uint16(99), uint8(9))
	u := newUniform()
	f.Fuzz(func(t *testing.T, index, size uint64, b []byte, where uint16, how uint8) {
		leaf := merkle.LeafHash(b)
		p := splitHashes(b)
		want, err := proof.RootFromInclusionProof(rfc6962.DefaultHasher, index, size, raw(leaf), rawProof(p))
		root := merkle.Hash{}
		if err == nil {
			root = merkle.Hash(want)
		}
		if got := merkle.VerifyInclusion(index, size, leaf, p, root); (got == nil) != (err == nil) {
			t.Fatalf("index %d of %d: our verdict %v, reference %v", index, size, got, err)
		}
		if err == nil && merkle.VerifyInclusion(index, size, leaf, p, flip(root)) == nil {
			t.Fatalf("index %d of %d: accepted another root", index, size)
		}

		if size == 0 || size > merkle.MaxSize {
			return
		}
		index %= size
		if root, err = merkle.RootAt(u, size); err != nil {
			t.Fatal(err)
		}
		if p, err = merkle.InclusionProof(u, index, size); err != nil {
			t.Fatal(err)
		}
		if err := merkle.VerifyInclusion(index, size, u.leaf(), p, root); err != nil {
			t.Fatal(err)
		}
		if m, ok := mutate(p, where, how); ok && merkle.VerifyInclusion(index, size, u.leaf(), m, root) == nil {
			t.Fatalf("index %d of %d: accepted a mutated proof", index, size)
		}
	})
}

// FuzzVerifyConsistency holds our verifier against the reference, on proofs of
// arbitrary bytes and on valid proofs and their mutations.
func FuzzVerifyConsistency(f *testing.F) {
	f.Add(uint64(3), uint64(7), []byte("proof"), uint16(1), uint8(8))
	f.Add(uint64(4), uint64(7), []byte{}, uint16(0), uint8(0))
	f.Add(uint64(1)<<63, ^uint64(0), bytes.Repeat([]byte{1}, 64*32), uint16(99), uint8(9))
	u := newUniform()
	f.Fuzz(func(t *testing.T, oldSize, newSize uint64, b []byte, where uint16, how uint8) {
		p := splitHashes(b)
		var oldRoot, newRoot merkle.Hash
		if len(p) > 2 {
			oldRoot, newRoot, p = p[0], p[1], p[2:]
		}
		if merkle.VerifyConsistency(oldSize, newSize, p, oldRoot, newRoot) == nil {
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, oldSize, newSize, rawProof(p), raw(oldRoot), raw(newRoot)); err != nil {
				t.Fatalf("sizes %d and %d: we accept, reference: %v", oldSize, newSize, err)
			}
		}

		if newSize == 0 || newSize > merkle.MaxSize {
			return
		}
		oldSize %= newSize + 1
		var err error
		if oldRoot, err = merkle.RootAt(u, oldSize); err != nil {
			t.Fatal(err)
		}
		if newRoot, err = merkle.RootAt(u, newSize); err != nil {
			t.Fatal(err)
		}
		if p, err = merkle.ConsistencyProof(u, oldSize, newSize); err != nil {
			t.Fatal(err)
		}
		if err := merkle.VerifyConsistency(oldSize, newSize, p, oldRoot, newRoot); err != nil {
			t.Fatal(err)
		}
		m, ok := mutate(p, where, how)
		if !ok {
			return
		}
		if merkle.VerifyConsistency(oldSize, newSize, m, oldRoot, newRoot) == nil {
			t.Fatalf("sizes %d and %d: accepted a mutated proof", oldSize, newSize)
		}
		if proof.VerifyConsistency(rfc6962.DefaultHasher, oldSize, newSize, rawProof(m), raw(oldRoot), raw(newRoot)) == nil {
			t.Fatalf("sizes %d and %d: reference accepts a mutated proof", oldSize, newSize)
		}
	})
}

// FuzzParseTilePath: a path that is accepted is the one that names its tile.
func FuzzParseTilePath(f *testing.F) {
	for _, p := range []string{"tile/0/000", "tile/63/x001/x234/067.p/8", "tile/entries/999.p/255", "tile/0/x000/000", "tile/0/000.p/256"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		kind, level, index, width, err := merkle.ParseTilePath(p)
		if err != nil {
			return
		}
		got := merkle.TilePath(level, index, width)
		if kind == merkle.EntryBundle {
			got = merkle.EntriesPath(index, width)
		}
		if got != p {
			t.Fatalf("%q names the tile whose path is %q", p, got)
		}
	})
}

// FuzzParseEntryBundle: a bundle that is accepted is the one that its entries
// make.
func FuzzParseEntryBundle(f *testing.F) {
	f.Add([]byte{0, 1, 7, 0, 0}, 2)
	f.Add([]byte{255, 255}, 1)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		leaves, err := merkle.ParseEntryBundle(b, n)
		if err != nil {
			return
		}
		if len(leaves) != n {
			t.Fatalf("%d entries, want %d", len(leaves), n)
		}
		var again []byte
		for _, leaf := range leaves {
			again = merkle.AppendEntryBundle(again, leaf)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x becomes %x", b, again)
		}
	})
}
