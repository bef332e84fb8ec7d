package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
)

// fileSet makes files that belong together, such as a key and its certificate. It never overwrites
// a file, and an interruption at any time does not block the next run:
//
//   - The files are made in a staging directory beside them, and get their names by links. As long
//     as the staging directory is there, the set is not complete.
//   - A run that finds a staging directory takes back the names that lead to staged files, and
//     starts anew: nobody was told of them. If all names were given, the set is complete.
//   - A staging directory is renamed before it is deleted, so that a half-deleted one cannot be
//     taken for one that says what is complete.
type fileSet struct {
	dir, staging, done string
	names              []string
}

// openFileSet prepares files of these names in dir; label tells sets in one directory apart. Its
// error matches fs.ErrExist if one of the names is taken.
func openFileSet(dir, label string, names ...string) (*fileSet, error) {
	s := &fileSet{dir: dir, names: names,
		staging: filepath.Join(dir, "."+label+".unfinished"), done: filepath.Join(dir, "."+label+".finished")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errors.Wrap(err, "create directory")
	}
	if err := s.clear(); err != nil {
		return nil, errors.Wrap(err, "clear the rest of an interrupted run")
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.CombineErrors(err, errors.Wrap(fs.ErrExist, path))
		}
	}
	return s, errors.Wrap(os.Mkdir(s.staging, 0o700), "create directory")
}

// path is where a file of the set is made.
func (s *fileSet) path(name string) string { return filepath.Join(s.staging, name) }

// write makes a file that holds no secret.
func (s *fileSet) write(name string, data []byte) error {
	f, err := os.OpenFile(s.path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return errors.Wrap(err, "create file")
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Wrap(errors.CombineErrors(err, f.Close()), "write file")
}

// publish gives all files their names. After an error none has one.
func (s *fileSet) publish() error {
	for _, step := range s.steps() {
		if err := step(); err != nil {
			return errors.CombineErrors(err, s.clear())
		}
	}
	return nil
}

// steps are what publish does, one system call or so each: an interruption comes between two.
func (s *fileSet) steps() []func() error {
	var all []func() error
	for _, name := range s.names {
		all = append(all, func() error { return link(s.path(name), filepath.Join(s.dir, name)) })
	}
	return append(all,
		func() error { return syncDir(s.dir) },
		func() error { return os.Rename(s.staging, s.done) },
		func() error { return os.RemoveAll(s.done) },
	)
}

// link gives a file a second name, which must be free; where there are no links it makes a copy.
func link(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, st.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	return errors.CombineErrors(err, f.Close())
}

// clear removes what an interrupted run left. Files of other origin stay.
func (s *fileSet) clear() error {
	if err := os.RemoveAll(s.done); err != nil {
		return err
	}
	if _, err := os.Lstat(s.staging); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var ours []string
	complete := 0
	for _, name := range s.names {
		path := filepath.Join(s.dir, name)
		staged, err := os.ReadFile(s.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if given, err := os.ReadFile(path); err == nil && bytes.HasPrefix(staged, given) {
			ours = append(ours, path)
			if len(given) == len(staged) { // not a copy that was cut off
				complete++
			}
		}
	}
	if complete < len(s.names) {
		for _, path := range ours {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	if err := os.Rename(s.staging, s.done); err != nil {
		return err
	}
	return os.RemoveAll(s.done)
}
