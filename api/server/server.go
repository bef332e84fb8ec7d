package server

import (
	"context"
	"crypto/rand"
	"math"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Config says what a Server serves.
type Config struct {
	// Ledger returns the ledger of this name, and false if the node hosts none. Every call asks: it
	// must not block.
	Ledger func(origin string) (Backend, bool)
	// Ledgers returns all ledgers that the node hosts. It must not block. Nil: Status names none.
	Ledgers func() []Backend
	// Learning says why the node may host ledgers that Ledger does not know yet, as after a start;
	// nil when there are no others. A call for such a ledger is refused with BEHIND: ask again. It must
	// not block. Nil: there are never others.
	Learning func() error
	// Halted says why the node's replica of a ledger has stopped for good; nil when it has not. Then
	// Ledger does not return it. It must not block. Nil: there are never any.
	Halted    func(origin string) error
	Directory Directory // nil: the service Directory is refused
	Members   Members   // nil: the calls about members are refused
	// Member reports whether a principal is another member of this cluster: the only ones that may
	// call the service Replica. It must not block. Nil: nobody is.
	Member      func(principal string) bool
	Policy      *tlog.Policy                     // the cluster's, for Verify; nil: Verify is refused
	Credentials credentials.TransportCredentials // the authenticated channel
	// ConnectionAge is how old a connection becomes before its client is asked to make another one;
	// its calls go on. 0: any age. Clients see a renewed certificate of the node after that time.
	ConnectionAge time.Duration
	Peer          func(context.Context) (Peer, bool)
	// PageKey is a secret of 32 bytes that the nodes of the cluster share: it seals where the next page
	// of a list begins. Nil: a random one, so that no other node goes on with a list.
	PageKey []byte
	Limits  Limits
	Metrics prometheus.Registerer // nil: no metrics
	Stages  *stages.Set           // measures proofs and ranges; Status shows all of it. nil: nothing is measured
	Access  func(Call)            // called with every call that was refused or has ended; nil: nobody asks
	Logf    func(format string, args ...any)
}

// Server is the gRPC server of a node.
type Server struct {
	cairnv1.UnimplementedLedgerServer
	cairnv1.UnimplementedAdminServer
	cairnv1.UnimplementedDirectoryServer
	cairnv1.UnimplementedSettlementServer
	cairnv1.UnimplementedReplicaServer

	cfg     Config
	limits  Limits
	grpc    *grpc.Server
	health  *health.Server
	metrics *metrics

	cursors  cursors
	admitted gate
	watches  gate
	// blocks is what all callers of Blocks get, clientBlocks what those get that are no members.
	blocks, clientBlocks allowance

	stopping chan struct{} // closed by Stop: long streams end
	stopOnce sync.Once
}

// Transport settings. Windows are per stream and per connection: a stream's window is also what a
// client can make the node hold.
const (
	streamWindow  = 1 << 20
	connWindow    = 4 << 20
	ioBufferBytes = 128 << 10
	maxHeaderList = 16 << 10
	maxSendBytes  = 32 << 20 // a sealed answer to a full batch
	minClientPing = 5 * time.Second
	pingAfter     = 15 * time.Second
	pingTimeout   = 10 * time.Second
	maxIdle       = 10 * time.Minute
	connTimeout   = 10 * time.Second // for handshakes
)

// New prepares a server. Config.Peer is lpa.PeerFromContext unless set.
func New(cfg Config) (*Server, error) {
	if cfg.Ledger == nil || cfg.Credentials == nil {
		return nil, errors.New("create API server: ledgers and credentials are required")
	}
	if err := cfg.Limits.fill(); err != nil {
		return nil, errors.Wrap(err, "create API server")
	}
	if cfg.Ledgers == nil {
		cfg.Ledgers = func() []Backend { return nil }
	}
	if cfg.PageKey == nil {
		cfg.PageKey = make([]byte, 32)
		_, _ = rand.Read(cfg.PageKey) // it never fails
	}
	if cfg.Peer == nil {
		cfg.Peer = peerFromChannel
	}
	if cfg.Member == nil {
		cfg.Member = func(string) bool { return false }
	}
	if cfg.Access == nil {
		cfg.Access = func(Call) {}
	}
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	cfg.Logf = bounded(cfg.Logf)
	s := &Server{cfg: cfg, limits: cfg.Limits, health: health.NewServer(), stopping: make(chan struct{})}
	var err error
	if s.cursors, err = newCursors(cfg.PageKey); err != nil {
		return nil, errors.Wrap(err, "create API server: the key of pages")
	}
	s.metrics = newMetrics(cfg.Metrics)
	s.admitted.init("calls", s.limits.Streams, s.limits.StreamsPerPrincipal)
	s.blocks.rate, s.clientBlocks.rate = s.limits.BlocksBytes, max(1, s.limits.BlocksBytes/2)
	s.watches.init("watches", s.limits.Watches, s.limits.WatchesPerPrincipal)
	s.grpc = grpc.NewServer(
		grpc.Creds(cfg.Credentials),
		grpc.ForceServerCodecV2(newCodec(s.limits.BatchEntries)),
		grpc.InTapHandle(s.admit),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.NumStreamWorkers(uint32(max(4, min(64, 4*runtime.GOMAXPROCS(0))))),
		grpc.MaxRecvMsgSize(s.limits.RequestBytes),
		grpc.MaxSendMsgSize(maxSendBytes),
		grpc.MaxConcurrentStreams(uint32(min(s.limits.StreamsPerConn, math.MaxInt32))),
		grpc.MaxHeaderListSize(maxHeaderList),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(ioBufferBytes),
		grpc.WriteBufferSize(ioBufferBytes),
		grpc.ConnectionTimeout(connTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing}),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: maxIdle, MaxConnectionAge: cfg.ConnectionAge, Time: pingAfter, Timeout: pingTimeout}),
	)
	cairnv1.RegisterLedgerServer(s.grpc, s)
	cairnv1.RegisterAdminServer(s.grpc, s)
	cairnv1.RegisterDirectoryServer(s.grpc, s)
	cairnv1.RegisterSettlementServer(s.grpc, s)
	cairnv1.RegisterReplicaServer(s.grpc, s)
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.SetServing(false)
	return s, nil
}

// Serve answers on the listener until Stop. It takes the listener over.
func (s *Server) Serve(ln net.Listener) error {
	return errors.Wrap(s.grpc.Serve(LimitListener(ln, s.limits.Connections)), "serve API")
}

// SetServing sets what grpc.health.v1 says; a new server is not serving until told otherwise.
func (s *Server) SetServing(serving bool) {
	st := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		st = healthv1.HealthCheckResponse_SERVING
	}
	for _, service := range []*grpc.ServiceDesc{{}, &cairnv1.Ledger_ServiceDesc, &cairnv1.Admin_ServiceDesc, &cairnv1.Directory_ServiceDesc} {
		s.health.SetServingStatus(service.ServiceName, st)
	}
}

// Stop takes no more calls, ends watches and append streams so that their clients go elsewhere, and
// waits for the other calls until ctx ends.
func (s *Server) Stop(ctx context.Context) {
	s.stopOnce.Do(func() {
		s.health.Shutdown()
		close(s.stopping)
	})
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.grpc.Stop()
		<-done
	}
}
