package backup

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Backup is a backup as it lies on the disk. Nothing of it counts before Verify.
type Backup struct {
	Dir      string
	Manifest *Manifest
	// Ledgers are the directory, and what it lists, with groups in ascending order.
	Ledgers []*Ledger
}

// Ledger is the copy of one ledger.
type Ledger struct {
	Group  uint64
	Origin string
	// Size, Root and Note are those of the checkpoint. An interrupted Take may have brought a ledger
	// further than MANIFEST says.
	Size uint64
	Root merkle.Hash
	Note []byte
	// Created is what the directory says of the ledger; nil for the directory.
	Created *directory.Ledger

	highest uint64 // of the ids of members in all its policies; set by Verify

	path string // of the folder, within the backup
	dir  string
	row  Row // of MANIFEST; its size is 0 when there is none
}

// BadError names what is wrong with a backup. It matches ErrDamaged.
type BadError struct {
	Origin string
	Path   string  // of the file, within the backup
	Index  *uint64 // of the first bad entry, when it is known
	Err    error
}

func (e *BadError) Error() string {
	if e.Index == nil {
		return fmt.Sprintf("ledger %s: %s: %v", e.Origin, e.Path, e.Err)
	}
	return fmt.Sprintf("ledger %s, entry %d: %s: %v", e.Origin, *e.Index, e.Path, e.Err)
}

// Unwrap returns what is wrong.
func (e *BadError) Unwrap() error { return e.Err }

// Is says that the backup is damaged.
func (e *BadError) Is(target error) bool { return target == ErrDamaged }

func (l *Ledger) bad(path string, index *uint64, err error) *BadError {
	return &BadError{Origin: l.Origin, Path: filepath.Join(l.path, filepath.FromSlash(path)), Index: index, Err: err}
}

// Open opens a backup. Errors match ErrDamaged, ErrNotBackup where there is none, or are those of the
// disk.
func Open(dir string) (*Backup, error) {
	m, err := readManifest(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.Wrapf(ErrNotBackup, "%s has no file %s", dir, manifestFile)
	}
	if err != nil {
		return nil, err
	}
	b := &Backup{Dir: dir, Manifest: m}
	root, err := b.open(directory.Group, m.Directory)
	if err != nil {
		return nil, err
	}
	b.Ledgers = []*Ledger{root}
	err = root.Records(func(r *ledger.BlockRecord) error {
		leaves, err := r.Leaves()
		for i := 0; i < len(leaves) && err == nil; i++ {
			var created *directory.Ledger
			if created, err = directory.CreatedBy(r.First+uint64(i), leaves[i]); err != nil || created == nil {
				continue
			}
			var l *Ledger
			if l, err = b.open(created.Group, created.Genesis.Origin); err == nil {
				l.Created = created
				b.Ledgers = append(b.Ledgers, l)
			}
		}
		return err
	})
	return b, err
}

// open reads the checkpoint of a ledger.
func (b *Backup) open(group uint64, origin string) (*Ledger, error) {
	dir := folderOf(b.Dir, group)
	path, _ := filepath.Rel(b.Dir, dir) // one is below the other
	l := &Ledger{Group: group, Origin: origin, path: path, dir: dir}
	if row := b.Manifest.row(group); row != nil {
		l.row = *row
	}
	var err error
	if l.Note, err = wholefile.Read(filepath.Join(dir, checkpointFile), tlog.MaxNoteSize); err != nil {
		return nil, l.bad(checkpointFile, nil, err)
	}
	cp, _, err := tlog.ParseCheckpoint(l.Note)
	if err == nil && cp.Origin != origin {
		err = errors.Newf("it is of the ledger %s", cp.Origin)
	}
	if err == nil && cp.Size < l.row.Size {
		err = errors.Newf("its size is %d, %s says at least %d", cp.Size, manifestFile, l.row.Size)
	}
	if err == nil && l.row.Size > 0 && l.row.Origin != origin {
		err = errors.Newf("%s says that it is of %s", manifestFile, l.row.Origin)
	}
	if err != nil {
		return nil, l.bad(checkpointFile, nil, err)
	}
	l.Size, l.Root = cp.Size, cp.Root
	return l, nil
}

// HighestID returns the highest id of a member that any policy of any ledger names. It is known after
// Verify.
func (b *Backup) HighestID() (highest uint64) {
	for _, l := range b.Ledgers {
		highest = max(highest, l.highest)
	}
	return highest
}

// Records calls each with all records of the ledger, in order. They parse and continue each other, and
// nothing else was checked. The errors that are not those of each are *BadError.
func (l *Ledger) Records(each func(*ledger.BlockRecord) error) error {
	next, raft := uint64(0), uint64(0)
	for next < l.Size {
		first := next
		records, err := readBlocks(l.dir, first)
		if err == nil && (records[0].RaftIndex <= raft || records[len(records)-1].End() > l.Size) {
			err = errors.Newf("its blocks end at size %d and begin at raft index %d, behind raft index %d; the ledger has %d entries",
				records[len(records)-1].End(), records[0].RaftIndex, raft, l.Size)
		}
		if err != nil {
			return l.bad(blocksPath(first), &first, err)
		}
		for _, r := range records {
			if err := each(r); err != nil {
				return err
			}
			next, raft = r.End(), r.RaftIndex
		}
	}
	return nil
}

// Files returns the files of blocks with the indexes of the entries that they begin with.
func (l *Ledger) Files() ([]uint64, error) { return listBlocks(l.dir) }
