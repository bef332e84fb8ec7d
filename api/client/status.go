package client

import (
	"context"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// Status describes a node: the named one, or with "" any that answers.
func (c *Client) Status(ctx context.Context, name string) (*cairnv1.StatusResponse, error) {
	return c.StatusWith(ctx, name, &cairnv1.StatusRequest{})
}

// StatusWith is Status with what the request asks for besides.
func (c *Client) StatusWith(ctx context.Context, name string, req *cairnv1.StatusRequest) (*cairnv1.StatusResponse, error) {
	call := func(ctx context.Context, n *node) (*cairnv1.StatusResponse, error) {
		return n.ledger.Status(ctx, req)
	}
	if name == "" {
		resp, _, err := read(ctx, c, call)
		return resp, err
	}
	n := c.nodes.byName(name)
	if n == nil {
		return nil, invalid("the profile names no node %q", name)
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	resp, err := call(ctx, n)
	if err != nil {
		e := n.errorFrom(err, true)
		e.Definite = true
		return nil, e
	}
	return resp, nil
}

// TransferLeadership makes the named node lead, or with "" the best follower, and returns who leads
// now. Role: admin.
func (c *Client) TransferLeadership(ctx context.Context, to string) (string, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	for attempt := 1; ; attempt++ {
		n := c.nodes.forLeader()
		attemptCtx, sent := withSent(ctx)
		resp, err := n.admin.TransferLeadership(attemptCtx, &cairnv1.TransferLeadershipRequest{To: to})
		if err == nil {
			c.nodes.failed(n, nil)
			if leader := c.nodes.byName(resp.Leader); leader != nil {
				c.nodes.leads(leader)
			}
			return resp.Leader, nil
		}
		e := n.errorFrom(err, sent.Load())
		if !e.passing() || !e.Definite || ctx.Err() != nil {
			return "", e
		}
		if no := c.nodes.hopeless(attempt); no != nil {
			return "", no
		}
		if !c.nodes.failed(n, e.Leader) {
			sleep(ctx, pause(attempt, e.RetryAfter))
		}
		if ctx.Err() != nil {
			return "", c.ended(ctx, true).because(e)
		}
	}
}

// Rotation says how far the change of a cosigner key is on one ledger.
type Rotation struct {
	Epoch     uint32 // of the newest policy, which names the key
	TakenOver bool   // by that policy: the key before counts no more
}

// RotateCosigner gives a member of the ledger another cosigner key, a C2SP vkey, by an entry that
// changes the ledger's policy. The call is repeated until its outcome is known, and may be made
// again: a member that has the key already keeps it, and the answer says whether the policy with it
// has taken over. With reason POLICY the policy cannot change so, or not before another hand-over has
// ended. Role: admin.
func (c *Client) RotateCosigner(ctx context.Context, member, key string) (Rotation, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	req := &cairnv1.RotateCosignerRequest{Node: member, Key: key}
	resp, _, err := exchange(ctx, c, "rotate a cosigner key", true, false, func(ctx context.Context, n *node) (*cairnv1.RotateCosignerResponse, error) {
		return n.admin.RotateCosigner(ctx, req)
	})
	if err != nil {
		return Rotation{}, err
	}
	return Rotation{Epoch: resp.Epoch, TakenOver: resp.TakenOver}, nil
}
