package testbed

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo is a node that answers with what it gets.
type echo struct {
	ln net.Listener
}

func startEcho(t *testing.T, addr string) *echo {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{ln: ln}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return e
}

func testProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p, err := startProxy(target, nil, newGate(1), newGate(2), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func dialProxy(t *testing.T, p *proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// silent fails if something arrives.
func silent(t *testing.T, c net.Conn, why string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%s: read %d bytes, %v; want silence", why, n, err)
	}
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn, want string) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, []byte(want)) {
		t.Fatalf("received %q, %v; want %q", got, err, want)
	}
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for begun := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > 10*time.Second {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// TestCutHolds: a cut tells nobody, and what was sent meanwhile arrives afterwards.
func TestCutHolds(t *testing.T) {
	p := testProxy(t, startEcho(t, "127.0.0.1:0").ln.Addr().String())
	c := dialProxy(t, p)
	send(t, c, "one")
	receive(t, c, "one")
	for name, g := range map[string]*gate{"there": p.there, "back": p.back} {
		g.set(Condition{Cut: true})
		send(t, c, "two")
		await(t, name+": held", func() bool { return g.stats().Held == 3 })
		silent(t, c, name)
		late := dialProxy(t, p)
		send(t, late, "late")
		await(t, name+": the new connection waits", func() bool { return g.stats().Waiting > 0 })
		silent(t, late, name+", a new connection")
		g.set(Condition{})
		receive(t, c, "two")
		receive(t, late, "late")
	}
	if n := p.there.stats().Bytes; n != 3+3+4+3+4 {
		t.Errorf("%d bytes counted, want 17", n)
	}
}

// TestDelayAndLoss: what a fault did is counted.
func TestDelayAndLoss(t *testing.T) {
	p := testProxy(t, startEcho(t, "127.0.0.1:0").ln.Addr().String())
	c := dialProxy(t, p)
	p.there.set(Condition{Delay: 30 * time.Millisecond})
	start := time.Now()
	send(t, c, "x")
	receive(t, c, "x")
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("back after %v, want 30 ms at least", d)
	}
	if p.there.stats().Delayed != 1 {
		t.Errorf("%d bytes delayed, want 1", p.there.stats().Delayed)
	}
	p.there.set(Condition{Loss: 1, Breaks: true})
	send(t, c, "y")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a broken connection reads %v, want a reset", err)
	}
	if p.there.stats().Broken != 1 {
		t.Errorf("%d connections broken, want 1", p.there.stats().Broken)
	}
}

// TestDeadTargetRefuses: the proxy of a dead node is as dead as the node, at once,
// and comes back with it. While the link is cut it tells nothing.
func TestDeadTargetRefuses(t *testing.T) {
	e := startEcho(t, "127.0.0.1:0")
	target := e.ln.Addr().String()
	p := testProxy(t, target)
	up, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	send(t, up, "x")
	receive(t, up, "x")
	e.ln.Close()
	// The echo ends its side when we end ours; the proxy then finds nobody.
	if err := up.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := net.Dial("tcp", p.addr)
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err == nil {
			c.Close()
		}
		if time.Now().After(deadline) {
			t.Fatalf("the proxy of a dead target answers %v", err)
		}
	}
	startEcho(t, target)
	for {
		if c, err := net.Dial("tcp", p.addr); err == nil {
			send(t, c, "again")
			receive(t, c, "again")
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the proxy does not come back with its target")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestProxyCloses: nothing that is held keeps a proxy from ending.
func TestProxyCloses(t *testing.T) {
	p, err := startProxy(startEcho(t, "127.0.0.1:0").ln.Addr().String(), nil, newGate(1), newGate(2), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	c := dialProxy(t, p)
	send(t, c, "x")
	receive(t, c, "x")
	p.there.set(Condition{Cut: true})
	p.back.set(Condition{Cut: true})
	send(t, c, "held")
	dialProxy(t, p)
	done := make(chan struct{})
	go func() {
		p.close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("close hangs")
	}
}

// TestEndUnderCut: the end of a connection is held like data, but is no sign that the
// cut took effect: whoever was killed at the same time ends connections too.
func TestEndUnderCut(t *testing.T) {
	p := testProxy(t, startEcho(t, "127.0.0.1:0").ln.Addr().String())
	c := dialProxy(t, p)
	send(t, c, "one")
	receive(t, c, "one")
	p.there.set(Condition{Cut: true})
	_ = c.(*net.TCPConn).CloseWrite()
	silent(t, c, "the end")
	if n := p.there.stats().Touched(); n != 0 {
		t.Errorf("the end of a connection counts %d times", n)
	}
	p.there.set(Condition{})
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %d bytes, %v; want the end", n, err)
	}
}
