package main

import (
	"crypto/rand"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/errors"
)

// target is a file that a command was asked to write its result to: every --out and --state. A
// command opens its targets before it does anything else, so that a target that cannot be written
// is a usage error and nothing was tried.
//
// A regular file appears whole or not at all: it is written aside and then put in place. A device
// or pipe is written directly, and "-" is standard output.
type target struct {
	a       *app
	path    string      // with links resolved; "-" is standard output
	replace bool        // an existing file is replaced
	direct  bool        // a device or pipe
	mode    fs.FileMode // of the file to be replaced; 0 if there is none
}

// openTarget checks a target that the flag names. Without replace, a file that exists is refused.
func (a *app) openTarget(flag, path string, replace bool) (*target, error) {
	t := &target{a: a, path: path, replace: replace}
	if path == "-" {
		return t, nil
	}
	refused := func(format string, args ...any) error {
		return failf(exitUsage, "choose another file with "+flag+"; nothing was tried", flag+" "+printable(path)+": "+format, args...)
	}
	st, err := os.Lstat(path)
	if err == nil && st.Mode()&fs.ModeSymlink != 0 {
		if t.path, err = filepath.EvalSymlinks(path); err != nil {
			return nil, refused("it is a link that leads nowhere")
		}
		st, err = os.Stat(t.path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if strings.HasSuffix(path, "/") {
			return nil, refused("it is not the name of a file")
		}
	case err != nil:
		return nil, refused("%v", err)
	case st.IsDir():
		return nil, refused("it is a directory")
	case !st.Mode().IsRegular():
		t.direct = true
		f, err := os.OpenFile(t.path, os.O_WRONLY, 0)
		if err != nil {
			return nil, refused("%v", err)
		}
		return t, f.Close()
	case !replace:
		return nil, failf(exitUsage, "choose another file, or pass --force to replace it; nothing was tried",
			"%s %s: the file exists", flag, printable(path))
	default:
		t.mode = st.Mode().Perm()
	}
	// Only an attempt shows whether the directory takes a file.
	f, err := t.aside()
	if err != nil {
		return nil, refused("%v", err)
	}
	return t, errors.CombineErrors(f.Close(), os.Remove(f.Name()))
}

// stdout says that the target is standard output. A nil target is no target.
func (t *target) stdout() bool { return t != nil && t.path == "-" }

// file says that the target is a file.
func (t *target) file() bool { return t != nil && t.path != "-" }

// aside creates a file beside the target. Its mode follows the umask unless it replaces a file.
func (t *target) aside() (*os.File, error) {
	var b [8]byte
	_, _ = rand.Read(b[:])
	name := filepath.Join(filepath.Dir(t.path), ".cairn-"+hex.EncodeToString(b[:])+".tmp")
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
}

// write writes the target. Its errors count as lost output.
func (t *target) write(raw []byte) error {
	if t.stdout() {
		_, err := t.a.out.Write(raw)
		return lost(err, "write to standard output")
	}
	return lost(t.writeFile(raw), "write "+printable(t.path))
}

func (t *target) writeFile(raw []byte) (err error) {
	if t.direct {
		f, err := os.OpenFile(t.path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(raw)
		return errors.CombineErrors(err, f.Close())
	}
	f, err := t.aside()
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once the file has its name
	_, err = f.Write(raw)
	if err == nil && t.mode != 0 {
		err = f.Chmod(t.mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.CombineErrors(err, f.Close()); err != nil {
		return err
	}
	return place(f.Name(), t.path, t.replace)
}

// place gives a finished file its name, durably. Without replace it fails if the name is taken.
func place(from, to string, replace bool) error {
	if !replace {
		err := os.Link(from, to)
		if err == nil {
			return errors.CombineErrors(os.Remove(from), syncDir(filepath.Dir(to)))
		}
		if _, statErr := os.Lstat(to); statErr == nil {
			return errors.Wrapf(fs.ErrExist, "%s", to)
		}
		// A file system without links.
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// syncDir makes names in a directory durable. Some file systems cannot sync a directory: they
// have nothing to sync.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync()
	return d.Close()
}
