package merkle_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/cairnledger/cairn/merkle"
)

// The leaves and roots that the reference implementation of RFC 6962 publishes.
var (
	rfcLeaves = []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	rfcRoots  = []string{
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPublishedRoots(t *testing.T) {
	t.Parallel()
	tree := merkle.NewTree()
	for size, want := range rfcRoots {
		if got := tree.Root().String(); got != want {
			t.Errorf("size %d: root %s, want %s", size, got, want)
		}
		if size < len(rfcLeaves) {
			tree.Append([]merkle.Hash{merkle.LeafHash(unhex(t, rfcLeaves[size]))})
		}
	}
}

func TestHashesAgreeWithReference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 31, 32, 55, 56, 64, 100, 1022, 1023, 1024, 4096, merkle.MaxEntrySize} {
		leaf := make([]byte, size)
		for i := range leaf {
			leaf[i] = byte(rng.Uint32())
		}
		if got, want := merkle.LeafHash(leaf), rfc6962.DefaultHasher.HashLeaf(leaf); !bytes.Equal(got[:], want) {
			t.Errorf("leaf of %d bytes: hash %s, want %x", size, got, want)
		}
	}
	l, r := merkle.LeafHash([]byte("l")), merkle.LeafHash([]byte("r"))
	if got, want := merkle.NodeHash(l, r), rfc6962.DefaultHasher.HashChildren(l[:], r[:]); !bytes.Equal(got[:], want) {
		t.Errorf("node hash %s, want %x", got, want)
	}
	if got, want := merkle.EmptyRoot(), rfc6962.DefaultHasher.EmptyRoot(); !bytes.Equal(got[:], want) {
		t.Errorf("empty root %s, want %x", got, want)
	}
}

// TestLeafHashesKeepOrder covers batches on both sides of the threshold of
// parallel hashing, with leaves of mixed sizes.
func TestLeafHashesKeepOrder(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 63, 64, 65, 1000, 5000} {
		leaves := make([][]byte, n)
		for i := range leaves {
			leaves[i] = bytes.Repeat([]byte{byte(i), byte(i >> 8)}, rng.IntN(400))
		}
		got := merkle.LeafHashes(leaves)
		if len(got) != n {
			t.Fatalf("%d hashes of %d leaves", len(got), n)
		}
		for i := range leaves {
			if want := merkle.LeafHash(leaves[i]); got[i] != want {
				t.Fatalf("%d leaves: hash %d is %s, want %s", n, i, got[i], want)
			}
		}
	}
}

func TestHashText(t *testing.T) {
	t.Parallel()
	h := merkle.LeafHash(nil)
	if got := h.String(); got != rfcRoots[1] {
		t.Errorf("String: %s, want %s", got, rfcRoots[1])
	}
	for _, s := range []string{rfcRoots[1], strings.ToUpper(rfcRoots[1])} {
		if got, err := merkle.ParseHash(s); err != nil || got != h {
			t.Errorf("ParseHash(%s): %s, %v; want %s", s, got, err, h)
		}
	}
	for _, s := range []string{"", "00", rfcRoots[1][1:], rfcRoots[1] + "0", "g" + rfcRoots[1][1:]} {
		if got, err := merkle.ParseHash(s); err == nil || !got.IsZero() {
			t.Errorf("ParseHash(%q): %s, %v; want zero and an error", s, got, err)
		}
	}
	if h.IsZero() || !(merkle.Hash{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestHashingDoesNotAllocate(t *testing.T) {
	leaf := make([]byte, 256)
	h := merkle.LeafHash(leaf)
	if n := testing.AllocsPerRun(100, func() { h = merkle.LeafHash(leaf) }); n > 0 {
		t.Errorf("LeafHash of 256 bytes allocates %v times, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { h = merkle.NodeHash(h, h) }); n > 0 {
		t.Errorf("NodeHash allocates %v times, want 0", n)
	}
	leaves := make([][]byte, 1000)
	for i := range leaves {
		leaves[i] = leaf
	}
	if n := testing.AllocsPerRun(10, func() { merkle.LeafHashes(leaves) }); n > 50 {
		t.Errorf("LeafHashes of 1000 leaves allocates %v times, want a few for the batch", n)
	}
}

func BenchmarkLeafHashes(b *testing.B) {
	leaves := make([][]byte, 4096)
	for i := range leaves {
		leaves[i] = make([]byte, 256)
	}
	b.SetBytes(4096 * 256)
	for b.Loop() {
		merkle.LeafHashes(leaves)
	}
}
