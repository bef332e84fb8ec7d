// Package wholefile reads and replaces small files as a whole, so that nobody ever sees a part of
// one, waits for one, or takes more memory for one than it can need.
//
// A file takes shape under another name in the same directory, and then gets its own name by a
// rename. Its mode is what the umask leaves of the mode that the caller gives.
//
//	err := wholefile.WriteSync("state", checkpoint, 0o600)
package wholefile

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/cockroachdb/errors"
)

// Suffix ends the name of a file that is not complete yet.
const Suffix = ".tmp"

// Open opens a regular file for reading. Anything else it refuses before it opens it: opening a
// pipe waits for a writer, and a device may have no end.
func Open(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.Newf("%s is not a regular file", path)
	}
	return os.Open(path)
}

// Read reads a regular file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = errors.Newf("%s is larger than %d bytes", path, limit)
	}
	return content, err
}

// Write replaces a file: a reader sees the old content or the new one. Nothing is promised about a
// power failure. One caller at a time may write a path. The file takes shape at path+[Suffix]; what
// a killed process leaves there is overwritten by the next Write.
func Write(path string, content []byte, mode fs.FileMode) error {
	if err := os.WriteFile(path+Suffix, content, mode); err != nil {
		return err
	}
	return os.Rename(path+Suffix, path)
}

// WriteSync is [Write] for a file that has to survive a power failure: one that comes earlier
// leaves the old content or the new one, and one that comes after WriteSync has returned leaves the
// new one. Any number of processes may write one path; the last one's content stays.
func WriteSync(path string, content []byte, mode fs.FileMode) (err error) {
	dir, base := filepath.Split(path)
	var own [8]byte
	_, _ = rand.Read(own[:]) // never fails, says the package
	temp := filepath.Join(dir, "."+base+"."+hex.EncodeToString(own[:])+Suffix)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	err = errors.CombineErrors(err, f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.CombineErrors(err, os.Remove(temp))
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory durable. Windows has no such call and needs none.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return errors.Wrap(err, "open directory")
	}
	return errors.Wrap(errors.CombineErrors(d.Sync(), d.Close()), "sync directory")
}
