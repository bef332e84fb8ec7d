package node

import (
	"os"

	"golang.org/x/sys/unix"
)

// redirectStderr makes the file the process's standard output and error, which the runtime writes a
// crash to.
func redirectStderr(f *os.File) {
	_ = unix.Dup3(int(f.Fd()), int(os.Stdout.Fd()), 0)
	_ = unix.Dup3(int(f.Fd()), int(os.Stderr.Fd()), 0)
}
