//go:build unix

package backup

import (
	"os"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

// lock keeps other processes from writing the backup until the file is closed.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, errors.Wrap(err, "lock the backup")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Wrapf(errors.CombineErrors(ErrInUse, f.Close()), "%s", path)
	}
	return f, nil
}
