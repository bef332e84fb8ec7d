//go:build !linux

package testbed

// Private does nothing here.
func Private() (code int, done bool) { return 0, false }
