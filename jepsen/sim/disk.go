package sim

import (
	"bytes"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// blockSize is what a device writes as a whole in the absence of a power cut,
// sectorSize what it writes as a whole even then, most of the time.
const (
	blockSize  = 4096
	sectorSize = 512
)

// disk is the file system of one node's log: one directory of files, with the
// difference between what was written and what is durable. It is pebble's
// crashable MemFS once more, but deterministic (that one draws in the order of a
// map), with blocks that are torn, and with crashes in the middle of a call.
//
// The process sees every write at once. What it did since the last settle is kept
// in a journal: a crash undoes a suffix of it, as if the process had been stopped
// there. Of what is left a power failure keeps any subset of the blocks and names
// that were not synced.
type disk struct {
	trace *trace
	node  uint64

	files  map[string]*inode
	exists bool // the directory
	locks  map[string]bool
	// life counts crashes: handles of an earlier life are dead.
	life int

	// namesOps are the changes of names since the directory was synced, on top of syncedNames.
	syncedNames  map[string]*inode
	nameOps      []nameOp
	existsSynced bool

	journal []undo

	// failSyncs makes the next so many syncs fail.
	failSyncs int
	stats     struct{ writes, syncs, torn, undone int }
}

// logDir is the directory that a disk has.
const logDir = "/wal"

type nameOp struct {
	put    string // "" for a removal
	ino    *inode
	remove string // "" for a creation; both for a rename
}

// undo takes one operation of the journal back.
type undo func()

// inode is a file.
type inode struct {
	// data is followed by zeros up to size: logs write many of them ahead.
	data []byte
	size int
	// dirty has, for every block written since the last sync, what the device holds of it.
	dirty  map[int][]byte
	synced int // length on the device
	// confirmed: everything below is durable, and so is something that was written
	// after that had been so. A log that loses it has lost what it can know of.
	// claim becomes confirmed with the next sync.
	confirmed, claim int
}

func newDisk(t *trace, node uint64) *disk {
	return &disk{trace: t, node: node, files: map[string]*inode{}, syncedNames: map[string]*inode{}, locks: map[string]bool{}}
}

// settle says that everything done so far has reached the kernel: no crash of
// the process can undo it.
func (d *disk) settle() {
	clear(d.journal)
	d.journal = d.journal[:0]
}

// crash ends the process at a random moment of what it did since the last settle.
func (d *disk) crash(rng *rand.Rand) {
	d.life++
	clear(d.locks)
	keep := rng.IntN(len(d.journal) + 1)
	d.stats.undone += len(d.journal) - keep
	for i := len(d.journal) - 1; i >= keep; i-- {
		d.journal[i]()
	}
	d.settle()
}

// powerLoss, after crash, keeps each block and name that was not synced with a
// probability of percent/100.
func (d *disk) powerLoss(rng *rand.Rand, percent int) {
	if d.exists && !d.existsSynced && rng.IntN(100) >= percent {
		d.exists, d.files, d.syncedNames, d.nameOps = false, map[string]*inode{}, map[string]*inode{}, nil
		return
	}
	names := maps.Clone(d.syncedNames)
	for _, op := range d.nameOps {
		if rng.IntN(100) >= percent {
			continue
		}
		if op.remove != "" {
			delete(names, op.remove)
		}
		if op.put != "" {
			names[op.put] = op.ino
		}
	}
	seen := map[*inode]bool{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if ino := names[name]; !seen[ino] {
			seen[ino] = true
			d.stats.torn += ino.powerLoss(rng, percent)
		}
	}
	d.files, d.syncedNames, d.nameOps, d.existsSynced = names, maps.Clone(names), nil, d.exists
}

// powerLoss returns how many blocks were torn.
func (f *inode) powerLoss(rng *rand.Rand, percent int) (torn int) {
	end := f.synced
	f.extend(f.size)
	for _, b := range slices.Sorted(maps.Keys(f.dirty)) {
		at := b * blockSize
		block := f.data[at:min(at+blockSize, len(f.data))]
		old := make([]byte, len(block))
		copy(old, f.dirty[b])
		switch keep := rng.IntN(100) < percent; {
		case percent > 0 && percent < 100 && rng.IntN(4) == 0:
			// Some sectors are new, the others old; rarely one of them is cut within.
			torn++
			for s := 0; s < len(block); s += sectorSize {
				sector := block[s:min(s+sectorSize, len(block))]
				cut := 0
				if rng.IntN(2) == 0 {
					cut = len(sector)
				} else if rng.IntN(8) == 0 {
					cut = rng.IntN(len(sector))
				}
				copy(sector[cut:], old[s+cut:s+len(sector)])
			}
			end = max(end, at+len(block))
		case keep:
			end = max(end, at+len(block))
		default:
			copy(block, old)
		}
	}
	if rng.IntN(2) == 0 { // the length is metadata, and may be newer than the blocks
		end = f.size
	}
	f.data, f.size = f.data[:end], end
	f.dirty, f.synced, f.claim = nil, end, 0
	f.confirmed = min(f.confirmed, end)
	return torn
}

// flipTarget is a bit whose loss the log must notice.
type flipTarget struct {
	name   string
	offset int
}

// flippable returns a random byte among those that a log must miss.
func (d *disk) flippable(rng *rand.Rand) (flipTarget, bool) {
	total := 0
	names := slices.Sorted(maps.Keys(d.files))
	for _, name := range names {
		total += d.files[name].confirmed
	}
	if total == 0 {
		return flipTarget{}, false
	}
	at := rng.IntN(total)
	for _, name := range names {
		if n := d.files[name].confirmed; at < n {
			return flipTarget{name, at}, true
		} else {
			at -= n
		}
	}
	panic("sim: the sum of the parts is less than the whole")
}

// flip turns a bit, in what the kernel has of the block and in what the device has.
func (d *disk) flip(t flipTarget, bit int) {
	f := d.files[t.name]
	f.data[t.offset] ^= 1 << bit
	if old, at := f.dirty[t.offset/blockSize], t.offset%blockSize; at < len(old) {
		old[at] ^= 1 << bit
	}
}

var errSync = errors.New("simulated failure of a sync")

// extend makes the first n bytes of a file real.
func (f *inode) extend(n int) {
	if was := len(f.data); n > was {
		f.data = slices.Grow(f.data, n-was)[:n]
		clear(f.data[was:])
	}
}

// readAt fills as much of p as the file has from off on.
func (f *inode) readAt(p []byte, off int) int {
	p = p[:max(0, min(len(p), f.size-off))]
	n := 0
	if off < len(f.data) {
		n = copy(p, f.data[off:])
	}
	clear(p[n:])
	return len(p)
}

var zeroBlock [blockSize]byte

// trimZeros cuts zeros off the end of b, down to n bytes at least.
func trimZeros(b []byte, n int) []byte {
	n = max(n, 0)
	for len(b)-blockSize >= n && bytes.Equal(b[len(b)-blockSize:], zeroBlock[:]) {
		b = b[:len(b)-blockSize]
	}
	for len(b) > n && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// write changes a file.
func (d *disk) write(f *inode, b []byte, off int) {
	d.stats.writes++
	size := f.size
	f.size = max(size, off+len(b))
	if b = trimZeros(b, len(f.data)-off); len(b) == 0 {
		d.journal = append(d.journal, func() { f.size = size })
		return
	}
	if len(f.dirty) == 0 {
		claim := f.claim
		f.claim = off
		d.journal = append(d.journal, func() { f.claim = claim })
	}
	was, end := len(f.data), off+len(b)
	first, last := off/blockSize, (end-1)/blockSize
	if f.dirty == nil {
		f.dirty = map[int][]byte{}
	}
	var fresh []int
	for blk := first; blk <= last; blk++ {
		if _, ok := f.dirty[blk]; ok {
			continue
		}
		var old []byte
		if at := blk * blockSize; at < was {
			old = slices.Clone(f.data[at:min(at+blockSize, was)])
		}
		f.dirty[blk] = old
		fresh = append(fresh, blk)
	}
	var old []byte
	if off < was {
		old = slices.Clone(f.data[off:min(end, was)])
	}
	f.extend(end)
	copy(f.data[off:], b)
	d.journal = append(d.journal, func() {
		f.data, f.size = f.data[:was], size
		if len(old) > 0 {
			copy(f.data[off:], old)
		}
		for _, blk := range fresh {
			delete(f.dirty, blk)
		}
	})
}

func (d *disk) sync(f *inode) error {
	if d.failSyncs > 0 {
		d.failSyncs--
		return errSync
	}
	d.stats.syncs++
	before := *f
	f.dirty, f.synced, f.confirmed, f.claim = nil, f.size, max(f.confirmed, f.claim), 0
	d.journal = append(d.journal, func() {
		f.dirty, f.synced, f.confirmed, f.claim = before.dirty, before.synced, before.confirmed, before.claim
	})
	return nil
}

func (d *disk) syncDir(root bool) error {
	if d.failSyncs > 0 {
		d.failSyncs--
		return errSync
	}
	d.stats.syncs++
	if root {
		was := d.existsSynced
		d.existsSynced = d.exists
		d.journal = append(d.journal, func() { d.existsSynced = was })
		return nil
	}
	names, ops := d.syncedNames, d.nameOps
	d.syncedNames, d.nameOps = maps.Clone(d.files), nil
	d.journal = append(d.journal, func() { d.syncedNames, d.nameOps = names, ops })
	return nil
}

// rename changes names: a creation, a removal or both at once.
func (d *disk) rename(op nameOp) {
	files, ops := maps.Clone(d.files), len(d.nameOps)
	if op.remove != "" {
		delete(d.files, op.remove)
	}
	if op.put != "" {
		d.files[op.put] = op.ino
	}
	d.nameOps = append(d.nameOps, op)
	d.journal = append(d.journal, func() { d.files, d.nameOps = files, d.nameOps[:ops] })
}

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
