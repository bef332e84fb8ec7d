package wal

import "github.com/cockroachdb/pebble/v2/vfs"

// Report is what Verify found in an intact log.
type Report struct {
	Cluster, Node             uint64
	Segments, Frames, Entries int
	Bytes                     int64 // of all segments, up to the end of the log
	// Torn is the unsynced tail that the next Open will cut; nil when clean.
	Torn   *Torn
	Groups []GroupReport // by id
}

// GroupReport is one group's state at the end of the log.
type GroupReport struct {
	Group                 uint64
	First, Last, LastTerm uint64 // the first and last entry's index; First > Last when there is none
	Term, Vote, Commit    uint64 // hard state
	Mark                  Mark
	Notes                 int
}

// Verify reads the whole log in dir, checks every frame and that the frames
// continue each other, and modifies nothing. A nil fs means vfs.Default. It must
// not run beside an open Log, whose tail it would catch half written.
func Verify(fs vfs.FS, dir string) (Report, error) {
	var r Report
	s := newInspector(fs, dir)
	s.onFrame = func(_ int64, _ frameHeader, o *op) {
		r.Frames++
		if o.typ == frameEntry {
			r.Entries++
		}
	}
	defer s.close()
	if err := s.scan(); err != nil {
		return r, err
	}
	r.Torn = s.torn
	r.Segments = len(s.segments)
	for _, seg := range s.segments {
		r.Cluster, r.Node = seg.cluster, seg.node
		r.Bytes += seg.end
	}
	for _, g := range sortedGroups(s.groups) {
		term, _ := g.term(g.last)
		r.Groups = append(r.Groups, GroupReport{
			Group: g.id, First: g.base + 1, Last: g.last, LastTerm: term,
			Term: g.hs.term, Vote: g.hs.vote, Commit: g.hs.commit,
			Mark: g.mark.clone(), Notes: len(g.notes),
		})
	}
	return r, nil
}

func newInspector(fs vfs.FS, dir string) *scanner {
	if fs == nil {
		fs = vfs.Default
	}
	return &scanner{fs: fs, dir: dir}
}
