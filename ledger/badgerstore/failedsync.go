package badgerstore

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
)

// failedSync is a file that says that the disk refused something. The kernel tells of a failed write only once, and takes
// the pages for clean then: the next process would read from memory what no disk holds, find nothing missing, and call it
// durable after a sync that has nothing to do.
const failedSync = "SYNC-FAILED"

// noteFailedSync leaves the file, if a disk that refuses things allows it.
func noteFailedSync(dir string) {
	f, err := os.OpenFile(filepath.Join(dir, failedSync), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, _, _ = f.Sync(), f.Close(), syncDir(dir)
}

// writeValuesAgain writes the value log over itself if a process before this one met a failed sync, and syncs it.
// Everything else that Badger reads was synced before it was of any use, or is compared in the replay.
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

// writeAgain writes a file over itself and syncs it. It leaves holes alone: n is how many bytes it wrote.
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
