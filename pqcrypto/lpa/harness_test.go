package lpa

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// appBytes is what every attacker sends right behind its frames. No test may see a victim accept
// it.
const appBytes = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// tcpPair returns the two ends of a loopback connection. Both carry a deadline that only a hung
// test reaches.
func tcpPair(t testing.TB) (dialled, accepted net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if dialled, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if accepted, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{dialled, accepted} {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { _ = c.Close() })
	}
	return dialled, accepted
}

// shake runs a handshake between two configurations.
func shake(t testing.TB, client *Config, name pki.ID, server *Config) (cc, sc *Conn, cerr, serr error) {
	t.Helper()
	craw, sraw := tcpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		sc, serr = server.Server(context.Background(), sraw)
	}()
	cc, cerr = client.Client(context.Background(), craw, name)
	<-done
	for _, c := range []*Conn{cc, sc} {
		if c != nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	return cc, sc, cerr, serr
}

// wantReason checks that err is a *HandshakeError itself, as gRPC needs it, with one of the
// reasons.
func wantReason(t testing.TB, err error, reasons ...string) *HandshakeError {
	t.Helper()
	h, ok := err.(*HandshakeError) // gRPC asserts the type of the outermost error
	if !ok {
		t.Fatalf("got error %v (%T), want a *HandshakeError with reason %v", err, err, reasons)
	}
	for _, r := range reasons {
		if h.Reason == r {
			return h
		}
	}
	t.Fatalf("got reason %q (%v), want %v", h.Reason, err, reasons)
	return nil
}

// attackServer lets an attacker talk to a server and returns how the server failed. It fails the
// test if the server accepts, and if the attacker's end is still open afterwards.
func attackServer(t testing.TB, server *Config, attack func(raw net.Conn)) error {
	t.Helper()
	craw, sraw := tcpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		attack(craw)
	}()
	conn, err := server.Server(context.Background(), sraw)
	if err == nil {
		got := make([]byte, len(appBytes))
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		n, _ := io.ReadFull(conn, got)
		_ = conn.Close()
		t.Fatalf("the server accepted %s and %q", conn.Peer().ID, got[:n])
	}
	if conn != nil {
		t.Fatalf("the server failed with %v and returned a connection", err)
	}
	<-done
	wantClosed(t, craw)
	return err
}

// attackClient lets an attacker play the server and returns how the client failed. attack returns
// the stream from which the client's application bytes would come, nil if it never got one.
func attackClient(t testing.TB, client *Config, name pki.ID, attack func(raw net.Conn) *tls.Conn) error {
	t.Helper()
	craw, sraw := tcpPair(t)
	leaked := make(chan []byte, 1)
	go func() {
		stream := attack(sraw)
		if stream == nil {
			leaked <- nil
			return
		}
		rest, _ := io.ReadAll(stream)
		leaked <- rest
	}()
	conn, err := client.Client(context.Background(), craw, name)
	if err == nil {
		_ = conn.Close()
		t.Fatal("the client accepted the server")
	}
	if conn != nil {
		t.Fatalf("the client failed with %v and returned a connection", err)
	}
	if rest := <-leaked; len(rest) != 0 {
		t.Fatalf("the client sent %d bytes after its proof: %q", len(rest), rest)
	}
	return err
}

// wantClosed checks that the other end closed the connection.
func wantClosed(t testing.TB, raw net.Conn) {
	t.Helper()
	_ = raw.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, raw); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Fatal("the victim left the connection open")
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// evilClient speaks LPA/1 from the client's side with some steps replaced. Nil hooks are the honest
// steps.
type evilClient struct {
	cfg    *Config
	local  *local // nil: the configuration's own, after its checks
	server pki.ID // "" accepts whatever answers
	// bend sees the half before it answers M1.
	bend func(h *clientHalf)
	// m2 replaces the bytes that go out instead of M2.
	m2 func(h *clientHalf, m1, m2 []byte) []byte
	// finished sees M3, if one came.
	finished func(h *clientHalf, m3 []byte, err error)
}

func (e *evilClient) attack(t testing.TB) func(raw net.Conn) {
	return func(raw net.Conn) {
		stream, ekm, err := e.cfg.Suite.outerClient(raw)
		if err != nil {
			t.Errorf("attacker: outer TLS: %v", err)
			return
		}
		e.inside(t, stream, ekm)
	}
}

func (e *evilClient) inside(t testing.TB, stream *tls.Conn, ekm []byte) {
	m1, err := readFrame(stream, typeServerIdentity, maxIdentityFrame)
	if err != nil {
		t.Errorf("attacker: %v", err)
		return
	}
	l := e.local
	if l == nil {
		if l, err = e.cfg.prepare(); err != nil {
			t.Errorf("attacker: %v", err)
			return
		}
	}
	h := newClientHalf(e.cfg, l, ekm, e.cfg.now(), e.server)
	if e.bend != nil {
		e.bend(h)
	}
	m2, err := h.serverIdentity(m1)
	if err != nil {
		t.Errorf("attacker: %v", err)
		return
	}
	if e.m2 != nil {
		m2 = e.m2(h, m1, m2)
	}
	_, _ = stream.Write(append(m2, appBytes...))
	if e.finished != nil {
		m3, err := readFrame(stream, typeServerFinished, maxFinishedFrame)
		e.finished(h, m3, err)
	}
}

// evilServer speaks LPA/1 from the server's side with some steps replaced. Nil hooks are the honest
// steps.
type evilServer struct {
	cfg *Config
	m1  func(m1 []byte) []byte
	m3  func(h *serverHalf, m2, m3 []byte) []byte
}

func (e *evilServer) attack(t testing.TB) func(raw net.Conn) *tls.Conn {
	return func(raw net.Conn) *tls.Conn {
		stream, ekm, err := e.cfg.Suite.outerServer(raw)
		if err != nil {
			t.Errorf("attacker: outer TLS: %v", err)
			return nil
		}
		l, err := e.cfg.prepare()
		if err != nil {
			t.Errorf("attacker: %v", err)
			return nil
		}
		sent := l.m1
		if e.m1 != nil {
			sent = e.m1(append([]byte(nil), l.m1...))
		}
		if _, err := stream.Write(sent); err != nil {
			return stream
		}
		m2, err := readFrame(stream, typeClientProof, maxProofFrame)
		if err != nil {
			return stream // the client refused M1
		}
		h := &serverHalf{cfg: e.cfg, local: &local{roots: l.roots, identity: l.identity, chain: l.chain, m1: sent}, ekm: ekm, now: e.cfg.now()}
		m3, err := h.clientProof(m2)
		if err != nil {
			t.Errorf("attacker: %v", err)
			return stream
		}
		if e.m3 != nil {
			m3 = e.m3(h, m2, m3)
		}
		_, _ = stream.Write(append(m3, appBytes...))
		return stream
	}
}
