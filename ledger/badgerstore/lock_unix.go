//go:build unix

package badgerstore

import (
	"os"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

// lockShared takes a shared lock on a directory that Badger locks exclusively. The directory is
// opened for reading and not changed. The error is ErrInUse, wrapped, when a process has the store
// open.
func lockShared(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Wrap(ErrInUse, dir)
		}
		return nil, errors.Wrapf(err, "lock %s", dir)
	}
	return func() { _ = f.Close() }, nil
}
