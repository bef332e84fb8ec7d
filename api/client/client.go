package client

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Client talks to all nodes of one ledger. It is safe for concurrent use.
type Client struct {
	principal string // who the nodes take this client for; sizes of leaves depend on it
	opts      options
	nodes     *nodes
	tracker   *tracker
	committed *lane
	sealed    *lane

	// seen is the largest size that any answer has shown: local reads must not go back behind it.
	seen atomic.Uint64

	ctx       context.Context // ends when the Client is closed
	cancel    context.CancelFunc
	closeOnce sync.Once
	closeErr  error
}

// Dial prepares a Client. It reads the profile's files and fails if one is missing or malformed; it
// connects in the background and does not fail if no node answers. Close the Client when done.
//
// Where the policy lists no log of the profile's origin, the ledger is judged by the policy that
// [Policy.For] derives, once the ledger's genesis has confirmed it.
func Dial(ctx context.Context, p Profile, opts ...Option) (*Client, error) {
	o := defaultOptions()
	for _, opt := range opts {
		opt(&o)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := validateEndpoints(p.Endpoints); err != nil {
		return nil, errors.Wrap(err, "profile")
	}
	if p.Origin == "" {
		return nil, errors.New("profile: origin is missing: every call names the ledger that it means")
	}
	cluster, err := LoadPolicy(p.Policy)
	if err != nil {
		return nil, err
	}
	policy, err := cluster.For(p.Origin)
	if err != nil {
		return nil, errors.Wrapf(err, "policy %s", p.Policy)
	}
	listed := slices.ContainsFunc(cluster.Logs(), func(k *tlog.VerifierKey) bool { return k.Name() == p.Origin })
	if o.credentials == nil {
		if err := o.authenticate(p); err != nil {
			return nil, err
		}
	}
	if o.dialer == nil {
		d := &net.Dialer{Timeout: connectTimeout}
		o.dialer = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	o.origin = p.Origin
	c := &Client{principal: o.principal, opts: o}
	c.tracker, err = newTracker(c, policy, !listed, p.State)
	if err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.nodes = newNodes(&c.opts, p.Endpoints)
	c.committed, c.sealed = &lane{c: c}, &lane{c: c, wait: true}
	return c, nil
}

// authenticate sets up the channel with the files of the profile.
func (o *options) authenticate(p Profile) error {
	if err := p.Validate(); err != nil {
		return errors.Wrap(err, "profile")
	}
	suite := p.Suite
	if suite == "" {
		suite = "default"
	}
	channel := &lpa.Config{Deny: denyOthersThanNodes}
	var err error
	if channel.Suite, err = lpa.ParseSuite(suite); err != nil {
		return errors.Wrap(err, "profile: suite")
	}
	if channel.Identity, err = pki.LoadIdentity(p.Certificate, p.Key, "", ""); err != nil {
		return errors.Wrap(err, "load the client's certificate and key")
	}
	if channel.Roots, err = pki.LoadPool(p.Roots); err != nil {
		return errors.Wrap(err, "load trust roots")
	}
	if p.Revoked != "" {
		revoked, err := pki.ReadRevocations(p.Revoked)
		if err == nil {
			channel.Roots, err = channel.Roots.WithRevocations(revoked)
		}
		if err != nil {
			return errors.Wrap(err, "profile: revoked")
		}
	}
	if len(channel.Identity.Chain) == 0 {
		return errors.Newf("%s holds no certificate", p.Certificate)
	}
	o.principal = string(channel.Identity.Chain[0].ID)
	cluster, err := pki.ParseClusterID(p.ClusterID)
	if err != nil {
		return errors.Wrap(err, "profile: cluster_id")
	}
	domain := p.TrustDomain
	o.credentials = func(node string) credentials.TransportCredentials {
		return channel.Credentials(func(string) (pki.ID, bool) { return pki.NodeID(domain, cluster, node), true })
	}
	return nil
}

// denyOthersThanNodes refuses a server whose certificate has a node's name but not a node's role.
func denyOthersThanNodes(c *pki.Certificate) error {
	if !c.IsKEM && !c.Roles.Has(pki.RolePeer) {
		return errors.Newf("%s lacks the role peer: it is no node", c.ID)
	}
	return nil
}

// Close ends all calls and connections, and writes the newest checkpoint to the state file.
func (c *Client) Close() error {
	c.closeOnce.Do(func() {
		c.cancel()
		c.closeErr = errors.CombineErrors(c.nodes.close(), c.tracker.close())
	})
	return c.closeErr
}

// Nodes returns the names of the nodes of the profile.
func (c *Client) Nodes() []string { return c.nodes.names() }

// Principal returns who the nodes take this client for: the SPIFFE ID of its certificate.
func (c *Client) Principal() string { return c.principal }

// bounded gives a context that ends with the caller's, with the Client, and after the default
// timeout if it has no deadline.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	var cancel context.CancelFunc
	if _, ok := ctx.Deadline(); ok {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithTimeout(ctx, c.opts.timeout)
	}
	stop := context.AfterFunc(c.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// ended explains why a context is over.
func (c *Client) ended(ctx context.Context, definite bool) *Error {
	if c.ctx.Err() != nil {
		return &Error{Code: codes.Canceled, Reason: ReasonClosed, Message: "the client is closed", Definite: definite, cause: context.Canceled}
	}
	err := ctx.Err()
	code, message := codes.Canceled, "the call was cancelled"
	if errors.Is(err, context.DeadlineExceeded) {
		code, message = codes.DeadlineExceeded, "the call took longer than allowed"
	}
	return &Error{Code: code, Reason: ReasonDeadline, Message: message, Definite: definite, cause: err}
}

// sawSize remembers the size of an answer.
func (c *Client) sawSize(size uint64) {
	for {
		old := c.seen.Load()
		if size <= old || c.seen.CompareAndSwap(old, size) {
			return
		}
	}
}

// sleep waits, unless the context ends first.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
