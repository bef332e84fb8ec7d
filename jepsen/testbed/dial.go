package testbed

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/stats"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Conn is a connection to one node's API, without the repetitions, checks and
// detours of the client library: what the node said is what the caller gets.
type Conn struct {
	Name   string
	Ledger cairnv1.LedgerClient
	Admin  cairnv1.AdminClient
	conn   *grpc.ClientConn
}

// Dial returns a connection to each node, in order, and the principal that the
// nodes take their user for. They connect in the background.
func Dial(c *local.Cluster, role string) (conns []*Conn, principal string, err error) {
	return DialLedger(c, role, c.Origin())
}

// DialLedger is Dial for another ledger of the cluster.
func DialLedger(c *local.Cluster, role, origin string) (conns []*Conn, principal string, err error) {
	defer func() {
		if err != nil {
			CloseAll(conns)
		}
	}()
	p, err := client.LoadProfile(c.Profile(role))
	if err != nil {
		return nil, "", err
	}
	p = p.ForLedger(origin)
	cluster, err := pki.ParseClusterID(p.ClusterID)
	if err != nil {
		return nil, "", errors.Wrap(err, "cluster_id")
	}
	channel := &lpa.Config{}
	if channel.Suite, err = lpa.ParseSuite(p.Suite); err != nil {
		return nil, "", errors.Wrap(err, "suite")
	}
	if channel.Identity, err = pki.LoadIdentity(p.Certificate, p.Key, "", ""); err != nil {
		return nil, "", errors.Wrap(err, "load identity")
	}
	if channel.Roots, err = pki.LoadPool(p.Roots); err != nil {
		return nil, "", errors.Wrap(err, "load trust roots")
	}
	for _, e := range p.Endpoints {
		id := pki.NodeID(p.TrustDomain, cluster, e.Name)
		conn, err := grpc.NewClient("passthrough:///"+e.Address,
			grpc.WithTransportCredentials(channel.Credentials(func(string) (pki.ID, bool) { return id, true })),
			cairnv1.ForLedger(p.Origin), grpc.WithStatsHandler(sentMarker{}), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithNoProxy(),
			grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(4<<20),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20)),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 300 * time.Millisecond},
				MinConnectTimeout: 2 * time.Second,
			}))
		if err != nil {
			return conns, "", errors.Wrapf(err, "prepare the connection to %s", e.Name)
		}
		conns = append(conns, &Conn{Name: e.Name, Ledger: cairnv1.NewLedgerClient(conn), Admin: cairnv1.NewAdminClient(conn), conn: conn})
	}
	return conns, string(channel.Identity.Chain[0].ID), nil
}

// CloseAll closes connections.
func CloseAll(conns []*Conn) {
	for _, c := range conns {
		_ = c.conn.Close()
	}
}

// sentMarker notes, in a flag that a call's context carries, that the call was
// put on a connection. One that never was has had no effect.
type sentMarker struct{}

type sentKey struct{}

// WithSent returns a context for one call, and the flag that says whether the
// call may have left this process.
func WithSent(ctx context.Context) (context.Context, *atomic.Bool) {
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
