//go:build unix

package folder

import (
	"os"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

// openFlags follow no link, and do not wait for the writer of a pipe.
const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.CombineErrors(f.Sync(), f.Close())
}

// lock takes the lock of a folder, without waiting.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
