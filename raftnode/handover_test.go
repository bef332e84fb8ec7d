package raftnode

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
)

// TestHandOverIsDoneWhenAnotherLeads: a leader that has stepped down does not know yet whether
// anybody takes over.
func TestHandOverIsDoneWhenAnotherLeads(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	s.lead()
	var told []error
	s.TransferLeadership(2, func(err error) { told = append(told, err) })
	s.run()
	term := s.core.State().Term
	s.hear(msg{typ: raftpb.MsgVote, from: 2, term: term + 1, index: s.Status().LastIndex, logTerm: term, context: []byte("CampaignTransfer")})
	s.run()
	if st := s.Status(); st.Role != RoleFollower || st.Leader != 0 || len(told) != 0 {
		t.Fatalf("state %+v, told %v; want a follower that knows no leader, and nobody told", st.State, told)
	}
	s.hear(msg{typ: raftpb.MsgHeartbeat, from: 2, term: term + 1})
	s.run()
	if len(told) != 1 || told[0] != nil {
		t.Errorf("told %v when another one leads, want success", told)
	}
}

// TestHandOverInVain: nobody takes over within an election timeout.
func TestHandOverInVain(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	s.lead()
	var told []error
	s.TransferLeadership(2, func(err error) { told = append(told, err) })
	s.run()
	for range s.cfg.ElectionTicks {
		if len(told) != 0 {
			t.Errorf("told %v too early", told)
		}
		s.hear(msg{typ: raftpb.MsgHeartbeatResp, from: 2})
		s.tick(1)
	}
	if len(told) != 1 || !errors.Is(told[0], ErrNotTransferred) {
		t.Errorf("told %v, want ErrNotTransferred", told)
	}
}

// TestSuccessor: a leader that may choose hands over to the most advanced of the voters that it has
// heard since the last look at its quorum, and to nobody when it has heard none.
func TestSuccessor(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	term := lead(t, l)
	must(t, l.core.Propose(1, []byte("a")))
	must(t, l.core.Propose(2, []byte("b")))
	l.settle(t)
	hear := func(typ raftpb.MessageType, from, index uint64) {
		must(t, l.step(t, msg{typ: typ, from: from, term: term, index: index}.proto()))
	}
	hear(raftpb.MsgAppResp, 2, l.core.last-1)
	hear(raftpb.MsgAppResp, 3, l.core.last)
	if got := l.core.TransferLeader(0); got != 3 {
		t.Errorf("asked member %d, want 3: it stores more", got)
	}
	// The look at the quorum comes once in an election timeout, and gives the hand-over up.
	for range l.core.cfg.ElectionTicks {
		l.core.Tick(true)
	}
	l.settle(t)
	if got := l.core.TransferLeader(0); got != 0 || l.core.State().Role != RoleLeader {
		t.Errorf("asked member %d as %s, want nobody: none was heard lately", got, l.core.State().Role)
	}
	hear(raftpb.MsgHeartbeatResp, 2, 0)
	if got := l.core.TransferLeader(0); got != 2 {
		t.Errorf("asked member %d, want 2: member 3 was not heard lately", got)
	}
}

// TestStopWaitsForWhatIsInFlight, but no longer than two election timeouts, and not after the
// caller's patience or the node has ended.
func TestStopWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	stopping := func(ctx context.Context, election time.Duration) (n *Node, left chan struct{}) {
		n = newNode(&Host{workers: new(Workers)}, Config{ElectionTicks: 1, TickInterval: election, Logf: t.Logf})
		n.driver = &Driver{}
		n.driver.inbox.stop() // there is nobody to hand over to
		n.driver.inflight.Store(1)
		left = make(chan struct{})
		go func() {
			n.stepAside(ctx)
			close(left)
		}()
		return n, left
	}
	waits := func(left chan struct{}) {
		t.Helper()
		select {
		case <-left:
			t.Error("a proposal is in flight, and the node goes on to stop")
		case <-time.After(20 * time.Millisecond):
		}
	}
	ends := func(why string, left chan struct{}) {
		t.Helper()
		select {
		case <-left:
		case <-time.After(testWait):
			t.Errorf("the node waits although %s", why)
		}
	}
	n, left := stopping(context.Background(), time.Hour)
	waits(left)
	n.driver.inflight.Store(0)
	ends("nothing is in flight", left)

	ctx, cancel := context.WithCancel(context.Background())
	_, left = stopping(ctx, time.Hour)
	waits(left)
	cancel()
	ends("its caller has given up", left)

	n, left = stopping(context.Background(), time.Hour)
	waits(left)
	close(n.ended[TaskTurn])
	ends("it has ended", left)

	_, left = stopping(context.Background(), 5*time.Millisecond)
	ends("two election timeouts have passed", left)
}

// TestRequestsWaitDuringAHandOver: they are not refused, and are proposed when the hand-over has
// come to nothing.
func TestRequestsWaitDuringAHandOver(t *testing.T) {
	t.Parallel()
	s := newStage(t, 3, nil)
	s.lead()
	s.TransferLeadership(2, func(error) {})
	s.run()
	s.submit(1)
	for range s.cfg.ElectionTicks {
		if st := s.Status(); len(s.failed) != 0 || st.QueuedRequests != 1 || st.InflightBlocks != 0 {
			t.Fatalf("failed %v, status %+v; want a request that waits", s.failed, st)
		}
		s.hear(msg{typ: raftpb.MsgHeartbeatResp, from: 2})
		s.tick(1)
	}
	if st := s.Status(); len(s.failed) != 0 || st.QueuedRequests != 0 || st.InflightBlocks != 1 {
		t.Errorf("failed %v, status %+v; want a block in flight", s.failed, st)
	}
}
