//go:build !linux

package node

import "os"

// redirectStderr does nothing: standard error stays with the file that the process was started
// with.
func redirectStderr(*os.File) {}
