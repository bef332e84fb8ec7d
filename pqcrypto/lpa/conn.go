package lpa

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// watchInterval is how often a live connection looks at the clock and at Deny. A timer for the
// whole remaining lifetime would miss clock changes and suspended machines.
const watchInterval = time.Minute

// Conn is an authenticated, encrypted stream. It closes itself when the first of the certificates
// that the peer presented expires, when Config.Deny refuses the peer later on, and when the peer's
// trust anchor goes (see Config.Recheck). All methods are safe for concurrent use as in net.Conn.
type Conn struct {
	net.Conn // the outer TLS

	cfg       *Config
	raw       net.Conn
	peer      remote
	channelID [32]byte
	// roots are the trust anchors that the peer's certificates were verified with last.
	roots atomic.Pointer[pki.Pool]

	mu struct {
		sync.Mutex
		timer  *time.Timer
		closed bool
		cause  error // why the connection closed itself, nil otherwise
	}
}

func newConn(cfg *Config, raw net.Conn, stream *tls.Conn, peer remote, channelID [32]byte) *Conn {
	c := &Conn{Conn: stream, cfg: cfg, raw: raw, peer: peer, channelID: channelID}
	c.roots.Store(peer.roots)
	c.mu.Lock()
	defer c.mu.Unlock()
	cfg.live.add(c)
	// The first look is at once: Recheck may have run after the handshake asked Deny and before the
	// connection was in the set.
	c.mu.timer = time.AfterFunc(0, c.watch)
	return c
}

// Peer returns the identity certificate that the peer proved to own: on both sides the one with its
// SPIFFE ID and roles.
func (c *Conn) Peer() *pki.Certificate { return c.peer.svid }

// ChannelID returns a value that only the two ends of this connection know, unless they publish it.
// It is not a key: it may be logged to match the two ends' logs.
func (c *Conn) ChannelID() [32]byte { return c.channelID }

// Expires returns when the connection will close itself.
func (c *Conn) Expires() time.Time { return c.peer.expires }

// Read reads from the stream; after the connection closed itself the error is ErrPeerExpired,
// ErrPeerDenied or ErrPeerUntrusted.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.explain(err)
}

// Write writes to the stream; after the connection closed itself the error is ErrPeerExpired,
// ErrPeerDenied or ErrPeerUntrusted.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

// Close closes the stream and the connection below it.
func (c *Conn) Close() error {
	c.retire(nil)
	return c.Conn.Close()
}

func (c *Conn) explain(err error) error {
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.cause != nil {
		return c.mu.cause
	}
	return err
}

// nextWatch returns the delay until the connection must be looked at again.
func (c *Conn) nextWatch() time.Duration {
	return max(0, min(c.peer.expires.Sub(c.cfg.now()), watchInterval))
}

// verdict says why the connection may not live on, nil if it may.
func (c *Conn) verdict() error {
	if !c.cfg.now().Before(c.peer.expires) {
		return ErrPeerExpired
	}
	if c.cfg.deniedPeer(&c.peer) != nil {
		return ErrPeerDenied
	}
	if roots := c.cfg.prepared.Load().roots; roots != c.roots.Load() {
		if c.peer.verify(roots, c.cfg.now()) != nil {
			return ErrPeerUntrusted
		}
		c.roots.Store(roots)
	}
	return nil
}

func (c *Conn) watch() {
	if cause := c.verdict(); cause != nil {
		c.cut(cause)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.closed {
		c.mu.timer.Reset(c.nextWatch())
	}
}

// cut ends the connection at once: no TLS farewell, which could wait for a peer that does not read.
func (c *Conn) cut(cause error) {
	c.retire(cause)
	_ = c.raw.Close()
}

// retire stops the watch and forgets the connection. The first cause stays.
func (c *Conn) retire(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return
	}
	c.mu.closed, c.mu.cause = true, cause
	c.mu.timer.Stop()
	c.cfg.live.remove(c)
}

// connSet is the live connections of a Config.
type connSet struct {
	mu    sync.Mutex
	conns map[*Conn]struct{}
}

func (s *connSet) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[*Conn]struct{})
	}
	s.conns[c] = struct{}{}
}

func (s *connSet) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *connSet) all() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}
