package badgerstore

import (
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
	badger "github.com/dgraph-io/badger/v4"
)

// ErrReadOnly is returned by every write to a store that Inspect opened.
var ErrReadOnly = errors.New("the ledger store is open for inspection only")

// Inspect opens the store in a directory for reading, after a clean stop or a crash, and writes
// nothing there: no file, no time, no owner. A directory on a read-only file system will do. Every
// table is verified first, as Open does. Its errors: *DamagedError, ErrInUse, Badger's.
//
// Badger cannot do that on the directory itself. Its ordinary mode opens every file for writing,
// replays and truncates the logs of memtables and starts new ones. Its read-only mode refuses logs
// that end in zeros or in a torn transaction, as those of every process that was killed do, and
// deletes logs without contents.
//
// Inspect therefore opens another directory, a temporary one, in read-only mode:
//
//   - Tables and value log files are symbolic links to the originals. Badger opens them with
//     O_RDONLY in this mode.
//   - The log of each memtable is a copy up to the end of its last complete transaction, which is
//     what Badger's replay would keep. Together the copies take as much space as the memtables of
//     the store, at most some 50 MB.
//   - MANIFEST and KEYREGISTRY are copies. All other files hold nothing that is read.
//
// A store that was never opened has no MANIFEST; it is an empty one. While the store is open,
// Inspect holds a shared lock on the original directory through a read-only descriptor: a node that
// has the directory open holds Badger's exclusive lock on it, and none can take that lock during
// the inspection.
func Inspect(dir string, logf func(format string, args ...any)) (_ *Store, err error) {
	doing := "inspect ledger store"
	unlock, err := lockShared(dir)
	if err != nil {
		return nil, errors.Wrap(err, doing)
	}
	temp := ""
	done := func() error {
		unlock()
		return errors.Wrap(os.RemoveAll(temp), "remove the temporary directory of an inspection")
	}
	defer func() {
		if err != nil {
			err = errors.CombineErrors(err, done())
		}
	}()
	if err := verifyFiles(dir); err != nil {
		return nil, errors.Wrap(err, doing)
	}
	if temp, err = os.MkdirTemp("", "cairn-inspect-"); err != nil {
		return nil, errors.Wrap(err, "inspect ledger store: make a temporary directory (TMPDIR says where)")
	}
	opened, err := shadow(dir, temp)
	if err != nil {
		return nil, errors.Wrap(err, doing)
	}
	o := Options{Dir: temp, Logf: logf}
	o.setDefaults()
	defer recoverInto(&err, doing)
	db, err := badger.OpenManaged(badgerOptions(o).WithReadOnly(opened))
	if err != nil {
		return nil, errors.Wrap(err, doing)
	}
	return &Store{dir: temp, db: db, inspection: done}, nil
}

// shadow fills the empty directory to with what a read-only Badger needs of the store in from. It
// reports whether the store has ever been opened: without a MANIFEST it has not.
func shadow(from, to string) (opened bool, err error) {
	if from, err = filepath.Abs(from); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return false, err
	}
	files := 0
	for _, e := range entries {
		original, name := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".sst":
			files++
			err = os.Symlink(original, name)
		case ".vlog":
			files++
			err = shadowValueLog(original, name)
		case ".mem":
			files++
			err = shadowMemtable(original, name)
		default:
			switch e.Name() {
			case badger.ManifestFilename:
				opened = true
				fallthrough
			case badger.KeyRegistryFileName:
				err = copyStart(original, name, func(b []byte) int { return len(b) })
			}
		}
		if err != nil {
			return false, err
		}
	}
	if !opened && files > 0 {
		return false, &DamagedError{File: filepath.Join(from, badger.ManifestFilename), Reason: "it is missing, and the directory holds data"}
	}
	return opened, nil
}

// shadowValueLog links to a value log file. A file without a byte, which a crash leaves behind (see
// finishLogs), becomes an empty log: Badger would give the original a size.
func shadowValueLog(original, name string) error {
	info, err := os.Stat(original)
	if err != nil {
		return err
	}
	if info.Size() < logHeader {
		return os.WriteFile(name, make([]byte, logHeader), 0o600)
	}
	return os.Symlink(original, name)
}

// shadowMemtable copies the complete transactions of a memtable's log, if there are any.
func shadowMemtable(original, name string) error {
	return copyStart(original, name, func(b []byte) int {
		if end := logEnd(b); end > logHeader {
			return end
		}
		return 0
	})
}

// copyStart copies the first bytes of a file, as many as length says. Of no bytes it makes no file.
func copyStart(original, name string, length func([]byte) int) error {
	b, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	n := length(b)
	if n == 0 {
		return nil
	}
	return os.WriteFile(name, b[:n], 0o600)
}

// ErrInUse says that another process has the store open.
var ErrInUse = errors.New("another process has the ledger store open")
