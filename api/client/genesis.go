package client

import (
	"context"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// confirm compares a derived policy with the ledger's genesis, once. The policy file says who keeps
// and seals another ledger of the cluster; only the genesis says that the same nodes keep and seal
// this one. cp, shown by n, is verified with the policy.
func (t *tracker) confirm(ctx context.Context, n *node, cp *Checkpoint) error {
	if !t.unconfirmed || cp.Size == 0 {
		return nil // an empty ledger has no genesis yet
	}
	leaf, from, err := t.firstLeaf(ctx, n, cp)
	if err != nil {
		return err
	}
	g, err := ledger.GenesisOf(leaf)
	if err == nil {
		err = g.Agrees(t.c.opts.origin, t.policies.trusted)
	}
	if err != nil {
		// It may be a later policy of the ledger than that of the genesis: the chain says so.
		if known, _ := t.policies.newest(); known == nil {
			_, _ = t.learn(ctx, n)
		}
		if known, _ := t.policies.newest(); known != nil {
			err = nil
		}
	}
	if err != nil {
		return &VerificationError{What: "genesis", Node: from.Name, Err: err}
	}
	t.unconfirmed = false
	return nil
}

// firstLeaf returns the leaf of entry 0, proved under cp, and the node that gave it. It asks every
// node, n first.
func (t *tracker) firstLeaf(ctx context.Context, n *node, cp *Checkpoint) ([]byte, *node, error) {
	var away *Error // why a node did not answer
	var wrong error // what a node answered and did not prove
	var liar *node
	for _, asked := range t.c.nodes.startingWith(n) {
		leaf, err := provedFirst(ctx, asked, cp)
		var e *Error
		switch {
		case err == nil:
			return leaf, asked, nil
		case ctx.Err() != nil:
			return nil, nil, t.c.ended(ctx, false)
		case errors.As(err, &e):
			away = e
		case wrong == nil:
			wrong, liar = err, asked
		}
	}
	if wrong != nil {
		return nil, nil, &VerificationError{What: "genesis", Node: liar.Name, Err: wrong}
	}
	return nil, nil, &Error{
		Code: codes.Unavailable, Reason: away.Reason, Node: away.Node, RetryAfter: away.RetryAfter, cause: away,
		Message: "the checkpoint of the ledger could not be compared with its genesis: " + away.Message,
	}
}

// provedFirst asks one node for entry 0. The error is an *Error if the node gave no answer.
func provedFirst(ctx context.Context, n *node, cp *Checkpoint) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	got, err := n.ledger.Get(ctx, &cairnv1.GetRequest{Index: 0, Consistency: cairnv1.Consistency_CONSISTENCY_LOCAL, MinSize: cp.Size})
	if err != nil {
		return nil, errorFrom(err, n.Endpoint, true)
	}
	resp, err := n.ledger.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: 0, Size: cp.Size})
	if err != nil {
		return nil, errorFrom(err, n.Endpoint, true)
	}
	proof, err := hashes(resp.Proof)
	if err != nil {
		return nil, err
	}
	return got.Leaf, merkle.VerifyInclusion(0, cp.Size, merkle.LeafHash(got.Leaf), proof, cp.Root)
}
