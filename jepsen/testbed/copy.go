package testbed

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

// CopyTree copies a directory to a new one. Holes stay holes: a node maps files that
// are much larger than what they hold.
func CopyTree(from, to string) error {
	return errors.Wrap(filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			return os.Mkdir(filepath.Join(to, rel), info.Mode().Perm())
		case info.Mode().IsRegular():
			return copySparse(path, filepath.Join(to, rel), info)
		}
		return errors.Newf("%s is neither a file nor a directory", path)
	}), "copy directory")
}

func copySparse(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	err = out.Truncate(info.Size())
	for at := int64(0); err == nil && at < info.Size(); {
		data, end, found := nextData(in, at, info.Size())
		if !found {
			break
		}
		if _, err = out.Seek(data, io.SeekStart); err == nil {
			_, err = io.Copy(out, io.NewSectionReader(in, data, end-data))
		}
		at = end
	}
	err = errors.CombineErrors(err, out.Sync())
	return errors.CombineErrors(err, out.Close())
}

// nextData finds the next part of a file that is no hole. A file system that knows
// no holes has only data.
func nextData(f *os.File, at, size int64) (data, end int64, found bool) {
	data, err := f.Seek(at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 0, 0, false
	case err != nil:
		return at, size, true
	}
	if end, err = f.Seek(data, unix.SEEK_HOLE); err != nil {
		end = size
	}
	return data, end, true
}
