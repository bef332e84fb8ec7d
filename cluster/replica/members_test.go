package replica

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// membersBench is the leader of a ledger of three voters.
type membersBench struct {
	*Replica
	*bench
	t     *testing.T
	index uint64
}

func newMembersBench(t *testing.T, log *wal.Log, store ledger.Store) *membersBench {
	t.Helper()
	l, err := Open(store, log.Group(group), ledger.Config{Group: group, Origin: testOrigin})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	keys := map[uint64]*tlog.Cosigner{}
	for id, name := range map[uint64]string{1: "example.org/n1", 2: "example.org/n2", 3: "example.org/n3"} {
		keys[id] = newCosigner(t, name)
	}
	line := newCosigner(t, testOrigin)
	b := &membersBench{bench: &bench{}, t: t}
	b.Replica, err = New(Config{
		Ledger: l, Log: log.Group(group), Shell: b.bench, Clocks: Clocks{Now: time.Now, Voters: 3}, Principal: testNode,
		Seal: seal.Config{Self: 1, LogCosigner: line, NodeCosigner: keys[1],
			Voters: map[uint64]*tlog.VerifierKey{1: keys[1].Key(), 2: keys[2].Key(), 3: keys[3].Key()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Bind(b.bench)
	b.status.State = raftnode.State{Role: raftnode.RoleLeader, Leader: 1, Term: 1, Serving: true}
	b.Replica.StateChanged(b.status.State)
	g := &ledger.Genesis{FeatureLevel: 1, Origin: testOrigin, Program: "log", ProgramVersion: 1, LogKeys: []string{line.Key().String()}, SealQuorum: 2}
	for id := uint64(1); id <= 3; id++ {
		g.Members = append(g.Members, ledger.Member{ID: id, Name: "n" + string('0'+rune(id)), Cosigner: keys[id].Key().String()})
	}
	block, err := ledger.EncodeGenesis(g, "creator", 5)
	if err != nil {
		t.Fatal(err)
	}
	b.apply(block)
	return b
}

func (b *membersBench) apply(block []byte, reqs ...raftnode.Request) {
	b.t.Helper()
	b.index++
	if err := b.Replica.Apply([]raftnode.Committed{{Index: b.index, Term: 1, Data: block, Requests: reqs}}); err != nil {
		b.t.Fatal(err)
	}
}

// propose asks for a change and returns what came of it before it was proposed. all says whom the
// leader has heard of.
func (b *membersBench) propose(c MemberChange, all []raftnode.Progress) (change *raftnode.Change, err error) {
	b.t.Helper()
	b.changes = nil
	b.Replica.ChangeMembers("spiffe://example.org/admin", c, func(_ ledger.Result, e error) { err = e })
	if len(b.changes) == 0 {
		return nil, err
	}
	return &b.changes[0], b.changes[0].Check(raftnode.State{Commit: 1000}, all)
}

// take proposes a change and commits it.
func (b *membersBench) take(c MemberChange) {
	b.t.Helper()
	c.Force = true // no hand-over ends here: nothing is sealed
	change, err := b.propose(c, heard(1, 2, 3, 4))
	if err != nil {
		b.t.Fatal(err)
	}
	block, err := b.BuildBlock([]raftnode.Request{change.Request})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.Vet(block, false); err == nil {
		b.t.Error("a change of members is accepted in an entry that Raft does not take for one")
	}
	if err := b.Vet(block, true); err != nil {
		b.t.Error(err)
	}
	b.apply(block, change.Request)
	if got := b.Members(); got == nil || !got.Equal(change.To) {
		b.t.Fatalf("members %s, want %s: Raft and the policy have the same members", got, change.To)
	}
}

func heard(ids ...uint64) (list []raftnode.Progress) {
	for _, id := range ids {
		list = append(list, raftnode.Progress{ID: id, Match: 1000, Heard: true, State: "StateReplicate"})
	}
	return list
}

func (b *membersBench) comes(id uint64) ledger.Member {
	key := newCosigner(b.t, "example.org/n"+string('0'+rune(id)))
	return ledger.Member{ID: id, Name: "n" + string('0'+rune(id)), Cosigner: key.Key().String()}
}

// TestChangeMembers: members come as learners, are promoted and leave, and Raft's members are those of
// the policy. The log's mark has those of its own index, at every index.
func TestChangeMembers(t *testing.T) {
	log := newLog(t)
	b := newMembersBench(t, log, memstore.New(memstore.Options{}))
	if b.Members() != nil {
		t.Errorf("members %s before any change, want those of the log's mark", b.Members())
	}
	var sizes []uint64
	want := []*raftnode.Members{{Voters: []uint64{1, 2, 3}}}
	step := func(c MemberChange, m *raftnode.Members) {
		t.Helper()
		sizes = append(sizes, b.Replica.Ledger().Head().Size)
		b.take(c)
		want = append(want, m)
		if !b.Members().Equal(m) {
			t.Errorf("members %s, want %s", b.Members(), m)
		}
	}
	step(MemberChange{Reason: ledger.PolicyAdd, Comes: b.comes(4)}, &raftnode.Members{Voters: []uint64{1, 2, 3}, Learners: []uint64{4}})
	step(MemberChange{Reason: ledger.PolicyPromote, ID: 4}, &raftnode.Members{Voters: []uint64{1, 2, 3, 4}})
	step(MemberChange{Reason: ledger.PolicyRemove, ID: 2}, &raftnode.Members{Voters: []uint64{1, 3, 4}})
	step(MemberChange{Reason: ledger.PolicyReplace, Comes: b.comes(5), ID: 4}, &raftnode.Members{Voters: []uint64{1, 3}, Learners: []uint64{5}})
	sizes = append(sizes, b.Replica.Ledger().Head().Size)
	for i, size := range sizes {
		conf, err := b.confState(size)
		if err != nil || i > 0 && !raftnode.MembersOf(conf).Equal(want[i]) || i == 0 && conf != nil {
			t.Errorf("the mark at size %d has %v, %v; want %s", size, conf, err, want[i])
		}
	}
	if len(b.policies) != 4 || b.Policy().Newest.Epoch != 4 || b.Policy().Newest.Quorum != 2 {
		t.Errorf("heard of %d changes, epoch %d, quorum %d", len(b.policies), b.Policy().Newest.Epoch, b.Policy().Newest.Quorum)
	}
	if b.Removed() || len(b.halted) > 0 {
		t.Errorf("removed: %t, halted %v", b.Removed(), b.halted)
	}
	b.self = 2
	if !b.Removed() {
		t.Error("node 2 does not know that it was removed")
	}
	b.self = 6
	if b.Removed() {
		t.Error("a node that was never a member says that it was removed")
	}
}

// TestChangeWithoutEffect: a change that the ledger refuses changes no member. Neither does one that
// shares its block.
func TestChangeWithoutEffect(t *testing.T) {
	b := newMembersBench(t, newLog(t), memstore.New(memstore.Options{}))
	change, err := b.propose(MemberChange{Reason: ledger.PolicyAdd, Comes: b.comes(4)}, heard(1, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	other := &request{batch: testBatch("a"), done: func(ledger.Result, error) {}}
	block, err := b.BuildBlock([]raftnode.Request{change.Request, other})
	if err != nil {
		t.Fatal(err)
	}
	if b.Vet(block, true) == nil {
		t.Error("a change of members that shares its block is accepted for one")
	}
	b.apply(block)
	if b.Members() != nil || len(b.policies) > 0 {
		t.Errorf("members %s after a change that shares its block", b.Members())
	}
	b.take(MemberChange{Reason: ledger.PolicyAdd, Comes: b.comes(4)})
	block, err = b.BuildBlock([]raftnode.Request{change.Request}) // of an epoch that has been
	if err != nil {
		t.Fatal(err)
	}
	before := b.Members()
	b.apply(block, change.Request)
	if len(b.policies) != 1 || b.Policy().Newest.Epoch != 1 || b.Members() != before {
		t.Errorf("epoch %d, members %s after a change that came too late", b.Policy().Newest.Epoch, b.Members())
	}
}

// TestRemovedReplicaEnds: a replica that applies its own removal says so and ends.
func TestRemovedReplicaEnds(t *testing.T) {
	b := newMembersBench(t, newLog(t), memstore.New(memstore.Options{}))
	b.self = 3
	b.take(MemberChange{Reason: ledger.PolicyAdd, Comes: b.comes(4)})
	if len(b.halted) > 0 {
		t.Fatalf("halted %v by another change", b.halted)
	}
	b.self = 1
	change, err := b.propose(MemberChange{Reason: ledger.PolicyRemove, ID: 3, Force: true}, heard(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	b.self = 3
	block, err := b.BuildBlock([]raftnode.Request{change.Request})
	if err != nil {
		t.Fatal(err)
	}
	b.apply(block, change.Request)
	if len(b.halted) != 1 || !errors.Is(b.halted[0], ErrRemoved) {
		t.Errorf("halted %v, want ErrRemoved", b.halted)
	}
}

// TestRefusedMemberChanges: a change that would stop the ledger, or come too early, is refused with its
// reason, and what may be forced is forced.
func TestRefusedMemberChanges(t *testing.T) {
	b := newMembersBench(t, newLog(t), memstore.New(memstore.Options{}))
	refuses := func(what string, c MemberChange, list []raftnode.Progress, want MemberReason) {
		t.Helper()
		var refused *MemberError
		if _, err := b.propose(c, list); !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("%s: %v, want a refusal (%s)", what, err, want)
		}
	}
	remove := func(id uint64) MemberChange { return MemberChange{Reason: ledger.PolicyRemove, ID: id} }
	force := func(c MemberChange) MemberChange { c.Force = true; return c }
	refuses("the leader", remove(1), heard(1, 2, 3), MemberLeads)
	refuses("the leader, forced", force(remove(1)), heard(1, 2, 3), MemberLeads)
	refuses("a voter of three", remove(3), heard(1, 2, 3), MemberFailures)
	refuses("a voter when another one is not heard", force(remove(3)), heard(1, 3), MemberQuorum)
	b.take(force(remove(3))) // and the hand-over from the three does not end
	refuses("a second voter of three", force(remove(2)), heard(1, 2), MemberQuorum)
	b = newMembersBench(t, newLog(t), memstore.New(memstore.Options{}))
	refuses("nobody", remove(9), heard(1, 2, 3), MemberInvalid)
	refuses("a voter", MemberChange{Reason: ledger.PolicyPromote, ID: 2}, heard(1, 2, 3), MemberInvalid)
	refuses("who is there", MemberChange{Reason: ledger.PolicyAdd, Comes: ledger.Member{ID: 2}}, heard(1, 2, 3), MemberInvalid)
	refuses("a rotation", MemberChange{Reason: ledger.PolicyRotateLog}, heard(1, 2, 3), MemberInvalid)
	if _, err := b.propose(force(remove(3)), heard(1, 2)); err != nil {
		t.Errorf("a dead voter of three, forced: %v", err)
	}
	early, _ := b.propose(MemberChange{Reason: ledger.PolicyAdd, Comes: b.comes(5)}, heard(1, 2, 3))
	b.take(MemberChange{Reason: ledger.PolicyAdd, Comes: b.comes(4)})
	var refused *MemberError
	if err := early.Check(raftnode.State{}, heard(1, 2, 3)); !errors.As(err, &refused) || refused.Reason != MemberPending {
		t.Errorf("a change of the members before: %v, want a refusal (%s)", err, MemberPending)
	}
	promote := MemberChange{Reason: ledger.PolicyPromote, ID: 4}
	refuses("before the hand-over has ended", promote, heard(1, 2, 3, 4), MemberPending)
	promote.Force = true
	behind := heard(1, 2, 3, 4)
	behind[3].Match = 1000 - promoteLag - 1
	refuses("a learner that is behind", promote, behind, MemberBehind)
	behind[3].Match++
	if _, err := b.propose(promote, behind); err != nil {
		t.Errorf("a learner that lacks %d entries: %v", promoteLag, err)
	}
	behind[3].State = "StateSnapshot"
	refuses("a learner that takes blocks", promote, behind, MemberBehind)
	refuses("a learner that is not heard", promote, heard(1, 2, 3), MemberBehind)
	refuses("a learner when a voter is dead besides", promote, heard(1, 4), MemberQuorum)
	b.Replica.ChangePolicy("admin", &ledger.PolicyChange{Reason: ledger.PolicyAdd}, func(_ ledger.Result, err error) {
		if !errors.As(err, &refused) {
			t.Errorf("a change of members as a change of the policy alone: %v", err)
		}
	})
	views := b.MemberViews()
	if len(views) != 4 || !views[3].Learner || !views[0].Leads || slices.ContainsFunc(views, func(v MemberView) bool { return v.Known }) {
		t.Errorf("members are shown as %+v", views)
	}
}
