//go:build unix

package badgerstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile returns the first size bytes of f. They must not be used after unmap.
func mapFile(f *os.File, size int) (data []byte, unmap func(), err error) {
	data, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	return data, func() { _ = unix.Munmap(data) }, err
}
