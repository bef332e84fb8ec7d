package raftnode

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"
)

// transfer is a hand-over that somebody waits for.
type transfer struct {
	to   uint64 // 0 until asked
	done chan error
}

// TransferLeadership hands leadership over to another voter, 0 for the most
// advanced one, and waits until this node knows that another one leads; a leader
// that is to hand over to itself is done at once. It takes
// one round trip once the new leader's log is complete; what is in flight stays
// in flight and is normally committed by the new leader. Errors: *NotLeaderError
// when this node does not lead, ErrStopped, ErrNoSuccessor, ErrNotTransferred, ctx's.
func (n *Node) TransferLeadership(ctx context.Context, to uint64) error {
	t := &transfer{done: make(chan error, 1)}
	if !n.inbox.put(func(m *mail) { m.transfers = append(m.transfers, transferRequest{t, to}) }) {
		return ErrStopped
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return errors.Wrap(context.Cause(ctx), "wait for another node to take over leadership")
	}
}

type transferRequest struct {
	t  *transfer
	to uint64
}

func (n *Node) startTransfer(s *loopState, r transferRequest) {
	if st := n.core.State(); st.Role != RoleLeader {
		r.t.done <- &NotLeaderError{Leader: st.Leader}
		return
	}
	if r.to == n.cfg.ID {
		r.t.done <- nil
		return
	}
	if r.t.to = n.core.TransferLeader(r.to); r.t.to == 0 {
		r.t.done <- ErrNoSuccessor
		return
	}
	s.transfers = append(s.transfers, r.t)
}

// checkTransfers tells who waits for a hand-over how it has ended.
func (n *Node) checkTransfers(s *loopState) {
	if len(s.transfers) == 0 {
		return
	}
	st := n.core.State()
	var result error
	switch {
	case st.Role == RoleLeader && n.core.Transferring():
		return
	case st.Role == RoleLeader:
		result = errors.Wrap(ErrNotTransferred, "the other node did not take over in time")
	case st.Leader == 0:
		return // an election is under way
	}
	for _, t := range s.transfers {
		t.done <- result
	}
	s.transfers = nil
}

// Stop hands leadership over, if this node leads, waits for what is in flight,
// and ends all goroutines. What cannot be resolved before ctx ends, or within two
// election timeouts, fails with ErrIndefinite. Once Stop has been called, Submit
// returns ErrStopped. It waits for the disk: a write under way cannot be abandoned.
func (n *Node) Stop(ctx context.Context) error {
	n.stop.Do(func() {
		if waiting := n.queue.stop(); len(waiting) > 0 {
			n.cfg.Machine.Fail(waiting, ErrStopped)
		}
		n.stepAside(ctx)
		close(n.stopLoop)
		<-n.loopDone
		<-n.tickerEnd
		<-n.appender.done
		<-n.applier.done
		n.cfg.Transport.Unregister(n.cfg.Group)
	})
	return n.failure()
}

// stepAside gives leadership away and waits until our proposals are resolved.
func (n *Node) stepAside(ctx context.Context) {
	limit := 2 * time.Duration(n.cfg.ElectionTicks) * n.cfg.TickInterval
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := n.TransferLeadership(ctx, 0); err != nil && !errors.Is(err, ErrNotLeader) {
		n.cfg.Logf("raft: leadership not handed over: %v", err)
	}
	for n.inflight.Load() > 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return
		case <-n.loopDone:
			return
		}
	}
}
