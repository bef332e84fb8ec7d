//go:build !linux

package testbed

import "github.com/cockroachdb/errors"

// Disk is a file system of its own; only Linux has them.
type Disk struct{ dir string }

var errNoDisks = errors.New("disks of one's own need Linux")

func disksPossible() error                         { return errNoDisks }
func newDisk(string, string, int64) (*Disk, error) { return nil, errNoDisks }
func (d *Disk) close() error                       { return nil }

// CutPower is not possible here; neither is anything else.
func (d *Disk) CutPower() error { return errNoDisks }

// Dead says whether the disk takes no write.
func (d *Disk) Dead() bool { return false }

// Restore brings a disk without power back.
func (d *Disk) Restore() error { return errNoDisks }

// Freeze makes every write wait.
func (d *Disk) Freeze() error { return errNoDisks }

// Thaw ends Freeze.
func (d *Disk) Thaw() error { return nil }

// Free returns the free space in bytes.
func (d *Disk) Free() (int64, error) { return 0, errNoDisks }

// Fill uses up the space.
func (d *Disk) Fill(int64) error { return errNoDisks }

// Empty gives it back.
func (d *Disk) Empty() error { return nil }
