package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
)

// errTooLong marks the error of an input that exceeds its bound.
var errTooLong = errors.New("input is too long")

// readAll reads at most max bytes; more are an error, not a truncation.
func readAll(r io.Reader, name string, max int) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, int64(max)+1))
	if err != nil {
		return nil, errors.Wrapf(err, "read %s", name)
	}
	if len(raw) > max {
		return nil, errors.Mark(errors.Newf("%s is larger than %d bytes", name, max), errTooLong)
	}
	return raw, nil
}

// readInput reads a file, or standard input for "-". Whoever types the input
// can interrupt: the read is then left behind, and ends with the process.
func (a *app) readInput(ctx context.Context, name string, max int) ([]byte, error) {
	if name != "-" {
		return readFile(name, max)
	}
	type input struct {
		raw []byte
		err error
	}
	done := make(chan input, 1)
	go func() {
		raw, err := readAll(a.in, "standard input", max)
		done <- input{raw, err}
	}()
	select {
	case in := <-done:
		return in.raw, in.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
