package lpa

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// bubbleClock is a clock for Config.Now that runs with the clock of a synctest bubble from a chosen
// moment on, and that a test can set forward, as an administrator or a resumed machine does.
type bubbleClock struct {
	start  time.Time // in the bubble
	at     time.Time // what the clock showed then
	offset atomic.Int64
}

func newBubbleClock(at time.Time) *bubbleClock { return &bubbleClock{start: time.Now(), at: at} }

func (c *bubbleClock) now() time.Time {
	return c.at.Add(time.Since(c.start) + time.Duration(c.offset.Load()))
}

// pipeShake runs a handshake over a pipe, inside a bubble.
func pipeShake(t *testing.T, client *Config, name pki.ID, server *Config) (cc, sc *Conn) {
	t.Helper()
	craw, sraw := net.Pipe()
	done := make(chan error, 1)
	go func() {
		var err error
		sc, err = server.Server(context.Background(), sraw)
		done <- err
	}()
	cc, cerr := client.Client(context.Background(), craw, name)
	if serr := <-done; cerr != nil || serr != nil {
		t.Fatalf("client: %v, server: %v", cerr, serr)
	}
	return cc, sc
}

// ending returns a channel that gets the error with which the connection's stream ends.
func ending(c *Conn) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	}()
	return ended
}

// wantOpen checks that the stream has not ended, once everything in the bubble waits.
func wantOpen(t *testing.T, when string, ended <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-ended:
		t.Fatalf("%s: the connection has ended with %v", when, err)
	default:
	}
}

// wantEnd checks that the stream has ended with an error, once everything in the bubble waits.
func wantEnd(t *testing.T, when string, ended <-chan error, want error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-ended:
		if !errors.Is(err, want) {
			t.Errorf("%s: the connection ended with %v, want %v", when, err, want)
		}
	default:
		t.Errorf("%s: the connection lives on, want %v", when, want)
	}
}

// watchers are the two sides of a connection: each watches the other.
var watchers = map[string]Side{"client watches": SideClient, "server watches": SideServer}

// watched makes a connection on which one side has the configuration that prepare fills in, and
// returns that side.
func watched(t *testing.T, w *world, side Side, client, server *pki.Identity, prepare func(*Config)) *Conn {
	t.Helper()
	cc, sc := w.config(client), w.config(server)
	clock := newBubbleClock(w.issuing.Certificate().NotBefore.Add(time.Hour))
	cc.Now, sc.Now = clock.now, clock.now
	if side == SideClient {
		prepare(cc)
	} else {
		prepare(sc)
	}
	cconn, sconn := pipeShake(t, cc, nodeOne, sc)
	t.Cleanup(func() { _, _ = cconn.Close(), sconn.Close() })
	go func() { _, _ = io.Copy(io.Discard, map[Side]*Conn{SideClient: sconn, SideServer: cconn}[side]) }()
	return map[Side]*Conn{SideClient: cconn, SideServer: sconn}[side]
}

// TestConnLooksOnceAMinute: a live connection asks Deny again within a minute, although nobody
// called Recheck, and goes on doing so. Either side closes the connection when Deny refuses the
// peer.
func TestConnLooksOnceAMinute(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	for name, side := range watchers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var denied atomic.Bool
				var asked atomic.Int32
				conn := watched(t, w, side, w.client, w.n1, func(c *Config) {
					c.Deny = func(*pki.Certificate) error {
						asked.Add(1)
						if denied.Load() {
							return errors.New("no member")
						}
						return nil
					}
				})
				ended := ending(conn)
				wantOpen(t, "at first", ended)
				for minute := range 5 {
					before := asked.Load()
					time.Sleep(watchInterval)
					wantOpen(t, "while Deny lets the peer in", ended)
					if n := asked.Load() - before; n == 0 {
						t.Fatalf("Deny was not asked in minute %d", minute+1)
					}
				}
				denied.Store(true)
				time.Sleep(watchInterval)
				wantEnd(t, "a minute after Deny refused the peer", ended, ErrPeerDenied)
			})
		})
	}
}

// TestConnSeesTheClockJump: the clock is set forward past the end of the peer's certificate, so a
// timer for the remaining lifetime would fire a day late. The look once a minute finds the end.
func TestConnSeesTheClockJump(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	for name, side := range watchers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				clock := newBubbleClock(time.Time{})
				conn := watched(t, w, side, w.client, w.n1, func(c *Config) {
					clock.at = c.Now()
					c.Now = clock.now
				})
				ended := ending(conn)
				time.Sleep(10*watchInterval + watchInterval/2)
				wantOpen(t, "before the clock was set", ended)
				clock.offset.Store(int64(conn.Expires().Sub(clock.now())))
				time.Sleep(watchInterval)
				wantEnd(t, "a minute after the clock passed the end", ended, ErrPeerExpired)
			})
		})
	}
}

// TestConnClosesWhenAnIssuerExpires: an issuer of the peer's certificate ends before the
// certificate. The connection ends with the issuer, on either side, to the moment.
func TestConnClosesWhenAnIssuerExpires(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	end := w.n1.Leaf().NotAfter.Add(-20 * time.Hour).Truncate(time.Second)
	issuer := must(pki.ParseCertificate(forge(t, w.root, w.issuing.Certificate().Raw, func(c *tbsCertificate) {
		c.Validity.NotAfter = end.UTC()
	})))
	under := func(i *pki.Identity) *pki.Identity {
		short := *i
		short.Chain = []*pki.Certificate{i.Leaf(), issuer}
		if i.KEMKey != nil {
			short.KEMChain = []*pki.Certificate{i.KEMChain[0], issuer}
		}
		return &short
	}
	for name, side := range watchers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, server := w.client, w.n1
				if side == SideClient {
					server = under(server)
				} else {
					client = under(client)
				}
				var now func() time.Time
				conn := watched(t, w, side, client, server, func(c *Config) { now = c.Now })
				if !conn.Expires().Equal(end) {
					t.Errorf("Expires() = %v, want the issuer's end %v", conn.Expires(), end)
				}
				ended := ending(conn)
				time.Sleep(end.Sub(now()) - time.Second)
				wantOpen(t, "a second before the issuer's end", ended)
				time.Sleep(time.Second)
				wantEnd(t, "at the issuer's end", ended, ErrPeerExpired)
			})
		})
	}
}
