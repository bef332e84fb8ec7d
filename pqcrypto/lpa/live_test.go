package lpa

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// movedClock is a clock that a test puts forward.
type movedClock struct{ offset atomic.Int64 }

func (c *movedClock) now() time.Time                     { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *movedClock) until(t time.Time, d time.Duration) { c.offset.Store(int64(time.Until(t) - d)) }

func TestConnClosesWhenThePeerExpires(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	short := w.principal(w.issuing, service, w.suite.sig, time.Time{}, time.Hour)
	shortNode := w.node(w.issuing, nodeOne, time.Time{}, time.Hour)
	longKEM := *w.n1
	longKEM.KEMChain, longKEM.KEMKey = w.companion(w.issuing, w.n1.Leaf(), w.suite.kem, time.Time{}, time.Hour)

	for _, tc := range []struct {
		name           string
		client, server *pki.Identity
		watcher        Side // whose clock moves
		end            time.Time
	}{
		{"client expires at the server", short, w.n1, SideServer, short.Leaf().NotAfter},
		{"server expires at the client", w.client, shortNode, SideClient, shortNode.Leaf().NotAfter},
		{"KEM certificate expires at the client", w.client, &longKEM, SideClient, longKEM.KEMChain[0].NotAfter},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// A loaded machine may need more time for the handshake than the certificate has left;
			// then it gets more.
			var cc, sc *Conn
			var watching *Config
			for left := 400 * time.Millisecond; cc == nil || sc == nil; left *= 3 {
				var clock movedClock
				clock.until(tc.end, left)
				client, server := w.config(tc.client), w.config(tc.server)
				if watching = client; tc.watcher == SideServer {
					watching = server
				}
				watching.Now = clock.now
				var cerr, serr error
				cc, sc, cerr, serr = shake(t, client, nodeOne, server)
				if (cerr != nil || serr != nil) && left > 20*time.Second {
					t.Fatalf("client: %v, server: %v", cerr, serr)
				}
			}
			conn, other := cc, sc
			if tc.watcher == SideServer {
				conn, other = sc, cc
			}
			if !conn.Expires().Equal(tc.end) {
				t.Errorf("Expires() = %v, want %v", conn.Expires(), tc.end)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, ErrPeerExpired) {
				t.Errorf("blocked read ended with %v, want ErrPeerExpired", err)
			}
			if _, err := conn.Write([]byte("x")); !errors.Is(err, ErrPeerExpired) {
				t.Errorf("write after the end: %v, want ErrPeerExpired", err)
			}
			if _, err := other.Read(make([]byte, 1)); err == nil {
				t.Error("the other end still reads")
			}
			if n := watching.Connections(); n != 0 {
				t.Errorf("%d connections are still listed", n)
			}
		})
	}
}

func TestRecheckCutsRemovedMembers(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	var removed atomic.Pointer[pki.ID]
	server := w.config(w.n1)
	server.Deny = func(c *pki.Certificate) error {
		if id := removed.Load(); id != nil && *id == c.ID {
			return errors.New("no member")
		}
		return nil
	}
	member, _, cerr, serr := shake(t, w.config(w.n2), nodeOne, server)
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	client, clientAtServer, cerr, serr := shake(t, w.config(w.client), nodeOne, server)
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	if n := server.Recheck(); n != 0 || server.Connections() != 2 {
		t.Fatalf("Recheck closed %d of %d connections, want 0 of 2", n, server.Connections())
	}
	id := nodeTwo
	removed.Store(&id)
	if n := server.Recheck(); n != 1 {
		t.Fatalf("Recheck closed %d connections, want 1", n)
	}
	if _, err := member.Read(make([]byte, 1)); err == nil {
		t.Error("the removed member still reads")
	}
	if _, _, cerr, _ := shake(t, w.config(w.n2), nodeOne, server); cerr == nil {
		t.Error("the removed member came back")
	}
	go func() { _, _ = client.Write([]byte("x")) }()
	if _, err := io.ReadFull(clientAtServer, make([]byte, 1)); err != nil {
		t.Errorf("the connection of somebody else broke: %v", err)
	}
	if n := server.Connections(); n != 1 {
		t.Errorf("%d connections are listed, want 1", n)
	}
	_ = clientAtServer.Close()
	if n := server.Connections(); n != 0 {
		t.Errorf("%d connections are listed after Close, want 0", n)
	}
}

// TestDenyBetweenHandshakeAndFirstLook changes membership in the moment in which the handshake has
// asked Deny already and the connection is not listed yet: the first look must find it without a
// Recheck.
func TestDenyBetweenHandshakeAndFirstLook(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	var asked atomic.Int32
	server := w.config(w.n1)
	server.Deny = func(*pki.Certificate) error {
		if asked.Add(1) == 1 {
			return nil
		}
		return errors.New("no member")
	}
	_, sc, cerr, serr := shake(t, w.config(w.n2), nodeOne, server)
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	if _, err := sc.Read(make([]byte, 1)); !errors.Is(err, ErrPeerDenied) {
		t.Errorf("read from a denied peer: %v, want ErrPeerDenied", err)
	}
}

// TestTwoThousandBadHandshakes checks that strangers cost neither memory nor goroutines after they
// are gone, and that a good client still gets in.
func TestTwoThousandBadHandshakes(t *testing.T) {
	w := worldOf(Suite768)
	server := w.config(w.n1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine() // the accept loop adds one
	var reasons sync.Map
	var accepted atomic.Int32
	var served sync.WaitGroup
	served.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				conn, err := server.Server(context.Background(), raw)
				if err == nil {
					accepted.Add(1)
					_ = conn.Close()
					return
				}
				n, _ := reasons.LoadOrStore(err.(*HandshakeError).Reason, new(atomic.Int32)) // it is
				n.(*atomic.Int32).Add(1)
			})
		}
	})
	garbage := must(newFrame(typeClientProof, maxProofFrame, make([]byte, 12000)))
	bad := func(i int) {
		raw, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = raw.Close() }()
		switch i % 4 {
		case 0:
			_, _ = raw.Write([]byte(appBytes))
		case 1:
			return
		default:
			stream, _, err := w.suite.outerClient(raw)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = readFrame(stream, typeServerIdentity, maxIdentityFrame)
			if i%4 == 2 {
				_, _ = stream.Write(garbage)
			} else {
				_, _ = stream.Write([]byte{2, 0, 0x7f, 0xff})
				_ = stream.CloseWrite()
			}
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(raw, 1<<10))
	}
	round := func(n int) {
		var wg sync.WaitGroup
		next := atomic.Int32{}
		for range 16 {
			wg.Go(func() {
				for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
					bad(i)
				}
			})
		}
		wg.Wait()
	}
	settle := func() (heap uint64, goroutines int) {
		for range 500 {
			if goroutines = runtime.NumGoroutine(); goroutines <= before+1 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, goroutines
	}
	round(200)
	heapBefore, _ := settle()
	round(2000)
	heapAfter, goAfter := settle()
	if heapAfter > heapBefore+2<<20 {
		t.Errorf("the heap grew from %d to %d bytes over 2000 bad handshakes", heapBefore, heapAfter)
	}
	if goAfter > before+1 {
		buf := make([]byte, 1<<16)
		t.Errorf("goroutines grew from %d to %d:\n%s", before+1, goAfter, buf[:runtime.Stack(buf, true)])
	}
	if n := accepted.Load(); n != 0 {
		t.Errorf("%d bad handshakes were accepted", n)
	}
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := w.config(w.client).Client(context.Background(), raw, nodeOne)
	if err != nil {
		t.Fatalf("an honest client after the flood: %v", err)
	}
	_ = conn.Close()
	_ = ln.Close()
	served.Wait()
	if n := server.Connections(); n != 0 {
		t.Errorf("%d connections are still listed", n)
	}
	total := 0
	reasons.Range(func(k, v any) bool {
		total += int(v.(*atomic.Int32).Load())
		t.Logf("%s: %d", k, v.(*atomic.Int32).Load())
		return true
	})
	if total != 2200 {
		t.Errorf("%d handshakes failed, want 2200", total)
	}
}
