package server

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/proof"
)

// ProveAccount implements cairnv1.SettlementServer.
func (s *Server) ProveAccount(ctx context.Context, req *cairnv1.ProveAccountRequest) (*cairnv1.ProveAccountResponse, error) {
	b, err := s.books(ctx, nil)
	if err != nil {
		return nil, definite(err)
	}
	id := req.GetAccount()
	if err := settlement.CheckID(id); err != nil {
		return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, err.Error())
	}
	if err := b.mine(id); err != nil {
		return nil, definite(err)
	}
	p, err := b.accountProof(req.GetAtSize(), id)
	if err != nil {
		return nil, definite(err)
	}
	receipts, err := s.sealedReceipts(ctx, p.Index)
	if err != nil {
		return nil, err
	}
	file := proof.Account{ID: id, Map: p.Proof, Root: receipts[0]}
	if p.Present {
		file.Record = p.Record
	}
	return &cairnv1.ProveAccountResponse{Proof: file.Marshal(), Size: p.Index + 1}, nil
}

// accountProof returns what the map says about an account as of a size; 0 is the newest.
func (b *bookkeeping) accountProof(size uint64, id string) (*ledger.AccountProof, error) {
	var p *ledger.AccountProof
	var err error
	if size == 0 {
		p, err = b.l.NewestMapProof([]byte(id))
	} else {
		p, err = b.l.MapProof(size, []byte(id))
	}
	switch {
	case errors.Is(err, ledger.ErrNoMapRoot):
		return nil, refuse(codes.NotFound, ReasonUnknownID, fmt.Sprintf("no account was opened below size %d", max(size, b.state.Size())))
	case errors.Is(err, ledger.ErrStateGone):
		return nil, notKept(b.l, size)
	}
	return p, err
}

// ProveTransfer implements cairnv1.SettlementServer.
func (s *Server) ProveTransfer(ctx context.Context, req *cairnv1.ProveTransferRequest) (*cairnv1.ProveTransferResponse, error) {
	b, err := s.books(ctx, nil)
	if err != nil {
		return nil, definite(err)
	}
	id := req.GetId()
	if _, err := b.transfer(id, false); err != nil {
		return nil, definite(err)
	}
	state, err := settlement.ReadTransfer(b.state, id)
	if err != nil {
		return nil, definite(err)
	}
	indexes := []uint64{state.Index}
	if state.Resolved != state.Index {
		indexes = append(indexes, state.Resolved)
	}
	for _, index := range indexes {
		if err := b.mayShow(index); err != nil {
			return nil, definite(err)
		}
	}
	receipts, err := s.sealedReceipts(ctx, indexes...)
	if err != nil {
		return nil, err
	}
	file := proof.Transfer{ID: id, Asked: receipts[0]}
	if file.Details, err = b.proofDetails(receipts); err != nil {
		return nil, definite(err)
	}
	if len(receipts) > 1 {
		file.Resolution = receipts[1]
	}
	return &cairnv1.ProveTransferResponse{Proof: file.Marshal()}, nil
}

// ProveInstruction implements cairnv1.SettlementServer.
func (s *Server) ProveInstruction(ctx context.Context, req *cairnv1.ProveInstructionRequest) (*cairnv1.ProveInstructionResponse, error) {
	b, err := s.books(ctx, nil)
	if err != nil {
		return nil, definite(err)
	}
	id := req.GetId()
	state, err := settlement.ReadInstruction(b.state, id)
	if errors.Is(err, settlement.ErrUnknown) {
		return nil, unknown("instruction", id, b.state.Size())
	}
	if err != nil {
		return nil, definite(err)
	}
	if m, err := b.instruction(state); err != nil || m == nil {
		if err == nil {
			err = unknown("instruction", id, b.state.Size())
		}
		return nil, definite(err)
	}
	if err := b.mayShow(state.Index); err != nil {
		return nil, definite(err)
	}
	indexes := []uint64{state.Index}
	var match, last bool
	if i := state.Instruction; i != nil && i.Match != "" {
		other, err := settlement.ReadInstruction(b.state, i.Match)
		if err != nil {
			return nil, definite(err)
		}
		if match = b.mayShow(other.Index) == nil; match {
			indexes = append(indexes, other.Index)
		}
	}
	if state.Status.Final() && state.Status != settlement.Rejected {
		if last = b.mayShow(state.Resolved) == nil; last {
			indexes = append(indexes, state.Resolved)
		}
	}
	receipts, err := s.sealedReceipts(ctx, indexes...)
	if err != nil {
		return nil, err
	}
	file := proof.Instruction{ID: id, Given: receipts[0]}
	if file.Details, err = b.proofDetails(receipts); err != nil {
		return nil, definite(err)
	}
	if match {
		file.Match = receipts[1]
	}
	if last {
		file.Last = receipts[len(receipts)-1]
	}
	return &cairnv1.ProveInstructionResponse{Proof: file.Marshal()}, nil
}

// mayShow refuses to show the whole of an entry to a caller who may not read all that it touched.
func (b *bookkeeping) mayShow(index uint64) error {
	leaf, err := b.l.Leaf(index)
	if err != nil {
		return err
	}
	d, err := settlement.ParseLeaf(index, leaf)
	if err != nil {
		return err
	}
	open, err := b.mayRead(d)
	if err == nil && !open {
		err = refuse(codes.PermissionDenied, ReasonPermissionDenied, fmt.Sprintf("entry %d touched accounts that %s does not own: a reader or an operator may have its proof", index, b.who))
	}
	return err
}

// mayRead reports whether the caller may read all of an entry: the caller's own command, or one that
// touched no account of others.
func (b *bookkeeping) mayRead(d *settlement.Decided) (bool, error) {
	if b.all || d.Entry.Principal == b.who {
		return true, nil
	}
	for i := range d.Outcome.Touched {
		if ok, err := b.sees(d.Outcome.Touched[i].Account); err != nil || !ok {
			return false, err
		}
	}
	return len(d.Outcome.Touched) > 0, nil
}

// proofDetails returns what a file with these receipts shows of accounts: those that the caller may
// read.
func (b *bookkeeping) proofDetails(receipts []*tlog.Receipt) (list []proof.Detail, err error) {
	for part, r := range receipts {
		d, err := settlement.ParseLeaf(r.Index, r.Extra)
		if err != nil {
			return nil, err
		}
		details, err := b.details(d)
		if err != nil {
			return nil, err
		}
		for i := range details {
			list = append(list, proof.Detail{Part: part, Bytes: details[i].Append(nil)})
		}
	}
	return list, nil
}

// sealedReceipts waits until the entries are sealed, and returns their receipts under one checkpoint.
func (s *Server) sealedReceipts(ctx context.Context, indexes ...uint64) ([]*tlog.Receipt, error) {
	l := backend(ctx).Ledger()
	sealed, err := s.waitSealed(ctx, backend(ctx), indexes)
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil, refuse(codes.Unavailable, ReasonNotSealed, fmt.Sprintf("entry %d is committed, but no checkpoint covers it yet", indexes[len(indexes)-1]))
		}
		return nil, definite(err)
	}
	receipts := make([]*tlog.Receipt, len(indexes))
	for i, index := range indexes {
		leaf, err := l.Leaf(index)
		if err != nil {
			return nil, definite(err)
		}
		path, err := l.InclusionProof(index, sealed.Size)
		if err != nil {
			return nil, definite(err)
		}
		receipts[i] = &tlog.Receipt{Extra: leaf, Index: index, Proof: path, Checkpoint: sealed.Note}
	}
	return receipts, nil
}
