package folder

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
	"golang.org/x/sync/errgroup"
)

// files is the file system, which tests replace by one that ends in the middle.
type files interface {
	// list returns what is in a folder, links not followed.
	list(dir string) ([]fs.FileInfo, error)
	// read returns at most so many bytes from the beginning of a regular file, and what the file was
	// when it was opened.
	read(path string, most int) ([]byte, fs.FileInfo, error)
	// write makes or replaces files and syncs each. After an error any of them may be there in part.
	write(all ...written) error
	rename(from, to string) error
	remove(path string) error
	exists(path string) (bool, error)
	// sync makes renames in a folder durable.
	sync(dir string) error
}

// written is a file to be written.
type written struct {
	path string
	data []byte
}

// writers is how many files are written at the same time: what the disk syncs together costs little
// more than one of them.
const writers = 16

// disk is the file system of the machine.
type disk struct{}

func (disk) list(dir string) ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	infos := make([]fs.FileInfo, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // somebody took it away
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func (disk) read(path string, most int) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.Newf("%s is no regular file", path)
	}
	if err != nil {
		return nil, nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, int64(most)))
	return raw, info, err
}

func (disk) write(all ...written) error {
	var g errgroup.Group
	g.SetLimit(writers)
	for _, w := range all {
		g.Go(func() error { return w.write() })
	}
	return g.Wait()
}

func (w *written) write() error {
	f, err := os.Create(w.path)
	if err != nil {
		return err
	}
	_, err = f.Write(w.data)
	if err == nil {
		err = f.Sync()
	}
	return errors.CombineErrors(err, f.Close())
}

func (disk) rename(from, to string) error { return os.Rename(from, to) }

func (disk) remove(path string) error { return os.Remove(path) }

func (disk) exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (disk) sync(dir string) error { return syncDir(filepath.Clean(dir)) }
