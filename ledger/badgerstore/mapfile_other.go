//go:build !unix

package badgerstore

import (
	"io"
	"os"
)

// mapFile returns the first size bytes of f, which it reads into memory.
func mapFile(f *os.File, size int) (data []byte, unmap func(), err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(f, data)
	return data, func() {}, err
}
