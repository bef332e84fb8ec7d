package main

import (
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
)

// readAll reads at most max bytes; more are an error, not a truncation.
func readAll(r io.Reader, name string, max int) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	if err != nil {
		return nil, errors.Wrapf(err, "read %s", name)
	}
	if len(raw) > max {
		return nil, errors.Newf("%s is larger than %d bytes", name, max)
	}
	return raw, nil
}

// readInput reads a file, or standard input for "-".
func (a *app) readInput(name string, max int) ([]byte, error) {
	if name == "-" {
		return readAll(a.in, "standard input", max)
	}
	return readFile(name, max)
}

// writeFile writes a file so that it is there completely or not at all.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return errors.Wrap(err, "create file")
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Wrapf(err, "write %s", path)
	}
	return errors.Wrap(os.Rename(f.Name(), path), "write file")
}
