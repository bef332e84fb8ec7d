//go:build !unix

package local

import "syscall"

// No node runs on this system (node.Platform), so there is no process to signal.
const (
	sigPause    = syscall.Signal(0)
	sigContinue = syscall.Signal(0)
)

func ownSession() *syscall.SysProcAttr { return nil }
