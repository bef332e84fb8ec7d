package merkle_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/cairnledger/cairn/merkle"
)

// TestTreeRoots compares the root of every size with the definition in RFC
// 6962 and with an independent compact range.
func TestTreeRoots(t *testing.T) {
	t.Parallel()
	const sizes = 1200
	leaves := testLeaves(0, sizes)
	tree := merkle.NewTree()
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	reference := factory.NewEmptyRange(0)
	for size := range sizes {
		got := tree.Root()
		if want := rfcRoot(leaves[:size]); got != want {
			t.Fatalf("size %d: root %s, want %s", size, got, want)
		}
		if size > 0 {
			want, err := reference.GetRootHash(nil)
			if err != nil || got != merkle.Hash(want) {
				t.Fatalf("size %d: root %s, want %x (%v)", size, got, want, err)
			}
		}
		tree.Append(leaves[size : size+1])
		if err := reference.Append(raw(leaves[size]), nil); err != nil {
			t.Fatal(err)
		}
		if tree.Size() != uint64(size)+1 {
			t.Fatalf("size %d after appending to %d", tree.Size(), size)
		}
	}
}

// TestTreeBatches appends in batches of random sizes, beyond the point where
// level 1 fills, and restores a tree from the tiles after each.
func TestTreeBatches(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	reference := factory.NewEmptyRange(0)
	s := newTileStore(t)
	const last = 70_000
	for size := uint64(0); size < last; {
		n := min(uint64(rng.IntN(3000)), last-size)
		batch := testLeaves(size, size+n)
		before := s.tree.Clone()
		beforeRoot, beforeSize := before.Root(), before.Size()
		s.append(batch)
		size += n
		for i := range batch {
			if err := reference.Append(raw(batch[i]), nil); err != nil {
				t.Fatal(err)
			}
		}
		if size == 0 {
			continue
		}
		want, err := reference.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.tree.Root(); got != merkle.Hash(want) {
			t.Fatalf("size %d: root %s, want %x", size, got, want)
		}
		if before.Root() != beforeRoot || before.Size() != beforeSize {
			t.Fatalf("appending to a tree changed its clone of size %d", beforeSize)
		}
		restored, err := merkle.RestoreTree(size, s.at(size))
		if err != nil {
			t.Fatal(err)
		}
		if got := restored.Root(); got != merkle.Hash(want) {
			t.Fatalf("size %d: root of restored tree %s, want %x", size, got, want)
		}
		before.Append(batch)
		if got := before.Root(); got != merkle.Hash(want) {
			t.Fatalf("size %d: root of clone %s, want %x", size, got, want)
		}
	}
	// C2SP tlog-tiles names the tiles of a tree of size 70,000.
	counts := map[uint8]int{}
	for path := range s.full {
		_, level, _, _, err := merkle.ParseTilePath(path)
		if err != nil {
			t.Fatal(err)
		}
		counts[level]++
	}
	if counts[0] != 273 || counts[1] != 1 || counts[2] != 0 {
		t.Errorf("full tiles of size 70000: %v, want 273 of level 0 and 1 of level 1", counts)
	}
	for level, want := range []int{112, 17, 1, 0} {
		if got := len(s.tree.Partial(uint8(level))); got != want {
			t.Errorf("partial tile of level %d at size 70000: %d hashes, want %d", level, got, want)
		}
	}
	// Every tile above the leaves holds the roots of the full tiles below it.
	for i, h := range s.full["tile/1/000"] {
		if want := rfcRoot(s.full[merkle.TilePath(0, uint64(i), merkle.TileWidth)]); h != want {
			t.Fatalf("hash %d of tile/1/000 is %s, want %s", i, h, want)
		}
	}
}

// TestAppendOrder: a tile comes after those that it stands on, and the tiles
// stay as they were when the tree grows on.
func TestAppendOrder(t *testing.T) {
	t.Parallel()
	tree := merkle.NewTree()
	leaves := testLeaves(0, 65536+256)
	full := tree.Append(leaves)
	var paths []string
	for _, tile := range full[254:] {
		paths = append(paths, tile.Path())
	}
	if want := []string{"tile/0/254", "tile/0/255", "tile/1/000", "tile/0/256"}; !slices.Equal(paths, want) {
		t.Errorf("last tiles that became full: %v, want %v", paths, want)
	}
	if !slices.Equal(full[0].Hashes, leaves[:256]) {
		t.Error("first tile changed when the tree grew on")
	}
	if got := tree.Partial(1); len(got) != 1 || got[0] != rfcRoot(leaves[65536:]) {
		t.Errorf("partial tile of level 1: %v, want the root of the last full tile", got)
	}
	if got := tree.Partial(200); got != nil {
		t.Errorf("partial tile of a level that does not exist: %v", got)
	}
}

// TestCloneIsIndependent: a tree and its clone grow apart.
func TestCloneIsIndependent(t *testing.T) {
	t.Parallel()
	tree := merkle.NewTree()
	tree.Append(testLeaves(0, 10))
	clone := tree.Clone()
	clone.Append(testLeaves(100, 110))
	tree.Append(testLeaves(10, 20))
	if got, want := tree.Partial(0), testLeaves(0, 20); !slices.Equal(got, want) {
		t.Error("appending to a clone changed the tree")
	}
	if got, want := clone.Partial(0), append(testLeaves(0, 10), testLeaves(100, 110)...); !slices.Equal(got, want) {
		t.Error("appending to the tree changed its clone")
	}
}

func TestRestoreRefusesShortTiles(t *testing.T) {
	t.Parallel()
	s := storeOf(t, 300)
	short := merkle.TileReaderFunc(func(level uint8, index uint64, width int) ([]merkle.Hash, error) {
		hashes, err := s.ReadTile(level, index, width)
		return hashes[:len(hashes)-1], err
	})
	if _, err := merkle.RestoreTree(300, short); err == nil {
		t.Error("restored a tree from a tile that lacks a hash")
	}
	if _, err := merkle.RestoreTree(merkle.MaxSize+1, newUniform()); err == nil {
		t.Error("restored a tree beyond MaxSize")
	}
}

func TestHugeTree(t *testing.T) {
	t.Parallel()
	u := newUniform()
	tree, err := merkle.RestoreTree(merkle.MaxSize-1, u)
	if err != nil {
		t.Fatal(err)
	}
	tree.Append([]merkle.Hash{u.leaf()})
	want, err := merkle.RootAt(u, merkle.MaxSize)
	if err != nil {
		t.Fatal(err)
	}
	if got := tree.Root(); got != want {
		t.Errorf("root of MaxSize %s, want %s", got, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("appending beyond MaxSize did not panic")
		}
	}()
	tree.Append([]merkle.Hash{u.leaf()})
}

func BenchmarkTreeAppend(b *testing.B) {
	leaves := testLeaves(0, 4096)
	tree := merkle.NewTree()
	for b.Loop() {
		tree.Append(leaves)
		tree.Root()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/leaf")
}
