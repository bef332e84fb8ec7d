package client

import (
	"context"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/merkle"
)

// InclusionProof returns the proof that the entry at index is in the ledger of a size; 0 means the
// newest sealed size.
func (c *Client) InclusionProof(ctx context.Context, index, size uint64) (InclusionProof, error) {
	req := &cairnv1.InclusionProofRequest{Index: index, Size: size}
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.InclusionProofResponse, error) {
		return n.ledger.InclusionProof(ctx, req)
	})
	if err != nil {
		return InclusionProof{}, err
	}
	p := InclusionProof{Index: resp.Index, Size: resp.Size}
	err = firstError(
		func() (err error) { p.LeafHash, err = oneHash(resp.LeafHash); return },
		func() (err error) { p.Root, err = oneHash(resp.Root); return },
		func() (err error) { p.Hashes, err = hashes(resp.Proof); return },
		func() error {
			if p.Index != index || size != 0 && p.Size != size {
				return errors.Newf("it is about index %d and size %d", p.Index, p.Size)
			}
			return nil
		},
		func() error { return merkle.VerifyInclusion(p.Index, p.Size, p.LeafHash, p.Hashes, p.Root) },
		func() error { return c.tracker.agrees(p.Size, p.Root) },
	)
	if err != nil {
		return InclusionProof{}, &VerificationError{What: "inclusion proof", Node: n.Name, Err: err}
	}
	return p, nil
}

// ConsistencyProof returns the proof that the ledger of oldSize is a prefix of that of newSize;
// newSize 0 means the newest sealed size.
func (c *Client) ConsistencyProof(ctx context.Context, oldSize, newSize uint64) (ConsistencyProof, error) {
	req := &cairnv1.ConsistencyProofRequest{OldSize: oldSize, NewSize: newSize}
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.ConsistencyProofResponse, error) {
		return n.ledger.ConsistencyProof(ctx, req)
	})
	if err != nil {
		return ConsistencyProof{}, err
	}
	p := ConsistencyProof{OldSize: resp.OldSize, NewSize: resp.NewSize}
	err = firstError(
		func() (err error) { p.OldRoot, err = oneHash(resp.OldRoot); return },
		func() (err error) { p.NewRoot, err = oneHash(resp.NewRoot); return },
		func() (err error) { p.Hashes, err = hashes(resp.Proof); return },
		func() error {
			if p.OldSize != oldSize || newSize != 0 && p.NewSize != newSize {
				return errors.Newf("it is about sizes %d and %d", p.OldSize, p.NewSize)
			}
			return nil
		},
		func() error { return verifyConsistency(p) },
		func() error { return c.tracker.agrees(p.OldSize, p.OldRoot) },
		func() error { return c.tracker.agrees(p.NewSize, p.NewRoot) },
	)
	if err != nil {
		return ConsistencyProof{}, &VerificationError{What: "consistency proof", Node: n.Name, Err: err}
	}
	return p, nil
}

func verifyConsistency(p ConsistencyProof) error {
	if p.OldSize == 0 {
		if len(p.Hashes) != 0 || p.OldRoot != merkle.EmptyRoot() {
			return errors.New("a proof from the empty ledger must be empty")
		}
		return nil
	}
	return merkle.VerifyConsistency(p.OldSize, p.NewSize, p.Hashes, p.OldRoot, p.NewRoot)
}

// agrees checks a node's root against the checkpoint of that size, if one was seen.
func (t *tracker) agrees(size uint64, root merkle.Hash) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.mu.roots[size]; ok && known != root {
		return errors.Newf("root %s for size %d contradicts the sealed checkpoint's %s", root, size, known)
	}
	return nil
}

func oneHash(b []byte) (merkle.Hash, error) {
	var h merkle.Hash
	if len(b) != merkle.HashSize {
		return h, errors.Newf("a hash of %d bytes", len(b))
	}
	copy(h[:], b)
	return h, nil
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
