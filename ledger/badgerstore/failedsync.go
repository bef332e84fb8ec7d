package badgerstore

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
)

// failedSync is a file that records that the disk refused a write or a sync. The kernel reports a
// failed write once and then marks the pages clean. The page cache may then hold data that the disk
// does not. The next process would read these data, find nothing missing, and take a later sync,
// which writes nothing, for proof that they are durable. So the next process rewrites the value log
// before it trusts any sync.
const failedSync = "SYNC-FAILED"

// noteFailedSync leaves the file failedSync, if the failing disk still allows it.
func noteFailedSync(dir string) {
	f, err := os.OpenFile(filepath.Join(dir, failedSync), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _, _ = f.Sync(), f.Close(), syncDir(dir)
}

// writeValuesAgain writes the value log over itself and syncs it, if the previous process met a
// failed sync. The other files need no rewriting: Badger syncs tables and MANIFEST before it uses
// them, and the ledger compares the contents of memtables during replay.
func writeValuesAgain(dir string) error {
	note := filepath.Join(dir, failedSync)
	if _, err := os.Stat(note); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return errors.Wrap(err, "look for a failed sync")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	if err != nil {
		return errors.Wrap(err, "list value log files")
	}
	for _, file := range files {
		if _, err := writeAgain(file); err != nil {
			return errors.Wrapf(err, "write %s again after a failed sync", filepath.Base(file))
		}
	}
	return errors.Wrap(errors.CombineErrors(os.Remove(note), syncDir(dir)), "end with a failed sync")
}

// writeAgain writes a file over itself and syncs it. It does not fill holes. n is the number of
// bytes that it wrote.
func writeAgain(name string) (n int64, err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.CombineErrors(err, f.Close()) }()
	const page = 4096
	var buf, zero [page]byte
	for at := int64(0); ; at += page {
		k, err := f.ReadAt(buf[:], at)
		if k > 0 && !bytes.Equal(buf[:k], zero[:k]) {
			if _, err := f.WriteAt(buf[:k], at); err != nil {
				return n, err
			}
			n += int64(k)
		}
		if errors.Is(err, io.EOF) {
			return n, f.Sync()
		}
		if err != nil {
			return n, err
		}
	}
}
