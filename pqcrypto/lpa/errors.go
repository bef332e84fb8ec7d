package lpa

import (
	"fmt"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Reasons of a failed handshake. They are stable: metrics, alerts and tests may match on them.
const (
	ReasonConfig      = "config"      // this side's own configuration cannot serve the suite
	ReasonTimeout     = "timeout"     // the handshake did not end in time
	ReasonCanceled    = "canceled"    // the caller gave up
	ReasonClosed      = "closed"      // the connection broke; a server also closes when it cannot open the client's proof
	ReasonTLS         = "tls"         // the outer TLS handshake failed
	ReasonDowngrade   = "downgrade"   // the outer TLS came up with another version, group or protocol, or resumed
	ReasonFrame       = "frame"       // a frame of another type or size, or one that does not parse
	ReasonCertificate = "certificate" // a certificate or path that does not validate; package pki has the finer reason
	ReasonExpired     = "expired"     // a certificate outside its validity period
	ReasonIdentity    = "identity"    // the server is not the one that was dialled
	ReasonRelated     = "related"     // the server's KEM certificate does not vouch for its identity certificate
	ReasonSuite       = "suite"       // a key of another parameter set than the suite's
	ReasonDenied      = "denied"      // the Deny hook refused the peer
	ReasonProof       = "proof"       // M2 was not sealed for this server on this connection
	ReasonSignature   = "signature"   // the client's signature does not verify
	ReasonFinished    = "finished"    // the server's MAC does not verify
	ReasonRefused     = "refused"     // the server authenticated itself and refused the client; Refusal says why
)

var (
	// ErrPeerExpired is what reads and writes return after the peer's certificate expired.
	ErrPeerExpired = errors.New("connection closed: the peer's certificate expired")
	// ErrPeerDenied is what reads and writes return after the Deny hook refused the peer of a live
	// connection.
	ErrPeerDenied = errors.New("connection closed: the peer is denied")
	// ErrPeerUntrusted is what reads and writes return after Config.Reload took away the trust
	// anchor of a live connection's peer.
	ErrPeerUntrusted = errors.New("connection closed: the peer's certificate does not lead to a trusted root")
)

// HandshakeError is the only type of error that Client and Server return.
type HandshakeError struct {
	// Reason is one of the Reason words.
	Reason string
	// Refusal is the server's reason when Reason is "refused": one of certificate, expired, suite,
	// signature, denied.
	Refusal string
	// Peer is the identity in the peer's certificate when the handshake got that far, else "". On
	// the server it is authenticated only when Reason is "denied", on the client only when it is
	// "refused".
	Peer pki.ID

	cert *pki.Certificate // what the peer presented, nil if the handshake did not get that far
	err  error
}

// fail gives an error its reason; an error that has one already keeps it.
func fail(reason string, err error) *HandshakeError {
	if h := (*HandshakeError)(nil); errors.As(err, &h) {
		return h
	}
	return &HandshakeError{Reason: reason, err: err}
}

func (e *HandshakeError) Error() string {
	reason := e.Reason
	if e.Refusal != "" {
		reason += " (" + e.Refusal + ")"
	}
	if e.err == nil {
		return "lpa handshake: " + reason
	}
	return fmt.Sprintf("lpa handshake: %s: %v", reason, e.err)
}

// Unwrap returns the cause.
func (e *HandshakeError) Unwrap() error { return e.err }

// Timeout says whether the handshake ran out of time, as net.Error demands.
func (e *HandshakeError) Timeout() bool { return e.Reason == ReasonTimeout }

// Temporary says whether the same handshake may succeed later without anybody changing a
// certificate or a configuration. gRPC looks at it to choose between backing off and giving up.
func (e *HandshakeError) Temporary() bool {
	switch e.Reason {
	case ReasonTimeout, ReasonCanceled, ReasonClosed:
		return true
	}
	return false
}
