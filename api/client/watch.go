package client

import (
	"context"
	"io"
	"math"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// watchSilence is how long a watched node may be silent, signs of life included, before another one
// is asked.
const watchSilence = 5 * time.Second

// Watch calls f for every entry from index from on, in order, without gap or duplicate, and goes on
// with each new entry as it is committed. It moves to another node when one is lost or has lost the
// others, and returns when the context ends, when f returns an error (which it returns), or when no
// node may or can serve it. from may lie beyond the size of the ledger. f is never called
// concurrently; while it runs nothing is read, so a slow f slows the stream and needs no memory.
func (c *Client) Watch(ctx context.Context, from uint64, f func(StoredEntry) error) error {
	next := from
	return c.follow(ctx, func(ctx context.Context, n *node, alive func(bool)) (progress bool, err error) {
		stream, err := n.ledger.Watch(ctx, &cairnv1.WatchRequest{From: next})
		if err != nil {
			return false, err
		}
		for {
			alive(true)
			resp, err := stream.Recv()
			if err != nil {
				return progress, err
			}
			alive(false)
			progress = true
			if resp.First != next {
				return progress, &stop{&VerificationError{What: "watch", Node: n.Name, Err: errors.Newf("index %d instead of %d", resp.First, next)}}
			}
			c.sawSize(resp.Size) // before f shows the entries to the caller
			if err := c.hand(&next, resp.Leaves, f); err != nil {
				return progress, err
			}
		}
	})
}

// Range calls f for the entries from index first on, in order: at most limit of them (0: all), up
// to the end of the ledger as it is at the time of the call. It returns the size of the ledger that
// bounded it. The reason of the error is NOT_FOUND if first lies beyond the size.
func (c *Client) Range(ctx context.Context, first, limit uint64, f func(StoredEntry) error, opts ...ReadOption) (size uint64, err error) {
	consistency, minSize := c.freshness(opts)
	next, end, bounded := first, uint64(math.MaxUint64), false
	if limit > 0 && first <= math.MaxUint64-limit {
		end = first + limit
	}
	err = c.follow(ctx, func(ctx context.Context, n *node, alive func(bool)) (progress bool, err error) {
		req := &cairnv1.RangeRequest{First: next, Limit: limit, Consistency: consistency, MinSize: minSize}
		if bounded {
			// Another node goes on where the first one was lost: for the same end.
			req.Limit, req.MinSize, req.Consistency = end-next, end, cairnv1.Consistency_CONSISTENCY_LOCAL
		}
		stream, err := n.ledger.Range(ctx, req)
		if err != nil {
			return false, err
		}
		for {
			alive(true)
			resp, err := stream.Recv()
			alive(false)
			if err != nil {
				return progress, err
			}
			progress = true
			if !bounded {
				size, bounded = resp.Size, true
				end = min(end, size)
				c.sawSize(size)
			}
			if resp.First != next || next > end || uint64(len(resp.Leaves)) > end-next {
				return progress, &stop{&VerificationError{What: "range", Node: n.Name, Err: errors.Newf(
					"%d entries from index %d instead of those from %d to below %d", len(resp.Leaves), resp.First, next, end)}}
			}
			if err := c.hand(&next, resp.Leaves, f); err != nil {
				return progress, err
			}
			if next >= end {
				return progress, &stop{nil}
			}
		}
	})
	return size, err
}

// stop ends follow with an error, or successfully.
type stop struct{ err error }

func (s *stop) Error() string { return "stop" }

// hand gives leaves to the caller, and moves next after each.
func (c *Client) hand(next *uint64, leaves [][]byte, f func(StoredEntry) error) error {
	for _, leaf := range leaves {
		e, err := parseStored(*next, leaf)
		if err != nil {
			return &stop{err}
		}
		if err := f(e); err != nil {
			return &stop{err}
		}
		*next++
	}
	return nil
}

// follow runs a stream on one node after the other until it stops itself, the context ends, or a
// node refuses for good. The stream calls alive(true) when it starts to wait for a message and
// alive(false) when it has one.
func (c *Client) follow(ctx context.Context, stream func(ctx context.Context, n *node, alive func(bool)) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	failures := 0
	for {
		n := c.nodes.forRead()
		progress, err := c.once(ctx, n, stream)
		var s *stop
		if errors.As(err, &s) {
			return s.err
		}
		if ctx.Err() != nil {
			return c.ended(ctx, true)
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = &Error{Code: codes.Unavailable, Reason: ReasonUnreachable, Message: "the stream ended early", Node: n.Name}
		}
		e := n.errorFrom(err, true)
		e.Definite = true
		if !e.passing() && e.resume == nil {
			return e
		}
		if progress {
			failures = 0
		}
		failures++
		if no := c.nodes.hopeless(failures); no != nil {
			return no
		}
		c.opts.logf("stream from %s broke: %v", n.Name, e)
		c.nodes.skip(n)
		if failures > 1 {
			sleep(ctx, pause(failures, e.RetryAfter))
		}
	}
}

// once runs a stream on one node, and breaks it when the node falls silent.
func (c *Client) once(ctx context.Context, n *node, stream func(ctx context.Context, n *node, alive func(bool)) (bool, error)) (bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	silent := &Error{Reason: ReasonUnreachable, Message: "the node fell silent", Node: n.Name, Definite: true}
	timer := time.AfterFunc(watchSilence, func() { cancel(silent) })
	defer timer.Stop()
	progress, err := stream(ctx, n, func(waiting bool) {
		if waiting {
			timer.Reset(watchSilence)
		} else {
			timer.Stop()
		}
	})
	cause := context.Cause(ctx)
	cancel(nil)
	var s *stop
	if cause == error(silent) && !errors.As(err, &s) {
		err = silent
	}
	return progress, err
}
