package client

import (
	"os"
	"path/filepath"
	"runtime"

	"github.com/cockroachdb/errors"
)

// writeFileAtomic replaces a file so that a crash leaves the old or the new content, never a part.
func writeFileAtomic(path string, content []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return errors.Wrap(err, "create temporary file")
	}
	defer func() {
		if err != nil {
			err = errors.CombineErrors(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Wrap(err, "write temporary file")
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return errors.Wrap(err, "rename temporary file")
	}
	return errors.Wrap(syncDir(filepath.Dir(path)), "sync folder")
}

// syncDir makes a rename in dir durable. Windows has no such call and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.CombineErrors(d.Sync(), d.Close())
}
