//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockShared takes a shared lock without waiting.
func lockShared(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) }
