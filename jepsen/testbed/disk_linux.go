package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

// Disk is a file system of its own: ext4 in a loop device over a sparse file. Its
// power can be cut as a real one's: what was synced is there afterwards, what was
// not is not, and the journal is real.
type Disk struct {
	dir  string   // where it is mounted
	loop *os.File // the device; open until close, which detaches it
	// state, for close
	mounted, frozen bool
}

const (
	// ext4's EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), and its flag for "without
	// flushing the journal".
	ext4Shutdown   = 0x8004587d
	shutdownNoLogs = 2
	// Linux' FIFREEZE and FITHAW, _IOWR('X', 119, int) and 120.
	fsFreeze = 0xc0045877
	fsThaw   = 0xc0045878
)

// fillerName is the file that fills a disk.
const fillerName = "filler"

// disksPossible says whether this process can make disks, or why not.
func disksPossible() error {
	if os.Getuid() != 0 {
		return errors.New("not root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return errors.New("no loop devices")
	}
	_, err := mkfs()
	return err
}

func mkfs() (string, error) {
	for _, path := range []string{"mkfs.ext4", "/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", errors.New("no mkfs.ext4")
}

// newDisk makes a file system of size bytes and mounts it at dir.
func newDisk(image, dir string, size int64) (_ *Disk, err error) {
	d := &Disk{dir: dir}
	defer func() {
		if err != nil {
			err = errors.CombineErrors(errors.Wrap(err, "make disk"), d.close())
		}
	}()
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return d, err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return d, err
	}
	program, err := mkfs()
	if err != nil {
		return d, err
	}
	if out, err := exec.Command(program, "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", image).CombinedOutput(); err != nil {
		return d, errors.Wrapf(err, "%s: %s", program, out)
	}
	if d.loop, err = attach(f); err != nil {
		return d, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return d, err
	}
	return d, d.mount()
}

// attach connects a file to a free loop device, which lets go of it when it is
// neither mounted nor open any more: nothing stays behind whoever dies.
func attach(f *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for tries := 0; ; tries++ {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, errors.Wrap(err, "find a loop device")
		}
		path := fmt.Sprintf("/dev/loop%d", n)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))); err != nil && !errors.Is(err, os.ErrExist) {
				return nil, errors.Wrap(err, "make loop device")
			}
		}
		loop, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(f.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			return loop, nil
		}
		_ = loop.Close()
		// Somebody else was faster.
		if !errors.Is(err, unix.EBUSY) || tries > 100 {
			return nil, errors.Wrap(err, "configure loop device")
		}
	}
}

func (d *Disk) mount() error {
	if err := unix.Mount(d.loop.Name(), d.dir, "ext4", unix.MS_NOATIME, ""); err != nil {
		return errors.Wrap(err, "mount")
	}
	d.mounted = true
	return nil
}

// unmount waits a little for a process that is just being torn down.
func (d *Disk) unmount() (err error) {
	if !d.mounted {
		return nil
	}
	for range 200 {
		if err = unix.Unmount(d.dir, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		// Whoever still uses it keeps it, and nobody else sees it.
		_ = unix.Unmount(d.dir, unix.MNT_DETACH)
		err = errors.Wrap(err, "unmount")
	}
	d.mounted = false
	return err
}

// CutPower makes the disk as dead as a machine without power: nothing written from
// now on, nor anything that was not synced before, is ever seen again.
func (d *Disk) CutPower() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return errors.Wrap(err, "cut power")
	}
	defer f.Close()
	return errors.Wrap(unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, shutdownNoLogs), "cut power")
}

// Dead says whether the disk takes no write, as after CutPower.
func (d *Disk) Dead() bool {
	err := os.WriteFile(filepath.Join(d.dir, "probe"), nil, 0o600)
	if err == nil {
		_ = os.Remove(filepath.Join(d.dir, "probe"))
	}
	return errors.Is(err, unix.EIO)
}

// Restore brings a disk without power back: the journal is replayed. Nobody may
// use it.
func (d *Disk) Restore() error {
	if err := d.unmount(); err != nil {
		return err
	}
	return d.mount()
}

func (d *Disk) ioctl(request uint) error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetInt(int(f.Fd()), request, 0)
}

// Freeze makes every write and sync wait until Thaw.
func (d *Disk) Freeze() error {
	err := d.ioctl(fsFreeze)
	d.frozen = d.frozen || err == nil
	return errors.Wrap(err, "freeze disk")
}

// Thaw ends Freeze. It does nothing to a disk that is not frozen.
func (d *Disk) Thaw() error {
	if !d.frozen {
		return nil
	}
	if err := d.ioctl(fsThaw); err != nil {
		return errors.Wrap(err, "thaw disk")
	}
	d.frozen = false
	return nil
}

// Free returns the free space in bytes.
func (d *Disk) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return 0, errors.Wrap(err, "read free space")
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Fill uses up the space until at most leave bytes are free.
func (d *Disk) Fill(leave int64) error {
	f, err := os.OpenFile(filepath.Join(d.dir, fillerName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return errors.Wrap(err, "fill disk")
	}
	defer f.Close()
	for tries := 0; ; tries++ {
		free, err := d.Free()
		if err != nil {
			return err
		}
		st, err := f.Stat()
		if err != nil {
			return errors.Wrap(err, "fill disk")
		}
		if free <= leave {
			return nil
		}
		err = unix.Fallocate(int(f.Fd()), 0, st.Size(), free-leave)
		// The node may have taken space meanwhile: what was free is not any more.
		if !errors.Is(err, unix.ENOSPC) || tries > 20 {
			return errors.Wrap(err, "fill disk")
		}
	}
}

// Empty gives the space back that Fill took.
func (d *Disk) Empty() error {
	err := os.Remove(filepath.Join(d.dir, fillerName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return errors.Wrap(err, "empty disk")
}

// close unmounts the disk and lets the device go.
func (d *Disk) close() error {
	err := errors.CombineErrors(d.Thaw(), d.unmount())
	if d.loop != nil {
		err = errors.CombineErrors(err, d.loop.Close())
		d.loop = nil
	}
	return err
}
