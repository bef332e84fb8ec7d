package node

import (
	"fmt"
	"os"
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
