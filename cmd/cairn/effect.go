package main

import (
	"io"
	"strings"
	"syscall"

	"github.com/cockroachdb/errors"
)

// errLost marks the error of output that was lost: standard output, a file that was asked for, the
// client's state file.
var errLost = errors.New("output was lost")

// lost marks err as lost output; nil stays nil.
func lost(err error, what string) error {
	if err == nil {
		return nil
	}
	return errors.Mark(errors.Wrap(err, what), errLost)
}

// output is standard output. It remembers its first error, so that no command, help included, ends
// with 0 when its output was lost.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = lost(err, "write to standard output")
	return n, o.err
}

// effect is what a command has done for good. An error that comes later does not undo it: every
// error of a command that has an effect names it.
type effect struct {
	text  string  // "entry 7 is in the ledger"; "" while that is not known
	index *uint64 // of the appended entry
	keyJSON
	next string // what to do if the output about it was lost
}

// did records an effect. A later one replaces it, and so should include it.
func (a *app) did(e effect) { a.effect = &e }

// after completes the error of a command that has an effect.
func (e *effect) after(f *failure) *failure {
	g := *f
	g.index, g.keyJSON = e.index, e.keyJSON
	if e.text == "" {
		return &g
	}
	g.err = errors.Newf("%s, but: %s", e.text, strings.TrimPrefix(f.Error(), e.text+", but: "))
	if errors.Is(f.err, errLost) {
		g.code, g.reason, g.next = exitLost, exitReason(exitLost), e.next
		if g.next == "" {
			g.next = "do not repeat the command: it was carried out"
		}
	}
	return &g
}

// brokenPipe says that whoever read standard output has gone, as in `cairn log | head`.
func brokenPipe(err error) bool { return errors.Is(err, errLost) && errors.Is(err, syscall.EPIPE) }
