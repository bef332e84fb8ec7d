package raftnode

import (
	"testing"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
)

// TestBudgetIsFair: a greedy part neither takes everything nor keeps another one from its reserve,
// and two that are greedy get the same in the end. A part that is alone gets 7/8.
func TestBudgetIsFair(t *testing.T) {
	t.Parallel()
	const total, reserve = 64000, 100
	all := &budget{total: total, reserve: reserve}
	parts := make([]part, 1000)
	for i := range parts {
		parts[i].of = all
	}
	fill := func(p *part) {
		for p.take(10) {
		}
	}
	used := func(i int) int { return int(parts[i].used.Load()) }
	fill(&parts[0])
	if n := used(0); n < total*7/8-10 || n > total*7/8 {
		t.Errorf("a part that is alone gets %d of %d bytes, want 7/8", n, total)
	}
	for range 200 { // the first lets go of a little, again and again, and wants it back
		parts[0].add(-min(1000, used(0)))
		fill(&parts[1])
		fill(&parts[0])
	}
	if a, b := used(0), used(1); a < total*6/15 || b < total*6/15 || a+b > total {
		t.Errorf("two greedy parts have %d and %d of %d bytes, want 7/15 each", a, b, total)
	}
	for i := range parts {
		if fill(&parts[i]); used(i) < reserve {
			t.Fatalf("part %d has %d bytes, less than its reserve", i, used(i))
		}
	}
	if n := int(all.used.Load()); n > total+len(parts)*reserve {
		t.Errorf("%d parts have %d bytes", len(parts), n)
	}
	// Nobody waits for ever with something large: it fits when the part has nothing else.
	parts[5].clear()
	if !parts[5].take(10*total) || parts[5].take(1) {
		t.Error("a part takes one thing of any size, and no other beside it")
	}
	for i := range parts {
		parts[i].clear()
	}
	if n := all.used.Load(); n != 0 {
		t.Errorf("%d bytes are in use when no part has any", n)
	}
}

// crowd is two leaders, each alone in its group, that share budgets.
func crowd(t *testing.T, l Limits) (all *budgets, greedy, modest *stage) {
	all = newBudgets(l)
	for _, b := range []*budget{&all.queue, &all.inflight, &all.inbox} {
		b.reserve = 100
	}
	member := func() *stage {
		s := newStage(t, 1, func(c *Config) { c.budgets, c.MaxBlockBytes, c.MaxInflightBlocks = all, 1000, 1000 })
		s.lead()
		return s
	}
	return all, member(), member()
}

// TestGreedyGroupStarvesNobody: what one group has waiting leaves the others what they need, in the
// queue of requests, in flight and in the inbox. Everything is given back.
func TestGreedyGroupStarvesNobody(t *testing.T) {
	t.Parallel()
	all, greedy, modest := crowd(t, Limits{QueueBytes: 8000, InflightBytes: 8000, InboxBytes: 8000})
	for greedy.Submit(sized(50)) == nil {
	}
	if n := greedy.Status().QueuedBytes; n < 6900 || n > 7000 {
		t.Errorf("a greedy group has %d bytes in the queue, want about 7/8 of 8000", n)
	}
	modest.submit(50, 50)
	greedy.block, modest.block = make([]byte, 500), make([]byte, 500)
	for range 50 { // nothing is written, so nothing is committed
		greedy.Turn()
		for greedy.Submit(sized(50)) == nil {
		}
	}
	if n := greedy.turn.inflight.used.Load(); n < 6000 || n > 7000+500 {
		t.Errorf("a greedy group has %d bytes in flight, want about 7/8 of 8000", n)
	}
	modest.Turn()
	if n := modest.Status().InflightBlocks; n != 1 {
		t.Errorf("%d blocks of a modest group are in flight, want its first", n)
	}
	if n := modest.Status().QueuedRequests; n != 0 {
		t.Errorf("%d requests of a modest group wait", n)
	}
	for _, m := range []*stage{greedy, modest} {
		m.run()
		m.Tick(false) // nobody waits for what has been applied, so it is heard with a tick
		m.run()
	}
	if len(greedy.applied) == 0 || len(modest.applied) != 1 || greedy.Status().QueuedRequests > 0 {
		t.Errorf("%d and %d blocks are applied, %d requests wait", len(greedy.applied), len(modest.applied), greedy.Status().QueuedRequests)
	}
	for name, b := range map[string]*budget{"queue": &all.queue, "in flight": &all.inflight, "inbox": &all.inbox} {
		if n := b.used.Load(); n != 0 {
			t.Errorf("%s: %d bytes are in use when nothing waits", name, n)
		}
	}
}

// TestAppendsWaitForTheDisk: entries that wait for the disk count as much as those that wait for a
// turn, so that a stalled disk bounds what leaders send. Another group still gets its appends.
func TestAppendsWaitForTheDisk(t *testing.T) {
	t.Parallel()
	all := newBudgets(Limits{InboxBytes: 8000})
	all.inbox.reserve = 100
	follower := func() *stage { return newStage(t, 2, func(c *Config) { c.budgets = all }) }
	greedy, modest := follower(), follower()
	hand := func(s *stage, index uint64, size int) bool {
		e := entry(5, index, "")
		e.Data = make([]byte, size)
		m := msg{typ: raftpb.MsgApp, from: 2, term: 5, index: index - 1, logTerm: 5}
		if index == 2 {
			m.logTerm = 1
		}
		p := m.proto()
		p.Entries = []*raftpb.Entry{e}
		before := all.inbox.used.Load()
		s.HandleRaft(1, 2, p)
		s.Turn() // and no write
		return all.inbox.used.Load() == before+int64(size)
	}
	taken := uint64(0)
	for hand(greedy, 2+taken, 500) {
		taken++
	}
	if taken != 14 && taken != 13 {
		t.Errorf("%d entries of 500 bytes wait for the disk, want about 7/8 of 8000 bytes", taken)
	}
	if !hand(modest, 2, 5000) || !hand(greedy, 2+taken, 0) {
		t.Error("a group that has nothing waiting, or a message without data, is refused because another group is greedy")
	}
	greedy.run()
	modest.run()
	if n := all.inbox.used.Load(); n != 0 {
		t.Errorf("%d bytes are in use when nothing waits", n)
	}
	if !hand(greedy, 2+taken+1, 500) {
		t.Error("a follower whose disk goes on takes no append")
	}
}

// TestEndGivesEverythingBack: a member that ends leaves its budgets to the others.
func TestEndGivesEverythingBack(t *testing.T) {
	t.Parallel()
	all, s, _ := crowd(t, Limits{})
	s.submit(50)
	s.Turn()
	s.submit(60)
	e := entry(5, 9, "xyz")
	s.HandleRaft(1, 2, &raftpb.Message{Entries: []*raftpb.Entry{e}})
	s.fail(errors.New("broken"), "test")
	for s.Turn() || s.write() || s.apply() {
	}
	for name, b := range map[string]*budget{"queue": &all.queue, "in flight": &all.inflight, "inbox": &all.inbox} {
		if n := b.used.Load(); n != 0 {
			t.Errorf("%s: %d bytes are in use after the end", name, n)
		}
	}
}

// TestLostBlockIsGivenBack: a block whose outcome its leader cannot learn counts as in flight until
// the leader gives it up.
func TestLostBlockIsGivenBack(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	s.lead()
	s.submit(50)
	s.run()
	term := s.core.State().Term + 1
	if n := s.turn.inflight.used.Load(); n != int64(len("block")) {
		t.Fatalf("%d bytes are in flight, want those of the block", n)
	}
	for range 3 * s.cfg.ElectionTicks {
		s.hear(msg{typ: raftpb.MsgHeartbeat, from: 3, term: term})
		s.tick(1)
	}
	if n := s.turn.inflight.used.Load(); n != 0 || len(s.failed) != 1 {
		t.Errorf("%d bytes are in flight, %d requests failed; want none and one", n, len(s.failed))
	}
}
