package lpa

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthsvc "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// grpcServer runs the health service behind LPA/1 and reports every call that got through.
type grpcServer struct {
	addr  string
	calls atomic.Int32
	mu    sync.Mutex
	seen  []*pki.Certificate
}

func startGRPC(t testing.TB, cfg *Config) *grpcServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &grpcServer{addr: ln.Addr().String()}
	server := grpc.NewServer(grpc.Creds(cfg.Credentials(nil)), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			s.calls.Add(1)
			cert, ok := PeerFromContext(ctx)
			if !ok {
				return nil, grpcstatus.Error(codes.Unauthenticated, "no peer")
			}
			s.mu.Lock()
			s.seen = append(s.seen, cert)
			s.mu.Unlock()
			return next(ctx, req)
		}))
	grpc_health_v1.RegisterHealthServer(server, healthsvc.NewServer())
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)
	return s
}

func dialGRPC(t testing.TB, cfg *Config, addr string, server func(string) (pki.ID, bool)) grpc_health_v1.HealthClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(cfg.Credentials(server)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return grpc_health_v1.NewHealthClient(cc)
}

func always(id pki.ID) func(string) (pki.ID, bool) {
	return func(string) (pki.ID, bool) { return id, true }
}

func callCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestGRPCEndToEnd(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		s := startGRPC(t, w.config(w.n1))
		var asked atomic.Value
		client := dialGRPC(t, w.config(w.client), s.addr, func(authority string) (pki.ID, bool) {
			asked.Store(authority)
			return nodeOne, true
		})
		var p peer.Peer
		resp, err := client.Check(callCtx(t), &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&p))
		if err != nil {
			t.Fatal(err)
		}
		if resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("status = %v, want SERVING", resp.GetStatus())
		}
		if got := asked.Load(); got != s.addr {
			t.Errorf("the identity was asked for authority %v, want %s", got, s.addr)
		}
		info, ok := p.AuthInfo.(AuthInfo)
		if !ok || info.Peer.ID != nodeOne || info.AuthType() != "lpa1" || info.ChannelID == [32]byte{} ||
			info.GetCommonAuthInfo().SecurityLevel != credentials.PrivacyAndIntegrity {
			t.Errorf("client's AuthInfo = %+v, want %s with privacy and integrity", p.AuthInfo, nodeOne)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.seen) != 1 || s.seen[0].ID != service || !s.seen[0].Roles.Has(pki.RoleReader) {
			t.Errorf("server saw %v, want one call of %s, who may read", s.seen, service)
		}
	})
}

func TestGRPCRefusals(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	s := startGRPC(t, w.config(w.n1))
	other := newWorld(Suite768)
	for name, client := range map[string]grpc_health_v1.HealthClient{
		"wrong identity":      dialGRPC(t, w.config(w.client), s.addr, always(nodeTwo)),
		"unknown authority":   dialGRPC(t, w.config(w.client), s.addr, func(string) (pki.ID, bool) { return "", false }),
		"client of elsewhere": dialGRPC(t, &Config{Suite: Suite768, Identity: other.client, Roots: w.pool}, s.addr, always(nodeOne)),
		"other suite":         dialGRPC(t, worldOf(Suite1024).config(worldOf(Suite1024).client), s.addr, always(nodeOne)),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.Check(callCtx(t), &grpc_health_v1.HealthCheckRequest{})
			if grpcstatus.Code(err) != codes.Unavailable {
				t.Errorf("got %v, want Unavailable", err)
			}
		})
	}
	if n := s.calls.Load(); n != 0 {
		t.Errorf("%d calls reached the server, want 0", n)
	}
}

// TestExtraFrameReachesNoService sends an extra frame where HTTP/2 should begin. To the channel
// these are application bytes of an authenticated client; nothing may come of them.
func TestExtraFrameReachesNoService(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	s := startGRPC(t, w.config(w.n1))
	for _, times := range []int{1, 2} {
		raw, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		evil := &evilClient{cfg: w.config(w.client), server: nodeOne, m2: func(_ *clientHalf, _, m2 []byte) []byte {
			out := m2
			for range times {
				out = append(out, m2...)
			}
			return out
		}}
		evil.attack(t)(raw)
		_ = raw.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, raw); isTimeout(err) {
			t.Error("the server kept the connection")
		}
		_ = raw.Close()
	}
	if n := s.calls.Load(); n != 0 {
		t.Errorf("%d calls reached the server, want 0", n)
	}
}

func TestValidateAuthority(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	s := startGRPC(t, w.config(w.n1))
	client := dialGRPC(t, w.config(w.client), s.addr, func(authority string) (pki.ID, bool) {
		switch authority {
		case s.addr, "n1":
			return nodeOne, true
		case "n2":
			return nodeTwo, true
		}
		return "", false
	})
	for authority, want := range map[string]codes.Code{"n1": codes.OK, "n2": codes.Unavailable, "elsewhere": codes.Unavailable} {
		_, err := client.Check(callCtx(t), &grpc_health_v1.HealthCheckRequest{}, grpc.CallAuthority(authority))
		if grpcstatus.Code(err) != want {
			t.Errorf("authority %q: %v, want %v", authority, err, want)
		}
	}
	if err := (AuthInfo{}).ValidateAuthority("n1"); err == nil {
		t.Error("an AuthInfo without a connection validates authorities")
	}
}

func TestCredentialsAreWhatGRPCExpects(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	creds := w.config(w.client).Credentials(func(authority string) (pki.ID, bool) { return nodeOne, authority == "n1" })
	if got := creds.Info().SecurityProtocol; got != "tls" {
		t.Errorf("SecurityProtocol = %q, want tls", got)
	}
	clone := creds.Clone()
	//lint:ignore SA1019 the interface still has the method, so it has to work
	if err := clone.OverrideServerName("n1"); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		creds credentials.TransportCredentials
		ok    bool
	}{"override": {clone, true}, "original": {creds, false}} {
		craw, sraw := tcpPair(t)
		go func() { _, _, _ = w.config(w.n1).Credentials(nil).ServerHandshake(sraw) }()
		conn, _, err := tc.creds.ClientHandshake(callCtx(t), "elsewhere", craw)
		if (err == nil) != tc.ok {
			t.Errorf("%s: handshake: %v, want success: %v", name, err, tc.ok)
		}
		if conn != nil {
			_ = conn.Close()
		}
		if err != nil {
			wantReason(t, err, ReasonConfig)
		}
	}
	craw, sraw := tcpPair(t)
	_ = craw.Close()
	if _, _, err := creds.Clone().ServerHandshake(sraw); err == nil {
		t.Error("a client without KEM half serves")
	}
	craw, sraw = tcpPair(t)
	_ = craw.Close()
	if _, _, err := w.config(w.n1).Credentials(nil).ServerHandshake(sraw); err != io.EOF { // gRPC compares
		t.Errorf("a prober that connected and went gives %v, want io.EOF itself", err)
	}
}

func TestPeerFromContextWithoutPeer(t *testing.T) {
	t.Parallel()
	for name, ctx := range map[string]context.Context{
		"empty":      context.Background(),
		"no auth":    peer.NewContext(context.Background(), &peer.Peer{}),
		"other auth": peer.NewContext(context.Background(), &peer.Peer{AuthInfo: credentials.TLSInfo{}}),
		"zero":       peer.NewContext(context.Background(), &peer.Peer{AuthInfo: AuthInfo{}}),
	} {
		if cert, ok := PeerFromContext(ctx); ok {
			t.Errorf("%s: got peer %v", name, cert)
		}
	}
}
