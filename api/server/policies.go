package server

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger/policychain"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// chainPiece is how much of a chain of policies one message carries, in bytes.
const chainPiece = 256 << 10

// maxKeyText bounds a cosigner's key in an admin's request; no ML-DSA-44 vkey is longer.
const maxKeyText = 4096

// RotateCosigner implements cairnv1.AdminServer.
func (s *Server) RotateCosigner(ctx context.Context, req *cairnv1.RotateCosignerRequest) (*cairnv1.RotateCosignerResponse, error) {
	if len(req.GetNode()) > maxNodeName {
		return nil, ErrUnknownNode
	}
	if len(req.GetKey()) > maxKeyText {
		return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, "the key is too long for a vkey")
	}
	key, err := tlog.ParseVerifierKey(req.GetKey())
	if err != nil {
		return nil, refuse(codes.InvalidArgument, ReasonInvalidArgument, err.Error())
	}
	r, err := backend(ctx).RotateCosigner(ctx, principal(ctx), req.GetNode(), key)
	if err != nil {
		return nil, err
	}
	return &cairnv1.RotateCosignerResponse{Epoch: r.Epoch, TakenOver: r.TakenOver}, nil
}

// Policies implements cairnv1.LedgerServer.
func (s *Server) Policies(_ *cairnv1.PoliciesRequest, stream grpc.ServerStreamingServer[cairnv1.PoliciesResponse]) error {
	l := backend(stream.Context()).Ledger()
	return s.feed(stream.Context(), 0, func(_ context.Context, p *pace) error {
		chain, err := policychain.Of(l)
		if err != nil {
			return definite(err)
		}
		for file := chain.Marshal(); len(file) > 0; {
			piece := file[:min(len(file), chainPiece)]
			file = file[len(piece):]
			if err := p.send(0, func() error { return stream.Send(&cairnv1.PoliciesResponse{Chain: piece}) }); err != nil {
				return err
			}
		}
		return nil
	})
}
