package lpa

import (
	"context"
	"io"
	"net"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// AuthInfo is what gRPC keeps about an authenticated connection.
type AuthInfo struct {
	credentials.CommonAuthInfo
	// Peer is the identity certificate that the peer proved to own.
	Peer *pki.Certificate
	// ChannelID identifies the connection in both ends' logs.
	ChannelID [32]byte

	server func(authority string) (pki.ID, bool)
}

// AuthType returns "lpa1".
func (AuthInfo) AuthType() string { return "lpa1" }

// ValidateAuthority allows a per-call authority only if it maps to the identity that this
// connection's server proved.
func (a AuthInfo) ValidateAuthority(authority string) error {
	if a.server == nil || a.Peer == nil {
		return errors.Newf("authority %q cannot be checked on this connection", authority)
	}
	id, ok := a.server(authority)
	if !ok {
		return errors.Newf("no identity is known for authority %q", authority)
	}
	if id != a.Peer.ID {
		return errors.Newf("authority %q is %s, but this connection's server is %s", authority, id, a.Peer.ID)
	}
	return nil
}

// PeerFromContext returns the identity certificate of the other end of the RPC in ctx.
func PeerFromContext(ctx context.Context) (*pki.Certificate, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, false
	}
	info, ok := p.AuthInfo.(AuthInfo)
	if !ok || info.Peer == nil {
		return nil, false
	}
	return info.Peer, true
}

type transportCredentials struct {
	cfg      *Config
	server   func(authority string) (pki.ID, bool)
	override string
}

// Credentials returns the channel as gRPC transport credentials, for grpc.WithTransportCredentials
// and grpc.Creds. server maps the authority that a gRPC client dials ("host:port" as written in the
// target) to the identity that must answer there; a server may pass nil.
func (c *Config) Credentials(server func(authority string) (pki.ID, bool)) credentials.TransportCredentials {
	return &transportCredentials{cfg: c, server: server}
}

func (t *transportCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if t.override != "" {
		authority = t.override
	}
	id, ok := pki.ID(""), false
	if t.server != nil {
		id, ok = t.server(authority)
	}
	if !ok {
		_ = raw.Close()
		return nil, nil, fail(ReasonConfig, errors.Newf("no identity is known for authority %q", authority))
	}
	conn, err := t.cfg.Client(ctx, raw, id)
	if err != nil {
		return nil, nil, err
	}
	return conn, t.info(conn), nil
}

func (t *transportCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, err := t.cfg.Server(context.Background(), raw)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil, io.EOF // a prober that connected and went; gRPC stays silent about exactly this error
		}
		return nil, nil, err
	}
	return conn, t.info(conn), nil
}

func (t *transportCredentials) info(conn *Conn) AuthInfo {
	return AuthInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		Peer:           conn.Peer(),
		ChannelID:      conn.ChannelID(),
		server:         t.server,
	}
}

// Info says "tls", which is what the wire carries and what makes gRPC use the https scheme.
func (t *transportCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (t *transportCredentials) Clone() credentials.TransportCredentials {
	clone := *t
	return &clone
}

// OverrideServerName is deprecated in gRPC and kept for its interface.
func (t *transportCredentials) OverrideServerName(authority string) error {
	t.override = authority
	return nil
}
