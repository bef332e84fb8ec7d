package client

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
)

func inside(t *testing.T) (*fakecluster.Node, *Client) {
	t.Helper()
	cluster := fakecluster.New(t, 1, fakecluster.Options{})
	p := Profile{Origin: fakecluster.Origin, Policy: cluster.WritePolicy(), Endpoints: []Endpoint{{"n1", cluster.Nodes[0].Address}}}
	c, err := Dial(t.Context(), p, WithCredentials(fakecluster.Principal, fakecluster.Insecure))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return cluster.Nodes[0], c
}

func (c *Client) callFor(t *testing.T, ctx context.Context, key, payload string) *pendingCall {
	t.Helper()
	call, err := c.newCall([]Entry{{Key: []byte(key), Payload: []byte(payload)}}, appendOptions{})
	if err != nil {
		t.Fatal(err)
	}
	call.ctx = ctx
	return call
}

// TestRestOfASharedRequest: of calls that shared a request of unknown outcome, the one with a key
// goes on, and what it hears later does not make it definite.
func TestRestOfASharedRequest(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]error{"no leader": &server.NotLeaderError{}, "refused": ledger.ErrBadBatch} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, c := inside(t)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var attempts atomic.Int32
			n.Before = func(_ context.Context, b ledger.Batch) error {
				switch i := attempts.Add(1); {
				case i == 1:
					return server.ErrIndefinite
				case i == 3:
					cancel()
				}
				if len(b.Entries) != 1 {
					t.Errorf("%d entries are repeated, want the one with a key", len(b.Entries))
				}
				return then
			}
			bare, keyed := c.callFor(t, ctx, "", "bare"), c.callFor(t, ctx, "k", "keyed")
			c.deliver([]*pendingCall{bare, keyed}, false, false)
			for what, call := range map[string]*pendingCall{"bare": bare, "keyed": keyed} {
				if got := <-call.done; got.err == nil || IsDefinite(got.err) {
					t.Errorf("%s: got %v, want an error that is not definite", what, got.err)
				}
			}
		})
	}
}

// TestHalvesKeepTheMark: a request that is split in search of the entry to blame does not lose that
// an earlier attempt is unknown.
func TestHalvesKeepTheMark(t *testing.T) {
	t.Parallel()
	n, c := inside(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n.Before = func(_ context.Context, b ledger.Batch) error {
		if len(b.Entries) > 1 {
			return &ledger.ConflictError{Key: []byte("a")} // splits the request
		}
		return ledger.ErrBadBatch
	}
	calls := []*pendingCall{c.callFor(t, ctx, "a", "1"), c.callFor(t, ctx, "b", "2")}
	c.deliver(calls, false, true)
	for i, call := range calls {
		if got := <-call.done; got.err == nil || IsDefinite(got.err) {
			t.Errorf("call %d: got %v, want an error that is not definite", i, got.err)
		}
	}
}

// TestSmallRequestsGather: what waits beside several calls in flight leaves when they return, in one
// request. A few calls in flight, a large request and one that waits for receipts hold nothing up.
func TestSmallRequestsGather(t *testing.T) {
	t.Parallel()
	_, c := inside(t)
	// flying returns a lane whose only sender has taken so many calls.
	flying := func(calls int, wait bool) *lane {
		l := &lane{c: c, wait: wait}
		l.mu.senders = 2 // nothing is sent by itself
		for range calls {
			l.submit(c.callFor(t, t.Context(), "", "x"))
		}
		if got := len(l.next(0)); got != calls {
			t.Fatalf("a request carries %d of %d calls", got, calls)
		}
		return l
	}
	for name, test := range map[string]struct {
		flying  int
		wait    bool
		payload string
		want    int // calls in a second request
	}{
		"several in flight":     {flying: fewCalls, payload: "x", want: 0},
		"few in flight":         {flying: fewCalls - 1, payload: "x", want: 2},
		"a large request":       {flying: fewCalls, payload: strings.Repeat("x", smallRequest/2), want: 2},
		"callers want the seal": {flying: fewCalls, wait: true, payload: "x", want: 2},
	} {
		l := flying(test.flying, test.wait)
		for range 2 {
			l.submit(c.callFor(t, t.Context(), "", test.payload))
		}
		if got := len(l.next(0)); got != test.want {
			t.Errorf("%s: a second request carries %d calls, want %d", name, got, test.want)
		}
		if test.want == 0 {
			if l.mu.senders != 1 {
				t.Errorf("%s: a sender without calls goes on", name)
			}
			if got := len(l.next(test.flying)); got != 2 {
				t.Errorf("%s: when they return a request carries %d calls, want the 2 that waited", name, got)
			}
		}
		if l.mu.bytes != 0 || len(l.mu.queue) != 0 {
			t.Errorf("%s: %d calls of %d bytes still wait", name, len(l.mu.queue), l.mu.bytes)
		}
	}
}

// TestNobodyIsLeftBehind: callers who append in a loop, some of whom give up, all get on.
func TestNobodyIsLeftBehind(t *testing.T) {
	t.Parallel()
	_, c := inside(t)
	var wg sync.WaitGroup
	for caller := range 12 {
		wg.Go(func() {
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				if caller%4 == 0 {
					cancel()
				}
				if _, err := c.Append(ctx, Entry{Payload: []byte("x")}); err != nil && caller%4 != 0 {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	l := c.committed
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.inFlight < 0 || l.mu.bytes != 0 || len(l.mu.queue) != 0 {
		t.Errorf("%d calls of %d bytes wait and %d are in flight, want none", len(l.mu.queue), l.mu.bytes, l.mu.inFlight)
	}
}
