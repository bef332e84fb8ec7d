package server_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
)

// api is a bare gRPC client of one node.
type api struct {
	cairnv1.LedgerClient
	cairnv1.AdminClient
	conn *grpc.ClientConn
}

// narrow keeps the node from sending ahead of a client that does not read.
var narrow = []grpc.DialOption{grpc.WithInitialWindowSize(1 << 16), grpc.WithInitialConnWindowSize(1 << 16)}

func dial(t testing.TB, n *fakecluster.Node, opts ...grpc.DialOption) api {
	t.Helper()
	return dialAddress(t, n.Address, opts...)
}

func dialAddress(t testing.TB, address string, opts ...grpc.DialOption) api {
	t.Helper()
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(fakecluster.Insecure("")), cairnv1.ForLedger(fakecluster.Origin), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64 << 20)),
	}, opts...)
	conn, err := grpc.NewClient("passthrough:///"+address, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return api{cairnv1.NewLedgerClient(conn), cairnv1.NewAdminClient(conn), conn}
}

func start(t testing.TB, limits server.Limits) (*fakecluster.Cluster, api) {
	t.Helper()
	c := fakecluster.New(t, 1, fakecluster.Options{Limits: limits, Logf: t.Logf})
	return c, dial(t, c.Nodes[0])
}

// only is a node that hosts one ledger, named as the first one of a fake cluster.
func only(b server.Backend) func(string) (server.Backend, bool) {
	return func(origin string) (server.Backend, bool) { return b, origin == fakecluster.Origin }
}

// serve runs a server of a test's own. What cfg leaves out is as in the fake cluster.
func serve(t testing.TB, cfg server.Config) (*server.Server, api) {
	t.Helper()
	cfg.Credentials, cfg.Peer = fakecluster.Insecure(""), fakecluster.PeerFromMetadata
	s, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { s.Stop(within(t)) })
	return s, dialAddress(t, ln.Addr().String())
}

// within bounds a test's calls, so that a hang is a failure with a name.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// awaitStall waits until the node has ended a stream because its client does not read.
func awaitStall(t testing.TB, n *fakecluster.Node) {
	t.Helper()
	eventually(t, "the node ends the stream of a client that does not read", func() bool {
		return metric(t, n, "cairn_api_stalled_streams_total") > 0
	})
}

func as(ctx context.Context, principal, roles string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "x-principal", principal, "x-roles", roles)
}

func batch(payloads ...string) *cairnv1.AppendRequest {
	r := &cairnv1.AppendRequest{}
	for _, p := range payloads {
		r.Entries = append(r.Entries, &cairnv1.NewEntry{Payload: []byte(p)})
	}
	return r
}

func keyed(key, payload string) *cairnv1.AppendRequest {
	return &cairnv1.AppendRequest{Entries: []*cairnv1.NewEntry{{Key: []byte(key), Payload: []byte(payload)}}}
}

// justNow reports whether a ledger time is of this test: microseconds since the Unix epoch.
func justNow(micros int64) bool { return time.Since(time.UnixMicro(micros)).Abs() < 10*time.Minute }

// failure is an error taken apart.
type failure struct {
	code   codes.Code
	reason string
	info   *errdetails.ErrorInfo
	detail *cairnv1.ErrorDetail
	retry  *errdetails.RetryInfo
}

func dissect(t testing.TB, err error) failure {
	t.Helper()
	if err == nil {
		t.Fatal("the call succeeded")
	}
	st := status.Convert(err)
	f := failure{code: st.Code()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			f.reason, f.info = d.Reason, d
		case *cairnv1.ErrorDetail:
			f.detail = d
		case *errdetails.RetryInfo:
			f.retry = d
		}
	}
	if f.detail == nil || f.info == nil || f.info.Domain != server.ErrorDomain {
		t.Fatalf("the error has no ErrorInfo and ErrorDetail of ours: %v", err)
	}
	return f
}

// demand checks the parts of an error that are the same for all of a kind.
func demand(t testing.TB, err error, code codes.Code, reason string, outcome cairnv1.Outcome) failure {
	t.Helper()
	f := dissect(t, err)
	if f.code != code || f.reason != reason || f.detail.Outcome != outcome {
		t.Fatalf("got %v, reason %s, %v; want %v, %s, %v (error: %v)", f.code, f.reason, f.detail.Outcome, code, reason, outcome, err)
	}
	return f
}

const (
	sure   = cairnv1.Outcome_OUTCOME_DEFINITE
	unsure = cairnv1.Outcome_OUTCOME_INDEFINITE
)
