package backup

import (
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cockroachdb/errors"
	"golang.org/x/sync/errgroup"

	"github.com/cairnledger/cairn/internal/wholefile"
)

// writers is how many files are synced at a time.
const writers = 8

// writer writes the files of a copy. A file takes shape beside its place, under one name, so that an
// interrupted process leaves at most what the next one overwrites.
type writer struct {
	group errgroup.Group
	mu    sync.Mutex
	dirs  map[string]bool // that got a file since the last settle
}

func newWriter() *writer {
	w := &writer{dirs: map[string]bool{}}
	w.group.SetLimit(writers)
	return w
}

// put writes a file, durably but for its name: settle makes that durable. raw is not changed any more.
func (w *writer) put(path string, raw []byte) {
	w.group.Go(func() error { return w.write(path, raw) })
}

// interrupt, if set, is called before each rename: a test ends a Take there.
var interrupt func() error

func (w *writer) write(path string, raw []byte) error {
	dir := filepath.Dir(path)
	w.mu.Lock()
	known := w.dirs[dir]
	w.mu.Unlock()
	if !known {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path+wholefile.Suffix, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.CombineErrors(err, f.Close()); err != nil {
		return err
	}
	if interrupt != nil {
		if err := interrupt(); err != nil {
			return err
		}
	}
	if err := os.Rename(path+wholefile.Suffix, path); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dirs[dir] = true
	return nil
}

// settle waits until everything that was put is durable, names included. root is above all of it.
func (w *writer) settle(root string) error {
	if err := w.group.Wait(); err != nil {
		return errors.Wrap(err, "write the backup")
	}
	above := map[string]bool{}
	for dir := range w.dirs {
		for ; len(dir) >= len(root) && !above[dir]; dir = filepath.Dir(dir) {
			above[dir] = true
		}
	}
	var deepest []string
	for dir := range above {
		deepest = append(deepest, dir)
	}
	slices.SortFunc(deepest, func(a, b string) int { return len(b) - len(a) })
	for _, dir := range deepest {
		if err := wholefile.SyncDir(dir); err != nil {
			return errors.Wrap(err, "write the backup")
		}
	}
	w.dirs = map[string]bool{}
	w.group = errgroup.Group{}
	w.group.SetLimit(writers)
	return nil
}

// replace writes a file that replaces another one, durably, when everything put before is durable.
func (w *writer) replace(root, path string, raw []byte) error {
	if err := w.settle(root); err != nil {
		return err
	}
	w.put(path, raw)
	return w.settle(root)
}
