package client

import (
	"context"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Node is the node that answered a call of a program's service.
type Node struct{ n *node }

// Name returns the node's name, which its certificate has.
func (n Node) Name() string { return n.n.Name }

// OnLeader sends one request of a program's service to the leader, wherever it is, and again where
// that is safe. what names the request in logs. repeatable says that a repetition cannot have its
// effect twice. The error is an *Error.
func OnLeader[T any](
	ctx context.Context, c *Client, what string, repeatable bool, call func(ctx context.Context, conn grpc.ClientConnInterface) (T, error),
) (T, Node, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	resp, n, err := exchange(ctx, c, what, repeatable, false, func(ctx context.Context, n *node) (T, error) { return call(ctx, n.conn) })
	return resp, Node{n}, err
}

// OnAny sends one request that every node serves to some node, and to others if that one does not
// answer. The error is an *Error.
func OnAny[T any](ctx context.Context, c *Client, call func(ctx context.Context, conn grpc.ClientConnInterface) (T, error)) (T, Node, error) {
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (T, error) { return call(ctx, n.conn) })
	return resp, Node{n}, err
}

// KnownSize is the size of the newest checkpoint that the client knows: what a request that asks for
// a sealed answer carries as known_size.
func (c *Client) KnownSize() uint64 { return c.tracker.knownSize() }

// Receipts verifies leaves that a node shows for these indexes under a sealed checkpoint, and that
// the checkpoint is consistent with what the client knows; known is the known_size of the request.
// What the leaves say is for the caller to check. Errors: *VerificationError, *ForkError.
func (c *Client) Receipts(ctx context.Context, from Node, indexes []uint64, leaves []*cairnv1.ProvedLeaf, sealed *cairnv1.SealedCheckpoint, known uint64) ([]*Receipt, error) {
	bad := func(err error) error { return &VerificationError{What: "receipt", Node: from.Name(), Err: err} }
	if len(leaves) != len(indexes) {
		return nil, bad(errors.Newf("%d leaves for %d entries", len(leaves), len(indexes)))
	}
	cp, err := c.tracker.accept(ctx, from.n, sealed, known)
	if err != nil {
		return nil, err
	}
	receipts := make([]*Receipt, len(leaves))
	for i, l := range leaves {
		proof, err := hashes(l.GetProof())
		if err == nil {
			shown := &tlog.Receipt{Extra: l.GetLeaf(), Index: indexes[i], Proof: proof, Checkpoint: cp.Note}
			receipts[i], err = c.receiptOf(want{index: indexes[i]}, shown, cp)
		}
		if err != nil {
			return nil, bad(errors.Wrapf(err, "entry %d", indexes[i]))
		}
	}
	return receipts, nil
}
