package client

import (
	"context"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// Stream appends many batches over one connection without waiting for each: the way to load a
// ledger fast and in order. Batches enter the ledger in the order of Append, except that a batch
// that is refused, or repeated after the leader was lost, does not hold back those behind it. Safe
// for concurrent use.
type Stream struct {
	c      *Client
	ctx    context.Context
	cancel context.CancelFunc
	window chan struct{} // one token for each batch that is not answered

	mu struct {
		sync.Mutex
		queue  []*Pending // not answered, in order of Append
		nextID uint64
		closed bool // by Close: no batch comes any more
		ended  bool // the stream's goroutine has gone: nobody would answer
	}
	wake     chan struct{} // capacity 1: queue or closed changed
	finished chan struct{}
}

// Pending is a batch on its way.
type Pending struct {
	call     *pendingCall
	id       uint64
	sealed   bool
	deadline time.Time
	request  *cairnv1.AppendRequest
	floor    uint64 // size of the newest checkpoint that was known before the request was sent last

	// Owned by the stream's goroutine.
	sent  bool // on the present connection, and not answered
	maybe bool // an attempt may have had its effect

	done    chan struct{}
	outcome outcome
}

// streamWindowBatches bounds the batches of a Stream that are not answered.
const streamWindowBatches = 64

// OpenStream starts a stream of appends. It connects in the background. Close it when done; when
// ctx ends, everything that is not answered fails.
func (c *Client) OpenStream(ctx context.Context) *Stream {
	s := &Stream{c: c, window: make(chan struct{}, streamWindowBatches), wake: make(chan struct{}, 1), finished: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(ctx)
	unbind := context.AfterFunc(c.ctx, s.cancel)
	go func() {
		defer unbind()
		s.run()
	}()
	return s
}

// Append queues a batch and returns without waiting for its fate; it waits while 64 batches are on
// their way. Each batch has the client's timeout. The error is about the batch itself (too large,
// …), the context, or a closed stream.
func (s *Stream) Append(ctx context.Context, entries []Entry, opts ...AppendOption) (*Pending, error) {
	var o appendOptions
	for _, opt := range opts {
		opt(&o)
	}
	call, err := s.c.newCall(entries, o)
	if err != nil {
		return nil, err
	}
	select {
	case s.window <- struct{}{}:
	case <-ctx.Done():
		return nil, s.c.ended(ctx, true)
	case <-s.ctx.Done():
		return nil, s.over()
	}
	p := &Pending{call: call, sealed: o.sealed, deadline: time.Now().Add(s.c.opts.timeout), done: make(chan struct{})}
	p.request = &cairnv1.AppendRequest{Entries: call.entries, ExpectedSize: o.expectedSize}
	if !s.enqueue(p) {
		<-s.window
		return nil, s.over()
	}
	s.signal()
	return p, nil
}

// enqueue reports whether the stream takes the batch: if so, it will be answered.
func (s *Stream) enqueue(p *Pending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed || s.mu.ended {
		return false
	}
	s.mu.nextID++
	p.id = s.mu.nextID
	s.mu.queue = append(s.mu.queue, p)
	return true
}

// over says why the stream takes no batch.
func (s *Stream) over() *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return &Error{Reason: ReasonClosed, Message: "the stream is closed", Definite: true}
	}
	return s.c.ended(s.ctx, true)
}

func (s *Stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Wait returns the fate of the batch, as AppendBatch does. If ctx ends first the batch stays on its
// way.
func (p *Pending) Wait(ctx context.Context) ([]Appended, error) {
	select {
	case <-p.done:
		return p.outcome.appended, p.outcome.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close waits until every batch is answered, then ends the stream.
func (s *Stream) Close() {
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.signal()
	<-s.finished
	s.cancel()
}

func (s *Stream) snapshot() (queue []*Pending, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Pending(nil), s.mu.queue...), s.mu.closed
}

// answer settles a batch. Only the stream's goroutine calls it.
func (s *Stream) answer(p *Pending, a []Appended, err error) {
	s.mu.Lock()
	for i, q := range s.mu.queue {
		if q == p {
			s.mu.queue = append(s.mu.queue[:i], s.mu.queue[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	p.outcome = outcome{a, err}
	close(p.done)
	<-s.window
}

// run connects to the leader again and again until the stream is closed and everything is answered.
func (s *Stream) run() {
	defer close(s.finished)
	for attempt := 0; ; {
		s.expire()
		queue, closed := s.snapshot()
		if s.ctx.Err() != nil {
			for _, p := range s.end() {
				s.answer(p, nil, s.c.ended(s.ctx, !p.maybe))
			}
			return
		}
		switch {
		case len(queue) > 0:
			progress, hint := s.connected()
			if progress {
				attempt = 0
			}
			attempt++
			if no := s.c.nodes.hopeless(attempt); no != nil && !progress {
				s.giveUp(no)
			}
			if attempt > 1 || hint > 0 {
				s.rest(pause(attempt, hint))
			}
		case closed:
			return
		default:
			select {
			case <-s.wake:
			case <-s.ctx.Done():
			}
		}
	}
}

// expire answers the batches whose time is up. It returns how long nothing more can be due, and
// whether a node has left one of them without an answer on the present connection.
func (s *Stream) expire() (idle time.Duration, unanswered bool) {
	queue, _ := s.snapshot()
	now := time.Now()
	idle = s.c.opts.timeout // no batch that comes now is due earlier
	for _, p := range queue {
		if left := p.deadline.Sub(now); left > 0 {
			idle = min(idle, left)
			continue
		}
		unanswered = unanswered || p.sent
		ctx, cancel := context.WithDeadline(context.Background(), p.deadline)
		s.answer(p, nil, s.c.ended(ctx, !p.maybe && !p.sent))
		cancel()
	}
	return max(idle, time.Millisecond), unanswered
}

// rest waits as long as there may be something to send, and expires batches meanwhile.
func (s *Stream) rest(d time.Duration) {
	over := time.NewTimer(d)
	defer over.Stop()
	for {
		idle, _ := s.expire()
		if queue, closed := s.snapshot(); closed && len(queue) == 0 {
			return
		}
		select {
		case <-over.C:
			return
		case <-s.ctx.Done():
			return
		case <-time.After(idle):
		case <-s.wake:
		}
	}
}

// end makes Append refuse, and returns what is not answered.
func (s *Stream) end() []*Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.ended = true
	return append([]*Pending(nil), s.mu.queue...)
}

// giveUp answers everything with one error, which says that nothing more will be sent.
func (s *Stream) giveUp(e *Error) {
	queue, _ := s.snapshot()
	for _, p := range queue {
		one := *e
		one.Definite = !p.maybe
		s.answer(p, nil, &one)
	}
}

// received is what the receiving goroutine hands over.
type received struct {
	resp *cairnv1.AppendStreamResponse
	err  error
}

// connected works on one connection until it breaks, is refused by a node that does not lead, or
// has nothing left to do. It reports whether any batch was answered, and how long to wait before
// the next connection.
func (s *Stream) connected() (progress bool, retryAfter time.Duration) {
	n := s.c.nodes.forLeader()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	ctx, left := withSent(ctx)
	stream, err := n.ledger.AppendStream(ctx)
	responses := make(chan received, streamWindowBatches)
	if err == nil {
		go func() {
			for {
				resp, err := stream.Recv()
				select {
				case responses <- received{resp, err}:
				case <-ctx.Done():
					return
				}
				if err != nil {
					return
				}
			}
		}()
	} else {
		responses <- received{nil, err}
	}
	silence, due := time.NewTimer(attemptTimeout), time.NewTimer(attemptTimeout)
	defer silence.Stop()
	defer due.Stop()
	draining := false // nothing more is sent here: answers that are under way are awaited, then another leader is looked for
	for {
		idle, unanswered := s.expire()
		due.Reset(idle)
		if unanswered {
			s.c.nodes.failed(n, nil)
			draining = true
		}
		queue, closed := s.snapshot()
		outstanding := 0
		for _, p := range queue {
			if p.sent {
				outstanding++
			} else if !draining && err == nil {
				// A failed send says nothing by itself: the reason arrives at the receiver.
				p.sent = s.send(stream, p)
				outstanding++
			}
		}
		// Without a stream there is nothing to drain, but there is its error to take note of.
		if outstanding == 0 && (draining || closed) && err == nil {
			return progress, retryAfter
		}
		select {
		case r := <-responses:
			if r.err != nil {
				return s.broken(n, r.err, left.Load()) || progress, retryAfter
			}
			answered, wait := s.take(n, r.resp) // may wait for receipts, which says nothing about n
			silence.Reset(attemptTimeout)
			progress = progress || answered
			if !answered {
				draining, retryAfter = true, max(retryAfter, wait)
			}
		case <-silence.C:
			if outstanding > 0 {
				return s.broken(n, &Error{Reason: ReasonUnreachable, Message: "the node does not answer", Node: n.Name}, true) || progress, 0
			}
			silence.Reset(attemptTimeout)
		case <-due.C:
		case <-s.wake:
			if outstanding == 0 {
				silence.Reset(attemptTimeout)
			}
		case <-s.ctx.Done():
			return s.broken(n, s.ctx.Err(), true), 0
		}
	}
}

type appendStream interface {
	Send(*cairnv1.AppendStreamRequest) error
}

func (s *Stream) send(stream appendStream, p *Pending) bool {
	p.floor = s.c.tracker.knownSize()
	if p.sealed {
		p.request.Wait, p.request.KnownSize = cairnv1.Wait_WAIT_SEALED, p.floor
	}
	_ = stream.Send(&cairnv1.AppendStreamRequest{RequestId: p.id, Append: p.request})
	return true
}

// take handles one answer. It returns false if the batch must be sent again, to another node or
// later.
func (s *Stream) take(n *node, resp *cairnv1.AppendStreamResponse) (answered bool, retryAfter time.Duration) {
	queue, _ := s.snapshot()
	var p *Pending
	for _, q := range queue {
		if q.id == resp.RequestId && q.sent {
			p = q
		}
	}
	if p == nil {
		s.c.opts.logf("append stream: %s answered request %d, which is not on its way", n.Name, resp.RequestId)
		return true, 0
	}
	p.sent = false
	if r := resp.GetResponse(); r != nil {
		s.c.nodes.leads(n)
		ctx, cancel := context.WithDeadline(s.ctx, p.deadline)
		defer cancel()
		a, err := s.c.check(ctx, n, p.request, p.floor, r)
		if err == nil && p.sealed && r.Sealed == nil {
			err = s.c.receipts(ctx, n, p.request.Entries, a)
		}
		s.answer(p, a, err)
		return true, 0
	}
	e := errorFromStream(resp.GetError(), n.Name)
	if e.passing() && (e.Definite || p.call.keyed) && time.Now().Before(p.deadline) {
		p.maybe = p.maybe || !e.Definite
		s.c.opts.logf("append stream: batch %d goes again: %v", p.id, e)
		s.c.nodes.failedAppend(n, e)
		return false, e.RetryAfter
	}
	e.Definite = e.Definite && (!p.maybe || e.excludesEarlier())
	s.answer(p, nil, e)
	return true, 0
}

// broken settles what was on a connection that is lost: what can be repeated stays in the queue. It
// reports whether anything was answered.
func (s *Stream) broken(n *node, cause error, left bool) (answered bool) {
	e := n.errorFrom(cause, left)
	s.c.opts.logf("append stream to %s broke: %v", n.Name, e)
	s.c.nodes.failed(n, e.Leader)
	queue, _ := s.snapshot()
	for _, p := range queue {
		if !p.sent {
			continue
		}
		p.sent = false
		if e.Definite && e.passing() {
			continue
		}
		if !e.Definite && p.call.keyed && (e.passing() || errors.Is(cause, context.Canceled)) {
			p.maybe = true
			continue
		}
		p.maybe = p.maybe || !e.Definite
		one := *e
		one.Definite = !p.maybe
		s.answer(p, nil, &one)
		answered = true
	}
	return answered
}
