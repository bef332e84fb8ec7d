package node

import (
	"io/fs"
	"syscall"
)

// diskUsage is what a file occupies, in bytes: Badger's files are sparse.
func diskUsage(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return info.Size()
}
