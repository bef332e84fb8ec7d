package merkle_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

func TestTilePaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind  merkle.TileKind
		level uint8
		index uint64
		width int
		path  string
	}{
		{merkle.HashTile, 0, 0, 256, "tile/0/000"},
		{merkle.HashTile, 0, 1234067, 256, "tile/0/x001/x234/067"}, // the example of C2SP tlog-tiles
		{merkle.HashTile, 3, 1234067, 8, "tile/3/x001/x234/067.p/8"},
		{merkle.HashTile, 63, 999, 255, "tile/63/999.p/255"},
		{merkle.HashTile, 1, 1000, 1, "tile/1/x001/000.p/1"},
		{merkle.HashTile, 0, merkle.MaxSize >> 8, 256, "tile/0/x036/x028/x797/x018/x963/967"},
		{merkle.EntryBundle, 0, 0, 1, "tile/entries/000.p/1"},
		{merkle.EntryBundle, 0, 1234067, 256, "tile/entries/x001/x234/067"},
	} {
		got := merkle.TilePath(tt.level, tt.index, tt.width)
		if tt.kind == merkle.EntryBundle {
			got = merkle.EntriesPath(tt.index, tt.width)
		}
		if got != tt.path {
			t.Errorf("path of %s %d/%d of width %d: %s, want %s", tt.kind, tt.level, tt.index, tt.width, got, tt.path)
		}
		kind, level, index, width, err := merkle.ParseTilePath(tt.path)
		if err != nil || kind != tt.kind || level != tt.level || index != tt.index || width != tt.width {
			t.Errorf("ParseTilePath(%s): %s %d/%d width %d, %v", tt.path, kind, level, index, width, err)
		}
	}
}

func TestTilePathsThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		"", "tile", "tile/", "tile/0", "tile/0/", "/tile/0/000", "tile/0/000/", "tile//000",
		"tile/00/000", "tile/01/000", "tile/64/000", "tile/-1/000", "tile/+1/000", "tile/256/000",
		"tile/0/00", "tile/0/0000", "tile/0/x00/000", "tile/0/x000/000", "tile/0/x000/x001/000", "tile/0/001/000",
		"tile/0/x001", "tile/0/x001/x000", "tile/0/X001/000", "tile/0/0a0", "tile/0/-01", "tile/0/٠٠٠",
		"tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/08", "tile/0/000.p/8/",
		"tile/0/000.p/-1", "tile/0/000.p/1.p/1", "tile/0/000.P/1", "tile/0/.p/1",
		"tile/0/x036/x028/x797/x018/x963/968", "tile/0/x999/x999/x999/x999/x999/x999/999",
		"tile/entries", "tile/entries/", "tile/Entries/000", "tile/data/000", "tile/0/000\n", "tile/0/000 ",
		"tile/0/" + strings.Repeat("x001/", 1000) + "000",
	} {
		if kind, level, index, width, err := merkle.ParseTilePath(p); err == nil {
			t.Errorf("ParseTilePath(%q): %s %d/%d width %d, want an error", p, kind, level, index, width)
		}
	}
}

func TestWidthAt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		level       uint8
		index, size uint64
		want        int
	}{
		{0, 0, 0, 0}, {0, 0, 1, 1}, {0, 0, 255, 255}, {0, 0, 256, 256}, {0, 1, 256, 0}, {0, 1, 257, 1},
		{1, 0, 255, 0}, {1, 0, 256, 1}, {1, 0, 70000, 256}, {1, 1, 70000, 17}, {1, 2, 70000, 0}, {2, 0, 70000, 1},
		{7, 0, merkle.MaxSize, 127}, {8, 0, merkle.MaxSize, 0}, {63, 0, merkle.MaxSize, 0},
		{0, merkle.MaxSize >> 8, merkle.MaxSize, 255}, {0, 1 << 63, merkle.MaxSize, 0},
	} {
		if got := merkle.WidthAt(tt.level, tt.index, tt.size); got != tt.want {
			t.Errorf("WidthAt(%d, %d, %d): %d, want %d", tt.level, tt.index, tt.size, got, tt.want)
		}
	}
}

func TestTileBytes(t *testing.T) {
	t.Parallel()
	hashes := testLeaves(0, 256)
	for _, width := range []int{1, 2, 255, 256} {
		b := merkle.AppendTile(nil, hashes[:width])
		got, err := merkle.ParseTile(b, width)
		if err != nil || !slices.Equal(got, hashes[:width]) {
			t.Errorf("width %d does not survive: %v", width, err)
		}
		if _, err := merkle.ParseTile(b[1:], width); err == nil {
			t.Errorf("width %d: accepted a tile that lacks a byte", width)
		}
	}
	for _, width := range []int{-1, 0, 257} {
		if _, err := merkle.ParseTile(make([]byte, max(0, width*32)), width); err == nil {
			t.Errorf("accepted a tile of width %d", width)
		}
	}
}

func TestEntryBundles(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(11, 12))
	sizes := []int{0, 1, 2, 300, merkle.MaxEntrySize}
	var leaves [][]byte
	var b []byte
	for n := 1; n <= merkle.EntryBundleWidth; n++ {
		leaf := bytes.Repeat([]byte{byte(n)}, sizes[rng.IntN(len(sizes)-1)])
		if n == 7 {
			leaf = make([]byte, merkle.MaxEntrySize)
		}
		leaves = append(leaves, leaf)
		b = merkle.AppendEntryBundle(b, leaf)
		got, err := merkle.ParseEntryBundle(b, n)
		if err != nil || !slices.EqualFunc(got, leaves, bytes.Equal) {
			t.Fatalf("%d entries do not survive: %v", n, err)
		}
	}
	n := merkle.EntryBundleWidth
	for name, tt := range map[string]struct {
		b []byte
		n int
	}{
		"one entry too few":   {b, n - 1},
		"one entry too many":  {b[:len(b)-2-len(leaves[n-1])], n},
		"more than a bundle":  {merkle.AppendEntryBundle(bytes.Clone(b), nil), n + 1},
		"none":                {nil, 0},
		"negative":            {nil, -1},
		"truncated":           {[]byte{0, 2, 1}, 1},
		"truncated in length": {[]byte{0}, 1},
		"trailing byte":       {[]byte{0, 1, 1, 0}, 1},
	} {
		if _, err := merkle.ParseEntryBundle(tt.b, tt.n); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an entry that is too large did not panic")
		}
	}()
	merkle.AppendEntryBundle(nil, make([]byte, merkle.MaxEntrySize+1))
}
