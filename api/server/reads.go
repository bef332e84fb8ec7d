package server

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// freshen makes sure that what the node has applied is fresh enough to answer.
func (s *Server) freshen(ctx context.Context, c cairnv1.Consistency, minSize uint64) error {
	switch c {
	case cairnv1.Consistency_CONSISTENCY_UNSPECIFIED, cairnv1.Consistency_CONSISTENCY_LINEARIZABLE:
		return backend(ctx).ReadBarrier(ctx)
	case cairnv1.Consistency_CONSISTENCY_LOCAL:
		return s.caughtUp(ctx, minSize)
	}
	return refuse(codes.InvalidArgument, ReasonInvalidArgument, fmt.Sprintf("consistency has no value %d", c))
}

// caughtUp waits a little for a size that the client has seen elsewhere.
func (s *Server) caughtUp(ctx context.Context, size uint64) error {
	l := backend(ctx).Ledger()
	if l.Head().Size >= size {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, s.limits.BehindWait)
	defer cancel()
	err := l.WaitSize(wait, size)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return refuse(codes.Unavailable, ReasonBehind, fmt.Sprintf("this node has %d entries, not yet %d", l.Head().Size, size))
	}
	return err
}

// reach makes sure that a size exists here if it exists at all.
func (s *Server) reach(ctx context.Context, size uint64) error {
	l := backend(ctx).Ledger()
	if size > merkle.MaxSize {
		return outOfRange("size %d: no ledger is that large", size)
	}
	if l.Head().Size >= size {
		return nil
	}
	if err := backend(ctx).ReadBarrier(ctx); err != nil {
		return err
	}
	if have := l.Head().Size; have < size {
		return &ledger.NotFoundError{Index: size, Size: have}
	}
	return nil
}

// reachIndex is reach for the size at which an index exists.
func (s *Server) reachIndex(ctx context.Context, index uint64) error {
	err := s.reach(ctx, index+1)
	var missing *ledger.NotFoundError
	if errors.As(err, &missing) {
		return &ledger.NotFoundError{Index: index, Size: missing.Size}
	}
	return err
}

func outOfRange(format string, args ...any) error {
	return refuse(codes.OutOfRange, ReasonOutOfRange, fmt.Sprintf(format, args...))
}

// Get implements cairnv1.LedgerServer.
func (s *Server) Get(ctx context.Context, req *cairnv1.GetRequest) (*cairnv1.GetResponse, error) {
	l := backend(ctx).Ledger()
	index := req.GetIndex()
	if err := mayRead(ctx, cairnv1.Ledger_Get_FullMethodName, index); err != nil {
		return nil, err
	}
	// An entry that is here is final: only its absence needs an up-to-date node.
	if index >= l.Head().Size {
		if err := s.freshen(ctx, req.GetConsistency(), req.GetMinSize()); err != nil {
			return nil, definite(err)
		}
	}
	leaf, err := l.Leaf(index)
	if err != nil {
		return nil, definite(err)
	}
	return &cairnv1.GetResponse{Index: index, Leaf: leaf, Size: l.Head().Size}, nil
}

// Head implements cairnv1.LedgerServer.
func (s *Server) Head(ctx context.Context, req *cairnv1.HeadRequest) (*cairnv1.HeadResponse, error) {
	if err := s.freshen(ctx, req.GetConsistency(), req.GetMinSize()); err != nil {
		return nil, definite(err)
	}
	b := backend(ctx)
	h, st := b.Ledger().Head(), b.Status()
	return &cairnv1.HeadResponse{Size: h.Size, Root: h.Root[:], Time: h.Time, Node: st.Node, Leader: st.LeaderName, Term: st.Term}, nil
}

// Checkpoint implements cairnv1.LedgerServer.
func (s *Server) Checkpoint(ctx context.Context, req *cairnv1.CheckpointRequest) (*cairnv1.CheckpointResponse, error) {
	l := backend(ctx).Ledger()
	sealed := l.Sealed()
	if sealed == nil {
		return nil, ledger.ErrNotSealed
	}
	out, err := sealedCheckpoint(l, sealed, req.GetKnownSize())
	if err != nil {
		return nil, definite(err)
	}
	return &cairnv1.CheckpointResponse{Sealed: out}, nil
}

// sealedSize is the size that 0 stands for in proof requests.
func sealedSize(l Ledger) (uint64, error) {
	sealed := l.Sealed()
	if sealed == nil {
		return 0, ledger.ErrNotSealed
	}
	return sealed.Size, nil
}

// InclusionProof implements cairnv1.LedgerServer.
func (s *Server) InclusionProof(ctx context.Context, req *cairnv1.InclusionProofRequest) (*cairnv1.InclusionProofResponse, error) {
	l, index, size := backend(ctx).Ledger(), req.GetIndex(), req.GetSize()
	if err := mayRead(ctx, cairnv1.Ledger_InclusionProof_FullMethodName, index); err != nil {
		return nil, err
	}
	if index >= merkle.MaxSize {
		return nil, outOfRange("index %d: no ledger is that large", index)
	}
	if size == 0 {
		if err := s.reachIndex(ctx, index); err != nil {
			return nil, definite(err)
		}
		var err error
		if size, err = sealedSize(l); err != nil {
			return nil, err
		}
		if index >= size {
			return nil, ledger.ErrNotSealed
		}
	}
	if index >= size {
		return nil, outOfRange("index %d is not in a ledger of size %d", index, size)
	}
	if err := s.reach(ctx, size); err != nil {
		return nil, definite(err)
	}
	defer s.cfg.Stages.Since(stages.Proof, s.cfg.Stages.Now())
	resp := &cairnv1.InclusionProofResponse{Index: index, Size: size}
	leaf, err := l.Leaf(index)
	if err != nil {
		return nil, definite(err)
	}
	proof, err := l.InclusionProof(index, size)
	if err != nil {
		return nil, definite(err)
	}
	root, err := l.RootAt(size)
	if err != nil {
		return nil, definite(err)
	}
	hash := merkle.LeafHash(leaf)
	resp.LeafHash, resp.Proof, resp.Root = hash[:], flatten(proof), root[:]
	return resp, nil
}

// ConsistencyProof implements cairnv1.LedgerServer.
func (s *Server) ConsistencyProof(ctx context.Context, req *cairnv1.ConsistencyProofRequest) (*cairnv1.ConsistencyProofResponse, error) {
	l, oldSize, newSize := backend(ctx).Ledger(), req.GetOldSize(), req.GetNewSize()
	if newSize == 0 {
		var err error
		if newSize, err = sealedSize(l); err != nil {
			return nil, err
		}
	}
	if oldSize > newSize {
		return nil, outOfRange("a ledger of size %d is no prefix of one of size %d", oldSize, newSize)
	}
	if err := s.reach(ctx, newSize); err != nil {
		return nil, definite(err)
	}
	oldRoot, err := l.RootAt(oldSize)
	if err != nil {
		return nil, definite(err)
	}
	newRoot, err := l.RootAt(newSize)
	if err != nil {
		return nil, definite(err)
	}
	proof, err := l.ConsistencyProof(oldSize, newSize)
	if err != nil {
		return nil, definite(err)
	}
	return &cairnv1.ConsistencyProofResponse{
		OldSize: oldSize, NewSize: newSize, Proof: flatten(proof), OldRoot: oldRoot[:], NewRoot: newRoot[:],
	}, nil
}

// Receipt implements cairnv1.LedgerServer.
func (s *Server) Receipt(ctx context.Context, req *cairnv1.ReceiptRequest) (*cairnv1.ReceiptResponse, error) {
	index := req.GetIndex()
	if err := mayRead(ctx, cairnv1.Ledger_Receipt_FullMethodName, index); err != nil {
		return nil, err
	}
	if index >= merkle.MaxSize {
		return nil, outOfRange("index %d: no ledger is that large", index)
	}
	if err := s.reachIndex(ctx, index); err != nil {
		return nil, definite(err)
	}
	l := backend(ctx).Ledger()
	sealed := l.Sealed()
	if sealed == nil || index >= sealed.Size {
		if !req.GetWait() {
			return nil, ledger.ErrNotSealed
		}
		var err error
		if sealed, err = s.waitSealed(ctx, backend(ctx), []uint64{index}); err != nil {
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				return nil, refuse(codes.Unavailable, ReasonNotSealed, fmt.Sprintf("entry %d is committed, but no checkpoint covers it yet", index))
			}
			return nil, definite(err)
		}
	}
	defer s.cfg.Stages.Since(stages.Proof, s.cfg.Stages.Now())
	leaf, err := l.Leaf(index)
	if err != nil {
		return nil, definite(err)
	}
	proof, err := l.InclusionProof(index, sealed.Size)
	if err != nil {
		return nil, definite(err)
	}
	receipt := tlog.Receipt{Extra: leaf, Index: index, Proof: proof, Checkpoint: sealed.Note}
	out, err := sealedCheckpoint(l, sealed, req.GetKnownSize())
	if err != nil {
		return nil, definite(err)
	}
	return &cairnv1.ReceiptResponse{Receipt: receipt.Marshal(), Sealed: out}, nil
}
