// Package damage damages the files of a stopped node of a local cluster, starts the node, and asks
// that it comes back without a hand, or that the last line of its log says what to do and that this
// helps. What it then serves is compared with everything that was acknowledged.
package damage

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"
)

// Kind is what happens to the files of a node.
type Kind string

// The kinds of damage.
const (
	Pages    Kind = "pages"    // a random 1 % of the 4 KiB pages of all files, at least one, is overwritten
	Delete   Kind = "delete"   // a random file is gone
	Flip     Kind = "flip"     // a random bit of a file of a random class is turned
	Truncate Kind = "truncate" // a random file is cut
)

// Kinds are all of them.
var Kinds = []Kind{Pages, Delete, Flip, Truncate}

// pageSize is what a disk loses at once.
const pageSize = 4096

// classes are the files of a node, by what they are for: the last element of a path matches a
// pattern, and the path begins with the directory.
var classes = []struct {
	name, dir string
	patterns  []string
}{
	{"log", "data/wal", []string{"*.wal"}},
	{"tables", "data/ledger", []string{"*.sst"}},
	{"values", "data/ledger", []string{"*.vlog"}},
	{"memtables", "data/ledger", []string{"*.mem"}},
	{"store", "data/ledger", []string{"MANIFEST", "KEYREGISTRY", "DISCARD"}},
	{"identity", "data", []string{"IDENTITY", "MEMBERS"}},
	{"locks", "data", []string{"LOCK"}},
	{"configuration", "", []string{"node.yaml"}},
	{"keys", "", []string{"*.key", "*.crt", "*.sealed"}},
	{"records", "", []string{"log", "pid"}},
}

// ClassOf returns the class of a file, by its path in the node's directory; "" for none.
func ClassOf(path string) string {
	for _, c := range classes {
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir == "." {
			dir = ""
		}
		for _, p := range c.patterns {
			if ok, _ := filepath.Match(p, filepath.Base(path)); ok && (dir == c.dir || c.name == "locks" && strings.HasPrefix(dir, c.dir)) {
				return c.name
			}
		}
	}
	return ""
}

// filesOf returns the files of a node that hold something, and all of them with empty ones.
func filesOf(dir string, empty bool) (files []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), "damaged-"):
			return filepath.SkipDir // what was moved aside is nobody's any more
		case !d.Type().IsRegular():
			return nil
		}
		n, err := used(path)
		if err == nil && (empty || n > 0) {
			files = append(files, path)
		}
		return err
	})
	return files, err
}

// used is how many bytes of a file hold something: logs are filled with zeros ahead.
func used(path string) (int, error) {
	b, err := os.ReadFile(path)
	return len(bytes.TrimRight(b, "\x00")), err
}

// strike damages the files of a node's directory, or of a part of it, and says how.
func strike(rng *rand.Rand, kind Kind, dir, under string) (what string, err error) {
	files, err := filesOf(filepath.Join(dir, under), kind == Delete)
	if err != nil || len(files) == 0 {
		return "", errors.CombineErrors(err, errors.Newf("no file to damage in %s", under))
	}
	rel := func(path string) string { r, _ := filepath.Rel(dir, path); return r }
	switch kind {
	case Pages:
		return overwrite(rng, files, rel)
	case Delete:
		path := files[rng.IntN(len(files))]
		return rel(path) + " is gone", os.Remove(path)
	case Truncate:
		path := files[rng.IntN(len(files))]
		n, err := used(path)
		if err != nil {
			return "", err
		}
		at := rng.IntN(n)
		return fmt.Sprintf("%s ends at byte %d of %d", rel(path), at, n), os.Truncate(path, int64(at))
	case Flip:
		byClass := map[string][]string{}
		for _, f := range files {
			byClass[ClassOf(rel(f))] = append(byClass[ClassOf(rel(f))], f)
		}
		var names []string
		for name := range byClass {
			names = append(names, name)
		}
		slices.Sort(names)
		some := byClass[names[rng.IntN(len(names))]]
		path := some[rng.IntN(len(some))]
		n, err := used(path)
		if err != nil {
			return "", err
		}
		at, bit := rng.IntN(n), rng.IntN(8)
		return fmt.Sprintf("bit %d of byte %d of %s", bit, at, rel(path)), change(path, at, func(b []byte) { b[0] ^= 1 << bit }, 1)
	}
	return "", errors.Newf("%q is no kind of damage", kind)
}

// overwrite fills pages with random bytes.
func overwrite(rng *rand.Rand, files []string, rel func(string) string) (what string, err error) {
	type page struct {
		path string
		at   int
		size int
	}
	var pages []page
	for _, path := range files {
		n, err := used(path)
		if err != nil {
			return "", err
		}
		for at := 0; at < n; at += pageSize {
			pages = append(pages, page{path, at, min(pageSize, n-at)})
		}
	}
	rng.Shuffle(len(pages), func(i, j int) { pages[i], pages[j] = pages[j], pages[i] })
	hit := map[string]int{}
	for _, p := range pages[:max(1, (len(pages)+50)/100)] {
		hit[rel(p.path)]++
		err = errors.CombineErrors(err, change(p.path, p.at, func(b []byte) {
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
		}, p.size))
	}
	var parts []string
	for path, n := range hit {
		parts = append(parts, fmt.Sprintf("%d of %s", n, path))
	}
	slices.Sort(parts)
	return "pages: " + strings.Join(parts, ", "), err
}

// change changes n bytes of a file in place.
func change(path string, at int, how func([]byte), n int) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, n)
	if _, err = f.ReadAt(b, int64(at)); err == nil || errors.Is(err, io.EOF) {
		how(b)
		_, err = f.WriteAt(b, int64(at))
	}
	return errors.CombineErrors(err, f.Close())
}
