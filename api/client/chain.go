package client

import (
	"context"
	"io"
	"io/fs"
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/ledger/policychain"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Policies are those of a ledger from a trusted one on: what a chain of policies proves. As a
// Verifier they judge each checkpoint under the policy of its size.
type Policies = policychain.Verified

// Verifier judges receipts and checkpoints: a *Policy, or *Policies.
type Verifier = tlog.Verifier

// ParsePolicies parses a chain of policies and verifies it for who trusts a policy of it: that of
// the ledger's genesis, or any later one. The error is a *VerificationError.
func ParsePolicies(chain []byte, trusted *Policy) (*Policies, error) {
	bad := func(err error) (*Policies, error) {
		return nil, &VerificationError{What: "chain of policies", Err: err}
	}
	if trusted == nil {
		return bad(errors.New("there is no policy to verify it with"))
	}
	c, err := policychain.Parse(chain)
	if err != nil {
		return bad(err)
	}
	p, err := c.Verify(trusted)
	if err != nil {
		return bad(err)
	}
	return p, nil
}

// policies are what a Client demands of checkpoints: the trusted policy of its profile, and the
// policies of the ledger that it has been led to from there.
type policies struct {
	trusted *Policy
	path    string // file of the newest verified chain, "" = none
	mu      struct {
		sync.Mutex
		// known are those of the newest chain that was verified; nil before the first. They are
		// replaced only by policies that continue them, so no epoch is ever forgotten.
		known *Policies
		chain []byte // that known were parsed from
		// strangers counts the accepted checkpoints that an unknown key signed, too, since known changed.
		strangers int
	}
}

// chainPath is the file beside a state file that holds the newest verified chain.
func chainPath(state string) string {
	if state == "" {
		return ""
	}
	return state + ".policies"
}

// load reads the chain that an earlier client of the profile has verified; a missing file is no
// error.
func (p *policies) load() error {
	if p.path == "" {
		return nil
	}
	chain, err := wholefile.Read(p.path, policychain.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = p.adopt(chain)
	}
	return errors.Wrapf(err, "the policies that were verified before, in %s; "+
		"if you trust the ledger under the profile's policy alone, remove the file", p.path)
}

// verifier is what a checkpoint has to satisfy now.
func (p *policies) verifier() Verifier {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.known != nil {
		return p.mu.known
	}
	return p.trusted
}

func (p *policies) newest() (*Policies, []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.known, p.mu.chain
}

// adopt verifies a chain and takes it for the known one if it leads further. It refuses one that
// would lead back.
func (p *policies) adopt(chain []byte) (further bool, err error) {
	next, err := ParsePolicies(chain, p.trusted)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.mu.known; known != nil {
		if err := next.Continues(known); err != nil {
			return false, &VerificationError{What: "chain of policies", Err: err}
		}
		if len(next.Steps) == len(known.Steps) {
			return false, nil
		}
	}
	p.mu.known, p.mu.chain, p.mu.strangers = next, chain, 0
	return true, nil
}

// save writes the known chain, unless another client of the profile has come further.
func (p *policies) save() error {
	known, chain := p.newest()
	if p.path == "" || known == nil {
		return nil
	}
	if there, err := wholefile.Read(p.path, policychain.MaxSize); err == nil {
		if other, err := ParsePolicies(there, p.trusted); err == nil && len(other.Steps) > len(known.Steps) {
			return nil
		}
	}
	return errors.Wrap(wholefile.WriteSync(p.path, chain, 0o600), "write the policies that were verified")
}

// strange reports whether an accepted checkpoint is a reason to fetch the chain: a key signed it that
// is in none of the known policies. It says so more and more seldom, since the chain leads no further
// before the hand-over has ended, and a log may have a line that no policy lists.
func (p *policies) strange(note []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []*Policy{p.trusted}
	if p.mu.known != nil {
		for i := range p.mu.known.Steps {
			all = append(all, p.mu.known.Steps[i].Policy)
		}
	}
	if len(policychain.Strangers(note, all...)) == 0 {
		return false
	}
	p.mu.strangers++
	n := p.mu.strangers
	return n&(n-1) == 0 || n%1024 == 0
}

// learn asks the nodes, n first, for the chain of policies, and takes the first one that leads
// further than what is known. The error says why none does; it is nil if all that answered know no
// more than this client.
func (t *tracker) learn(ctx context.Context, n *node) (further bool, err error) {
	for _, asked := range t.c.nodes.startingWith(n) {
		chain, e := asked.policies(ctx)
		if e == nil {
			further, e = t.policies.adopt(chain)
		}
		if further {
			if e := t.policies.save(); e != nil {
				t.c.opts.logf("%v", e)
			}
			return true, nil
		}
		var bad *VerificationError
		switch {
		case e == nil:
			return false, nil
		case errors.As(e, &bad):
			bad.Node = asked.Name
			t.c.opts.logf("%v", bad)
		}
		if err == nil || bad != nil {
			err = e
		}
		if ctx.Err() != nil {
			return false, t.c.ended(ctx, false)
		}
	}
	return false, err
}

// policies gets the chain of policies that a node has.
func (n *node) policies(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	stream, err := n.ledger.Policies(ctx, &cairnv1.PoliciesRequest{})
	var chain []byte
	for err == nil {
		var resp *cairnv1.PoliciesResponse
		if resp, err = stream.Recv(); err == nil {
			if chain = append(chain, resp.Chain...); len(chain) > policychain.MaxSize {
				return nil, &VerificationError{What: "chain of policies", Node: n.Name, Err: errors.Newf("it has more than %d bytes", policychain.MaxSize)}
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, n.errorFrom(err, true)
	}
	return chain, nil
}

// Policies asks the nodes for the chain of policies of the ledger, and returns the newest policies
// that this client has verified, now or before, and the file that proves them. What the Client
// verifies from then on it verifies under them. The reason of the error is NOT_SEALED if the ledger
// has no checkpoint yet.
func (c *Client) Policies(ctx context.Context) (*Policies, []byte, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	_, n, err := read(ctx, c, func(ctx context.Context, n *node) ([]byte, error) {
		chain, err := n.policies(ctx)
		return chain, err
	})
	if err != nil {
		return nil, nil, err
	}
	// Again, with what every node has: this one may lag.
	if _, err := c.tracker.learn(ctx, n); err != nil {
		return nil, nil, err
	}
	known, chain := c.tracker.policies.newest()
	return known, chain, nil
}
