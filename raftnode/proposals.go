package raftnode

import (
	"iter"

	"go.etcd.io/raft/v3/raftpb"
)

// proposal is one of our own on its way. It is unbound (index 0) until a Ready
// shows the log position that Raft gave it.
type proposal struct {
	tag      uint64
	term     uint64 // term in which we led and proposed
	index    uint64
	deadline uint64 // tick at which it is given up; 0 while we lead its term
	data     []byte
}

// proposals follows our own proposals from Propose to commit, by position.
//
// RawNode does not say which index a proposal gets. But on a leader the entries
// of its own term that carry data are exactly its own accepted proposals, in
// order; so the nth such entry that Ready shows is the nth proposal. What was
// proposed and not yet shown when a newer leader's message arrives is shown
// first (Core.Step pulls a Ready), because afterwards it may have been cut off
// the log while messages that carry it are already on their way.
//
// Resolution relies on one property of Raft logs: terms never fall. When the
// entry (i, t) is committed, a proposal of ours at (i, t) is that entry, unless a
// later leader lies about term t: the caller compares the data. No proposal of a
// term below t can be committed any more, because committed entries below i were
// seen before and those above i have a term of at least t.
type proposals struct {
	// list is in the order of proposing, so by (term, index).
	// Invariant: the unbound ones are a suffix, all of one term.
	list  []proposal
	bound int // number of bound ones at the head of list
}

func (p *proposals) add(tag, term uint64, data []byte) {
	p.list = append(p.list, proposal{tag: tag, term: term, data: data})
}

// unboundTerm is the term of the proposals whose position is not known yet.
func (p *proposals) unboundTerm() (uint64, bool) {
	if p.bound == len(p.list) {
		return 0, false
	}
	return p.list[p.bound].term, true
}

// bind gives unbound proposals the positions of the entries just added to the log.
func (p *proposals) bind(ents []*raftpb.Entry) {
	for _, e := range ents {
		term, ok := p.unboundTerm()
		if !ok {
			return
		}
		if e.GetTerm() == term && len(e.GetData()) > 0 {
			p.list[p.bound].index = e.GetIndex()
			p.bound++
		}
	}
}

// resolve is called for every committed entry in order. It returns the proposal of
// the entry's position, one with tag 0 when there is none, and the proposals that the
// entry rules out.
func (p *proposals) resolve(index, term uint64) (own proposal, overtaken []proposal) {
	n := 0
	for n < p.bound && p.list[n].term < term {
		n++
	}
	overtaken = p.list[:n:n]
	if n < p.bound && p.list[n].term == term && p.list[n].index == index {
		own = p.list[n]
		n++
	}
	p.drop(n)
	return own, overtaken
}

// below returns the tags of the proposals that have a position up to an index.
func (p *proposals) below(index uint64) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range p.list[:p.bound] {
			if p.list[i].index > index || !yield(p.list[i].tag) {
				return
			}
		}
	}
}

// leadershipChanged starts the countdown of the proposals of all terms but the
// one that this member leads now (0 when none).
func (p *proposals) leadershipChanged(leading, deadline uint64) {
	for i := range p.list {
		if p.list[i].term != leading && p.list[i].deadline == 0 {
			p.list[i].deadline = deadline
		}
	}
}

// expire removes the proposals whose countdown is over.
func (p *proposals) expire(now uint64) []proposal {
	n := 0
	for n < len(p.list) && p.list[n].deadline != 0 && p.list[n].deadline <= now {
		n++
	}
	gone := p.list[:n:n]
	p.drop(n)
	return gone
}

func (p *proposals) drop(n int) {
	p.list = p.list[n:]
	p.bound = max(0, p.bound-n)
	if len(p.list) == 0 {
		p.list = nil
	}
}
