package sim

import (
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func notExist(op, name string) error {
	return &os.PathError{Op: op, Path: name, Err: oserror.ErrNotExist}
}

// The methods of vfs.FS that a log uses; the others refuse.

var _ vfs.FS = (*disk)(nil)

var errUnused = errors.New("the simulated disk does not do this")

// base returns the name within the directory.
func (d *disk) base(op, name string) (string, error) {
	if path.Dir(name) != logDir || !d.exists {
		return "", notExist(op, name)
	}
	return path.Base(name), nil
}

func (d *disk) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	base, err := d.base("create", name)
	if err != nil {
		return nil, err
	}
	d.trace.disk(d.node, 'c', base, 0, nil)
	ino := &inode{}
	d.rename(nameOp{put: base, ino: ino})
	return &file{d: d, life: d.life, name: base, ino: ino, writable: true}, nil
}

func (d *disk) open(name string, writable bool) (vfs.File, error) {
	base, err := d.base("open", name)
	if err != nil {
		return nil, err
	}
	ino := d.files[base]
	if ino == nil {
		return nil, notExist("open", name)
	}
	return &file{d: d, life: d.life, name: base, ino: ino, writable: writable}, nil
}

func (d *disk) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) { return d.open(name, false) }

func (d *disk) OpenReadWrite(name string, _ vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	return d.open(name, true)
}

func (d *disk) OpenDir(name string) (vfs.File, error) {
	if name != "/" && (name != logDir || !d.exists) {
		return nil, notExist("open", name)
	}
	return &file{d: d, life: d.life, name: name, isDir: true}, nil
}

func (d *disk) Remove(name string) error {
	base, err := d.base("remove", name)
	if err != nil {
		return err
	}
	if d.files[base] == nil {
		return notExist("remove", name)
	}
	d.trace.disk(d.node, 'r', base, 0, nil)
	d.rename(nameOp{remove: base})
	return nil
}

func (d *disk) Rename(from, to string) error {
	a, err := d.base("rename", from)
	if err != nil {
		return err
	}
	b, err := d.base("rename", to)
	if err != nil {
		return err
	}
	ino := d.files[a]
	if ino == nil {
		return notExist("rename", from)
	}
	d.trace.disk(d.node, 'm', b, 0, nil)
	d.rename(nameOp{put: b, ino: ino, remove: a})
	return nil
}

func (d *disk) MkdirAll(dir string, _ os.FileMode) error {
	if dir != logDir {
		return errUnused
	}
	if was := d.exists; !was {
		d.exists = true
		d.journal = append(d.journal, func() { d.exists = was })
	}
	return nil
}

func (d *disk) Lock(name string) (io.Closer, error) {
	if d.locks[name] {
		return nil, errors.New("locked by another process")
	}
	d.locks[name] = true
	return &lock{d, name, d.life}, nil
}

type lock struct {
	d    *disk
	name string
	life int
}

func (l *lock) Close() error {
	if l.life == l.d.life {
		delete(l.d.locks, l.name)
	}
	return nil
}

func (d *disk) List(dir string) ([]string, error) {
	if dir != logDir || !d.exists {
		return nil, notExist("list", dir)
	}
	return slices.Sorted(maps.Keys(d.files)), nil
}

func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	if name == "/" || name == logDir && d.exists {
		return &info{name: name, isDir: true}, nil
	}
	f, err := d.open(name, false)
	if err != nil {
		return nil, err
	}
	return f.Stat()
}

func (*disk) Link(string, string) error { return errUnused }
func (*disk) RemoveAll(string) error    { return errUnused }
func (*disk) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errUnused
}
func (*disk) PathBase(p string) string                   { return path.Base(p) }
func (*disk) PathJoin(elem ...string) string             { return path.Join(elem...) }
func (*disk) PathDir(p string) string                    { return path.Dir(p) }
func (*disk) GetDiskUsage(string) (vfs.DiskUsage, error) { return vfs.DiskUsage{}, vfs.ErrUnsupported }
func (*disk) Unwrap() vfs.FS                             { return nil }

// info describes a file; it has no time.
type info struct {
	name  string
	size  int64
	isDir bool
}

func (i *info) Name() string         { return i.name }
func (i *info) Size() int64          { return i.size }
func (i *info) Mode() os.FileMode    { return 0o600 }
func (i *info) ModTime() time.Time   { return time.Time{} }
func (i *info) IsDir() bool          { return i.isDir }
func (i *info) Sys() any             { return nil }
func (*info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
