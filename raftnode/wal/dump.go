package wal

import (
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Dump prints every segment and frame of the log in dir, one line each, up to the
// first damage, which it prints and returns. It modifies nothing; a nil fs means
// vfs.Default.
func Dump(w io.Writer, fs vfs.FS, dir string) error {
	var failed error
	printf := func(format string, args ...any) {
		if _, err := fmt.Fprintf(w, format, args...); err != nil && failed == nil {
			failed = wrapIO(err, "print")
		}
	}
	s := newInspector(fs, dir)
	defer s.close()
	s.onSegment = func(seg *segment) {
		printf("%s: cluster %x node %x salt %016x", s.fs.PathBase(seg.path), seg.cluster, seg.node, seg.salt)
		if seg.prevEnd != 0 {
			printf(", the one before ends at %d", seg.prevEnd)
		}
		printf("\n")
	}
	s.onFrame = func(off int64, h frameHeader, o *op) {
		flags := ""
		if h.flags&flagCarried != 0 {
			flags += " carried"
		}
		if h.flags&flagLast != 0 {
			flags += " last"
		}
		printf("%8d synced %-6d %s%s\n", off, h.synced, o, flags)
	}
	err := s.scan()
	switch {
	case err != nil:
		printf("%v\n", err)
	case s.torn != nil:
		printf("%s\n", *s.torn)
	case len(s.segments) > 0:
		printf("%8d end\n", s.segments[len(s.segments)-1].end)
	}
	if failed != nil {
		return failed
	}
	return err
}

func (o *op) String() string {
	s := o.typ.String()
	if o.typ != frameMarker {
		s += fmt.Sprintf(" group %d:", o.group)
	}
	switch o.typ {
	case frameEntry:
		s += fmt.Sprintf(" index %d term %d after term %d, %s, %d bytes", o.index, o.term, o.prevTerm, o.entryType, len(o.data))
	case frameHardState:
		s += fmt.Sprintf(" term %d vote %d commit %d", o.hs.term, o.hs.vote, o.hs.commit)
	case frameMark:
		s += fmt.Sprintf(" index %d term %d", o.mark.Index, o.mark.Term)
		if cs := o.mark.ConfState; cs != nil {
			s += fmt.Sprintf(" voters %v learners %v outgoing %v next %v auto %v",
				cs.Voters, cs.Learners, cs.VotersOutgoing, cs.LearnersNext, cs.GetAutoLeave())
		}
		s += fmt.Sprintf(", %d bytes of summary", len(o.mark.Meta))
	case frameNote:
		s += fmt.Sprintf(" slot %d, %d bytes", o.slot, len(o.data))
	case frameBase:
		s += fmt.Sprintf(" last index %d term %d", o.index, o.term)
	}
	return s
}
