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

// duplex is a stream of requests, each a batch, that are answered as they complete. Three kinds of
// goroutines: the handler receives and submits; the backend's callbacks hand results over, for
// which there is always room; the writer alone sends. A batch holds its token and its bytes from
// the moment it is received until its answer is sent, receipts included, so that a client that does
// not read stops being read from.
type duplex[Req, Resp any] struct {
	s      *Server
	method string // full name
	stream grpc.BidiStreamingServer[Req, Resp]
	ctx    context.Context // of the stream; ends when the writer fails
	// id is the number that the client gave a request.
	id func(*Req) uint64
	// job makes a batch of a request, or says what is wrong with it.
	job func(context.Context, *Req) (job[Resp], error)
	// failed is the answer to a request that failed.
	failed func(id uint64, e *cairnv1.StreamError) *Resp

	answers chan answer[Resp] // capacity: as many as batches may be unanswered
	window  window
}

// job is a request of a stream.
type job[Resp any] struct {
	batch ledger.Batch // without entries: there is nothing to decide
	// receipts is how many the answer has.
	receipts int
	// answer makes the answer of the ledger's decision. If waits is set it gets a goroutine of its
	// own; otherwise it must not block.
	answer func(context.Context, ledger.Result) (*Resp, error)
	waits  bool
}

// answer is a response and what its batch holds of the window, in bytes.
type answer[Resp any] struct {
	resp *Resp
	cost int
}

// AppendStream implements cairnv1.LedgerServer.
func (s *Server) AppendStream(stream grpc.BidiStreamingServer[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse]) error {
	d := &duplex[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse]{
		s: s, method: cairnv1.Ledger_AppendStream_FullMethodName, stream: stream,
		id: (*cairnv1.AppendStreamRequest).GetRequestId,
		failed: func(id uint64, e *cairnv1.StreamError) *cairnv1.AppendStreamResponse {
			return &cairnv1.AppendStreamResponse{RequestId: id, Result: &cairnv1.AppendStreamResponse_Error{Error: e}}
		},
	}
	d.job = func(ctx context.Context, req *cairnv1.AppendStreamRequest) (job[cairnv1.AppendStreamResponse], error) {
		batch, err := s.batch(ctx, req.GetAppend())
		j := job[cairnv1.AppendStreamResponse]{batch: batch}
		if req.GetAppend().GetWait() == cairnv1.Wait_WAIT_SEALED {
			j.receipts, j.waits = len(batch.Entries), true
		}
		j.answer = func(ctx context.Context, r ledger.Result) (*cairnv1.AppendStreamResponse, error) {
			resp, err := s.appended(ctx, req.GetAppend(), r)
			return &cairnv1.AppendStreamResponse{RequestId: req.GetRequestId(), Result: &cairnv1.AppendStreamResponse_Response{Response: resp}}, err
		}
		return j, err
	}
	return d.serve()
}

// serve runs the stream to its end.
func (a *duplex[Req, Resp]) serve() error {
	s := a.s
	ctx, cancel := context.WithCancelCause(a.stream.Context())
	defer cancel(nil)
	a.ctx, a.answers = ctx, make(chan answer[Resp], s.limits.StreamBatches)
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
func (a *duplex[Req, Resp]) receive() error {
	type message struct {
		req *Req
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
func (a *duplex[Req, Resp]) take(req *Req) error {
	id, cost := a.id(req), 0
	j, err := a.job(a.ctx, req)
	if err == nil {
		if cost = j.batch.Size(); j.receipts > 0 {
			cost += receiptBytes(j.receipts, backend(a.ctx).Ledger().Head().Size)
		}
	}
	if !a.window.acquire(cost) {
		return context.Cause(a.ctx)
	}
	if err != nil {
		a.answer(id, cost, nil, err)
		return nil
	}
	if len(j.batch.Entries) == 0 {
		go a.decided(id, cost, &j, ledger.Result{})
		return nil
	}
	var once sync.Once
	backend(a.ctx).Submit(a.ctx, j.batch, func(result ledger.Result, err error) {
		once.Do(func() {
			switch {
			case err != nil:
				a.answer(id, cost, nil, err)
			case j.waits && result.Err == nil:
				go a.decided(id, cost, &j, result)
			default:
				a.decided(id, cost, &j, result)
			}
		})
	})
	return nil
}

// decided answers a batch that the ledger has decided.
func (a *duplex[Req, Resp]) decided(id uint64, cost int, j *job[Resp], result ledger.Result) {
	var resp *Resp
	var err error
	func() {
		defer a.s.recover(a.method, &err)
		resp, err = j.answer(a.ctx, result)
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
func (a *duplex[Req, Resp]) answer(id uint64, cost int, resp *Resp, err error) {
	if err != nil {
		var r *refusal
		if !errors.As(a.s.finish(a.method, err), &r) {
			r = refuse(codes.Internal, ReasonInternal, err.Error())
			r.indefinite = true
		}
		resp = a.failed(id, r.streamError())
	}
	a.answers <- answer[Resp]{resp, cost}
}

// write sends answers until the stream is over. If one send takes longer than SendStall because the
// client does not read, it calls stalled.
func (a *duplex[Req, Resp]) write(stalled func()) error {
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
