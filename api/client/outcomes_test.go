package client_test

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/credentials"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
)

// senders are the ways to append one batch; each returns when the batch is answered or ctx has
// ended it.
var senders = map[string]func(ctx context.Context, c *client.Client, entries ...client.Entry) error{
	"unary": func(ctx context.Context, c *client.Client, entries ...client.Entry) error {
		_, err := c.AppendBatch(ctx, entries)
		return err
	},
	"stream": func(ctx context.Context, c *client.Client, entries ...client.Entry) error {
		s := c.OpenStream(ctx)
		defer s.Close()
		p, err := s.Append(ctx, entries)
		if err != nil {
			return err
		}
		_, err = p.Wait(context.Background())
		return err
	},
}

// TestUnknownStaysUnknown: an append one of whose attempts had an unknown outcome ends definitely
// only if the last answer excludes that the earlier attempt had an effect.
func TestUnknownStaysUnknown(t *testing.T) {
	t.Parallel()
	conflict := &ledger.ConflictError{Key: []byte("k")}
	for name, tc := range map[string]struct {
		then     error // answers every attempt after the first
		giveUp   bool  // the caller ends the call at the third attempt
		definite bool
	}{
		"no leader until the end":    {&server.NotLeaderError{}, true, false},
		"overloaded until the end":   {&server.OverloadedError{RetryAfter: time.Millisecond}, true, false},
		"stopping until the end":     {server.ErrStopped, true, false},
		"refused for good":           {ledger.ErrBadBatch, false, false},
		"the ledger is too small":    {&ledger.SizeMismatchError{Expected: 5, Actual: 4}, false, false},
		"the ledger has outgrown it": {&ledger.SizeMismatchError{Expected: 5, Actual: 6}, false, true},
		"the key is taken":           {conflict, false, true},
	} {
		for path, send := range senders {
			t.Run(name+"/"+path, func(t *testing.T) {
				t.Parallel()
				cluster, c := start(t, 1)
				ctx, cancel := context.WithCancel(within(t))
				defer cancel()
				var attempts atomic.Int32
				cluster.Nodes[0].Before = func(context.Context, ledger.Batch) error {
					switch n := attempts.Add(1); {
					case n == 1:
						return server.ErrIndefinite
					case n == 3 && tc.giveUp:
						cancel()
					}
					return tc.then
				}
				err := send(ctx, c, entry("k", "v"))
				if err == nil || client.IsDefinite(err) != tc.definite {
					t.Errorf("after %d attempts: %v; want definite = %t", attempts.Load(), err, tc.definite)
				}
				if attempts.Load() < 2 {
					t.Error("there was one attempt: nothing was tried")
				}
			})
		}
	}
}

// TestDefiniteStaysDefinite: refusals that had no effect leave nothing unknown, whether the batch
// has keys or not.
func TestDefiniteStaysDefinite(t *testing.T) {
	t.Parallel()
	for path, send := range senders {
		for _, key := range []string{"", "k"} {
			t.Run(path+"/"+key, func(t *testing.T) {
				t.Parallel()
				cluster, c := start(t, 1)
				ctx, cancel := context.WithCancel(within(t))
				defer cancel()
				var attempts atomic.Int32
				cluster.Nodes[0].Before = func(context.Context, ledger.Batch) error {
					if attempts.Add(1) == 3 {
						return ledger.ErrBadBatch
					}
					return &server.NotLeaderError{}
				}
				wantError(t, send(ctx, c, entry(key, "v")), client.ReasonInvalid, true)
			})
		}
	}
}

// TestSentThenNobodyThere: a batch that was sent when the connection broke has an unknown outcome,
// also if no node is reached again.
func TestSentThenNobodyThere(t *testing.T) {
	t.Parallel()
	for path, send := range senders {
		for _, end := range []string{"caller gives up", "caller gives up while it connects", "time is up"} {
			t.Run(path+"/"+end, func(t *testing.T) {
				t.Parallel()
				cluster := fakecluster.New(t, 1, fakecluster.Options{})
				ctx, cancel := context.WithCancel(within(t))
				defer cancel()
				opts := []client.Option{client.WithTimeout(3 * time.Second)}
				if end == "caller gives up" {
					var broke atomic.Int32
					opts = []client.Option{client.WithLogf(func(format string, _ ...any) {
						if strings.HasPrefix(format, "append") && broke.Add(1) == 3 {
							cancel()
						}
					})}
				} else if end == "caller gives up while it connects" {
					var dials atomic.Int32
					opts = []client.Option{client.WithDialer(func(ctx context.Context, address string) (net.Conn, error) {
						if dials.Add(1) > 1 {
							cancel()
							<-ctx.Done()
							return nil, ctx.Err()
						}
						return (&net.Dialer{}).DialContext(ctx, "tcp", address)
					})}
				} else if path == "unary" {
					ctx, cancel = context.WithTimeout(ctx, 3*time.Second)
					defer cancel()
				}
				c := connect(t, profile(t, cluster, ""), opts...)
				g := hold(cluster.Nodes[0])
				go func() {
					<-g.entered
					cluster.Nodes[0].Kill()
				}()
				defer close(g.open)
				if err := send(ctx, c, entry("k", "v")); err == nil || client.IsDefinite(err) {
					t.Errorf("got %v, want an error that is not definite", err)
				}
			})
		}
	}
}

// refusing is a channel that refuses every handshake, for good, once it is told to.
type refusing struct {
	credentials.TransportCredentials
	refuse *atomic.Bool
}

type permanent struct{ error }

func (permanent) Temporary() bool { return false }

func (r refusing) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if r.refuse.Load() {
		_ = raw.Close()
		return nil, nil, permanent{errors.New("refused by the test")}
	}
	return r.TransportCredentials.ClientHandshake(ctx, authority, raw)
}

func (r refusing) Clone() credentials.TransportCredentials {
	return refusing{r.TransportCredentials.Clone(), r.refuse}
}

// TestSentThenRefusedByHandshake: what was sent before the nodes refused the client's certificate
// has an unknown outcome.
func TestSentThenRefusedByHandshake(t *testing.T) {
	t.Parallel()
	for path, send := range senders {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			cluster := fakecluster.New(t, 1, fakecluster.Options{})
			var refuse atomic.Bool
			c := connect(t, profile(t, cluster, ""), client.WithCredentials(fakecluster.Principal,
				func(string) credentials.TransportCredentials { return refusing{fakecluster.Insecure(""), &refuse} }))
			entered := make(chan struct{})
			cluster.Nodes[0].Before = func(ctx context.Context, _ ledger.Batch) error {
				close(entered)
				<-ctx.Done() // the connection broke
				return ctx.Err()
			}
			go func() {
				<-entered
				refuse.Store(true)
				cluster.Nodes[0].Kill()
				cluster.Nodes[0].Start()
			}()
			wantError(t, send(within(t), c, entry("k", "v")), client.ReasonHandshake, false)
		})
	}
}

// TestCommittedWithoutReceipt: an append that is committed and not sealed in time is never called
// definitely failed, and its place is returned, on a stream as elsewhere.
func TestCommittedWithoutReceipt(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 1, fakecluster.Options{Limits: server.Limits{SealWait: time.Millisecond}})
	cluster.SealByHand()
	c := connect(t, profile(t, cluster, ""), client.WithTimeout(2*time.Second))
	s := c.OpenStream(within(t))
	defer s.Close()
	p, err := s.Append(within(t), []client.Entry{entry("", "x")}, client.Sealed())
	must(t, err)
	a, err := p.Wait(within(t))
	wantError(t, err, client.ReasonNotSealed, false)
	if len(a) != 1 || a[0].Index != 0 || a[0].Receipt != nil {
		t.Errorf("got %+v, want the place of the entry", a)
	}
}
