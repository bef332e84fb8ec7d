package server

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// Range implements cairnv1.LedgerServer.
func (s *Server) Range(req *cairnv1.RangeRequest, stream grpc.ServerStreamingServer[cairnv1.RangeResponse]) error {
	if err := s.freshen(stream.Context(), req.GetConsistency(), req.GetMinSize()); err != nil {
		return definite(err)
	}
	l := backend(stream.Context()).Ledger()
	first, size := req.GetFirst(), l.Head().Size
	if first > size {
		return &ledger.NotFoundError{Index: first, Size: size}
	}
	end := size
	if limit := req.GetLimit(); limit != 0 && limit < size-first {
		end = first + limit
	}
	return s.feed(stream.Context(), first, func(ctx context.Context, p *pace) error {
		for next := first; ; {
			resp := &cairnv1.RangeResponse{First: next, Size: size}
			if next < end {
				var err error
				began := s.cfg.Stages.Now()
				if resp.Leaves, err = l.Leaves(next, int(min(end-next, uint64(s.limits.RangeEntries))), s.limits.RangeBytes); err != nil {
					return definite(err)
				}
				s.cfg.Stages.Since(stages.Range, began)
			}
			next += uint64(len(resp.Leaves))
			if err := p.send(next, func() error { return stream.Send(resp) }); err != nil {
				return err
			}
			if next >= end {
				return nil
			}
		}
	})
}

// Watch implements cairnv1.LedgerServer.
func (s *Server) Watch(req *cairnv1.WatchRequest, stream grpc.ServerStreamingServer[cairnv1.WatchResponse]) error {
	next := req.GetFrom()
	if next >= merkle.MaxSize {
		return outOfRange("index %d: no ledger is that large", next)
	}
	who := principal(stream.Context())
	if err := s.watches.enter(who); err != nil {
		return err
	}
	defer s.watches.leave(who)
	b := backend(stream.Context())
	l := b.Ledger()
	return s.feed(stream.Context(), next, func(ctx context.Context, p *pace) error {
		var alone time.Time // since when no leader is known
		for {
			resp := &cairnv1.WatchResponse{First: next, Size: l.Head().Size}
			if next < resp.Size {
				var err error
				// The ledger grows meanwhile: no entry beyond the size that the message names.
				most := int(min(uint64(s.limits.RangeEntries), resp.Size-next))
				if resp.Leaves, err = l.Leaves(next, most, s.limits.RangeBytes); err != nil {
					return definite(err)
				}
			}
			next += uint64(len(resp.Leaves))
			if err := p.send(next, func() error { return stream.Send(resp) }); err != nil {
				return err
			}
			idle, cancel := context.WithTimeout(ctx, s.limits.WatchAlive)
			err := l.WaitSize(idle, next+1)
			cancel()
			if err == nil {
				alone = time.Time{}
				continue
			}
			if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
				return definite(err)
			}
			switch {
			case b.Status().LeaderName != "":
				alone = time.Time{}
			case alone.IsZero():
				alone = time.Now()
			case time.Since(alone) > s.limits.WatchAlone:
				// The others may have gone on without this node: the client must not wait here for
				// ever.
				return refuse(codes.Unavailable, ReasonNoLeader, fmt.Sprintf("this node has known no leader for %v", s.limits.WatchAlone)).resume(next)
			}
		}
	})
}

// pace tells a stream's guard what the stream is doing.
type pace struct {
	started chan struct{} // a send begins; unbuffered
	ended   chan uint64   // it ended, and everything below this index is sent
	gone    <-chan struct{}
}

// send runs one send under the guard's eyes.
func (p *pace) send(next uint64, f func() error) error {
	select {
	case p.started <- struct{}{}:
	case <-p.gone:
		return context.Canceled
	}
	err := f()
	select {
	case p.ended <- next:
	case <-p.gone:
	}
	return err
}

// feed runs a stream that only sends, in a goroutine, and guards it: if one send takes longer than
// SendStall because the client does not read, or if the node stops, the call ends at once and says
// where to resume. What the client has not read is at most its window and one message, so slow
// clients cost no memory.
func (s *Server) feed(ctx context.Context, next uint64, run func(context.Context, *pace) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &pace{started: make(chan struct{}), ended: make(chan uint64), gone: ctx.Done()}
	result := make(chan error, 1)
	go func() {
		var err error
		defer func() { result <- err }()
		defer s.recover("stream", &err)
		err = run(ctx, p)
	}()
	stall := time.NewTimer(time.Hour)
	stall.Stop()
	defer stall.Stop()
	for {
		select {
		case <-p.started:
			stall.Reset(s.limits.SendStall)
		case next = <-p.ended:
			stall.Stop()
		case err := <-result:
			return err
		case <-stall.C:
			s.metrics.stalled.Inc()
			return refuse(codes.ResourceExhausted, ReasonSlowConsumer,
				fmt.Sprintf("the client did not read for %v; resume with index %d", s.limits.SendStall, next)).resume(next)
		case <-s.stopping:
			return refuse(codes.Unavailable, ReasonStopping, "the node is stopping").resume(next)
		}
	}
}
