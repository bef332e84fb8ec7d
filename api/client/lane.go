package client

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
)

// lane batches appends that wait for the same thing. While its requests are in flight, calls queue
// up; when one returns, whatever waits becomes the next request. So a lone caller never waits, and
// under load requests grow by themselves.
//
// A small request costs client and nodes nearly as much as one with ten times as many calls. Callers
// that append in a loop come back when their request returns, so two requests that carry half of
// them each would stay two for ever. Two rules make one of them: what waits while enough calls are in
// flight is left for the request that leaves when they return (gathers), and before that one leaves,
// the callers who were just answered may run.
type lane struct {
	c    *Client
	wait bool // requests wait for the seal

	mu struct {
		sync.Mutex
		queue    []*pendingCall // in order of arrival
		bytes    int            // of the calls in the queue
		inFlight int            // calls that the senders have taken and not answered
		// senders are goroutines that send, at most opts.inFlight. Invariant: there is one if calls
		// wait in the queue.
		senders int
	}
}

// What waits is left for the next request while fewCalls or more are in flight, and while its size is
// below smallRequest, in bytes. Fewer calls in flight hold nobody up: there is little to gain, and a
// caller who comes at any time would wait for half a round trip. Larger requests overlap, so that
// client and nodes work at the same time.
const (
	fewCalls     = 4
	smallRequest = 4 << 10
)

// gathers reports whether what waits is left for the request that leaves when those in flight return.
// Receipts take so long that they are not kept waiting. mu is held.
func (l *lane) gathers() bool {
	return !l.wait && l.mu.inFlight >= fewCalls && l.mu.bytes < smallRequest
}

// pendingCall is one caller's append.
type pendingCall struct {
	ctx          context.Context
	entries      []*cairnv1.NewEntry
	bytes        int
	keyed        bool // every entry has a key
	expectedSize *uint64
	done         chan outcome // capacity 1, written once

	// state decides between the caller who gives up and the sender who takes the call: whoever
	// moves it from waiting wins.
	state atomic.Int32
}

const (
	callWaiting int32 = iota
	callTaken
	callAbandoned
)

type outcome struct {
	appended []Appended
	err      error
}

// abandon gives the call up and reports whether it had not been sent.
func (p *pendingCall) abandon() bool { return p.state.CompareAndSwap(callWaiting, callAbandoned) }

func (p *pendingCall) take() bool { return p.state.CompareAndSwap(callWaiting, callTaken) }

func (p *pendingCall) finish(a []Appended, err error) { p.done <- outcome{a, err} }

func (l *lane) submit(call *pendingCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.queue = append(l.mu.queue, call)
	l.mu.bytes += call.bytes
	if l.mu.senders < l.c.opts.inFlight && !l.gathers() {
		l.mu.senders++
		go l.run()
	}
}

// run sends until nothing waits that another sender will not send.
func (l *lane) run() {
	for calls := l.next(0); calls != nil; {
		l.c.deliver(calls, l.wait, false)
		runtime.Gosched() // to those who were answered: what they append now leaves with the rest
		calls = l.next(len(calls))
	}
}

// next takes as many waiting calls as fit one request, for a sender whose last one has answered so
// many. It returns nil, and the sender must stop, if there are none, or if they are left to another
// sender.
func (l *lane) next(answered int) []*pendingCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.inFlight -= answered
	if l.gathers() {
		l.mu.senders--
		return nil
	}
	var calls []*pendingCall
	entries, bytes, used := 0, 0, 0
	for _, call := range l.mu.queue {
		if len(calls) > 0 && (entries+len(call.entries) > maxBatchEntries || bytes+call.bytes > ledger.MaxBatchSize) {
			break
		}
		used++
		l.mu.bytes -= call.bytes
		if !call.take() {
			continue
		}
		calls = append(calls, call)
		entries, bytes = entries+len(call.entries), bytes+call.bytes
	}
	l.mu.queue = append(l.mu.queue[:0:0], l.mu.queue[used:]...)
	l.mu.inFlight += len(calls)
	if len(calls) == 0 {
		l.mu.senders--
	}
	return calls
}

// sendCalls takes and delivers calls in a goroutine of their own.
func (c *Client) sendCalls(calls []*pendingCall, wait, maybe bool) {
	for _, call := range calls {
		if !call.take() {
			return
		}
	}
	go c.deliver(calls, wait, maybe)
}

// deliver sends calls as one request and answers each of them exactly once.
func (c *Client) deliver(calls []*pendingCall, wait, maybe bool) {
	ctx, cancel := c.together(calls)
	defer cancel()
	req := &cairnv1.AppendRequest{ExpectedSize: calls[0].expectedSize}
	keyed := true
	for _, call := range calls {
		req.Entries = append(req.Entries, call.entries...)
		keyed = keyed && call.keyed
	}
	if wait {
		req.Wait, req.KnownSize = cairnv1.Wait_WAIT_SEALED, c.tracker.knownSize()
	}
	floor := c.tracker.knownSize()
	resp, n, err := exchange(ctx, c, "append", keyed, maybe, func(ctx context.Context, n *node) (*cairnv1.AppendResponse, error) {
		return n.ledger.Append(ctx, req)
	})
	if err != nil {
		c.failed(calls, wait, maybe, err)
		return
	}
	all, err := c.check(ctx, n, req, floor, resp)
	if err != nil {
		finishAll(calls, err)
		return
	}
	var late error
	if wait && resp.Sealed == nil {
		late = c.receipts(ctx, n, req.Entries, all)
	}
	for _, call := range calls {
		call.finish(all[:len(call.entries):len(call.entries)], late)
		all = all[len(call.entries):]
	}
}

// failed deals with a request that failed as a whole, so that calls share a request but not a fate.
func (c *Client) failed(calls []*pendingCall, wait, maybe bool, err error) {
	var e *Error
	if !errors.As(err, &e) || len(calls) == 1 {
		finishAll(calls, err)
		return
	}
	switch {
	case e.Definite && !e.passing():
		// One of them is to blame; halving finds it in few requests.
		half := len(calls) / 2
		c.deliver(calls[:half], wait, maybe)
		c.deliver(calls[half:], wait, maybe)
	case !e.Definite && e.passing():
		var again []*pendingCall
		for _, call := range calls {
			if call.keyed && call.ctx.Err() == nil {
				again = append(again, call)
			} else {
				call.finish(nil, err)
			}
		}
		if len(again) == len(calls) {
			finishAll(calls, err) // exchange has repeated what could be repeated
		} else if len(again) > 0 {
			c.deliver(again, wait, true)
		}
	default:
		finishAll(calls, err)
	}
}

func finishAll(calls []*pendingCall, err error) {
	for _, call := range calls {
		call.finish(nil, err)
	}
}

// together gives a context that lives as long as anyone of the callers waits.
func (c *Client) together(calls []*pendingCall) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.ctx)
	var waiting atomic.Int64
	waiting.Store(int64(len(calls)))
	stops := make([]func() bool, len(calls))
	for i, call := range calls {
		stops[i] = context.AfterFunc(call.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
