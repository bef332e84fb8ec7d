package cluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// floodTime is how long strangers attack, holdMost how many connections one attacker holds at a
// time.
const (
	floodTime = 6 * time.Second
	holdMost  = 150
)

// attacks are what a stranger can do before anybody knows who he is. Each gets a fresh connection;
// it is closed when the attacker needs its place.
var attacks = map[string]func(conn net.Conn){
	"silent":  func(net.Conn) {},
	"garbage": func(conn net.Conn) { _, _ = conn.Write(bytes.Repeat([]byte{0xff, 0, 0x16}, 100)) },
	"half a handshake": func(conn net.Conn) {
		hello := &firstWrite{Conn: conn}
		_ = tls.Client(hello, &tls.Config{InsecureSkipVerify: true}).Handshake()
		_, _ = conn.Write(hello.bytes[:len(hello.bytes)/2])
	},
	"slow headers": func(conn net.Conn) { _, _ = io.WriteString(conn, "GET /checkpoint HTTP/1.1\r\nHost: n\r\nX-Slow: ") },
	"slow reader": func(conn net.Conn) {
		for range 20 {
			_, _ = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: n\r\n\r\n")
		}
	},
	"connect and close": func(conn net.Conn) { _ = conn.Close() },
}

// firstWrite keeps what is written and sends nothing.
type firstWrite struct {
	net.Conn
	bytes []byte
}

func (c *firstWrite) Write(b []byte) (int, error) {
	c.bytes = append(c.bytes, b...)
	return 0, io.ErrClosedPipe
}

// attack opens connections from one loopback address until ctx ends.
func attack(ctx context.Context, from, to string, do func(net.Conn), made *atomic.Int64) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Second}
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	for ctx.Err() == nil {
		conn, err := d.DialContext(ctx, "tcp", to)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		made.Add(1)
		_ = conn.SetDeadline(time.Now().Add(floodTime))
		do(conn)
		if held = append(held, conn); len(held) > holdMost {
			_ = held[0].Close()
			held = held[1:]
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestStrangersKeepNobodyOut floods all ports of the leader from many addresses and from the one
// that the clients have. Meanwhile a client that is connected and clients that connect append,
// /livez answers within a second on listen.probe, and the members stay connected: there is no
// election.
func TestStrangersKeepNobodyOut(t *testing.T) {
	probe := map[string]string{}
	c := startCluster(t, 3, func(cfg *node.Config) {
		// The machine of a test may be busy: what starves a heartbeat for 300 ms is not the flood.
		cfg.Raft.Election, cfg.Raft.Stall = 2*time.Second, 4*time.Second
		cfg.Listen.Probe = freeAddress(t)
		probe[cfg.Name] = "http://" + cfg.Listen.Probe
	})
	leader, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Node(leader)
	if err != nil {
		t.Fatal(err)
	}
	connected := dial(t, c, "writer")
	if _, err := connected.Append(t.Context(), client.Entry{Payload: []byte("before")}); err != nil {
		t.Fatal(err)
	}
	term := termOf(t, c, leader)

	ctx, cancel := context.WithTimeout(t.Context(), floodTime)
	defer cancel()
	var wg sync.WaitGroup
	var made atomic.Int64
	i := 1
	for _, do := range attacks {
		i++
		for _, to := range []string{n.API, n.Peer, n.HTTP} {
			for _, from := range []string{"127.0.0.1", fmt.Sprintf("127.0.1.%d", i)} {
				wg.Go(func() { attack(ctx, from, to, do, &made) })
			}
		}
	}
	var old, fresh atomic.Int64
	wg.Go(func() { old.Store(appendUntil(t, ctx, connected)) })
	wg.Go(func() {
		for ctx.Err() == nil {
			if appendOnNewConnection(t, ctx, c) {
				fresh.Add(1)
			}
		}
	})
	probes := probeUntil(t, ctx, probe[leader]+"/livez")
	wg.Wait()
	t.Logf("%d connections of strangers; %d appends on the old connection, %d on new ones, %d probes answered", made.Load(), old.Load(), fresh.Load(), probes)
	if made.Load() < 500 || old.Load() == 0 || fresh.Load() == 0 || probes == 0 {
		t.Errorf("want at least 500 connections of strangers, and appends and probes")
	}
	if now := termOf(t, c, leader); now != term {
		t.Errorf("the term went from %d to %d: members lost each other", term, now)
	}
	if got := metric(t, scrapeFrom(t, n.HTTPURL()), "cairn_strangers_displaced_total"); got == 0 {
		t.Error("nobody was displaced: the flood did not reach the budgets")
	}
}

// appendUntil appends one entry after the other and returns how many were acknowledged. None may
// fail.
func appendUntil(t *testing.T, ctx context.Context, cl *client.Client) (n int64) {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := cl.Append(call, client.Entry{Payload: []byte("x")})
		cancel()
		if err != nil {
			t.Errorf("append on the connection that stood: %v", err)
			return n
		}
		n++
	}
	return n
}

func appendOnNewConnection(t *testing.T, ctx context.Context, c *local.Cluster) bool {
	call, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cl, err := c.Dial(call, "writer")
	if err == nil {
		defer cl.Close()
		_, err = cl.Append(call, client.Entry{Payload: []byte("y")})
	}
	if err != nil {
		t.Errorf("append on a new connection: %v", err)
	}
	return err == nil
}

// probeUntil asks as an orchestrator does: each time on a new connection, with a second of
// patience; three failures in a row are the end of a node.
func probeUntil(t *testing.T, ctx context.Context, url string) (answered int) {
	t.Helper()
	failures := 0
	for ctx.Err() == nil {
		hc := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := hc.Get(url)
		if err == nil {
			_ = resp.Body.Close()
			answered, failures = answered+1, 0
		} else if failures++; failures == 3 {
			t.Errorf("three probes in a row failed: %v", err)
			return answered
		}
		time.Sleep(100 * time.Millisecond)
	}
	return answered
}

// freeAddress is an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestProbeListener: listen.probe serves health and metrics, and nothing of the ledger.
func TestProbeListener(t *testing.T) {
	probe := ""
	startCluster(t, 1, func(cfg *node.Config) { cfg.Listen.Probe = freeAddress(t); probe = "http://" + cfg.Listen.Probe })
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 200, "/checkpoint": 404, "/tile/0/000": 404} {
		resp, err := http.Get(probe + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answers %d, want %d", path, resp.StatusCode, want)
		}
	}
}

// TestSilenceForProbes: connections to the peer port that send nothing have no line in the log.
func TestSilenceForProbes(t *testing.T) {
	c := startCluster(t, 1)
	before := len(readFile(t, c.LogPath("n1")))
	for range 50 {
		conn, err := net.Dial("tcp", c.Nodes()[0].Peer)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	// Garbage that is sent later has its line later than all that the silent ones could have had.
	for range 50 {
		conn, err := net.Dial("tcp", c.Nodes()[0].Peer)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
	said := bytes.TrimSpace(readFile(t, c.LogPath("n1"))[before:])
	for deadline := time.Now().Add(10 * time.Second); !bytes.Contains(said, []byte("part=access")) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		said = bytes.TrimSpace(readFile(t, c.LogPath("n1"))[before:])
	}
	if n := bytes.Count(said, []byte("part=access")); n != 1 {
		t.Errorf("50 silent connections and 50 with garbage have %d lines, want 1:\n%s", n, said)
	}
}

// health asks grpc.health.v1 of a node as the client of a profile.
func health(t *testing.T, c *local.Cluster, name string) func() healthgrpc.HealthCheckResponse_ServingStatus {
	t.Helper()
	n, err := c.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	id := pki.NodeID(local.TrustDomain, clusterOf(t, c), name)
	conn, err := grpc.NewClient("passthrough:///"+n.API, grpc.WithTransportCredentials(
		channelOf(t, c, "reader").Credentials(func(string) (pki.ID, bool) { return id, true })))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func() healthgrpc.HealthCheckResponse_ServingStatus {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := healthgrpc.NewHealthClient(conn).Check(ctx, &healthgrpc.HealthCheckRequest{})
		if err != nil {
			t.Fatalf("ask %s for its health: %v", name, err)
		}
		return r.Status
	}
}

// TestReadyMeansQuorum: a leader whose followers have just stopped does not say that it is ready,
// although it still leads. The health of gRPC follows within three seconds; a busy machine gets a
// few more.
func TestReadyMeansQuorum(t *testing.T) {
	c := startCluster(t, 3, func(cfg *node.Config) { cfg.Raft.Election, cfg.Raft.Stall = 2*time.Second, 4*time.Second })
	leader, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Node(leader)
	if err != nil {
		t.Fatal(err)
	}
	var followers []string
	for _, name := range c.Names() {
		if name != leader {
			followers = append(followers, name)
		}
	}
	serves := health(t, c, leader)
	follows := func(want healthgrpc.HealthCheckResponse_ServingStatus) {
		t.Helper()
		began := time.Now()
		eventually(t, fmt.Sprint("gRPC says ", want), func() bool { return serves() == want })
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("gRPC said %v after %v, want three seconds at most", want, took)
		}
	}
	follows(healthgrpc.HealthCheckResponse_SERVING)
	pause(t, c, followers...)
	resp, err := http.Get(n.HTTPURL() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without followers /readyz says %d %q, want 503", resp.StatusCode, said)
	}
	follows(healthgrpc.HealthCheckResponse_NOT_SERVING)
	if err := c.Resume(followers...); err != nil {
		t.Fatal(err)
	}
	eventually(t, leader+" is ready again", func() bool { return readiness(t, c, leader) == "ok\n" })
	follows(healthgrpc.HealthCheckResponse_SERVING)
}
