package server

import (
	"context"

	"github.com/cockroachdb/errors"

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
	if err := checkWait(req.GetWait()); err != nil {
		return b, err
	}
	b.Entries = make([]ledger.NewEntry, len(req.GetEntries()))
	for i, e := range req.GetEntries() {
		b.Entries[i] = ledger.NewEntry{Kind: ledger.KindPayload, Key: e.GetKey(), Body: e.GetPayload()}
	}
	return b, s.admissible(backend(ctx), &b)
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
	if req.GetWait() == cairnv1.Wait_WAIT_SEALED {
		resp.Leaves, resp.Sealed = s.receipts(ctx, backend(ctx), resp.Indexes, req.GetKnownSize())
	}
	return resp, nil
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
