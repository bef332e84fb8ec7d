package wal

import (
	"sort"

	"go.etcd.io/raft/v3/raftpb"
)

// groupState is everything the log knows about one group, except its entries'
// bytes: about four bytes of memory per entry. It is guarded by Log.mu; only the
// appender changes it.
type groupState struct {
	id uint64

	// base is the index before the first entry that is still there, with its
	// term: the dummy entry of raft.Storage.
	// Invariant after recovery: base <= mark.Index <= last.
	base, baseTerm uint64
	// last is the index of the last entry, base when there is none.
	last uint64
	// terms are the terms of base+1..last: each run lasts until the next begins.
	// Invariant: both fields ascend strictly from run to run.
	terms []termRun
	// spans are the positions of base+1..last, one per segment, in log order.
	// Invariant: contiguous, none is empty. The arrays behind them are only ever
	// appended to (truncation caps them), so a copy of the slice headers taken
	// under the lock stays valid without it.
	spans []span

	hs     hardState
	hasHS  bool
	mark   Mark
	marked bool
	notes  map[uint8][]byte

	recent cache
}

type termRun struct{ first, term uint64 }

// span are the positions of contiguous entries in one segment: entry first+i
// starts at offs[i]*frameAlign.
type span struct {
	seg   *segment
	first uint64
	offs  []uint32
}

func (s span) end() uint64 { return s.first + uint64(len(s.offs)) }

func (g *groupState) empty() bool {
	return g.last == 0 && !g.hasHS && !g.marked && len(g.notes) == 0
}

// term returns the term of entry i, if base <= i <= last.
func (g *groupState) term(i uint64) (uint64, bool) {
	switch {
	case i < g.base || i > g.last:
		return 0, false
	case i == g.base:
		return g.baseTerm, true
	}
	n := sort.Search(len(g.terms), func(n int) bool { return g.terms[n].first > i })
	return g.terms[n-1].term, true
}

// apply changes the state by an operation that a tail has checked.
func (g *groupState) apply(o *op, seg *segment) {
	switch o.typ {
	case frameEntry:
		g.truncate(o.index, o.prevTerm)
		g.push(o.index, o.term, seg, o.offset)
	case frameHardState:
		g.hs, g.hasHS = o.hs, true
	case frameMark:
		if o.mark.Index > g.last {
			g.reset(o.mark.Index, o.mark.Term)
		}
		g.mark, g.marked = o.mark.clone(), true
	case frameNote:
		if len(o.data) == 0 {
			delete(g.notes, o.slot)
			return
		}
		if g.notes == nil {
			g.notes = make(map[uint8][]byte)
		}
		g.notes[o.slot] = append([]byte(nil), o.data...)
	case frameBase:
		g.reset(o.index, o.term)
	}
}

// reset discards all entries; the log continues behind index.
func (g *groupState) reset(index, term uint64) {
	g.base, g.baseTerm, g.last = index, term, index
	g.terms, g.spans = nil, nil
	g.recent.clear()
}

// truncate discards all entries from index on. prevTerm is the term of the entry
// before index; it becomes the base's when that one is no longer there either.
func (g *groupState) truncate(index, prevTerm uint64) {
	switch {
	case index > g.last:
		return
	case index <= g.base+1:
		g.reset(index-1, prevTerm)
		return
	}
	g.last = index - 1
	n := len(g.spans)
	for g.spans[n-1].first >= index {
		n--
	}
	keep := int(index - g.spans[n-1].first)
	g.spans = append([]span(nil), g.spans[:n]...)
	s := &g.spans[n-1]
	s.offs = s.offs[:min(keep, len(s.offs)):min(keep, len(s.offs))]
	n = len(g.terms)
	for g.terms[n-1].first >= index {
		n--
	}
	g.terms = g.terms[:n]
	g.recent.truncate(index)
}

func (g *groupState) push(index, term uint64, seg *segment, offset int64) {
	if n := len(g.terms); n == 0 || g.terms[n-1].term != term {
		g.terms = append(g.terms, termRun{index, term})
	}
	if n := len(g.spans); n == 0 || g.spans[n-1].seg != seg {
		g.spans = append(g.spans, span{seg: seg, first: index})
	}
	s := &g.spans[len(g.spans)-1]
	s.offs = append(s.offs, uint32(offset/frameAlign))
	g.last = index
	seg.noteIndex(g.id, index)
}

// dropSegment forgets the entries in seg, the oldest segment.
func (g *groupState) dropSegment(seg *segment) {
	if len(g.spans) == 0 || g.spans[0].seg != seg {
		return
	}
	base := g.spans[0].end() - 1
	g.baseTerm, _ = g.term(base)
	g.base = base
	g.spans = append([]span(nil), g.spans[1:]...)
	for len(g.terms) > 1 && g.terms[1].first <= base+1 {
		g.terms = g.terms[1:]
	}
	if g.last == base {
		g.terms = nil
	}
}

// spansFrom returns the spans that hold entries of [lo, hi), and takes a
// reference on their segments.
func (g *groupState) spansFrom(lo, hi uint64) (out []span) {
	if lo >= hi {
		return nil
	}
	for _, s := range g.spans {
		if s.end() <= lo || s.first >= hi {
			continue
		}
		s.seg.acquire()
		out = append(out, s)
	}
	return out
}

// hardState returns what raft.Storage's InitialState promises. What the ledger
// holds is committed, even if the hard state that said so was never synced.
func (g *groupState) hardState() *raftpb.HardState {
	hs := g.hs
	hs.commit = max(hs.commit, g.mark.Index, g.base)
	if t := max(g.mark.Term, g.baseTerm); hs.term < t {
		hs.term, hs.vote = t, 0
	}
	if hs == (hardState{}) {
		return nil
	}
	return &raftpb.HardState{Term: new(hs.term), Vote: new(hs.vote), Commit: new(hs.commit)}
}

// carried returns the operations that, at the head of a new segment, make the
// older ones unnecessary.
func (g *groupState) carried() []op {
	if g.empty() {
		return nil
	}
	lastTerm, _ := g.term(g.last)
	ops := []op{{typ: frameBase, group: g.id, index: g.last, term: lastTerm}}
	if g.hasHS {
		ops = append(ops, op{typ: frameHardState, group: g.id, hs: g.hs})
	}
	if g.marked {
		mark := g.mark
		ops = append(ops, op{typ: frameMark, group: g.id, mark: &mark})
	}
	for slot := range 256 {
		if data := g.notes[uint8(slot)]; data != nil {
			ops = append(ops, op{typ: frameNote, group: g.id, slot: uint8(slot), data: data})
		}
	}
	return ops
}
