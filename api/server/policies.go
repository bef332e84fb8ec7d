package server

import (
	"context"

	"google.golang.org/grpc"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger/policychain"
)

// chainPiece is how much of a chain of policies one message carries, in bytes.
const chainPiece = 256 << 10

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
