package raftnode

import (
	"context"
	"time"

	"github.com/cockroachdb/errors"
)

// transfer is a hand-over that somebody waits for.
type transfer struct {
	to   uint64
	done func(error)
}

func (d *Driver) startTransfer(t transfer) {
	if st := d.core.State(); st.Role != RoleLeader {
		t.done(&NotLeaderError{Leader: st.Leader})
		return
	}
	if t.to == d.cfg.ID {
		t.done(nil)
		return
	}
	if d.core.TransferLeader(t.to) == 0 {
		t.done(ErrNoSuccessor)
		return
	}
	d.turn.transfers = append(d.turn.transfers, t)
}

// checkTransfers tells who waits for a hand-over how it has ended.
func (d *Driver) checkTransfers() {
	if len(d.turn.transfers) == 0 {
		return
	}
	st := d.core.State()
	var result error
	switch {
	case st.Role == RoleLeader && d.core.Transferring():
		return
	case st.Role == RoleLeader:
		result = errors.Wrap(ErrNotTransferred, "the other node did not take over in time")
	case st.Leader == 0:
		return // an election is under way
	}
	for _, t := range d.turn.transfers {
		t.done(result)
	}
	d.turn.transfers = nil
}

// TransferLeadership is Driver.TransferLeadership for callers that wait. It takes one round trip
// once the new leader's log is complete; what is in flight stays in flight and is normally
// committed by the new leader. Errors: those, ErrStopped, or ctx's.
func (n *Node) TransferLeadership(ctx context.Context, to uint64) error {
	result := make(chan error, 1)
	if !n.driver.TransferLeadership(to, func(err error) { result <- err }) {
		return ErrStopped
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return errors.Wrap(context.Cause(ctx), "wait for another node to take over leadership")
	}
}

// Stop hands leadership over, if this node leads, waits for what is in flight,
// and ends the member. What cannot be resolved before ctx ends, or within two
// election timeouts, fails with ErrIndefinite. Once Stop has been called, Submit
// returns ErrStopped. It waits for the disk: a write under way cannot be abandoned.
func (n *Node) Stop(ctx context.Context) error {
	n.stop.Do(func() {
		n.driver.Refuse()
		n.stepAside(ctx)
		n.driver.Close()
		for _, ended := range n.ended {
			<-ended
		}
		n.host.remove(n)
		n.cfg.Transport.Unregister(n.cfg.Group)
	})
	return n.driver.failure()
}

// stepAside gives leadership away and waits until our proposals are resolved.
func (n *Node) stepAside(ctx context.Context) {
	limit := 2 * time.Duration(n.cfg.ElectionTicks) * n.cfg.TickInterval
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := n.TransferLeadership(ctx, 0); err != nil && !errors.Is(err, ErrNotLeader) {
		n.cfg.Logf("raft: leadership not handed over: %v", err)
	}
	for n.driver.inflight.Load() > 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return
		case <-n.ended[TaskTurn]:
			return
		}
	}
}
