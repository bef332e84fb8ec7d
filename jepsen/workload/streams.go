package workload

import (
	"context"
	"io"
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/testbed"
)

// stream shares one AppendStream to a node between many clients. It is opened when
// it is needed, and again after it broke.
type stream struct {
	conn   *testbed.Conn
	ctx    context.Context
	cancel context.CancelFunc

	mu   sync.Mutex
	open *openStream
}

type openStream struct {
	rpc interface {
		Send(*cairnv1.AppendStreamRequest) error
	}
	cancel context.CancelFunc
	sendMu sync.Mutex

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan *cairnv1.AppendStreamResponse // nil when the stream is over
	err     error
}

func newStream(c *testbed.Conn) *stream {
	s := &stream{conn: c}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *stream) close() { s.cancel() }

// current returns a stream that works, as far as is known.
func (s *stream) current() (*openStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil && s.open.works() {
		return s.open, nil
	}
	ctx, cancel := context.WithCancel(s.ctx)
	rpc, err := s.conn.Ledger.AppendStream(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	o := &openStream{rpc: rpc, cancel: cancel, waiting: map[uint64]chan *cairnv1.AppendStreamResponse{}}
	s.open = o
	go o.receive(rpc)
	return o, nil
}

func (o *openStream) works() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.waiting != nil
}

// receive hands responses to those who wait for them, until the stream is over.
func (o *openStream) receive(rpc interface {
	Recv() (*cairnv1.AppendStreamResponse, error)
}) {
	defer o.cancel()
	for {
		resp, err := rpc.Recv()
		o.mu.Lock()
		if err != nil {
			if o.err = err; errors.Is(err, io.EOF) {
				o.err = errors.New("the node ended the stream")
			}
			for _, c := range o.waiting {
				close(c)
			}
			o.waiting = nil
			o.mu.Unlock()
			return
		}
		if c, ok := o.waiting[resp.RequestId]; ok {
			delete(o.waiting, resp.RequestId)
			c <- resp
		}
		o.mu.Unlock()
	}
}

// append sends one batch and waits for its answer. Without an answer the outcome
// is unknown: what has been given to a stream may have been sent.
func (s *stream) append(ctx context.Context, req *cairnv1.AppendRequest) (*cairnv1.AppendResponse, *refusal) {
	o, err := s.current()
	if err != nil {
		r := understand(err, false)
		return nil, &r
	}
	c := make(chan *cairnv1.AppendStreamResponse, 1)
	o.mu.Lock()
	if o.waiting == nil {
		o.mu.Unlock()
		return nil, &refusal{outcome: history.Fail, reason: history.Refused}
	}
	o.next++
	id := o.next
	o.waiting[id] = c
	o.mu.Unlock()
	if err := o.send(ctx, &cairnv1.AppendStreamRequest{RequestId: id, Append: req}); err != nil {
		o.forget(id)
		return nil, &refusal{}
	}
	select {
	case resp, ok := <-c:
		switch {
		case !ok:
			return nil, o.broke()
		case resp.GetError() != nil:
			r := understandStream(resp.GetError())
			return nil, &r
		}
		return resp.GetResponse(), nil
	case <-ctx.Done():
		o.forget(id)
		return nil, &refusal{}
	}
}

// broke is what becomes of a batch whose stream is over. Whatever the node says about
// the stream, nobody knows about the batch.
func (o *openStream) broke() *refusal {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := understand(o.err, true)
	return &refusal{word: r.word, text: r.text}
}

func (o *openStream) forget(id uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.waiting, id)
}

// send waits for its turn and for the node's window. A node that reads nothing
// would hold everybody for ever: then the stream is given up.
func (o *openStream) send(ctx context.Context, req *cairnv1.AppendStreamRequest) error {
	stop := context.AfterFunc(ctx, o.cancel)
	defer stop()
	o.sendMu.Lock()
	defer o.sendMu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	return o.rpc.Send(req)
}
