package wal

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// Group is one group's part of the log. It implements raft.Storage, and is safe
// for concurrent use with itself and with Append. After Close, methods that can
// return an error return ErrClosed.
type Group struct {
	l  *Log
	id uint64
}

var _ raft.Storage = (*Group)(nil)

// Group returns the view of a group, which need not exist yet.
func (l *Log) Group(id uint64) *Group { return &Group{l: l, id: id} }

// read runs f with the group's state, under the read lock.
func (g *Group) read(f func(*groupState)) {
	g.l.mu.RLock()
	defer g.l.mu.RUnlock()
	if s := g.l.groups[g.id]; s != nil {
		f(s)
		return
	}
	f(&groupState{id: g.id})
}

// InitialState returns the newest hard state and the membership at the mark. The
// commit index is at least the mark's index, since what the state machine holds
// is committed, even if the hard state that said so was not synced.
func (g *Group) InitialState() (hs *raftpb.HardState, cs *raftpb.ConfState, err error) {
	if g.l.closed.Load() {
		return nil, nil, ErrClosed
	}
	g.read(func(s *groupState) { hs, cs = s.hardState(), s.mark.clone().ConfState })
	return hs, raftpb.EnsureConfState(cs), nil
}

// FirstIndex returns the index behind the last removed entry.
func (g *Group) FirstIndex() (first uint64, err error) {
	if g.l.closed.Load() {
		return 0, ErrClosed
	}
	g.read(func(s *groupState) { first = s.base + 1 })
	return first, nil
}

// LastIndex returns the index of the last entry.
func (g *Group) LastIndex() (last uint64, err error) {
	if g.l.closed.Load() {
		return 0, ErrClosed
	}
	g.read(func(s *groupState) { last = s.last })
	return last, nil
}

// Term returns the term of entry i, from memory, for i in
// [FirstIndex()-1, LastIndex()].
func (g *Group) Term(i uint64) (term uint64, err error) {
	if g.l.closed.Load() {
		return 0, ErrClosed
	}
	g.read(func(s *groupState) {
		var ok bool
		if term, ok = s.term(i); ok {
			return
		}
		err = raft.ErrUnavailable
		if i < s.base {
			err = raft.ErrCompacted
		}
	})
	return term, err
}

// Snapshot returns the mark: a snapshot is a position of the state machine and what
// the machine says of itself there. How another machine gets there is not the log's
// affair. All entries behind the mark are in the log.
func (g *Group) Snapshot() (s *raftpb.Snapshot, err error) {
	if g.l.closed.Load() {
		return nil, ErrClosed
	}
	g.read(func(state *groupState) {
		m := state.mark.clone()
		if m.Index == 0 || m.ConfState == nil {
			err = raft.ErrSnapshotTemporarilyUnavailable
			return
		}
		s = &raftpb.Snapshot{Data: m.Meta, Metadata: &raftpb.SnapshotMetadata{Index: &m.Index, Term: &m.Term, ConfState: m.ConfState}}
	})
	return s, err
}

// Mark returns the newest mark, zero when there is none. The caller owns it.
func (g *Group) Mark() (m Mark) {
	g.read(func(s *groupState) { m = s.mark.clone() })
	return m
}

// Note returns what the slot holds, nil when it is empty. The caller owns it.
func (g *Group) Note(slot uint8) (data []byte) {
	g.read(func(s *groupState) { data = bytes.Clone(s.notes[slot]) })
	return data
}

// Entries returns entries [lo, hi), as many as fit into maxSize bytes in protobuf
// encoding and at least one. Recent ones come from the cache; others are read and
// their checksums verified, which can return a *CorruptionError. The entries must
// not be changed.
func (g *Group) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	var (
		err    error
		onDisk []span
		cached []*raftpb.Entry
		split  uint64 // entries below are read from disk
	)
	g.read(func(s *groupState) {
		switch {
		case g.l.closed.Load(): // under the lock: Close releases the files with it
			err = ErrClosed
			return
		case lo <= s.base:
			err = raft.ErrCompacted
			return
		case hi > s.last+1 || lo >= hi:
			err = raft.ErrUnavailable
			return
		}
		split = max(lo, s.recent.start(hi))
		onDisk = s.spansFrom(lo, split)
		// No more than maxSize of them can be asked for; copied, because the
		// cache's array changes once the lock is released.
		size := uint64(0)
		for i := split; i < hi; i++ {
			e := s.recent.entries[i-s.recent.first]
			if size += entrySize(e); size > maxSize && i > lo {
				break
			}
			cached = append(cached, e)
		}
	})
	if err != nil {
		return nil, err
	}
	if len(onDisk) == 0 {
		g.l.stats.hits.Add(1)
		return cached, nil
	}
	g.l.stats.misses.Add(1)
	out, err := g.readSpans(onDisk, lo, split, maxSize)
	if err != nil || uint64(len(out)) < split-lo {
		return out, err
	}
	size := uint64(0)
	for _, e := range out {
		size += entrySize(e)
	}
	for _, e := range cached {
		if size += entrySize(e); size > maxSize {
			break
		}
		out = append(out, e)
	}
	return out, nil
}

// readSpans reads entries [lo, hi) from the segments and releases them.
func (g *Group) readSpans(spans []span, lo, hi, maxSize uint64) (out []*raftpb.Entry, err error) {
	defer func() {
		for _, s := range spans {
			if rerr := s.seg.release(); err == nil && rerr != nil {
				err = wrapIO(rerr, "close %s", s.seg.path)
			}
		}
	}()
	size := uint64(0)
	for _, s := range spans {
		win := window{f: s.seg.file, size: maxSegmentSize, chunk: 0}
		for i := max(lo, s.first); i < min(hi, s.end()); i++ {
			n := int(i - s.first)
			win.chunk = readAhead(s, n, int(min(hi, s.end())-s.first)-1, maxSize)
			e, err := readEntry(&win, s.seg, g.id, i, int64(s.offs[n])*frameAlign)
			if err != nil {
				return nil, err
			}
			if size += entrySize(e); size > maxSize && i > lo {
				return out, nil
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// readAhead returns how many bytes to read at once from entry n of a span on, when
// entry last is the last one wanted: never beyond that one's header, at least to
// the next entry unless another group's frames lie between, and on for a few small
// ones.
func readAhead(s span, n, last int, maxSize uint64) int {
	distance := func(to int) int64 { return int64(s.offs[to]-s.offs[n]) * frameAlign }
	ahead := min(distance(min(n+256, last)), int64(min(maxSize, 256<<10)))
	if next := distance(min(n+1, last)); next <= 4<<20 {
		ahead = max(ahead, next)
	}
	return int(ahead) + frameHeaderSize
}

// readEntry reads one entry's frame and checks that it is the one wanted.
func readEntry(win *window, seg *segment, group, index uint64, off int64) (*raftpb.Entry, error) {
	corrupt := func(reason string) error {
		return &CorruptionError{File: seg.path, Offset: off, Reason: reason}
	}
	failed := func(err error) error {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return corrupt("segment ends within a frame")
		}
		return wrapIO(err, "read %s at offset %d", seg.path, off)
	}
	b, err := win.at(off, frameHeaderSize)
	if err != nil {
		return nil, failed(err)
	}
	h, reason := parseFrameHeader(b, seg.salt, off)
	if reason != "" {
		return nil, corrupt(reason)
	}
	if reason := h.illegal(); reason != "" {
		return nil, corrupt(reason)
	}
	if b, err = win.at(off, frameSize(int(h.length))); err != nil {
		return nil, failed(err)
	}
	payload := b[frameHeaderSize:]
	if crc32.Checksum(payload, castagnoli) != h.payloadCRC {
		return nil, corrupt("frame payload has a wrong checksum")
	}
	o, reason := parsePayload(h.typ, h.group, payload[:h.length])
	switch {
	case reason != "":
		return nil, corrupt(reason)
	case o.typ != frameEntry || o.group != group || o.index != index:
		return nil, corrupt(fmt.Sprintf("%s of group %d, index %d, instead of entry %d of group %d", o.typ, o.group, o.index, index, group))
	}
	e := &raftpb.Entry{Term: new(o.term), Index: new(o.index)}
	if o.entryType != raftpb.EntryNormal {
		e.Type = o.entryType.Enum()
	}
	if len(o.data) > 0 {
		e.Data = bytes.Clone(o.data)
	}
	return e, nil
}
