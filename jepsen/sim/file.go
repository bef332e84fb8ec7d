package sim

import (
	"io"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// file is an open file or directory of a disk.
type file struct {
	d        *disk
	life     int
	name     string
	ino      *inode // nil for a directory
	isDir    bool
	writable bool
	pos      int
}

var _ vfs.File = (*file)(nil)

// errStale: the process that had opened the file is dead, so nobody can ask.
var errStale = errors.New("the file was opened by a process that has crashed")

func (f *file) check(write bool) error {
	switch {
	case f.life != f.d.life:
		return errStale
	case f.isDir, write && !f.writable:
		return errors.Newf("%s: not opened for this", f.name)
	}
	return nil
}

func (f *file) Close() error { return nil }

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, int64(f.pos))
	f.pos += n
	return n, err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check(false); err != nil {
		return 0, err
	}
	n := f.ino.readAt(p, int(off))
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, int64(f.pos))
	f.pos += n
	return n, err
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check(true); err != nil || len(p) == 0 {
		return 0, err
	}
	f.d.trace.disk(f.d.node, 'w', f.name, off, trimZeros(p, 0))
	f.d.write(f.ino, p, int(off))
	return len(p), nil
}

func (f *file) Sync() error {
	if f.life != f.d.life {
		return errStale
	}
	f.d.trace.disk(f.d.node, 's', f.name, 0, nil)
	if f.isDir {
		return f.d.syncDir(f.name == "/")
	}
	return f.d.sync(f.ino)
}

func (f *file) SyncData() error { return f.Sync() }

func (f *file) SyncTo(int64) (bool, error) { return true, f.Sync() }

func (f *file) Stat() (vfs.FileInfo, error) {
	if f.isDir {
		return &info{name: f.name, isDir: true}, nil
	}
	return &info{name: f.name, size: int64(f.ino.size)}, nil
}

func (*file) Prefetch(int64, int64) error    { return nil }
func (*file) Preallocate(int64, int64) error { return nil }
func (*file) Fd() uintptr                    { return vfs.InvalidFd }
