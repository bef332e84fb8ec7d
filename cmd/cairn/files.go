package main

import (
	"context"
	"io"

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
