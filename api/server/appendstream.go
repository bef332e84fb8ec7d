package server

import (
	"context"
	"io"
	"sync"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
)

// appendStream is one AppendStream. Three kinds of goroutines: the handler receives and submits; the backend's callbacks hand
// results over, for which there is always room; the writer alone sends. A batch holds its token and its bytes from the
// moment it is received until its answer is sent, so that a client that does not read stops being read from.
type appendStream struct {
	s      *Server
	stream grpc.BidiStreamingServer[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse]
	ctx    context.Context // of the stream; ends when the writer fails

	answers chan *cairnv1.AppendStreamResponse // capacity: as many as batches may be unanswered
	window  window
}

// AppendStream implements cairnv1.LedgerServer.
func (s *Server) AppendStream(stream grpc.BidiStreamingServer[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse]) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	a := &appendStream{s: s, stream: stream, ctx: ctx, answers: make(chan *cairnv1.AppendStreamResponse, s.limits.StreamBatches)}
	a.window.init(s.limits.StreamBatches, s.limits.StreamBytes)
	defer context.AfterFunc(ctx, a.window.close)()

	written := make(chan struct{})
	go func() {
		defer close(written)
		if err := a.write(); err != nil {
			cancel(err)
		}
	}()
	err := a.receive()
	// The client has sent its last batch, or this node takes no more: what is under way is still answered.
	answered := (err == nil || errors.Is(err, ErrStopped)) && a.window.drain()
	cancel(nil)
	<-written
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

// receive takes batches until the client has no more. A stopping node refuses each batch: the client learns from that.
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
	size := 0
	batch, err := a.s.batch(a.ctx, req.GetAppend())
	if err == nil {
		size = batch.Size()
	}
	if !a.window.acquire(size) {
		return context.Cause(a.ctx)
	}
	id := req.GetRequestId()
	if err != nil {
		a.answer(id, size, nil, err)
		return nil
	}
	var once sync.Once
	a.s.cfg.Backend.Submit(a.ctx, batch, func(result ledger.Result, err error) {
		once.Do(func() {
			if err == nil && result.Err == nil && req.GetAppend().GetWait() == cairnv1.Wait_WAIT_SEALED {
				go a.seal(id, size, req.GetAppend(), result) // waits, which a callback must not
				return
			}
			var resp *cairnv1.AppendResponse
			if err == nil {
				resp, err = a.s.appended(a.ctx, req.GetAppend(), result)
			}
			a.answer(id, size, resp, err)
		})
	})
	return nil
}

func (a *appendStream) seal(id uint64, size int, req *cairnv1.AppendRequest, result ledger.Result) {
	var resp *cairnv1.AppendResponse
	var err error
	func() {
		defer a.s.recover(cairnv1.Ledger_AppendStream_FullMethodName, &err)
		resp, err = a.s.appended(a.ctx, req, result)
	}()
	a.answer(id, size, resp, err)
}

// answer hands an answer to the writer. It never blocks: the window has room for as many answers as batches.
func (a *appendStream) answer(id uint64, size int, resp *cairnv1.AppendResponse, err error) {
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
	a.window.answered(size)
	a.answers <- out
}

// write sends answers until the stream is over.
func (a *appendStream) write() error {
	for {
		select {
		case out := <-a.answers:
			if err := a.stream.Send(out); err != nil {
				return err
			}
			a.window.sent()
		case <-a.ctx.Done():
			return nil
		}
	}
}

// window bounds the batches of a stream that are not answered, and their bytes.
type window struct {
	batches, bytes int

	mu   sync.Mutex
	cond sync.Cond // anything below changed
	// unsent counts batches whose answer was not sent; held, the bytes of batches that the backend has not decided.
	unsent, held int
	closed       bool
}

func (w *window) init(batches, bytes int) {
	w.batches, w.bytes = batches, bytes
	w.cond.L = &w.mu
}

// acquire waits for room; it returns false if the window was closed.
func (w *window) acquire(size int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed && (w.unsent >= w.batches || w.held > 0 && w.held+size > w.bytes) {
		w.cond.Wait()
	}
	if w.closed {
		return false
	}
	w.unsent++
	w.held += size
	return true
}

func (w *window) answered(size int) {
	w.mu.Lock()
	w.held -= size
	w.mu.Unlock()
	w.cond.Broadcast()
}

func (w *window) sent() {
	w.mu.Lock()
	w.unsent--
	w.mu.Unlock()
	w.cond.Broadcast()
}

// drain waits until everything is answered and sent; it returns false if the window was closed before.
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
