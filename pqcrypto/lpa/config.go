package lpa

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// DefaultHandshakeTimeout bounds a handshake when Config.HandshakeTimeout is zero.
const DefaultHandshakeTimeout = 5 * time.Second

// Config is one principal's side of the channel, for dialling and accepting. Fill it in before the
// first use. Afterwards only Reload changes it. Do not copy it. All methods are safe for concurrent
// use.
type Config struct {
	// Suite fixes every algorithm. Required.
	Suite *Suite
	// Identity is this side's certificates and keys. The KEM half is required to accept, not to
	// dial. Required.
	Identity *pki.Identity
	// Roots are the trust anchors for the peers. Required.
	Roots *pki.Pool
	// Now is the clock that certificates are checked against; nil is time.Now.
	Now func() time.Time
	// HandshakeTimeout bounds one handshake, outer TLS included; 0 is DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// Deny refuses a peer whose certificate is otherwise good, because it is revoked or not a
	// member; nil refuses nobody. It is asked during the handshake, about once a minute while the
	// connection lives, and by Recheck. The dialling side asks it about both certificates of the
	// server (Certificate.IsKEM tells them apart). It must be quick and safe for concurrent use.
	Deny func(*pki.Certificate) error
	// Observe, if set, is called with the outcome of every handshake, for metrics and logs. It must
	// be quick and safe for concurrent use.
	Observe func(Event)

	prepared atomic.Pointer[local]
	live     connSet
}

// Side says which end of a connection an event is about.
type Side uint8

const (
	SideClient Side = iota + 1 // the end that dialled
	SideServer                 // the end that accepted
)

// String returns "client" or "server".
func (s Side) String() string {
	if s == SideServer {
		return "server"
	}
	return "client"
}

// Event is the outcome of one handshake.
type Event struct {
	Side     Side
	Reason   string // a Reason word; "" is success
	Peer     pki.ID // see HandshakeError.Peer; "" if unknown
	Remote   net.Addr
	Raw      net.Conn // what Client or Server was called with
	Suite    *Suite
	Duration time.Duration
	// Certificate is the peer's identity certificate as presented, nil if the handshake did not get
	// that far. The peer has proved that it owns the certificate only where Peer says so.
	Certificate *pki.Certificate
	// Err is the *HandshakeError of a failed handshake.
	Err error
}

// Group returns the TLS group that the suite pins.
func (e Event) Group() tls.CurveID { return e.Suite.group }

// local is a Config's own side and its trust anchors, checked and encoded once. It is replaced as a
// whole.
type local struct {
	roots    *pki.Pool
	identity *pki.Identity
	chain    [][]byte // SVID and its issuers without the root
	m1       []byte   // the whole frame M1; nil without a KEM half
}

// Validate reports what makes the configuration unusable. Client and Server would fail with the
// same error and ReasonConfig; calling it when a process starts gives the operator the message
// early.
func (c *Config) Validate() error {
	_, err := c.prepare()
	return err
}

func (c *Config) prepare() (*local, error) {
	if l := c.prepared.Load(); l != nil {
		return l, nil
	}
	l, err := c.checkLocal(c.Identity, c.Roots)
	if err != nil {
		return nil, fail(ReasonConfig, err)
	}
	if !c.prepared.CompareAndSwap(nil, l) {
		return c.prepared.Load(), nil // Reload was quicker
	}
	return l, nil
}

// Reload replaces identity and trust anchors. Handshakes that begin afterwards use the new ones. A
// live connection keeps the keys that it was made with, and is closed by Recheck if its peer does
// not lead to the new trust anchors. On an error nothing has changed.
func (c *Config) Reload(identity *pki.Identity, roots *pki.Pool) error {
	l, err := c.checkLocal(identity, roots)
	if err != nil {
		return fail(ReasonConfig, err)
	}
	c.prepared.Store(l)
	return nil
}

// Current returns the identity that new handshakes use.
func (c *Config) Current() *pki.Identity {
	if l := c.prepared.Load(); l != nil {
		return l.identity
	}
	return c.Identity
}

func (c *Config) checkLocal(id *pki.Identity, roots *pki.Pool) (*local, error) {
	switch {
	case c.Suite == nil:
		return nil, errors.New("no suite configured")
	case roots == nil:
		return nil, errors.New("no trust roots configured")
	case id == nil || id.Key == nil || len(id.Chain) == 0:
		return nil, errors.New("no identity certificate and key configured")
	}
	if id.Key.Params() != c.Suite.sig {
		return nil, errors.Newf("suite %s needs a %s identity key, this one is %s", c.Suite, c.Suite.sig, id.Key.Params())
	}
	chain, err := withoutRoot(id.Chain)
	if err != nil {
		return nil, err
	}
	l := &local{roots: roots, identity: id, chain: chain}
	if id.KEMKey == nil {
		return l, nil
	}
	if id.KEMKey.Params() != c.Suite.kem {
		return nil, errors.Newf("suite %s needs a %s KEM key, this one is %s", c.Suite, c.Suite.kem, id.KEMKey.Params())
	}
	if len(id.KEMChain) == 0 {
		return nil, errors.New("a KEM key without its certificate is configured")
	}
	kemChain, err := withoutRoot(id.KEMChain)
	if err != nil {
		return nil, err
	}
	if id.KEMChain[0].ID != id.Chain[0].ID {
		return nil, errors.Newf("the KEM certificate names %s, the identity certificate %s", id.KEMChain[0].ID, id.Chain[0].ID)
	}
	if len(kemChain) != len(chain) {
		return nil, errors.New("the KEM certificate and the identity certificate have different issuers; issue both together")
	}
	for i := 1; i < len(chain); i++ {
		if !bytes.Equal(chain[i], kemChain[i]) {
			return nil, errors.New("the KEM certificate and the identity certificate have different issuers; issue both together")
		}
	}
	m1 := serverIdentity{kem: kemChain[0], svid: chain[0], issuers: chain[1:]}
	if l.m1, err = newFrame(typeServerIdentity, maxIdentityFrame, m1.marshal()); err != nil {
		return nil, err
	}
	return l, nil
}

// withoutRoot returns the DER of a chain up to, not including, a self-issued root: the peer must
// have that already.
func withoutRoot(chain []*pki.Certificate) ([][]byte, error) {
	var out [][]byte
	for i, cert := range chain {
		parsed, err := x509.ParseCertificate(cert.Raw)
		if err != nil {
			return nil, errors.Wrapf(err, "parse own certificate %d", i+1)
		}
		if i > 0 && bytes.Equal(parsed.RawIssuer, parsed.RawSubject) {
			break
		}
		out = append(out, cert.Raw)
	}
	if len(out) > 1+maxIssuers {
		return nil, errors.Newf("own certificate chain has %d issuers below the root, at most %d are allowed", len(out)-1, maxIssuers)
	}
	return out, nil
}

// Recheck looks at the peer of every live connection: it closes those that Deny refuses now, and
// those that do not lead to the present trust anchors. Call it after Reload, and when the
// membership or a revocation list has changed. It returns how many it closed.
func (c *Config) Recheck() int {
	closed := 0
	for _, conn := range c.live.all() {
		if cause := conn.verdict(); cause != nil {
			conn.cut(cause)
			closed++
		}
	}
	return closed
}

// Connections returns the number of live connections of this configuration.
func (c *Config) Connections() int { return len(c.live.all()) }

func (c *Config) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Config) handshakeTimeout() time.Duration {
	if c.HandshakeTimeout > 0 {
		return c.HandshakeTimeout
	}
	return DefaultHandshakeTimeout
}

func (c *Config) denied(cert *pki.Certificate) error {
	if c.Deny == nil {
		return nil
	}
	return c.Deny(cert)
}

// deniedPeer asks Deny about everything that the peer presented for itself.
func (c *Config) deniedPeer(p *remote) error {
	if err := c.denied(p.svid); err != nil || p.kem == nil {
		return err
	}
	return c.denied(p.kem)
}

func (c *Config) observe(e Event) {
	if c.Observe != nil {
		c.Observe(e)
	}
}
