package replica

import (
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode"
)

// promoteLag is how many entries of the Raft log a learner may lack when it is promoted.
const promoteLag = 16

// ErrRemoved says that this node is no member of the ledger any more. Its replica has ended; what it
// has stays where it is.
var ErrRemoved = errors.New("this node was removed from the members of the ledger")

// configured is what a replica knows of its members. Replica.applying guards what is written.
type configured struct {
	// index is that of the entry whose policy the members follow.
	index uint64
	// members are nil as long as they are those that the log's mark had at the start. A restored
	// ledger begins with members of its own, which its first entry then names.
	members atomic.Pointer[raftnode.Members]
	newest  atomic.Pointer[ledger.PolicyInForce]
	// unmarked: the members have changed, and no mark has them yet.
	unmarked atomic.Bool
}

// MembersOf returns the configuration of Raft that belongs to a policy: one has no more and no fewer
// members than the other, and the same of them vote.
func MembersOf(p *ledger.Policy) *raftnode.Members {
	m := &raftnode.Members{}
	for _, x := range p.Members { // ids ascend
		if x.Learner {
			m.Learners = append(m.Learners, x.ID)
		} else {
			m.Voters = append(m.Voters, x.ID)
		}
	}
	return m
}

// policyAt returns the index of the entry that says the policy of a size, and that policy; nil for a
// ledger that has none.
func (r *Replica) policyAt(size uint64) (index uint64, in *ledger.PolicyInForce, err error) {
	if size == 0 {
		return 0, nil, nil
	}
	in, err = r.ledger.PolicyAt(size)
	if errors.Is(err, ledger.ErrNoGenesis) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, errors.Wrapf(err, "read the members at size %d", size)
	}
	return in.Index, in, nil
}

// initMembers begins with the members that the log's mark has. A ledger that is being rebuilt begins
// when it has reached the mark.
func (r *Replica) initMembers() error {
	if r.rebuilding.Load() {
		return nil
	}
	at, err := ledger.ParseSummary(r.log.Mark().Meta)
	if err != nil {
		return errors.Wrap(err, "read the Raft log's mark")
	}
	r.configured.index, _, err = r.policyAt(at.Size)
	if err != nil {
		return err
	}
	if size := r.ledger.Head().Size; size > 0 {
		_, in, err := r.policyAt(size)
		if err != nil {
			return err
		}
		r.configured.newest.Store(in)
	}
	return nil
}

// Members returns those whom Raft has to count after what is applied, nil when they are as the log's
// mark had them at the start: raftnode.Config.Members. While the filler is ahead of the Raft log they
// may be newer than what the log has brought.
func (r *Replica) Members() *raftnode.Members { return r.configured.members.Load() }

// membersApplied looks for a change of the members in what was applied. r.applying is held.
func (r *Replica) membersApplied() error {
	if r.rebuilding.Load() {
		return nil
	}
	c := &r.configured
	index, in, err := r.policyAt(r.ledger.Head().Size)
	if err != nil {
		return err
	}
	old := c.newest.Load()
	if in != nil && (old == nil || *old != *in) {
		c.newest.Store(in)
	}
	if index == c.index {
		return nil
	}
	was := old != nil && old.Newest.Member(r.self) != nil
	c.index = index
	c.members.Store(MembersOf(in.Newest))
	c.unmarked.Store(true)
	r.shell.MembersChanged(in)
	if was && in.Newest.Member(r.self) == nil {
		r.shell.Halt(ErrRemoved, nil)
	}
	return nil
}

// Policy is the newest policy that is in force here, nil for a ledger that has none.
func (r *Replica) Policy() *ledger.PolicyInForce { return r.configured.newest.Load() }

// Removed reports whether this node was a member of the ledger and is not.
func (r *Replica) Removed() bool {
	in := r.Policy()
	if in == nil || in.Newest.Member(r.self) != nil {
		return false
	}
	if g, err := r.ledger.Genesis(); err == nil && slices.ContainsFunc(g.Members, func(m ledger.Member) bool { return m.ID == r.self }) {
		return true
	}
	records, err := r.ledger.PolicyRecords(r.ledger.Head().Size)
	if err != nil {
		return false
	}
	for _, index := range records {
		if in, err := r.ledger.PolicyAt(index + 1); err == nil && in.Newest.Member(r.self) != nil {
			return true
		}
	}
	return false
}

// confState returns the members at a size of the ledger for the log's mark there; nil when they are
// those of the present mark.
func (r *Replica) confState(size uint64) (*raftpb.ConfState, error) {
	marked, err := ledger.ParseSummary(r.log.Mark().Meta)
	if err != nil {
		return nil, errors.Wrap(err, "read the Raft log's mark")
	}
	before, _, err := r.policyAt(marked.Size)
	if err != nil {
		return nil, err
	}
	index, in, err := r.policyAt(size)
	if err != nil || index == before {
		return nil, err
	}
	return MembersOf(in.Newest).ConfState(), nil
}

// MemberChange is a change of the members of a ledger.
type MemberChange struct {
	// Reason is PolicyAdd, PolicyPromote, PolicyRemove or PolicyReplace.
	Reason ledger.PolicyReason
	// Comes joins, as a learner: of PolicyAdd and PolicyReplace.
	Comes ledger.Member
	// ID is promoted (PolicyPromote) or leaves (PolicyRemove, PolicyReplace).
	ID uint64
	// Force: fewer failures may be survived than before, and a hand-over that has not ended is no
	// obstacle as long as it can end. Nothing else is forced.
	Force bool
}

// MemberReason is why a change of the members is refused, in one word.
type MemberReason string

// The reasons of a MemberError.
const (
	// MemberPending: another change is under way, or its hand-over has not ended.
	MemberPending MemberReason = "pending"
	// MemberBehind: the learner to promote is not caught up.
	MemberBehind MemberReason = "behind"
	// MemberQuorum: too few of the voters that would be left are heard.
	MemberQuorum MemberReason = "quorum"
	// MemberFailures: the ledger would survive fewer failures than before.
	MemberFailures MemberReason = "failures"
	// MemberLeads: it is the leader that is to leave.
	MemberLeads MemberReason = "leads"
	// MemberInvalid: there is no such member, or there is one already.
	MemberInvalid MemberReason = "invalid"
)

// MemberError says why a change of the members was not proposed. It is definite.
type MemberError struct {
	Reason MemberReason
	// Why is a sentence with what to do.
	Why string
}

func (e *MemberError) Error() string { return "the members are not changed: " + e.Why }

func memberError(reason MemberReason, format string, args ...any) error {
	return &MemberError{Reason: reason, Why: errors.Newf(format, args...).Error()}
}

// ChangeMembers proposes another set of members, in the name of who asked for it, if this replica
// leads. done hears what came of it, as of Submit: a *MemberError when the change is refused, and a
// result whose Err is nil when the members are changed. One change is under way at a time.
func (r *Replica) ChangeMembers(asked string, c MemberChange, done func(ledger.Result, error)) {
	change, err := r.memberChange(&c)
	if err != nil {
		done(ledger.Result{}, err)
		return
	}
	r.proposeMembers(asked, change, func(st raftnode.State, list []raftnode.Progress) error {
		return r.mayChange(&c, &change.Policy, st, list)
	}, done)
}

func (r *Replica) proposeMembers(asked string, c *ledger.PolicyChange, check func(raftnode.State, []raftnode.Progress) error, done func(ledger.Result, error)) {
	b, err := ledger.PolicyBatch(asked, c)
	if err != nil {
		done(ledger.Result{}, err)
		return
	}
	q := &request{batch: b, size: b.Size(), done: func(res ledger.Result, err error) {
		if errors.Is(err, raftnode.ErrChanging) {
			err = memberError(MemberPending, "another change is under way: ask again when it has ended")
		}
		done(res, err)
	}}
	if !r.raft.ChangeMembers(raftnode.Change{Request: q, To: MembersOf(&c.Policy), Check: check}) {
		done(ledger.Result{}, raftnode.ErrStopped)
	}
}

// memberChange makes the record of a change, as the ledger is now.
func (r *Replica) memberChange(c *MemberChange) (*ledger.PolicyChange, error) {
	in := r.Policy()
	if in == nil {
		return nil, memberError(MemberInvalid, "the ledger has no genesis, and so no members that could change")
	}
	if in.Before != nil && !c.Force {
		return nil, memberError(MemberPending, "the change to epoch %d is not sealed yet by the voters before and after it: ask again in a moment, "+
			"or look why nothing is sealed (cairn status)", in.Newest.Epoch)
	}
	change, err := in.Newest.ChangeMembers(c.Reason, c.Comes, c.ID)
	if err != nil {
		return nil, memberError(MemberInvalid, "%v", err)
	}
	return change, nil
}

// survivable is how many voters may fail.
func survivable(voters int) int { return (voters - 1) / 2 }

// mayChange says why the leader must not propose a change now.
func (r *Replica) mayChange(c *MemberChange, after *ledger.Policy, st raftnode.State, list []raftnode.Progress) error {
	in := r.Policy()
	if after.Epoch != in.Newest.Epoch+1 {
		return memberError(MemberPending, "another change came first: look at the members again (cairn member list)")
	}
	before, voters := in.Newest.Voters(), after.Voters()
	removes := c.Reason == ledger.PolicyRemove || c.Reason == ledger.PolicyReplace
	switch {
	case removes && c.ID == r.self:
		return memberError(MemberLeads, "node %d leads: hand leadership over first, then remove it", c.ID)
	case survivable(len(voters)) < survivable(len(before)) && !c.Force:
		return memberError(MemberFailures, "with %d voters in the place of %d the ledger survives %d failures in the place of %d: add and promote another one first, or force it",
			len(voters), len(before), survivable(len(voters)), survivable(len(before)))
	}
	progress := map[uint64]raftnode.Progress{}
	for _, p := range list {
		progress[p.ID] = p
	}
	if removes {
		if err := r.handsOver(in, after, progress); err != nil {
			return err
		}
	}
	if p := progress[c.ID]; c.Reason == ledger.PolicyPromote && !caughtUp(p, st.Commit) {
		return memberError(MemberBehind, "node %d has the Raft log up to %d of %d (%s): wait until it is caught up", c.ID, p.Match, st.Commit, p.State)
	}
	if len(voters) == len(before) {
		return nil
	}
	heard := 0
	for _, v := range voters {
		if v.ID == r.self || progress[v.ID].Heard {
			heard++
		}
	}
	if need := max(len(voters)/2+1, int(after.Quorum)); heard < need {
		return memberError(MemberQuorum, "%d of the %d voters that there would be are heard, %d are needed: start the others first", heard, len(voters), need)
	}
	return nil
}

// handsOver says why the policy that is handed over from could not sign the checkpoint that ends the
// hand-over any more: a member that was removed signs nothing. Nothing would be sealed ever after.
func (r *Replica) handsOver(in *ledger.PolicyInForce, after *ledger.Policy, progress map[uint64]raftnode.Progress) error {
	base := in.All()[0]
	able := 0
	for _, v := range base.Voters() {
		if after.Member(v.ID) != nil && (v.ID == r.self || progress[v.ID].Heard) {
			able++
		}
	}
	if able < int(base.Quorum) {
		return memberError(MemberQuorum, "the voters of epoch %d have to sign with the new ones once, %d of them, and %d of those that would be left are heard: start them first, or wait until epoch %d is sealed",
			base.Epoch, base.Quorum, able, in.Newest.Epoch)
	}
	return nil
}

// caughtUp reports whether a learner can be a voter without holding up the commits.
func caughtUp(p raftnode.Progress, commit uint64) bool {
	return p.Heard && p.State == tracker.StateReplicate.String() && p.Match+promoteLag >= commit
}

// MemberView is a member as this replica sees it.
type MemberView struct {
	ledger.PolicyMember
	// Leads: it is the leader that this replica knows.
	Leads bool
	// Known: this replica leads, and says the rest.
	Known bool
	// Match is up to which index the member has the Raft log, of Commit entries that are committed.
	Match, Commit uint64
	Heard         bool // heard within an election timeout
	CaughtUp      bool // could be promoted
}

// MemberViews returns the members of the newest policy, with how far each is when this replica leads.
func (r *Replica) MemberViews() (views []MemberView) {
	in := r.Policy()
	if in == nil {
		return nil
	}
	st := r.raft.Status()
	for _, m := range in.Newest.Members {
		v := MemberView{PolicyMember: m, Leads: st.Leader == m.ID, Commit: st.Commit}
		for _, p := range st.Progress {
			if p.ID == m.ID {
				v.Known, v.Match, v.Heard, v.CaughtUp = true, p.Match, p.Heard || p.ID == r.self, caughtUp(p, st.Commit)
			}
		}
		views = append(views, v)
	}
	return views
}
