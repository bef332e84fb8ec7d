package server

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// blocksMessageBytes closes a message of Blocks; a larger single record travels alone.
const blocksMessageBytes = 256 << 10

// Blocks implements cairnv1.ReplicaServer. All callers together get Limits.BlocksBytes a second, and
// those that are no members, who make backups, half of it: a member that lacks blocks does not wait
// for them.
func (s *Server) Blocks(req *cairnv1.BlocksRequest, stream grpc.ServerStreamingServer[cairnv1.BlocksResponse]) error {
	l := backend(stream.Context()).Ledger()
	first, end, under := req.GetFirst(), l.Head().Size, req.GetProofSize()
	if under > end || first > end {
		return definite(&ledger.NotFoundError{Index: max(first, under), Size: end})
	}
	if under > 0 {
		end = under
	}
	left := req.GetBlocks()
	return s.feed(stream.Context(), first, func(ctx context.Context, p *pace) error {
		for next := first; next < end; {
			resp := &cairnv1.BlocksResponse{}
			bytes := 0
			for next < end && bytes < blocksMessageBytes {
				b, err := l.BlockAt(next)
				if err != nil {
					return definite(err)
				}
				if b.End() > end { // the block in which the size lies
					end = next
					break
				}
				if bytes += len(b.Encoded); len(resp.Records) > 0 && bytes > blocksMessageBytes {
					break
				}
				resp.Records = append(resp.Records, b.Encoded)
				next = b.End()
				if left--; left == 0 {
					end = next
				}
			}
			if len(resp.Records) == 0 {
				return nil
			}
			if under > 0 {
				proof, err := l.ConsistencyProof(next, under)
				if err != nil {
					return definite(err)
				}
				resp.Proof = merkle.AppendTile(nil, proof)
			}
			if !s.cfg.Member(principal(ctx)) {
				if err := s.clientBlocks.spend(ctx, bytes); err != nil {
					return definite(err)
				}
			}
			if err := s.blocks.spend(ctx, bytes); err != nil {
				return definite(err)
			}
			if err := p.send(next, func() error { return stream.Send(resp) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// Sealed implements cairnv1.ReplicaServer.
func (s *Server) Sealed(ctx context.Context, req *cairnv1.SealedRequest) (*cairnv1.SealedResponse, error) {
	l := backend(ctx).Ledger()
	sealed, head, size := l.Sealed(), l.Head(), req.GetSize()
	if size > head.Size {
		return nil, definite(&ledger.NotFoundError{Index: size, Size: head.Size})
	}
	resp := &cairnv1.SealedResponse{RaftIndex: head.RaftIndex, Size: head.Size}
	if sealed == nil {
		return resp, nil
	}
	resp.Sealed = &cairnv1.SealedCheckpoint{Note: sealed.Note, Size: sealed.Size}
	if size > 0 {
		proof, err := l.ConsistencyProof(min(size, sealed.Size), max(size, sealed.Size))
		if err != nil {
			return nil, definite(err)
		}
		resp.Sealed.Consistency = merkle.AppendTile(nil, proof)
	}
	return resp, nil
}

// allowance lets bytes go at a rate. Whoever comes while others wait gets his turn after theirs.
type allowance struct {
	rate int // bytes a second
	mu   sync.Mutex
	next time.Time // when what was granted is used up
}

// spend waits until n more bytes may go.
func (a *allowance) spend(ctx context.Context, n int) error {
	a.mu.Lock()
	now := time.Now()
	if a.next.Before(now) {
		a.next = now
	}
	wait := a.next.Sub(now)
	a.next = a.next.Add(time.Duration(float64(n) / float64(a.rate) * float64(time.Second)))
	a.mu.Unlock()
	if wait == 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
