package server

import (
	"context"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
)

// appendStream is one AppendStream. Three kinds of goroutines: the handler receives and submits;
// the backend's callbacks hand results over, for which there is always room; the writer alone
// sends. A batch holds its token and its bytes from the moment it is received until its answer is
// sent, receipts included, so that a client that does not read stops being read from.
type appendStream struct {
	s      *Server
	stream grpc.BidiStreamingServer[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse]
	ctx    context.Context // of the stream; ends when the writer fails

	answers chan answer // capacity: as many as batches may be unanswered
	window  window
}

// answer is a response and what its batch holds of the window, in bytes.
type answer struct {
	resp *cairnv1.AppendStreamResponse
	cost int
}

// AppendStream implements cairnv1.LedgerServer.
func (s *Server) AppendStream(stream grpc.BidiStreamingServer[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse]) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	a := &appendStream{s: s, stream: stream, ctx: ctx, answers: make(chan answer, s.limits.StreamBatches)}
	a.window.init(s.limits.StreamBatches, s.limits.StreamBytes)
	defer context.AfterFunc(ctx, a.window.close)()

	written, stalled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		err := a.write(func() {
			s.metrics.stalled.Inc()
			cancel(refuse(codes.ResourceExhausted, ReasonSlowConsumer, fmt.Sprintf("the client did not read for %v", s.limits.SendStall)))
			close(stalled)
		})
		if err != nil {
			cancel(err)
		}
	}()
	err := a.receive()
	// The client has sent its last batch, or this node takes no more: what is under way is still
	// answered.
	answered := (err == nil || errors.Is(err, ErrStopped)) && a.window.drain()
	cancel(nil)
	select {
	case <-written:
	case <-stalled: // the writer ends when the call has
	}
	switch {
	case answered:
		return err // definite for whatever was not answered: it was never looked at
	case err == nil:
		err = context.Cause(ctx)
	}
	r := *explain(err)
	r.indefinite = true
	return &r
}

// receive takes batches until the client has no more. A stopping node refuses each batch: the
// client learns from that.
func (a *appendStream) receive() error {
	type message struct {
		req *cairnv1.AppendStreamRequest
		err error
	}
	incoming := make(chan message)
	go func() {
		for {
			req, err := a.stream.Recv()
			select {
			case incoming <- message{req, err}:
			case <-a.ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case m := <-incoming:
			if errors.Is(m.err, io.EOF) {
				return nil
			}
			if m.err != nil {
				return m.err
			}
			if err := a.take(m.req); err != nil {
				return err
			}
		case <-a.s.stopping:
			return ErrStopped
		case <-a.ctx.Done():
			return context.Cause(a.ctx)
		}
	}
}

// take submits one batch.
func (a *appendStream) take(req *cairnv1.AppendStreamRequest) error {
	cost, sealed := 0, req.GetAppend().GetWait() == cairnv1.Wait_WAIT_SEALED
	batch, err := a.s.batch(a.ctx, req.GetAppend())
	if err == nil {
		if cost = batch.Size(); sealed {
			cost += receiptBytes(len(batch.Entries), backend(a.ctx).Ledger().Head().Size)
		}
	}
	if !a.window.acquire(cost) {
		return context.Cause(a.ctx)
	}
	id := req.GetRequestId()
	if err != nil {
		a.answer(id, cost, nil, err)
		return nil
	}
	var once sync.Once
	backend(a.ctx).Submit(a.ctx, batch, func(result ledger.Result, err error) {
		once.Do(func() {
			if err == nil && result.Err == nil && sealed {
				go a.seal(id, cost, req.GetAppend(), result) // waits, which a callback must not
				return
			}
			var resp *cairnv1.AppendResponse
			if err == nil {
				resp, err = a.s.appended(a.ctx, req.GetAppend(), result)
			}
			a.answer(id, cost, resp, err)
		})
	})
	return nil
}

func (a *appendStream) seal(id uint64, cost int, req *cairnv1.AppendRequest, result ledger.Result) {
	var resp *cairnv1.AppendResponse
	var err error
	func() {
		defer a.s.recover(cairnv1.Ledger_AppendStream_FullMethodName, &err)
		resp, err = a.s.appended(a.ctx, req, result)
	}()
	a.answer(id, cost, resp, err)
}

// receiptBytes is about what the receipts of n entries take in a ledger of a size: proofs and the
// checkpoint. Their leaves are counted as entries.
func receiptBytes(n int, size uint64) int {
	return n*(64+merkle.HashSize*bits.Len64(size)) + 32<<10
}

// answer hands an answer to the writer. It never blocks: the window has room for as many answers as
// batches.
func (a *appendStream) answer(id uint64, cost int, resp *cairnv1.AppendResponse, err error) {
	out := &cairnv1.AppendStreamResponse{RequestId: id}
	if err != nil {
		var r *refusal
		if !errors.As(a.s.finish(cairnv1.Ledger_AppendStream_FullMethodName, err), &r) {
			r = refuse(codes.Internal, ReasonInternal, err.Error())
			r.indefinite = true
		}
		out.Result = &cairnv1.AppendStreamResponse_Error{Error: r.streamError()}
	} else {
		out.Result = &cairnv1.AppendStreamResponse_Response{Response: resp}
	}
	a.answers <- answer{out, cost}
}

// write sends answers until the stream is over. If one send takes longer than SendStall because the
// client does not read, it calls stalled.
func (a *appendStream) write(stalled func()) error {
	for {
		select {
		case out := <-a.answers:
			guard := time.AfterFunc(a.s.limits.SendStall, stalled)
			err := a.stream.Send(out.resp)
			if !guard.Stop() {
				return nil // the stream is over, whatever became of this answer: stalled says why
			}
			if err != nil {
				return err
			}
			a.window.sent(out.cost)
		case <-a.ctx.Done():
			return nil
		}
	}
}

// window bounds the batches of a stream whose answers are not sent, and the bytes of both.
type window struct {
	batches, bytes int

	mu   sync.Mutex
	cond sync.Cond // anything below changed
	// unsent counts batches whose answer was not sent; held is what they cost.
	unsent, held int
	closed       bool
}

func (w *window) init(batches, bytes int) {
	w.batches, w.bytes = batches, bytes
	w.cond.L = &w.mu
}

// acquire waits for room; it returns false if the window was closed.
func (w *window) acquire(cost int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && (w.unsent >= w.batches || w.held > 0 && w.held+cost > w.bytes) {
		w.cond.Wait()
	}
	if w.closed {
		return false
	}
	w.unsent++
	w.held += cost
	return true
}

func (w *window) sent(cost int) {
	w.mu.Lock()
	w.unsent--
	w.held -= cost
	w.mu.Unlock()
	w.cond.Broadcast()
}

// drain waits until everything is answered and sent; it returns false if the window was closed
// before.
func (w *window) drain() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && w.unsent > 0 {
		w.cond.Wait()
	}
	return w.unsent == 0
}

func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cond.Broadcast()
}
