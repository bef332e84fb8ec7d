package merkle

import (
	"fmt"
	"strconv"
	"strings"
)

// TileKind tells what a tile path names.
type TileKind uint8

// What a tile path can name.
const (
	HashTile    TileKind = iota + 1 // hashes of one level of the tree
	EntryBundle                     // entries
)

// String returns "hash tile" or "entry bundle".
func (k TileKind) String() string {
	switch k {
	case HashTile:
		return "hash tile"
	case EntryBundle:
		return "entry bundle"
	}
	return "tile kind " + strconv.Itoa(int(k))
}

const (
	// maxPathLevel is the highest level that a path may name, C2SP tlog-tiles.
	// No tree of MaxSize has tiles above level 7.
	maxPathLevel = 63
	// maxPathIndex is the highest tile index that a path may name: the last
	// tile of level 0 in a tree of MaxSize.
	maxPathIndex = MaxSize >> TileHeight
	// maxPathLength bounds what is parsed: "tile/entries/", six elements for
	// the index, ".p/255", in generous excess.
	maxPathLength = 64
)

// TilePath returns the path of a hash tile below the log's prefix, such as
// "tile/0/x001/x234/067" for a full tile and "tile/0/x001/x234/067.p/8" for
// one that is 8 hashes wide.
func TilePath(level uint8, index uint64, width int) string {
	b := make([]byte, 0, maxPathLength)
	b = append(b, "tile/"...)
	b = strconv.AppendUint(b, uint64(level), 10)
	return string(appendIndex(append(b, '/'), index, width))
}

// EntriesPath returns the path of an entry bundle below the log's prefix, such
// as "tile/entries/x001/x234/067".
func EntriesPath(index uint64, width int) string {
	b := make([]byte, 0, maxPathLength)
	return string(appendIndex(append(b, "tile/entries/"...), index, width))
}

// appendIndex appends the index as zero-padded elements of three digits, all
// but the last after an x, and the width unless it is that of a full tile.
func appendIndex(b []byte, index uint64, width int) []byte {
	var elements [7]uint64 // 1000^7 > 2^64
	n := 0
	for {
		elements[n] = index % 1000
		index /= 1000
		n++
		if index == 0 {
			break
		}
	}
	for i := n - 1; i >= 0; i-- {
		if i > 0 {
			b = append(b, 'x')
		}
		e := elements[i]
		b = append(b, byte('0'+e/100), byte('0'+e/10%10), byte('0'+e%10))
		if i > 0 {
			b = append(b, '/')
		}
	}
	if width != TileWidth {
		b = append(b, ".p/"...)
		b = strconv.AppendInt(b, int64(width), 10)
	}
	return b
}

// ParseTilePath parses what [TilePath] and [EntriesPath] return. A path that
// names a tile in any other way than they do is refused. The level of an entry
// bundle is 0.
func ParseTilePath(p string) (kind TileKind, level uint8, index uint64, width int, err error) {
	fail := func(reason string) (TileKind, uint8, uint64, int, error) {
		if len(p) > maxPathLength {
			p = p[:maxPathLength] + "…"
		}
		return 0, 0, 0, 0, fmt.Errorf("parse tile path %q: %s", p, reason)
	}
	if len(p) > maxPathLength {
		return fail("too long")
	}
	rest, ok := strings.CutPrefix(p, "tile/")
	if !ok {
		return fail(`does not begin with "tile/"`)
	}
	first, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return fail("no index")
	}
	if first == "entries" {
		kind = EntryBundle
	} else {
		kind = HashTile
		n, ok := parseDecimal(first, maxPathLevel)
		if !ok {
			return fail(`level is neither "entries" nor a number from 0 to 63`)
		}
		level = uint8(n)
	}

	width = TileWidth
	if path, w, partial := strings.Cut(rest, ".p/"); partial {
		n, ok := parseDecimal(w, TileWidth-1)
		if !ok || n == 0 {
			return fail("width of a partial tile is not a number from 1 to 255")
		}
		rest, width = path, int(n)
	}

	elements := strings.Split(rest, "/")
	for i, e := range elements {
		if i < len(elements)-1 {
			if e, ok = strings.CutPrefix(e, "x"); !ok {
				return fail("an element of the index before the last lacks its x")
			}
		}
		if len(e) != 3 || !isDigits(e) {
			return fail("an element of the index is not three digits")
		}
		n := uint64(e[0]-'0')*100 + uint64(e[1]-'0')*10 + uint64(e[2]-'0')
		if i == 0 && n == 0 && len(elements) > 1 {
			return fail("index has a leading element of zeros")
		}
		if index > (maxPathIndex-n)/1000 {
			return fail("index is beyond the largest tree")
		}
		index = index*1000 + n
	}
	return kind, level, index, width, nil
}

// parseDecimal parses a number without sign or leading zeros that is at most limit.
func parseDecimal(s string, limit uint64) (uint64, bool) {
	if s == "" || len(s) > 1 && s[0] == '0' || !isDigits(s) {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= limit
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
