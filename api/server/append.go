package server

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// Append implements cairnv1.LedgerServer.
func (s *Server) Append(ctx context.Context, req *cairnv1.AppendRequest) (*cairnv1.AppendResponse, error) {
	batch, err := s.batch(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err // nothing has happened yet
	}
	result, err := backend(ctx).Append(ctx, batch)
	if err != nil {
		return nil, err
	}
	return s.appended(ctx, req, result)
}

// batch turns a request into a batch of the caller, or says what is wrong with it.
func (s *Server) batch(ctx context.Context, req *cairnv1.AppendRequest) (ledger.Batch, error) {
	b := ledger.Batch{Principal: principal(ctx), ExpectedSize: req.ExpectedSize}
	entries := req.GetEntries()
	if len(entries) == 0 {
		return b, refuse(codes.InvalidArgument, ReasonInvalidArgument, "a batch needs at least one entry")
	}
	if len(entries) > s.limits.BatchEntries {
		return b, refuse(codes.InvalidArgument, ReasonBatchTooLarge, fmt.Sprintf("a batch has at most %d entries", s.limits.BatchEntries)).
			limit("batch entries", uint64(s.limits.BatchEntries), uint64(len(entries)), 0)
	}
	if err := checkWait(req.GetWait()); err != nil {
		return b, err
	}
	program := backend(ctx).Ledger().Program()
	b.Entries = make([]ledger.NewEntry, len(entries))
	for i, e := range entries {
		if len(e.GetKey()) > ledger.MaxKeySize {
			return b, refuse(codes.InvalidArgument, ReasonKeyTooLong, fmt.Sprintf("entry %d: a key of %d bytes, at most %d", i, len(e.GetKey()), ledger.MaxKeySize)).
				limit("key bytes", ledger.MaxKeySize, uint64(len(e.GetKey())), i)
		}
		most := ledger.MaxBody(b.Principal, len(e.GetKey()))
		outcome, err := program.MaxOutcome(ledger.KindPayload, e.GetPayload())
		if err != nil {
			return b, refuse(codes.InvalidArgument, ReasonRefused, fmt.Sprintf("entry %d: the ledger %s takes no such payload: %v", i, backend(ctx).Origin(), err))
		}
		most -= outcome // the leaf holds it, too
		if len(e.GetPayload()) > most {
			return b, refuse(codes.InvalidArgument, ReasonEntryTooLarge, fmt.Sprintf("entry %d: a payload of %d bytes, at most %d with this key and principal", i, len(e.GetPayload()), most)).
				limit("entry bytes", uint64(max(most, 0)), uint64(len(e.GetPayload())), i)
		}
		b.Entries[i] = ledger.NewEntry{Kind: ledger.KindPayload, Key: e.GetKey(), Body: e.GetPayload()}
	}
	if err := s.fits(&b); err != nil {
		return b, err
	}
	if err := b.Validate(program); err != nil {
		return b, err
	}
	return b, s.fits(&b) // now with room for the outcomes
}

func checkWait(w cairnv1.Wait) error {
	switch w {
	case cairnv1.Wait_WAIT_UNSPECIFIED, cairnv1.Wait_WAIT_COMMITTED, cairnv1.Wait_WAIT_SEALED:
		return nil
	}
	return refuse(codes.InvalidArgument, ReasonInvalidArgument, fmt.Sprintf("wait has no value %d", w))
}

// fits says whether the batch is within the limit of its bytes.
func (s *Server) fits(b *ledger.Batch) error {
	size := b.Size()
	if size <= s.limits.BatchBytes {
		return nil
	}
	return refuse(codes.InvalidArgument, ReasonBatchTooLarge, fmt.Sprintf("a batch of %d bytes, at most %d", size, s.limits.BatchBytes)).
		limit("batch bytes", uint64(s.limits.BatchBytes), uint64(size), 0)
}

// appended turns the ledger's decision into a response, and waits for the seal if that was asked
// for.
func (s *Server) appended(ctx context.Context, req *cairnv1.AppendRequest, result ledger.Result) (*cairnv1.AppendResponse, error) {
	if result.Err != nil {
		return nil, result.Err
	}
	resp := &cairnv1.AppendResponse{Indexes: result.Indexes, Size: result.Size, Time: result.Time}
	for i, duplicate := range result.Duplicate {
		if duplicate {
			resp.Duplicates = append(resp.Duplicates, uint32(i))
		}
	}
	s.metrics.entries.Add(float64(len(result.Indexes)))
	if req.GetWait() != cairnv1.Wait_WAIT_SEALED {
		return resp, nil
	}
	// From here on the batch is committed: whatever fails, the indexes are the answer.
	sealed, err := s.waitSealed(ctx, result.Indexes)
	if err == nil {
		err = s.prove(ctx, resp, req.GetKnownSize(), sealed)
	}
	if err != nil {
		s.cfg.Logf("append is committed, but there is no receipt: %v", err)
		resp.Leaves, resp.Sealed = nil, nil
	}
	return resp, nil
}

// waitSealed returns a sealed checkpoint that covers the indexes.
func (s *Server) waitSealed(ctx context.Context, indexes []uint64) (*ledger.Sealed, error) {
	size := uint64(0)
	for _, index := range indexes {
		size = max(size, index+1)
	}
	b := backend(ctx)
	l := b.Ledger()
	if sealed := l.Sealed(); sealed != nil && sealed.Size >= size {
		return sealed, nil // duplicates, most likely
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.SealWait)
	defer cancel()
	b.RequestSeal()
	return l.WaitSealed(ctx, size)
}

// prove adds leaves, proofs and checkpoint to a response.
func (s *Server) prove(ctx context.Context, resp *cairnv1.AppendResponse, known uint64, sealed *ledger.Sealed) error {
	l := backend(ctx).Ledger()
	leaves, err := leavesOf(ctx, l, resp.Indexes)
	if err != nil {
		return errors.Wrap(err, "read leaves")
	}
	prover := newBatchProver(l, sealed.Size)
	flat := make([]cairnv1.ProvedLeaf, len(leaves))
	resp.Leaves = make([]*cairnv1.ProvedLeaf, len(leaves))
	for i, index := range resp.Indexes {
		proof, err := prover.inclusion(index)
		if err != nil {
			return errors.Wrap(err, "prove inclusion")
		}
		flat[i].Leaf, flat[i].Proof = leaves[i], proof
		resp.Leaves[i] = &flat[i]
	}
	resp.Sealed, err = sealedCheckpoint(l, sealed, known)
	return err
}

// sealedCheckpoint is a checkpoint with the proof that it extends the one that the client knows.
func sealedCheckpoint(l Ledger, sealed *ledger.Sealed, known uint64) (*cairnv1.SealedCheckpoint, error) {
	out := &cairnv1.SealedCheckpoint{Note: sealed.Note, Size: sealed.Size}
	if known == 0 || known >= sealed.Size {
		return out, nil
	}
	proof, err := l.ConsistencyProof(known, sealed.Size)
	if err != nil {
		return nil, errors.Wrap(err, "prove consistency")
	}
	out.Consistency = flatten(proof)
	return out, nil
}

// leavesOf returns the leaves of indexes, which are mostly consecutive.
func leavesOf(ctx context.Context, l Ledger, indexes []uint64) ([][]byte, error) {
	out := make([][]byte, 0, len(indexes))
	for len(out) < len(indexes) {
		first, run := indexes[len(out)], 1
		for len(out)+run < len(indexes) && indexes[len(out)+run] == first+uint64(run) {
			run++
		}
		if err := ctx.Err(); err != nil {
			return nil, err // nobody waits for it any more
		}
		leaves, err := l.Leaves(first, run, run*ledger.MaxLeafSize)
		if err != nil {
			return nil, err
		}
		if len(leaves) == 0 || len(leaves) > run {
			return nil, errors.Newf("ledger returned %d leaves of %d", len(leaves), run)
		}
		out = append(out, leaves...)
	}
	return out, nil
}

// flatten concatenates hashes, as proofs are sent.
func flatten(proof []merkle.Hash) []byte {
	out := make([]byte, 0, len(proof)*merkle.HashSize)
	for i := range proof {
		out = append(out, proof[i][:]...)
	}
	return out
}
