package cluster_test

import "golang.org/x/sys/unix"

func mountSmall(dir string) error { return unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256m,mode=0700") }
func unmount(dir string) error    { return unix.Unmount(dir, 0) }
