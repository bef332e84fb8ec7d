//go:build !unix

package node

import (
	"io/fs"
	"os"
	"runtime"

	"github.com/cockroachdb/errors"
)

// Platform says that no node can run here: locks, free space and durable folders are not
// implemented for this system.
var Platform = errors.Newf("a node does not run on %s: it needs Linux, macOS or FreeBSD", runtime.GOOS)

func lockExclusive(*os.File) error { return Platform }

func freeSpace(string) (int64, error) { return 0, Platform }

func diskUsage(info fs.FileInfo) int64 { return info.Size() }
