//go:build !unix

package main

import "os"

// lockShared does nothing: no node runs on this system, so none can hold the lock.
func lockShared(*os.File) error { return nil }
