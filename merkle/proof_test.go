package merkle_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/cairnledger/cairn/merkle"
)

// TestPublishedProofs: proofs over rfcLeaves that the reference implementation
// of RFC 6962 publishes.
func TestPublishedProofs(t *testing.T) {
	t.Parallel()
	const (
		h0   = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
		h1   = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
		h01  = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
		h23  = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
		h03  = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
		h4   = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
		h45  = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
		h47  = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
		h67  = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
		none = 1 << 20
	)
	s := newTileStore(t)
	var leaves []merkle.Hash
	for _, leaf := range rfcLeaves {
		leaves = append(leaves, merkle.LeafHash(unhex(t, leaf)))
	}
	s.append(leaves)
	for _, tt := range []struct {
		index, old, size uint64 // index or old is none
		want             []string
	}{
		{0, none, 1, nil},
		{0, none, 8, []string{h1, h23, h47}},
		{5, none, 8, []string{h4, h67, h03}},
		{2, none, 3, []string{h01}},
		{1, none, 5, []string{h0, h23, h4}},
		{none, 1, 1, nil},
		{none, 0, 8, nil},
		{none, 1, 8, []string{h1, h23, h47}},
		{none, 6, 8, []string{h45, h67, h03}},
		{none, 2, 5, []string{h23, h4}},
	} {
		var got []merkle.Hash
		var err error
		if tt.index != none {
			got, err = merkle.InclusionProof(s.at(tt.size), tt.index, tt.size)
		} else {
			got, err = merkle.ConsistencyProof(s.at(tt.size), tt.old, tt.size)
		}
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, h := range got {
			text = append(text, h.String())
		}
		if !slices.Equal(text, tt.want) {
			t.Errorf("proof of index %d / old size %d in %d: %v, want %v", tt.index, tt.old, tt.size, text, tt.want)
		}
	}
}

// interestingSizes are small ones, all of them, and those around the borders of
// tiles.
func interestingSizes() []uint64 {
	var sizes []uint64
	for size := range uint64(70) {
		sizes = append(sizes, size)
	}
	return append(sizes, 127, 128, 129, 255, 256, 257, 258, 300, 511, 512, 513, 767, 1000,
		65535, 65536, 65537, 65792, 65793, 66000)
}

func indexesBelow(size uint64, rng *rand.Rand) []uint64 {
	var out []uint64
	if size <= 70 {
		for i := range size {
			out = append(out, i)
		}
		return out
	}
	for _, i := range []uint64{0, 1, 2, 127, 128, 255, 256, 257, 511, 512, 65535, 65536, size / 2, size - 2, size - 1} {
		if i < size {
			out = append(out, i)
		}
	}
	for range 10 {
		out = append(out, rng.Uint64N(size))
	}
	return out
}

// checkInclusion makes a proof and has it judged by our verifier and another.
func checkInclusion(t *testing.T, r merkle.TileReader, leaf merkle.Hash, index, size uint64, root merkle.Hash) {
	t.Helper()
	p, err := merkle.InclusionProof(r, index, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, raw(leaf), rawProof(p), raw(root)); err != nil {
		t.Fatalf("index %d of %d: reference refuses our proof: %v", index, size, err)
	}
	if err := merkle.VerifyInclusion(index, size, leaf, p, root); err != nil {
		t.Fatalf("index %d of %d: %v", index, size, err)
	}
}

func checkConsistency(t *testing.T, r merkle.TileReader, oldSize, newSize uint64, oldRoot, newRoot merkle.Hash) {
	t.Helper()
	p, err := merkle.ConsistencyProof(r, oldSize, newSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, oldSize, newSize, rawProof(p), raw(oldRoot), raw(newRoot)); err != nil {
		t.Fatalf("sizes %d and %d: reference refuses our proof: %v", oldSize, newSize, err)
	}
	if err := merkle.VerifyConsistency(oldSize, newSize, p, oldRoot, newRoot); err != nil {
		t.Fatalf("sizes %d and %d: %v", oldSize, newSize, err)
	}
}

func TestProofsAgreeWithReference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	sizes := interestingSizes()
	s := storeOf(t, sizes[len(sizes)-1])
	roots := make(map[uint64]merkle.Hash)
	tree := merkle.NewTree()
	leaves := testLeaves(0, sizes[len(sizes)-1])
	for _, size := range sizes {
		tree.Append(leaves[tree.Size():size])
		roots[size] = tree.Root()
		got, err := merkle.RootAt(s.at(size), size)
		if err != nil {
			t.Fatal(err)
		}
		if got != roots[size] {
			t.Fatalf("RootAt(%d): %s, want %s", size, got, roots[size])
		}
	}
	for _, size := range sizes {
		for _, index := range indexesBelow(size, rng) {
			checkInclusion(t, s.at(size), leaves[index], index, size, roots[size])
		}
		for _, old := range sizes {
			if old > size {
				break
			}
			checkConsistency(t, s.at(size), old, size, roots[old], roots[size])
		}
	}
}

func TestProofsOfHugeTrees(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 10))
	u := newUniform()
	for range 300 {
		size := 1 + rng.Uint64()>>(1+rng.UintN(62))
		if rng.UintN(8) == 0 {
			size = merkle.MaxSize - rng.Uint64N(3)
		}
		root, err := merkle.RootAt(u, size)
		if err != nil {
			t.Fatal(err)
		}
		checkInclusion(t, u, u.leaf(), rng.Uint64N(size), size, root)
		checkInclusion(t, u, u.leaf(), size-1, size, root)
		old := rng.Uint64N(size)
		oldRoot, err := merkle.RootAt(u, old)
		if err != nil {
			t.Fatal(err)
		}
		checkConsistency(t, u, old, size, oldRoot, root)
	}
}

// TestProofsThatCannotBe: sizes and indexes that do not exist, and readers
// that fail.
func TestProofsThatCannotBe(t *testing.T) {
	t.Parallel()
	s := storeOf(t, 10)
	broken := merkle.TileReaderFunc(func(uint8, uint64, int) ([]merkle.Hash, error) { return nil, errors.New("disk on fire") })
	short := merkle.TileReaderFunc(func(uint8, uint64, int) ([]merkle.Hash, error) { return make([]merkle.Hash, 9), nil })
	for name, f := range map[string]func() error{
		"index at size": func() error { _, err := merkle.InclusionProof(s, 10, 10); return err },
		"empty tree":    func() error { _, err := merkle.InclusionProof(s, 0, 0); return err },
		"huge size":     func() error { _, err := merkle.InclusionProof(s, 0, merkle.MaxSize+1); return err },
		"old beyond new": func() error {
			_, err := merkle.ConsistencyProof(s, 10, 9)
			return err
		},
		"huge new size":  func() error { _, err := merkle.ConsistencyProof(s, 10, merkle.MaxSize+1); return err },
		"huge root":      func() error { _, err := merkle.RootAt(s, merkle.MaxSize+1); return err },
		"reader fails":   func() error { _, err := merkle.InclusionProof(broken, 3, 10); return err },
		"reader fails 2": func() error { _, err := merkle.ConsistencyProof(broken, 3, 10); return err },
		"short tile":     func() error { _, err := merkle.RootAt(short, 10); return err },
		"verify: index":  func() error { return merkle.VerifyInclusion(1, 1, merkle.Hash{}, nil, merkle.Hash{}) },
		"verify: sizes":  func() error { return merkle.VerifyConsistency(2, 1, nil, merkle.Hash{}, merkle.Hash{}) },
		"verify: two roots for one size": func() error {
			return merkle.VerifyConsistency(2, 2, nil, merkle.Hash{1}, merkle.Hash{2})
		},
		"verify: root of nothing": func() error { return merkle.VerifyConsistency(0, 2, nil, merkle.Hash{1}, merkle.Hash{2}) },
		"verify: roots of nothing": func() error {
			return merkle.VerifyConsistency(0, 0, nil, merkle.Hash{1}, merkle.Hash{1})
		},
	} {
		if err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestMutatedProofsAreRefused changes every part of every valid proof of small
// trees: each hash, the number and order of hashes, index, sizes, leaf, roots.
func TestMutatedProofsAreRefused(t *testing.T) {
	t.Parallel()
	const last = 33
	s := storeOf(t, last)
	leaves := testLeaves(0, last)
	refuse := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, merkle.ErrProof) {
			t.Fatalf("%s: error %v, want ErrProof", what, err)
		}
	}
	for size := uint64(1); size <= last; size++ {
		root := rfcRoot(leaves[:size])
		for index := range size {
			p, err := merkle.InclusionProof(s, index, size)
			if err != nil {
				t.Fatal(err)
			}
			at := fmt.Sprintf("index %d of %d", index, size)
			for name, m := range mutations(p) {
				refuse(at+", "+name, merkle.VerifyInclusion(index, size, leaves[index], m, root))
			}
			for other := range uint64(last + 2) {
				if other != index {
					refuse(at+", another index", merkle.VerifyInclusion(other, size, leaves[index], p, root))
				}
			}
			refuse(at+", another leaf", merkle.VerifyInclusion(index, size, leaves[(index+1)%last], p, root))
			refuse(at+", another root", merkle.VerifyInclusion(index, size, leaves[index], p, flip(root)))
		}
		for old := uint64(0); old <= size; old++ {
			p, err := merkle.ConsistencyProof(s, old, size)
			if err != nil {
				t.Fatal(err)
			}
			oldRoot := rfcRoot(leaves[:old])
			at := fmt.Sprintf("sizes %d and %d", old, size)
			for name, m := range mutations(p) {
				refuse(at+", "+name, merkle.VerifyConsistency(old, size, m, oldRoot, root))
			}
			for other := range uint64(last + 2) {
				if other != old {
					refuse(at+", another old size", merkle.VerifyConsistency(other, size, p, oldRoot, root))
				}
			}
			refuse(at+", another old root", merkle.VerifyConsistency(old, size, p, flip(oldRoot), root))
			if old > 0 { // the empty tree begins every tree
				refuse(at+", another new root", merkle.VerifyConsistency(old, size, p, oldRoot, flip(root)))
			}
		}
	}
}

func flip(h merkle.Hash) merkle.Hash { h[7] ^= 0x10; return h }

func mutations(p []merkle.Hash) map[string][]merkle.Hash {
	m := map[string][]merkle.Hash{
		"one more hash":         append(slices.Clone(p), merkle.Hash{}),
		"one more hash, before": append([]merkle.Hash{{}}, p...),
	}
	for i := range p {
		m[fmt.Sprintf("hash %d changed", i)] = slices.Concat(p[:i], []merkle.Hash{flip(p[i])}, p[i+1:])
		m[fmt.Sprintf("hash %d removed", i)] = slices.Delete(slices.Clone(p), i, i+1)
		if i > 0 {
			swapped := slices.Clone(p)
			swapped[0], swapped[i] = swapped[i], swapped[0]
			m[fmt.Sprintf("hashes 0 and %d swapped", i)] = swapped
		}
	}
	return m
}

func BenchmarkInclusionProof(b *testing.B) {
	u := newUniform()
	for i := uint64(0); b.Loop(); i++ {
		if _, err := merkle.InclusionProof(u, (i*2654435761)%1e9, 1e9); err != nil {
			b.Fatal(err)
		}
	}
}
