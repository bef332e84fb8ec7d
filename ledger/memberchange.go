package ledger

import (
	"cmp"
	"slices"

	"github.com/cockroachdb/errors"
)

// A change of members is a policy change that adds, promotes, removes or replaces one. Raft counts the
// members that the newest policy names, from the entry on that carries the change. Three rules make
// that safe:
//
//   - It changes at most one voter, so a majority before and a majority after share a voter.
//   - It is the only batch of its block, so the entry of the Raft log that carries it is one at which
//     members change, and no other entry is (MemberChangeIn).
//   - It is refused or takes effect as every other batch, by the entries before it.

// ChangesMembers reports whether a change for this reason is a change of members.
func (r PolicyReason) ChangesMembers() bool { return r >= PolicyAdd && r <= PolicyReplace }

// votersChanged counts the voters that one policy has and the other has not.
func votersChanged(a, b *Policy) (n int) {
	has := func(p *Policy, id uint64) bool {
		return slices.ContainsFunc(p.Members, func(m PolicyMember) bool { return m.ID == id && !m.Learner })
	}
	for _, pair := range [][2]*Policy{{a, b}, {b, a}} {
		for _, m := range pair[0].Members {
			if !m.Learner && !has(pair[1], m.ID) {
				n++
			}
		}
	}
	return n
}

// Member returns the member with an id, nil when there is none.
func (p *Policy) Member(id uint64) *PolicyMember {
	if i, ok := slices.BinarySearchFunc(p.Members, id, func(m PolicyMember, id uint64) int { return cmp.Compare(m.ID, id) }); ok {
		return &p.Members[i]
	}
	return nil
}

// ChangeMembers returns the change of members that follows the policy for this reason: comes joins as a
// learner (PolicyAdd, PolicyReplace), id is promoted (PolicyPromote) or leaves (PolicyRemove,
// PolicyReplace). The quorum keeps its distance to the majority of the voters.
func (p *Policy) ChangeMembers(reason PolicyReason, comes Member, id uint64) (*PolicyChange, error) {
	next := *p
	next.Epoch++
	next.Members = slices.Clone(p.Members)
	at := slices.IndexFunc(next.Members, func(m PolicyMember) bool { return m.ID == id })
	adds := reason == PolicyAdd || reason == PolicyReplace
	switch {
	case !reason.ChangesMembers():
		return nil, errors.Newf("%q changes no member", reason)
	case reason != PolicyAdd && at < 0:
		return nil, errors.Newf("node %d is no member", id)
	case reason == PolicyPromote && !p.Members[at].Learner:
		return nil, errors.Newf("node %d is a voter already", id)
	case adds && p.Member(comes.ID) != nil:
		return nil, errors.Newf("node %d is a member already", comes.ID)
	}
	if reason == PolicyPromote {
		next.Members[at].Learner = false
	}
	if reason == PolicyRemove || reason == PolicyReplace {
		next.Members = slices.Delete(next.Members, at, at+1)
	}
	if adds {
		next.Members = append(next.Members, PolicyMember{Member: comes, Learner: true})
		slices.SortFunc(next.Members, func(a, b PolicyMember) int { return cmp.Compare(a.ID, b.ID) })
	}
	before, after := len(p.Voters()), len(next.Voters())
	if before != after {
		next.Quorum = uint32(min(after, after/2+1+int(p.Quorum)-(before/2+1)))
	}
	c := &PolicyChange{Policy: next, Reason: reason}
	return c, c.check()
}

// MemberChangeIn returns the change of members that an encoded block consists of, nil when it is
// another block. It is a function of the bytes alone.
func MemberChangeIn(raw []byte) *PolicyChange {
	if len(raw) < blockPrefixSize || raw[5]&blockHasRecords == 0 {
		return nil
	}
	b, err := ParseBlock(raw)
	if err != nil || len(b.Batches) != 1 || len(b.Batches[0].Entries) != 1 {
		return nil
	}
	e := &b.Batches[0].Entries[0]
	if e.Kind != KindRecord || !isPolicyChange(e.Body) {
		return nil
	}
	if c, err := ParsePolicyChange(e.Body); err == nil && c.Reason.ChangesMembers() {
		return c
	}
	return nil
}
