package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/errors"
)

// logFile is a log that does not grow for ever: when it would exceed max bytes it becomes PATH.1,
// the former PATH.1 becomes PATH.2, and so on up to PATH.keep. Standard error, if it was the same
// file, follows, so that the last words of a crash are in the newest file.
type logFile struct {
	path string
	max  int64
	keep int

	mu      sync.Mutex
	file    *os.File
	size    int64
	follows bool // standard error goes to the file, too
}

// openLogFile opens the log for appending.
func openLogFile(path string, maxBytes int64, keep int) (*logFile, error) {
	l := &logFile{path: path, max: maxBytes, keep: keep}
	if info, err := os.Stat(path); err == nil {
		if own, err := os.Stderr.Stat(); err == nil {
			l.follows = os.SameFile(info, own)
		}
	}
	return l, l.open()
}

// open replaces the open file. The caller holds l.mu, or is the only user.
func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return errors.Wrap(err, "log_file")
	}
	info, err := f.Stat()
	if err != nil {
		return errors.CombineErrors(errors.Wrap(err, "log_file"), f.Close())
	}
	if !info.Mode().IsRegular() {
		return errors.CombineErrors(errors.Newf("log_file: %s is not a regular file", l.path), f.Close())
	}
	if l.follows {
		redirectStderr(f)
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write implements io.Writer: one line a call.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(line)) > l.max {
		l.rotate()
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	return n, err
}

// rotate begins a new file. Where that fails the log goes on in the present one: lines are
// worth more than their bound.
func (l *logFile) rotate() {
	for i := l.keep - 1; i >= 1; i-- {
		_ = os.Rename(l.numbered(i), l.numbered(i+1)) // absent at first
	}
	if err := os.Rename(l.path, l.numbered(1)); err != nil {
		l.size = 0
		return
	}
	if err := l.open(); err != nil {
		l.size = 0
	}
}

func (l *logFile) numbered(i int) string { return fmt.Sprintf("%s.%d", l.path, i) }

// reopen continues in a new file if somebody has renamed the present one, as logrotate does.
func (l *logFile) reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open()
}

// Close implements io.Closer.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// validateLogFile refuses a log file that would damage another file of the node: one that is, or
// lies inside, a path that the configuration names, or the configuration file itself. The same
// holds for the names that rotation gives to former log files.
func (c *Config) validateLogFile() error {
	if c.LogFile == "" {
		return nil
	}
	if info, err := os.Stat(c.LogFile); err == nil && info.IsDir() {
		return errors.Newf("log_file: %s is a directory", c.LogFile)
	}
	logs, err := spellings(c.LogFile)
	if err != nil {
		return errors.Wrap(err, "log_file")
	}
	others := append(c.paths(), configPath{key: "the configuration file", path: &c.path})
	for _, o := range others {
		if o.path == &c.LogFile || *o.path == "" {
			continue
		}
		paths, err := spellings(*o.path)
		if err != nil {
			return errors.Wrap(err, o.key)
		}
		for _, log := range logs {
			for _, path := range paths {
				if within(log, path) {
					return errors.Newf("log_file: %s is, or lies inside, %s (%s)", c.LogFile, o.key, *o.path)
				}
				if within(path, log) {
					return errors.Newf("log_file: %s (%s) lies inside %s", o.key, *o.path, c.LogFile)
				}
				number, numbered := strings.CutPrefix(path, log+".")
				if i, err := strconv.Atoi(number); numbered && err == nil && decimal.MatchString(number) && i >= 1 && i <= c.LogFiles {
					return errors.Newf("log_file: %s (%s) is the name of a former log file, %s.%d", o.key, *o.path, c.LogFile, i)
				}
			}
		}
	}
	return nil
}

// spellings returns the cleaned absolute path, and where symbolic links lead to.
func spellings(path string) ([]string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// The file, and directories above it, may be absent.
	for at, rest := path, ""; ; at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return []string{path, filepath.Join(real, rest)}, nil
		}
		if at == filepath.Dir(at) {
			return []string{path}, nil
		}
	}
}

// within says whether path is other or lies below it.
func within(path, other string) bool {
	info, err := os.Stat(other)
	for {
		if path == other {
			return true
		}
		if own, statErr := os.Stat(path); err == nil && statErr == nil && os.SameFile(own, info) {
			return true
		}
		above := filepath.Dir(path)
		if above == path {
			return false
		}
		path = above
	}
}
