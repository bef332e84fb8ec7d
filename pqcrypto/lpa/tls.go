package lpa

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/cockroachdb/errors"
)

// throwawayLeaf is the certificate of the outer TLS: TLS insists on one, nobody looks at it. It is
// made once per process.
var throwawayLeaf = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, errors.Wrap(err, "generate the outer TLS key")
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280 4.1.2.5: no well-defined end
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, errors.Wrap(err, "make the outer TLS certificate")
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
})

// tlsConfig is the part that both sides share: one version, one group, one protocol, no resumption.
func (s *Suite) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		MaxVersion:             tls.VersionTLS13,
		CurvePreferences:       []tls.CurveID{s.group},
		NextProtos:             []string{s.alpn},
		SessionTicketsDisabled: true,
	}
}

// outerClient starts TLS 1.3 on raw. The server's TLS certificate is not verified: its identity is
// what the handshake inside proves.
func (s *Suite) outerClient(raw net.Conn) (*tls.Conn, []byte, error) {
	config := s.tlsConfig()
	config.InsecureSkipVerify = true
	return s.outer(tls.Client(raw, config))
}

// outerServer accepts TLS 1.3 on raw.
func (s *Suite) outerServer(raw net.Conn) (*tls.Conn, []byte, error) {
	leaf, err := throwawayLeaf()
	if err != nil {
		return nil, nil, fail(ReasonConfig, err)
	}
	config := s.tlsConfig()
	config.Certificates = []tls.Certificate{leaf}
	return s.outer(tls.Server(raw, config))
}

// outer runs the TLS handshake, checks that the connection is exactly what the suite demands, and
// exports the binding value.
func (s *Suite) outer(conn *tls.Conn) (*tls.Conn, []byte, error) {
	if err := conn.Handshake(); err != nil {
		return nil, nil, failIO(ReasonTLS, errors.Wrap(err, "outer TLS handshake"))
	}
	state := conn.ConnectionState()
	if err := s.checkState(&state); err != nil {
		return nil, nil, err
	}
	ekm, err := state.ExportKeyingMaterial(exporterLabel, []byte(s.alpn), ekmSize)
	if err != nil {
		return nil, nil, fail(ReasonTLS, errors.Wrap(err, "export keying material"))
	}
	return conn, ekm, nil
}

// checkState does not trust that the configuration was honoured: a lax or modified TLS stack must
// not weaken the channel silently.
func (s *Suite) checkState(state *tls.ConnectionState) error {
	switch {
	case state.Version != tls.VersionTLS13:
		return fail(ReasonDowngrade, errors.Newf("outer TLS: version %s, want TLS 1.3", tls.VersionName(state.Version)))
	case state.CurveID != s.group:
		return fail(ReasonDowngrade, errors.Newf("outer TLS: key exchange %s, want %s", state.CurveID, s.group))
	case state.NegotiatedProtocol != s.alpn:
		return fail(ReasonDowngrade, errors.Newf("outer TLS: protocol %q, want %q", state.NegotiatedProtocol, s.alpn))
	case state.DidResume:
		return fail(ReasonDowngrade, errors.New("outer TLS: the session was resumed"))
	}
	return nil
}
