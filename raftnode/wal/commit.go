package wal

import "fmt"

// commit collects the operations of one Append, or of one recovered, and checks
// that they continue the log. Writing and reading go through the same checks.
type commit struct {
	// lookup returns a group's state, nil when it has none yet.
	lookup  func(group uint64) *groupState
	writing bool // fill in what reading checks
	ops     []op
	tails   map[uint64]*tail
}

func newCommit(lookup func(uint64) *groupState, writing bool) *commit {
	return &commit{lookup: lookup, writing: writing, tails: make(map[uint64]*tail)}
}

func (c *commit) reset() {
	clear(c.ops)
	c.ops = c.ops[:0]
	clear(c.tails)
}

// add checks o behind what was added before; the reason says why it is refused.
func (c *commit) add(o op) (reason string) {
	if o.typ != frameMarker {
		t := c.tails[o.group]
		if t == nil {
			t = newTail(c.lookup(o.group))
			c.tails[o.group] = t
		}
		if reason = t.advance(&o, c.writing); reason != "" {
			return fmt.Sprintf("group %d: %s", o.group, reason)
		}
	}
	c.ops = append(c.ops, o)
	return ""
}

// tail is the end of a group's log as it will be once the operations added so
// far are applied.
type tail struct {
	g *groupState // may be nil; below cut it is still true
	// cut is the first index whose term is in terms and no longer in g.
	// Invariant: base < cut, last == cut+len(terms)-1.
	cut            uint64
	terms          []uint64
	base, baseTerm uint64
	last           uint64
	markIndex      uint64
	hs             hardState
}

func newTail(g *groupState) *tail {
	t := &tail{g: g, cut: 1}
	if g != nil {
		t.cut, t.base, t.baseTerm, t.last = g.last+1, g.base, g.baseTerm, g.last
		t.markIndex, t.hs = g.mark.Index, g.hs
	}
	return t
}

func (t *tail) term(i uint64) (term uint64, ok bool) {
	switch {
	case i < t.base || i > t.last:
		return 0, false
	case i == t.base:
		return t.baseTerm, true
	case i >= t.cut:
		return t.terms[i-t.cut], true
	}
	return t.g.term(i)
}

func (t *tail) reset(index, term uint64) {
	t.base, t.baseTerm, t.last = index, term, index
	t.cut, t.terms = index+1, t.terms[:0]
}

// maxIndex keeps index arithmetic from overflowing.
const maxIndex = 1 << 62

// advance checks one operation and moves the tail over it.
func (t *tail) advance(o *op, writing bool) (reason string) {
	if o.index > maxIndex || o.mark != nil && o.mark.Index > maxIndex {
		return fmt.Sprintf("%s has an index above %d", o.typ, uint64(maxIndex))
	}
	switch o.typ {
	case frameEntry:
		return t.advanceEntry(o, writing)
	case frameHardState:
		switch {
		case o.hs.term < t.hs.term:
			return fmt.Sprintf("hard state goes back from term %d to %d", t.hs.term, o.hs.term)
		case o.hs.commit > t.last:
			return fmt.Sprintf("hard state commits index %d, the last is %d", o.hs.commit, t.last)
		}
		t.hs = o.hs
	case frameMark:
		if o.mark.Index < t.markIndex {
			return fmt.Sprintf("mark goes back from index %d to %d", t.markIndex, o.mark.Index)
		}
		if term, ok := t.term(o.mark.Index); ok && term != o.mark.Term {
			return fmt.Sprintf("mark at index %d has term %d, the entry there %d", o.mark.Index, o.mark.Term, term)
		}
		if o.mark.Index > t.last {
			t.reset(o.mark.Index, o.mark.Term)
		}
		t.markIndex = o.mark.Index
	case frameBase:
		// In the carry the group has no state yet, and any base is right.
		if had := max(t.markIndex, t.hs.commit); had > 0 && o.index <= had {
			return fmt.Sprintf("base at %d lies at or below the mark at %d or the commit index %d", o.index, t.markIndex, t.hs.commit)
		}
		t.reset(o.index, o.term)
	}
	return ""
}

func (t *tail) advanceEntry(o *op, writing bool) (reason string) {
	switch {
	case o.index > t.last+1 || o.index == 0:
		return fmt.Sprintf("entry %d does not follow index %d", o.index, t.last)
	case o.index <= t.markIndex:
		return fmt.Sprintf("entry %d lies at or below the mark at %d", o.index, t.markIndex)
	case o.index <= t.hs.commit:
		return fmt.Sprintf("entry %d lies at or below the commit index %d", o.index, t.hs.commit)
	}
	prev, known := t.term(o.index - 1)
	switch {
	case !known && writing:
		return fmt.Sprintf("entry %d lies below the first index %d", o.index, t.base+1)
	case writing:
		o.prevTerm = prev
	case known && prev != o.prevTerm:
		return fmt.Sprintf("entry %d follows term %d, the entry before has %d", o.index, o.prevTerm, prev)
	}
	if o.term < o.prevTerm {
		return fmt.Sprintf("entry %d goes back from term %d to %d", o.index, o.prevTerm, o.term)
	}
	switch {
	case o.index <= t.base: // only when recovering the oldest segment left
		t.reset(o.index-1, o.prevTerm)
	case o.index < t.cut:
		t.cut, t.terms = o.index, t.terms[:0]
	default:
		t.terms = t.terms[:o.index-t.cut]
	}
	t.terms = append(t.terms, o.term)
	t.last = o.index
	return ""
}
