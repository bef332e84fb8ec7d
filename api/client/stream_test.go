package client_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
)

func TestStreamKeepsOrder(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1)
	s := c.OpenStream(within(t))
	var all []*client.Pending
	for i := range 200 {
		var opts []client.AppendOption
		if i%50 == 49 {
			opts = append(opts, client.Sealed())
		}
		p, err := s.Append(within(t), []client.Entry{entry("", fmt.Sprint(i))}, opts...)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	s.Close()
	for i, p := range all {
		a, err := p.Wait(within(t))
		if err != nil || len(a) != 1 || a[0].Index != uint64(i) || (a[0].Receipt != nil) != (i%50 == 49) {
			t.Errorf("batch %d: got %+v, %v", i, a, err)
		}
	}
	for range 50 {
		_, err := s.Append(within(t), []client.Entry{entry("", "late")})
		wantError(t, err, client.ReasonClosed, true)
	}
	if n := size(t, cluster.Nodes[0]); n != 200 {
		t.Errorf("the ledger has %d entries", n)
	}
}

// TestStreamAcrossFailures: batches with keys survive the loss of leaders, exactly once.
func TestStreamAcrossFailures(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 3, client.WithLogf(t.Logf))
	var unknown atomic.Int32
	for _, n := range cluster.Nodes {
		n.After = func(_ context.Context, b ledger.Batch) error {
			if unknown.Add(1)%17 == 0 {
				return server.ErrIndefinite // applied, and nobody knows
			}
			return nil
		}
	}
	s := c.OpenStream(within(t))
	var all []*client.Pending
	const batches = 120
	for i := range batches {
		p, err := s.Append(within(t), []client.Entry{entry(fmt.Sprint("k", i), fmt.Sprint(i))})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
		switch i {
		case 30: // a new leader, the old one still answers
			cluster.Lead(cluster.Nodes[1])
		case 60: // the leader dies
			cluster.Nodes[1].Kill()
			cluster.Lead(cluster.Nodes[2])
		case 90: // nobody leads for a moment
			cluster.Lead(nil)
			time.AfterFunc(50*time.Millisecond, func() { cluster.Lead(cluster.Nodes[0]) })
		}
	}
	s.Close()
	places := map[uint64]bool{}
	for i, p := range all {
		a, err := p.Wait(within(t))
		if err != nil || len(a) != 1 {
			t.Fatalf("batch %d: %v, %v", i, a, err)
		}
		places[a[0].Index] = true
	}
	if n := size(t, cluster.Nodes[0]); n != batches || len(places) != batches {
		t.Errorf("%d batches made %d entries at %d places", batches, n, len(places))
	}
}

// TestStreamWithoutKeys: what was under way when the outcome became unknown says so, and is not
// repeated.
func TestStreamWithoutKeys(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1)
	var calls atomic.Int32
	cluster.Nodes[0].After = func(context.Context, ledger.Batch) error {
		if calls.Add(1) == 2 {
			return server.ErrIndefinite
		}
		return nil
	}
	s := c.OpenStream(within(t))
	var all []*client.Pending
	for i := range 3 {
		p, err := s.Append(within(t), []client.Entry{entry("", fmt.Sprint(i))})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	p, err := s.Append(within(t), []client.Entry{entry("", "wrong size")}, client.ExpectedSize(77))
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for i, p := range all {
		_, err := p.Wait(within(t))
		if i == 1 {
			wantError(t, err, "OUTCOME_UNKNOWN", false)
		} else if err != nil {
			t.Errorf("batch %d: %v", i, err)
		}
	}
	_, err = p.Wait(within(t))
	wantError(t, err, "SIZE_MISMATCH", true)
	if n := size(t, cluster.Nodes[0]); n != 3 {
		t.Errorf("the ledger has %d entries, want 3", n)
	}
}

// TestStreamBrokenWithoutKeys: what was sent and not answered when the connection broke is not
// repeated unless it has keys.
func TestStreamBrokenWithoutKeys(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 2)
	g := hold(cluster.Nodes[0])
	s := c.OpenStream(within(t))
	bare, err := s.Append(within(t), []client.Entry{entry("", "bare")})
	if err != nil {
		t.Fatal(err)
	}
	keyed, err := s.Append(within(t), []client.Entry{entry("k", "keyed")})
	if err != nil {
		t.Fatal(err)
	}
	<-g.entered
	eventually(t, "both are submitted", func() bool { return cluster.Nodes[0].Submitted() == 2 })
	cluster.Lead(cluster.Nodes[1])
	cluster.Nodes[0].Kill()
	if _, err := bare.Wait(within(t)); err == nil || client.IsDefinite(err) {
		t.Errorf("without a key: got %v, want an error that is not definite", err)
	}
	if a, err := keyed.Wait(within(t)); err != nil || a[0].Index != 0 {
		t.Errorf("with a key: got %+v, %v", a, err)
	}
	s.Close()
	if n := size(t, cluster.Nodes[1]); n != 1 {
		t.Errorf("the ledger has %d entries, want the one with the key", n)
	}
	close(g.open)
}

// TestStreamNobodyThere: what could never be sent fails definitely when its time is up.
func TestStreamNobodyThere(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1, client.WithTimeout(200*time.Millisecond))
	cluster.Nodes[0].Kill()
	s := c.OpenStream(within(t))
	p, err := s.Append(within(t), []client.Entry{entry("", "x")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Wait(within(t))
	wantError(t, err, client.ReasonDeadline, true)
	s.Close()
}

// TestStreamClosedWhileConnecting: a stream that is closed before it has found a leader still finds
// one.
func TestStreamClosedWhileConnecting(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 2, fakecluster.Options{})
	cluster.Lead(cluster.Nodes[1])
	slowly := func(_ context.Context, address string) (net.Conn, error) {
		if address == cluster.Nodes[0].Address {
			time.Sleep(30 * time.Millisecond) // the stream is closed by then
			return nil, errors.New("nobody there")
		}
		return net.Dial("tcp", address)
	}
	for i := range 6 { // each client begins with a node at random
		c := connect(t, profile(t, cluster, ""), client.WithTimeout(5*time.Second), client.WithDialer(slowly))
		s := c.OpenStream(within(t))
		p, err := s.Append(within(t), []client.Entry{entry("", fmt.Sprint(i))})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if _, err := p.Wait(within(t)); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
}

// silent takes batches and answers none.
func silent(stream appends) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

// TestStreamSilentNode: a node that takes a batch and says nothing more is given up, and the
// outcome is unknown.
func TestStreamSilentNode(t *testing.T) {
	t.Parallel()
	c := against(t, &scripted{stream: silent})
	s := c.OpenStream(within(t))
	p, err := s.Append(within(t), []client.Entry{entry("", "x")})
	must(t, err)
	_, err = p.Wait(within(t))
	wantError(t, err, client.ReasonUnreachable, false)
	s.Close()
}

// TestStreamEnds: when the context of a stream has ended, a batch is refused or answered: nobody
// waits for one in vain.
func TestStreamEnds(t *testing.T) {
	t.Parallel()
	_, c := start(t, 1)
	for range 20 {
		ctx, cancel := context.WithCancel(within(t))
		s := c.OpenStream(ctx)
		go cancel()
		for range 20 {
			p, err := s.Append(within(t), []client.Entry{entry("", "x")})
			if err == nil {
				_, err = p.Wait(within(t))
			}
			if err != nil {
				var e *client.Error
				if !errors.As(err, &e) || e.Reason != client.ReasonDeadline {
					t.Fatalf("got %v, want an error with the reason %s", err, client.ReasonDeadline)
				}
			}
		}
		s.Close()
	}
}

// TestStreamTimeout: each batch has the client's timeout, whatever the node does.
func TestStreamTimeout(t *testing.T) {
	t.Parallel()
	var taken sync.Map // payloads that a node has received
	take := func(stream appends) (*cairnv1.AppendStreamRequest, error) {
		req, err := stream.Recv()
		for _, e := range req.GetAppend().GetEntries() {
			taken.Store(string(e.Payload), true)
		}
		return req, err
	}
	unasked := &cairnv1.AppendStreamResponse{RequestId: 77, Result: &cairnv1.AppendStreamResponse_Response{Response: &cairnv1.AppendResponse{}}}
	for name, node := range map[string]func(appends) error{
		"silent": func(stream appends) error {
			for {
				if _, err := take(stream); err != nil {
					return err
				}
			}
		},
		"answers something else": func(stream appends) error {
			_, err := take(stream)
			for ; err == nil; time.Sleep(20 * time.Millisecond) {
				err = stream.Send(unasked)
			}
			return err
		},
		"asks to wait": func(stream appends) error {
			for {
				req, err := stream.Recv()
				if err != nil {
					return err
				}
				err = stream.Send(&cairnv1.AppendStreamResponse{RequestId: req.RequestId, Result: &cairnv1.AppendStreamResponse_Error{
					Error: &cairnv1.StreamError{Code: int32(codes.ResourceExhausted), Reason: server.ReasonOverloaded, Detail: &cairnv1.ErrorDetail{
						Outcome: cairnv1.Outcome_OUTCOME_DEFINITE, RetryAfterMs: 60_000,
					}},
				}})
				if err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := against(t, &scripted{stream: node}, client.WithTimeout(500*time.Millisecond)).OpenStream(within(t))
			for i := range 2 { // the second one finds the stream as the first one left it
				payload := fmt.Sprint(name, i)
				p, err := s.Append(within(t), []client.Entry{entry("", payload)})
				must(t, err)
				_, err = p.Wait(within(t))
				_, received := taken.Load(payload)
				var e *client.Error
				if !errors.As(err, &e) || e.Reason != client.ReasonDeadline || e.Definite && received {
					t.Errorf("got %v, want %s, of unknown outcome if the node has the batch: %t", err, client.ReasonDeadline, received)
				}
			}
			s.Close()
		})
	}
}

// TestStreamWindow: no more than 64 batches are on their way; the next one waits, and was never
// sent if its caller gives up.
func TestStreamWindow(t *testing.T) {
	t.Parallel()
	c := against(t, &scripted{stream: silent})
	ctx, cancel := context.WithCancel(within(t))
	s := c.OpenStream(ctx)
	for i := range 64 {
		if _, err := s.Append(within(t), []client.Entry{entry("", fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	short, end := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer end()
	_, err := s.Append(short, []client.Entry{entry("", "one more")})
	wantError(t, err, client.ReasonDeadline, true)
	cancel()
	s.Close()
}

// TestStreamAnswerToNobody: an answer to a batch that is not on its way, on this connection, is no
// answer.
func TestStreamAnswerToNobody(t *testing.T) {
	t.Parallel()
	at := func(id, index uint64) *cairnv1.AppendStreamResponse {
		return &cairnv1.AppendStreamResponse{RequestId: id, Result: &cairnv1.AppendStreamResponse_Response{
			Response: &cairnv1.AppendResponse{Indexes: []uint64{index}, Size: 9},
		}}
	}
	noLeader := &cairnv1.AppendStreamResponse{RequestId: 1, Result: &cairnv1.AppendStreamResponse_Error{Error: &cairnv1.StreamError{
		Code: int32(codes.Unavailable), Reason: "NO_LEADER", Detail: &cairnv1.ErrorDetail{Outcome: cairnv1.Outcome_OUTCOME_DEFINITE},
	}}}
	var connections atomic.Int32
	c := against(t, &scripted{stream: func(stream appends) error {
		first := connections.Add(1) == 1
		if first { // both batches are here, so the second one is still on its way when the first one has been refused
			for range 2 {
				if _, err := stream.Recv(); err != nil {
					return err
				}
			}
			for _, answer := range []*cairnv1.AppendStreamResponse{at(77, 6), noLeader, at(1, 7), at(2, 1)} {
				if err := stream.Send(answer); err != nil {
					return err
				}
			}
		}
		for {
			req, err := stream.Recv()
			if err != nil {
				return err
			}
			if err := stream.Send(at(req.RequestId, 5)); err != nil {
				return err
			}
		}
	}})
	s := c.OpenStream(within(t))
	var pending []*client.Pending
	for _, payload := range []string{"refused, then repeated", "answered"} {
		p, err := s.Append(within(t), []client.Entry{entry("", payload)})
		must(t, err)
		pending = append(pending, p)
	}
	s.Close()
	for i, want := range []uint64{5, 1} {
		if a, err := pending[i].Wait(within(t)); err != nil || a[0].Index != want {
			t.Errorf("batch %d: got %+v, %v, want index %d", i+1, a, err, want)
		}
	}
}
