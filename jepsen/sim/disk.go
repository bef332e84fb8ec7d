package sim

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/cockroachdb/errors"
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
	dirty map[int][]byte
	// lost has the same for every block whose write failed: the kernel has told of it once, takes
	// the block for clean, and shows what the device does not hold until it is written again.
	lost   map[int][]byte
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
	for b, old := range f.lost {
		block := f.data[b*blockSize : min((b+1)*blockSize, len(f.data))]
		clear(block[copy(block, old):])
	}
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
	f.dirty, f.lost, f.synced, f.claim = nil, nil, end, 0
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
	for _, was := range []map[int][]byte{f.dirty, f.lost} {
		if old, at := was[t.offset/blockSize], t.offset%blockSize; at < len(old) {
			old[at] ^= 1 << bit
		}
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
	if len(f.dirty) == 0 && len(f.lost) == 0 {
		claim := f.claim
		f.claim = off
		d.journal = append(d.journal, func() { f.claim = claim })
	}
	was, end := len(f.data), off+len(b)
	first, last := off/blockSize, (end-1)/blockSize
	if f.dirty == nil {
		f.dirty = map[int][]byte{}
	}
	var fresh, again []int
	for blk := first; blk <= last; blk++ {
		if _, ok := f.dirty[blk]; ok {
			continue
		}
		if old, ok := f.lost[blk]; ok {
			delete(f.lost, blk)
			f.dirty[blk] = old
			again = append(again, blk)
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
		for _, blk := range again {
			f.lost[blk] = f.dirty[blk]
			delete(f.dirty, blk)
		}
	})
}

func (d *disk) sync(f *inode) error {
	if d.failSyncs > 0 {
		d.failSyncs--
		d.lose(f)
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

// lose fails the writes that a sync would have waited for.
func (d *disk) lose(f *inode) {
	dirty, claim := f.dirty, f.claim
	if f.lost == nil {
		f.lost = map[int][]byte{}
	}
	for blk, old := range dirty {
		f.lost[blk] = old // never there already: a write takes it out
	}
	f.dirty, f.claim = nil, 0
	d.journal = append(d.journal, func() {
		for blk := range dirty {
			delete(f.lost, blk)
		}
		f.dirty, f.claim = dirty, claim
	})
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
