package check

import (
	"fmt"
	"slices"
)

// RaftEntry is one entry of a member's log.
type RaftEntry struct {
	Index, Term uint64
	// Hash of the entry's data.
	Hash uint64
}

// Raft checks the invariants of Raft on the events of all members, told in the
// order in which they happened. Members have the ids 1 to n. Not safe for
// concurrent use.
//
//	election safety       a term has one leader at most
//	one vote              a member votes for one candidate in a term, across restarts too
//	memory                a restarted member knows the term and vote it had promised,
//	                      and every entry that it had reported durable
//	log matching          index and term name one entry, with one entry before it
//	leader completeness   a new leader's log holds what was committed in earlier terms
//	durability            what is committed is durable on a majority of those that the member
//	                      which commits it counts, at that moment,
//	                      and nobody acknowledges what is not durable at home
//	state machine safety  an index is committed once, with one entry, and applied in order
//	members               every member has the same voters after the same change, and one change
//	                      adds or removes one voter at most
type Raft struct {
	members   []member
	configs   map[uint64][]uint64 // voters, by the index of the change
	leaders   map[uint64]uint64
	votes     map[voteKey]uint64
	known     map[position]matched
	committed []committed // at index-1; term 0 where it is not known
	found     []Violation
	counts    RaftCounts
}

// RaftCounts says how much a checker has seen: zeros mean that it was not told.
type RaftCounts struct{ Leaders, Votes, Entries, Committed, Applied, Restarts, Restored int }

type voteKey struct{ node, term uint64 }

// committed is an entry and a term in which it was known to be committed: it was in
// that one or before.
type committed struct {
	RaftEntry
	in uint64
}

type position struct{ index, term uint64 }

type matched struct {
	hash, prevTerm uint64
	prevKnown      bool
}

// member is one node's log as it was given to its disk.
type member struct {
	base, baseTerm uint64 // the log begins behind base
	log            []RaftEntry
	durable        uint64 // everything up to here would survive a crash
	promised       uint64 // newest term in which it answered anybody
	cut            uint64 // term in which entries were last given to the disk
	commit         uint64
	applied        uint64
	restored       uint64 // position of its newest snapshot
	voters         []uint64
}

// NewRaft returns a checker for a group of n members. Entries of first, which ascend from index 1,
// count as committed from the start: the logs of all members are made with them. A member's log is
// empty until Restarted tells of it.
func NewRaft(n int, first ...RaftEntry) *Raft {
	r := &Raft{
		members: make([]member, n+1), leaders: map[uint64]uint64{}, votes: map[voteKey]uint64{}, known: map[position]matched{},
	}
	r.configs = map[uint64][]uint64{}
	var all []uint64
	for id := 1; id <= n; id++ {
		all = append(all, uint64(id))
	}
	for id := range r.members {
		r.members[id].voters = all
	}
	for _, e := range first {
		r.committed = append(r.committed, committed{e, e.Term})
	}
	return r
}

// Violations returns what was found so far, at most 100.
func (r *Raft) Violations() []Violation { return r.found }

// Counts returns how much was checked.
func (r *Raft) Counts() RaftCounts { return r.counts }

func (r *Raft) fail(index uint64, format string, args ...any) {
	if len(r.found) < maxViolations {
		r.found = append(r.found, Violation{Kind: "raft", Index: index, A: noOp, B: noOp, Text: fmt.Sprintf(format, args...)})
	}
}

func (m *member) last() uint64 { return m.base + uint64(len(m.log)) }

func (m *member) term(i uint64) (uint64, bool) {
	switch {
	case i == m.base:
		return m.baseTerm, true
	case i < m.base || i > m.last():
		return 0, false
	}
	return m.log[i-m.base-1].Term, true
}

// Restarted tells the state that a member found on its disk: term and vote, the
// log behind base, what of it is committed and what is applied already.
func (r *Raft) Restarted(node, term, vote, base, baseTerm uint64, log []RaftEntry, commit, applied uint64) {
	m := &r.members[node]
	r.counts.Restarts++
	if term < m.promised {
		r.fail(0, "node %d restarts in term %d, but it had answered in term %d", node, term, m.promised)
	} else if v := r.votes[voteKey{node, term}]; v != 0 && v != vote {
		r.fail(0, "node %d restarts in term %d with a vote for %d, but it had voted for %d", node, term, vote, v)
	}
	now := member{voters: m.voters, base: base, baseTerm: baseTerm, log: log, promised: max(m.promised, term), commit: commit, applied: applied}
	for i := max(m.base, base) + 1; i <= m.durable; i++ {
		was, _ := m.term(i)
		if is, ok := now.term(i); !ok || is != was {
			r.fail(i, "node %d had entry %d of term %d durable, after a restart it has term %d and ends at %d", node, i, was, is, now.last())
			break
		}
	}
	if now.last() < m.durable {
		r.fail(now.last(), "node %d had entries up to %d durable, after a restart it ends at %d", node, m.durable, now.last())
	}
	now.durable = now.last()
	*m = now
	r.match(m, log)
}

// Voted tells that a member's vote has left it, or is durable.
func (r *Raft) Voted(node, term, candidate uint64) {
	r.counts.Votes++
	r.answered(node, term)
	k := voteKey{node, term}
	if v := r.votes[k]; v != 0 && v != candidate {
		r.fail(0, "node %d voted in term %d for %d and for %d", node, term, v, candidate)
		return
	}
	r.votes[k] = candidate
}

func (r *Raft) answered(node, term uint64) {
	r.members[node].promised = max(r.members[node].promised, term)
}

// Leads tells that a member became leader.
func (r *Raft) Leads(node, term uint64) {
	r.counts.Leaders++
	if l := r.leaders[term]; l != 0 && l != node {
		r.fail(0, "term %d has two leaders, %d and %d", term, l, node)
	}
	r.leaders[term] = node
	// A member that stood still may learn of its election when others are terms
	// ahead, so the newest committed entry need not concern it. By log matching the
	// last one that does stands for all before.
	for n := uint64(len(r.committed)); n > 0; n-- {
		if c := r.committed[n-1]; c.Term != 0 && c.in < term {
			m := &r.members[node]
			if t, ok := m.term(n); (!ok || t != c.Term) && n > m.base {
				r.fail(n, "node %d leads term %d without the committed entry %d", node, term, n)
			}
			return
		}
	}
}

// Appended tells that a member in this term gave entries to its disk; they replace
// what is there from the first of them on.
func (r *Raft) Appended(node, term uint64, entries []RaftEntry) {
	if len(entries) == 0 {
		return
	}
	m, first := &r.members[node], entries[0].Index
	if first <= m.base || first > m.last()+1 {
		r.fail(first, "node %d appends entry %d to a log of entries %d to %d", node, first, m.base+1, m.last())
		return
	}
	if first <= m.commit {
		r.fail(first, "node %d replaces entry %d, though it knows that %d are committed", node, first, m.commit)
	}
	// An answer of an earlier term may still leave the member, for entries that were
	// replaced before they reached its disk. That is harmless: it accepted them
	// before it moved on, so whoever it has voted for since holds them, too.
	m.cut = max(m.cut, term)
	m.log = append(m.log[:first-m.base-1], entries...)
	m.durable = min(m.durable, first-1)
	r.match(m, entries)
}

func (r *Raft) match(m *member, entries []RaftEntry) {
	r.counts.Entries += len(entries)
	for _, e := range entries {
		prev, ok := m.term(e.Index - 1)
		k, at := matched{e.Hash, prev, ok}, position{e.Index, e.Term}
		have, seen := r.known[at]
		switch {
		case !seen:
			r.known[at] = k
		case have.hash != k.hash, have.prevKnown && k.prevKnown && have.prevTerm != k.prevTerm:
			r.fail(e.Index, "two logs differ at index %d, term %d", e.Index, e.Term)
		}
	}
}

// Restored tells that a member gives a snapshot at this position to its disk: its log begins behind it
// now, and what it had is gone once the snapshot is durable.
func (r *Raft) Restored(node, index, term uint64) {
	m := &r.members[node]
	r.counts.Restored++
	if index <= m.commit {
		r.fail(index, "node %d takes a snapshot at %d, though it knows that %d are committed", node, index, m.commit)
	}
	if index > uint64(len(r.committed)) || r.committed[index-1].Term != term {
		r.fail(index, "node %d takes a snapshot at entry %d of term %d that was not committed", node, index, term)
	}
	m.base, m.baseTerm, m.log, m.restored = index, term, nil, index
	m.durable = min(m.durable, index)
}

// Durable tells that a member's entries up to the one with this index and term
// have been synced.
func (r *Raft) Durable(node, index, term uint64) {
	m := &r.members[node]
	if t, ok := m.term(index); ok && t == term {
		m.durable = max(m.durable, index)
	}
}

// Acknowledged tells that a member has told a leader of this term that it holds
// everything up to index. That may still leave it when entries have been replaced
// in a later term: then it was true, and nobody listens to it any more.
func (r *Raft) Acknowledged(node, term, index uint64) {
	r.answered(node, term)
	if m := &r.members[node]; index > m.durable && index > m.base && term >= m.cut {
		r.fail(index, "node %d acknowledges entry %d, but only %d are durable there", node, index, m.durable)
	}
}

// Committed tells that a member, in this term, knows that everything up to index is
// committed.
func (r *Raft) Committed(node, term, index uint64) {
	m := &r.members[node]
	if index < m.commit {
		r.fail(index, "the commit index of node %d goes back from %d to %d", node, m.commit, index)
		return
	}
	for i := m.commit + 1; i <= index; i++ {
		if i <= m.base {
			continue
		}
		if i > m.last() {
			r.fail(i, "node %d commits entry %d, its log ends at %d", node, i, m.last())
			break
		}
		r.commit(node, term, m.log[i-m.base-1])
	}
	m.commit = index
}

func (r *Raft) commit(node, term uint64, e RaftEntry) {
	for uint64(len(r.committed)) < e.Index {
		r.committed = append(r.committed, committed{})
	}
	have := &r.committed[e.Index-1]
	if have.Term != 0 {
		if have.RaftEntry != e {
			r.fail(e.Index, "entry %d was committed in term %d, node %d commits another one of term %d", e.Index, have.Term, node, e.Term)
		}
		have.in = min(have.in, term)
		return
	}
	*have = committed{e, term}
	r.counts.Committed++
	holders, voters := 0, r.members[node].voters
	for _, id := range voters {
		m := &r.members[id]
		if t, ok := m.term(e.Index); ok && t == e.Term && m.durable >= e.Index {
			holders++
		}
	}
	if holders < len(voters)/2+1 {
		r.fail(e.Index, "node %d commits entry %d of term %d, which is durable on %d of %d voters", node, e.Index, e.Term, holders, len(voters))
	}
}

// Applied tells that a member has applied an entry. Behind a snapshot it goes on there.
func (r *Raft) Applied(node uint64, e RaftEntry) {
	m := &r.members[node]
	r.counts.Applied++
	if e.Index != max(m.applied, m.restored)+1 && e.Index != m.applied+1 {
		r.fail(e.Index, "node %d applies entry %d after %d", node, e.Index, m.applied)
	}
	m.applied = e.Index
	if e.Index > uint64(len(r.committed)) || r.committed[e.Index-1].RaftEntry != e {
		r.fail(e.Index, "node %d applies an entry %d of term %d that was not committed", node, e.Index, e.Term)
	}
}

// Changed tells who votes after the change of members at an index, 0 for those from the start, and
// reports whether nobody has told of it before.
func (r *Raft) Changed(index uint64, voters []uint64) (first bool) {
	if have, ok := r.configs[index]; ok {
		if !slices.Equal(have, voters) {
			r.fail(index, "the change at %d leads to the voters %v on one member and to %v on another one", index, have, voters)
		}
		return false
	}
	r.configs[index] = voters
	before, after := uint64(0), uint64(0)
	for at := range r.configs {
		if at < index && (before == 0 || at > before) {
			before = at
		}
		if at > index && (after == 0 || at < after) {
			after = at
		}
	}
	for _, pair := range [][2]uint64{{before, index}, {index, after}} {
		a, b := r.configs[pair[0]], r.configs[pair[1]]
		if pair[0] < pair[1] && a != nil && b != nil && differences(a, b)+differences(b, a) > 1 {
			r.fail(pair[1], "the change at %d makes the voters %v of %v", pair[1], b, a)
		}
	}
	return true
}

func differences(a, b []uint64) (n int) {
	for _, id := range a {
		if !slices.Contains(b, id) {
			n++
		}
	}
	return n
}

// CountsVoters tells whom a member counts as voters from now on. They must be those after a change
// that was told, and not older than those at the index of the member's mark.
func (r *Raft) CountsVoters(node, mark uint64, voters []uint64) {
	found, since := false, uint64(0)
	for at := range r.configs {
		if at <= mark {
			since = max(since, at)
		}
	}
	for at, v := range r.configs {
		found = found || at >= since && slices.Equal(v, voters)
	}
	if !found {
		r.fail(since, "node %d counts the voters %v, which nobody has had since index %d", node, voters, since)
	}
	r.members[node].voters = voters
}

// Holds is up to where a member's log is durable.
func (r *Raft) Holds(node uint64) uint64 { return r.members[node].durable }
