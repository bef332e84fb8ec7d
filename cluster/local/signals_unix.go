//go:build unix

package local

import "syscall"

const (
	sigPause    = syscall.SIGSTOP
	sigContinue = syscall.SIGCONT
)

// ownSession starts a process in a session of its own: signals of the terminal do not reach it.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
