package client

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"

	"github.com/cairnledger/cairn/api/cairnv1"
)

const (
	connectTimeout  = 3 * time.Second
	maxReceiveBytes = 32 << 20 // a sealed answer to a full batch: 8192 leaves and proofs, 1 MiB + 8192 × 2 KiB at most
	streamWindow    = 4 << 20  // bytes in flight per stream: above bandwidth × delay of any datacentre
	connWindow      = 8 << 20
)

// node is one node and the connection to it. gRPC connects, and reconnects, on its own.
type node struct {
	Endpoint
	conn   *grpc.ClientConn
	ledger cairnv1.LedgerClient
	admin  cairnv1.AdminClient
	dir    cairnv1.DirectoryClient

	refusal *refusal
	// said is the last error that the node itself answered with; nil if there is none.
	said atomic.Pointer[Error]
}

// nodes are the known nodes: those of the profile, and leaders that were named by others.
type nodes struct {
	opts *options

	mu struct {
		sync.Mutex
		list   []*node
		leader *node // last known; nil if unknown
		turn   int   // list[turn % len] is next when no leader is known
		closed bool
	}
}

func newNodes(opts *options, endpoints []Endpoint) *nodes {
	ns := &nodes{opts: opts}
	for _, e := range endpoints {
		n, err := ns.open(e)
		if err != nil {
			// The target is always well-formed: passthrough, with a host:port that was validated.
			panic(errors.Wrap(err, "create gRPC client"))
		}
		ns.mu.list = append(ns.mu.list, n)
	}
	ns.mu.turn = rand.IntN(len(endpoints))
	return ns
}

func (ns *nodes) open(e Endpoint) (*node, error) {
	why := new(refusal)
	conn, err := grpc.NewClient("passthrough:///"+e.Address,
		grpc.WithTransportCredentials(noting{ns.opts.credentials(e.Name), why}),
		grpc.WithContextDialer(ns.opts.dialer),
		grpc.WithStatsHandler(sentMarker{}),
		cairnv1.ForLedger(ns.opts.origin),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithNoProxy(),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(128<<10),
		grpc.WithWriteBufferSize(128<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceiveBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			// A node that restarts must be found again at once: it is back within two seconds.
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: connectTimeout,
		}),
	)
	if err != nil {
		return nil, err
	}
	return &node{
		Endpoint: e, conn: conn, refusal: why,
		ledger: cairnv1.NewLedgerClient(conn), admin: cairnv1.NewAdminClient(conn), dir: cairnv1.NewDirectoryClient(conn),
	}, nil
}

// errorFrom turns the error of a call to n into *Error, as errorFrom does, and remembers what n
// said.
func (n *node) errorFrom(err error, sent bool) *Error {
	e := errorFrom(err, n.Endpoint, sent)
	if e.Node != "" && e.Reason != ReasonUnreachable && e.Reason != ReasonDeadline {
		n.said.Store(e)
	}
	return e
}

func (ns *nodes) close() error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.mu.closed = true
	var err error
	for _, n := range ns.mu.list {
		err = errors.CombineErrors(err, n.conn.Close())
	}
	return errors.Wrap(err, "close connections")
}

func (ns *nodes) names() []string {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	var names []string
	for _, n := range ns.mu.list {
		names = append(names, n.Name)
	}
	return names
}

func (ns *nodes) byName(name string) *node {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.find(name)
}

func (ns *nodes) find(name string) *node {
	for _, n := range ns.mu.list {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// forLeader returns the node to try for a request that only the leader serves.
func (ns *nodes) forLeader() *node {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.mu.leader != nil {
		return ns.mu.leader
	}
	return ns.mu.list[ns.mu.turn%len(ns.mu.list)]
}

// forRead returns the node to try for a request that any node serves.
func (ns *nodes) forRead() *node {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.mu.list[ns.mu.turn%len(ns.mu.list)]
}

// leads records that n answered as leader.
func (ns *nodes) leads(n *node) {
	ns.mu.Lock()
	ns.mu.leader = n
	ns.mu.Unlock()
}

// failed records that n could not serve a request, and what it said about the leader. It reports
// whether a leader was named that is worth trying at once.
func (ns *nodes) failed(n *node, hint *Endpoint) (named bool) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.mu.leader == n {
		ns.mu.leader = nil
	}
	if ns.mu.list[ns.mu.turn%len(ns.mu.list)] == n {
		ns.mu.turn++
	}
	if hint == nil || hint.Name == n.Name {
		return false
	}
	leader := ns.find(hint.Name)
	if leader == nil {
		leader = ns.adopt(*hint)
	}
	if leader == nil {
		return false
	}
	ns.mu.leader = leader
	return true
}

// adopt adds a node that the profile does not name. Its name is checked against its certificate
// like any other's, so a false hint leads nowhere.
func (ns *nodes) adopt(e Endpoint) *node {
	if ns.mu.closed || len(ns.mu.list) >= maxEndpoints || validateEndpoints([]Endpoint{e}) != nil {
		return nil
	}
	n, err := ns.open(e)
	if err != nil {
		return nil
	}
	ns.mu.list = append(ns.mu.list, n)
	return n
}

// sentMarker tells calls that may have reached a node from calls that certainly did not: it
// records, in a flag that the call's context carries, that a request was put on a connection.
type sentMarker struct{}

type sentKey struct{}

// withSent returns a context for one call and the flag that tells whether the call left this
// process.
func withSent(ctx context.Context) (context.Context, *atomic.Bool) {
	sent := new(atomic.Bool)
	return context.WithValue(ctx, sentKey{}, sent), sent
}

func (sentMarker) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (sentMarker) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutHeader); ok {
		if sent, ok := ctx.Value(sentKey{}).(*atomic.Bool); ok {
			sent.Store(true)
		}
	}
}

func (sentMarker) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (sentMarker) HandleConn(context.Context, stats.ConnStats)                       {}

// maxRetryAfter bounds how long a node can make a client wait; the caller's deadline usually ends
// the wait before.
const maxRetryAfter = time.Minute

// pause is the delay before attempt number n (from 1) of a call: as long as the node asked for, or
// growing.
func pause(n int, hint time.Duration) time.Duration {
	d := min(5*time.Millisecond<<min(n, 10), 250*time.Millisecond)
	d = d/2 + rand.N(d/2+1)
	return max(d, min(hint, maxRetryAfter))
}

// passing says whether a failure may go away on another node or later. Whether the call may be
// repeated is another question.
func (e *Error) passing() bool {
	switch e.Reason {
	case "NOT_LEADER", "NO_LEADER", "OVERLOADED", "TOO_MANY_REQUESTS", "STOPPING", "HALTED", "BEHIND", "OUTCOME_UNKNOWN", ReasonUnreachable, ReasonDeadline, ReasonOtherLedger:
		return true
	}
	// A proxy or an old node may give bare codes, or only say when to try again.
	return e.Code == codes.Unavailable || e.Code == codes.Aborted || e.RetryAfter > 0
}

// busy says that the node which answered is the right one, and has too much to do.
func (e *Error) busy() bool { return e.Reason == "OVERLOADED" || e.Reason == "TOO_MANY_REQUESTS" }
