package client

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

// Option changes how a Client works.
type Option func(*options)

type options struct {
	timeout     time.Duration
	inFlight    int
	logf        func(format string, args ...any)
	credentials func(node string) credentials.TransportCredentials
	dialer      func(ctx context.Context, address string) (net.Conn, error)
	principal   string
	origin      string // of the profile: the ledger that every call names
	unverified  bool
}

func defaultOptions() options {
	return options{
		timeout:  30 * time.Second,
		inFlight: 2,
		logf:     func(string, ...any) {},
	}
}

// WithTimeout bounds calls whose context has no deadline; 30 seconds unless set. It does not bound
// Range and Watch.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithInFlight sets how many append requests may be under way at once; 2 unless set, at least 1.
// More help throughput only if the round trip is long. A request that would be small is not sent
// beside one that already carries several appends: it leaves when that one returns.
func WithInFlight(n int) Option { return func(o *options) { o.inFlight = max(1, n) } }

// WithLogf receives a line for whatever the client recovers from: nodes lost, requests repeated.
func WithLogf(f func(format string, args ...any)) Option { return func(o *options) { o.logf = f } }

// WithCredentials replaces the authenticated channel of the profile; roots, certificate, key, suite
// and trust domain of the profile are then not used. principal is who the nodes take this client
// for.
func WithCredentials(principal string, f func(node string) credentials.TransportCredentials) Option {
	return func(o *options) { o.principal, o.credentials = principal, f }
}

// Credentials returns the authenticated channel of the profile, for each of its nodes: what Dial uses
// where there is no WithCredentials.
func (p *Profile) Credentials() (func(node string) credentials.TransportCredentials, error) {
	o := defaultOptions()
	err := o.authenticate(*p)
	return o.credentials, err
}

// WithDialer replaces the dialling of TCP connections.
func WithDialer(f func(ctx context.Context, address string) (net.Conn, error)) Option {
	return func(o *options) { o.dialer = f }
}

// WithoutVerification believes the nodes: receipts and checkpoints are parsed but neither verified
// nor remembered. For load generators that must not measure the verifier.
func WithoutVerification() Option { return func(o *options) { o.unverified = true } }
