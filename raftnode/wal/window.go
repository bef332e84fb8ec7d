package wal

import (
	"io"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// window reads a file through one buffer, for sequential use.
type window struct {
	f     vfs.File
	size  int64 // no read goes beyond
	chunk int   // bytes read at once, at least
	buf   []byte
	start int64 // file offset of buf
}

// at returns n bytes at off, valid until the next call. off+n must not exceed
// size: callers bound n before, so that no damaged length leads to an allocation.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < w.start || off+int64(n) > w.start+int64(len(w.buf)) {
		if err := w.fill(off, n); err != nil {
			return nil, err
		}
	}
	return w.buf[off-w.start : off-w.start+int64(n)], nil
}

func (w *window) fill(off int64, n int) error {
	want := int(min(int64(max(n, w.chunk)), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf, w.start = w.buf[:want], off
	got, err := w.f.ReadAt(w.buf, off)
	if got == want {
		return nil
	}
	w.buf = w.buf[:0]
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
