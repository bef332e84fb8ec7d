package raftnode

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// LibraryPanic says that etcd/raft panicked: it met a state that its own rules
// exclude. The node stops with it instead of with a stack trace.
type LibraryPanic struct {
	// Text is what the library said, Stack where it was.
	Text, Stack string
}

func (e *LibraryPanic) Error() string {
	return fmt.Sprintf("the Raft library stopped at a state that must not occur (%q). The node stops and writes nothing more. "+
		"The likely causes are a Raft log that lost entries (a disk replaced, or restored from an older copy), damaged memory, or a defect of this program. "+
		"If the node's data were replaced or restored, leave it stopped: it has forgotten what it acknowledged. "+
		"Otherwise keep a copy of its data directory and its log for a report, and start it again; if it stops again, leave it stopped", e.Text)
}

// recovered turns what recover returned into a *LibraryPanic, or panics again when the
// panic did not begin in etcd/raft: a broken invariant of this program crashes it. It is
// called by the deferred function itself.
func recovered(r any) *LibraryPanic {
	if !libraryPanicked() {
		panic(r)
	}
	return &LibraryPanic{Text: fmt.Sprint(r), Stack: string(debug.Stack())}
}

// recoverLibrary is deferred where etcd/raft is started.
func recoverLibrary(err *error) {
	if r := recover(); r != nil {
		*err = recovered(r)
	}
}

const (
	libraryPackage = "go.etcd.io/raft/v3"
	loggerMethods  = "github.com/cairnledger/cairn/raftnode.logger."
)

// libraryPanicked reports whether the panic under way began in etcd/raft, or in the
// logger that it was given. Of the frames below runtime.gopanic the first outside the
// standard library says whose panic it is.
func libraryPanicked() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	panicking := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && !standard(f.Function):
			return strings.HasPrefix(f.Function, libraryPackage) || strings.HasPrefix(f.Function, loggerMethods)
		}
		if !more {
			return false
		}
	}
}

// standard reports whether a function is of the standard library: import paths of
// modules begin with a domain name.
func standard(function string) bool {
	first, _, found := strings.Cut(function, "/")
	return !found || !strings.Contains(first, ".")
}
