package client

import (
	"context"
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
