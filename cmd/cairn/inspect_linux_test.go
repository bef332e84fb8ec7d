package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

func init() {
	scriptCmds["fingerprint"], scriptCmds["readonly"], scriptCmds["writable"] = cmdFingerprint, cmdReadonly, cmdWritable
}

// cmdFingerprint writes a file that describes everything about a directory, or a
// file, that a write would change: names, modes, owners, inodes, sizes, times of
// modification and of change, contents: fingerprint FILE PATH
func cmdFingerprint(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fingerprint FILE PATH")
	}
	var b strings.Builder
	ts.Check(filepath.WalkDir(ts.MkAbs(args[1]), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d:%d inode %d links %d size %d modified %v changed %v", path, info.Mode(), st.Uid, st.Gid,
			st.Ino, st.Nlink, info.Size(), st.Mtim, st.Ctim)
		if info.Mode().IsRegular() {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			sum := sha256.New()
			// Of sparse files of half a gigabyte the beginning, which holds all their data here.
			if _, err := io.Copy(sum, io.LimitReader(f, 1<<20)); err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sum.Sum(nil))
		}
		b.WriteByte('\n')
		return nil
	}))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// cmdReadonly makes a directory a read-only mount, where the test may mount. For
// root nothing else makes it read-only; the log says so: readonly DIR
func cmdReadonly(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: readonly DIR")
	}
	dir := ts.MkAbs(args[0])
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		ts.Logf("level: fingerprint only, no read-only mount: %v", err)
		return
	}
	ts.Defer(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	ts.Check(unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	ts.Logf("level: read-only mount")
}

// cmdWritable undoes readonly: writable DIR
func cmdWritable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: writable DIR")
	}
	_ = unix.Unmount(ts.MkAbs(args[0]), unix.MNT_DETACH)
}
