package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
)

func TestLimitsAreChecked(t *testing.T) {
	for _, l := range []server.Limits{
		{BatchEntries: 8193}, {BatchEntries: -1}, {BatchBytes: 1<<20 + 1}, {RequestBytes: 1 << 30}, {Streams: -5}, {SealWait: -1},
	} {
		if _, err := server.New(server.Config{Ledger: only(&fakecluster.Node{}), Credentials: fakecluster.Insecure(""), Limits: l}); err == nil {
			t.Errorf("%+v was accepted", l)
		}
	}
	for what, c := range map[string]server.Config{
		"ledgers":     {Credentials: fakecluster.Insecure("")},
		"credentials": {Ledger: only(&fakecluster.Node{})},
	} {
		if _, err := server.New(c); err == nil {
			t.Errorf("a server without %s was made", what)
		}
	}
}

func TestMessageSize(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{RequestBytes: 100_000, BatchBytes: 50_000})
	_, err := a.Append(within(t), batch(string(make([]byte, 60_000)), string(make([]byte, 60_000))))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message of 120,000 bytes: %v", err)
	}
	if n := len(c.Nodes[0].Requests()); n != 0 {
		t.Errorf("%d batches reached the backend", n)
	}
}

// TestEntryBomb: two megabytes of empty entries must not become a hundred.
func TestEntryBomb(t *testing.T) {
	_, a := start(t, server.Limits{})
	bomb := &cairnv1.AppendRequest{Entries: make([]*cairnv1.NewEntry, 1_000_000)}
	empty := &cairnv1.NewEntry{}
	for i := range bomb.Entries {
		bomb.Entries[i] = empty
	}
	_, err := a.Append(within(t), bomb)
	f := demand(t, err, codes.InvalidArgument, server.ReasonBatchTooLarge, sure)
	if f.detail.GetLimit().GetGot() != 8193 {
		t.Errorf("the handler saw %d entries, want 8193", f.detail.GetLimit().GetGot())
	}
}

func TestHeadersAndDeadlines(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{})
	big := metadata.AppendToOutgoingContext(within(t), "x-big", strings.Repeat("a", 64<<10))
	if _, err := a.Head(big, &cairnv1.HeadRequest{}); err == nil {
		t.Error("64 KiB of headers were accepted")
	}
	if _, err := a.Head(within(t), &cairnv1.HeadRequest{}); err != nil {
		t.Errorf("after too large headers: %v", err)
	}
	tiny, cancel := context.WithDeadline(within(t), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := a.Append(tiny, batch("x")); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("an append whose deadline has passed: %v", err)
	}
	err := a.conn.Invoke(within(t), "/cairn.v1.Ledger/NoSuchMethod", &cairnv1.HeadRequest{}, &cairnv1.HeadResponse{})
	if c := status.Code(err); c != codes.PermissionDenied && c != codes.Unimplemented {
		t.Errorf("a method that does not exist: %v", err)
	}
}

// TestNoTextForAMethod: a method's name that is no UTF-8 is refused like any other that does not
// exist, and neither the connection nor the node suffers.
func TestNoTextForAMethod(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	for _, method := range []string{"/cairn.v1.Ledger/\xff", "/\xff/Head", "/x/\xc3\x28"} {
		err := a.conn.Invoke(within(t), method, &cairnv1.HeadRequest{}, &cairnv1.HeadResponse{})
		if code := status.Code(err); code != codes.PermissionDenied && code != codes.Unimplemented {
			t.Errorf("%q: %v", method, err)
		}
		if _, err := a.Head(within(t), &cairnv1.HeadRequest{}); err != nil {
			t.Fatalf("after %q: %v", method, err)
		}
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.Nodes[0].Kill()
	}()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("the node does not stop")
	}
}

// TestCallsAreLimited: calls beyond the limits are told so; they are counted again when others end.
func TestCallsAreLimited(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{Streams: 5, StreamsPerPrincipal: 3})
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	c.Nodes[0].Before = func(context.Context, ledger.Batch) error { <-held; return nil }
	done := make(chan error, 10)
	hold := func(principal string) {
		go func() {
			_, err := a.Append(as(within(t), principal, "writer"), batch("x"))
			done <- err
		}()
	}
	for i := range 3 {
		hold("spiffe://fake.example/svc/a")
		eventually(t, "another call is held", func() bool { return len(c.Nodes[0].Requests()) == i+1 })
	}
	for range 20 { // refusals take no place: neither of all callers, as the next call shows, nor of this one, as the last shows
		_, err := a.Head(as(within(t), "spiffe://fake.example/svc/a", "writer"), &cairnv1.HeadRequest{})
		if f := demand(t, err, codes.ResourceExhausted, server.ReasonTooMany, sure); f.retry == nil {
			t.Fatal("no retry delay")
		}
	}
	if _, err := a.Head(as(within(t), "spiffe://fake.example/svc/b", "writer"), &cairnv1.HeadRequest{}); err != nil {
		t.Errorf("another principal: %v", err)
	}
	release()
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the principal may call again", func() bool {
		_, err := a.Head(as(within(t), "spiffe://fake.example/svc/a", "writer"), &cairnv1.HeadRequest{})
		return err == nil
	})
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened that %s", what)
		}
	}
}

// TestConnectionsAreLimited: connections beyond the limit are closed before they cost anything, and
// the place of a closed one is free.
func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 1, fakecluster.Options{Limits: server.Limits{Connections: 2}})
	open := func() net.Conn {
		conn, err := net.Dial("tcp", c.Nodes[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	alive := func(conn net.Conn) bool { // a server speaks first: HTTP/2 settings
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
		n, readErr := conn.Read(make([]byte, 1))
		return err == nil && readErr == nil && n == 1
	}
	first, second := open(), open()
	if !alive(first) || !alive(second) {
		t.Fatal("the first two connections were not served")
	}
	if alive(open()) {
		t.Error("a third connection was served")
	}
	_ = first.Close()
	eventually(t, "a place becomes free", func() bool { return alive(open()) })
}

// TestAbandonedCallsLeaveNothing: after clients that opened streams and went, the number of
// goroutines is what it was.
func TestAbandonedCallsLeaveNothing(t *testing.T) {
	c, a := start(t, server.Limits{})
	fill(t, c, a, 10)
	before := runtime.NumGoroutine()
	for range 5 {
		conn, err := grpc.NewClient("passthrough:///"+c.Nodes[0].Address, grpc.WithTransportCredentials(fakecluster.Insecure("")),
			cairnv1.ForLedger(fakecluster.Origin))
		if err != nil {
			t.Fatal(err)
		}
		l := cairnv1.NewLedgerClient(conn)
		for i := range 20 {
			ctx, cancel := context.WithCancel(within(t))
			switch i % 4 {
			case 0:
				s, err := l.Watch(ctx, &cairnv1.WatchRequest{From: uint64(i)})
				if err == nil && i < 10 {
					_, err = s.Recv()
				}
				if err != nil {
					t.Fatal(err)
				}
			case 1:
				if _, err := l.AppendStream(ctx); err != nil {
					t.Fatal(err)
				}
			case 2:
				if _, err := l.Head(as(ctx, "p", "peer"), &cairnv1.HeadRequest{}); err == nil {
					t.Fatal("a peer was served")
				}
			case 3:
				if _, err := conn.NewStream(ctx, &grpc.StreamDesc{}, "/cairn.v1.Ledger/Append"); err != nil {
					t.Fatal(err) // headers only: the message never comes
				}
			}
			if i%3 == 0 {
				cancel() // rapid reset
			}
			t.Cleanup(cancel)
		}
		_ = conn.Close()
	}
	eventually(t, fmt.Sprintf("goroutines return to %d", before), func() bool { return runtime.NumGoroutine() <= before+5 })
}

// TestLedgerIsNamed: every call of cairn.v1 that names no ledger, another one, or two, is refused,
// definitely, and has no effect. Health and reflection need no name.
func TestLedgerIsNamed(t *testing.T) {
	c := fakecluster.New(t, 1, fakecluster.Options{Logf: t.Logf})
	conn, err := grpc.NewClient("passthrough:///"+c.Nodes[0].Address, grpc.WithTransportCredentials(fakecluster.Insecure("")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	call := func(ctx context.Context, method string) error {
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err == nil {
			// An empty request, which some methods refuse and others answer; a watch would go on.
			err = s.SendMsg(&cairnv1.HeadRequest{})
		}
		if err == nil || errors.Is(err, io.EOF) {
			_ = s.CloseSend()
			err = s.RecvMsg(new(cairnv1.HeadResponse))
		}
		return err
	}
	admin, caller := as(within(t), "spiffe://fake.example/op", "admin"), context.Context(nil)
	name := func(origins ...string) context.Context {
		ctx := caller
		for _, o := range origins {
			ctx = metadata.AppendToOutgoingContext(ctx, cairnv1.OriginHeader, o)
		}
		return ctx
	}
	for _, method := range server.Methods() {
		if caller = admin; strings.HasPrefix(method, "/cairn.v1.Replica/") {
			caller = asMember(t)
		}
		demand(t, call(name("another.example/ledger"), method), codes.FailedPrecondition, server.ReasonOtherLedger, sure)
		demand(t, call(name(fakecluster.Origin, fakecluster.Origin), method), codes.InvalidArgument, server.ReasonNoLedgerNamed, sure)
		if strings.HasPrefix(method, "/grpc.") {
			ctx, cancel := context.WithCancel(name())
			if err := call(ctx, method); err != nil && strings.Contains(err.Error(), cairnv1.OriginHeader) {
				t.Errorf("%s without a name: %v", method, err)
			}
			cancel()
			continue
		}
		err := call(name(), method)
		demand(t, err, codes.InvalidArgument, server.ReasonNoLedgerNamed, sure)
		if !strings.Contains(err.Error(), "send the metadata "+cairnv1.OriginHeader) {
			t.Errorf("%s: %v does not say what to send", method, err)
		}
		for _, origin := range []string{"", fakecluster.Origin + "/", strings.ToUpper(fakecluster.Origin)} {
			demand(t, call(name(origin), method), codes.FailedPrecondition, server.ReasonOtherLedger, sure)
		}
	}
	if head := c.Nodes[0].Ledger().Head(); head.Size != 0 {
		t.Errorf("the ledger has %d entries, want none", head.Size)
	}
	caller = admin
	mine := name(fakecluster.Origin)
	if h, err := cairnv1.NewLedgerClient(conn).Head(mine, &cairnv1.HeadRequest{}); err != nil || h.Size != 0 {
		t.Errorf("head of the right ledger: %v, %v; want size 0", h, err)
	}
}
