package client

import (
	"context"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
)

// LedgerInfo is what the cluster's directory says about a ledger. It is the word of an
// authenticated node: the ledger's genesis, its entry 0, proves the same.
type LedgerInfo = cairnv1.LedgerInfo

// CreateLedger creates a ledger on the nodes of the cluster. If there is one with the same origin,
// program and parameters, it is returned, and created is false; so it is after an attempt whose
// answer was lost, since the call is repeated until its outcome is known. With reason LEDGER_EXISTS
// there is another ledger of this name. Role: admin.
func (c *Client) CreateLedger(ctx context.Context, origin, program string, parameters ...ledger.Parameter) (info *LedgerInfo, created bool, err error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	req := &cairnv1.CreateLedgerRequest{Origin: origin, Program: program}
	for _, p := range parameters {
		req.Parameters = append(req.Parameters, &cairnv1.Parameter{Name: p.Name, Value: p.Value})
	}
	resp, n, err := exchange(ctx, c, "create ledger", true, false, func(ctx context.Context, n *node) (*cairnv1.CreateLedgerResponse, error) {
		return n.dir.CreateLedger(ctx, req)
	})
	if err != nil {
		return nil, false, err
	}
	if err := isLedger(resp.Ledger, origin, n); err != nil {
		return nil, false, err
	}
	return resp.Ledger, resp.Created, nil
}

// Ledgers returns the ledgers of the cluster, sorted by origin.
func (c *Client) Ledgers(ctx context.Context) ([]*LedgerInfo, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var all []*LedgerInfo
	req := &cairnv1.ListLedgersRequest{}
	for {
		resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.ListLedgersResponse, error) {
			return n.dir.ListLedgers(ctx, req)
		})
		if err != nil {
			return nil, err
		}
		for _, l := range resp.Ledgers {
			if l.GetOrigin() <= req.After { // or the listing might never end
				return nil, &VerificationError{What: "list of ledgers", Node: n.Name, Err: errors.Newf("%q stands behind %q", l.GetOrigin(), req.After)}
			}
			req.After = l.GetOrigin()
		}
		all = slices.Concat(all, resp.Ledgers)
		if !resp.More || len(resp.Ledgers) == 0 {
			return all, nil
		}
	}
}

// ShowLedger returns one ledger of the cluster. The reason of the error is UNKNOWN_LEDGER if there
// is none of this name.
func (c *Client) ShowLedger(ctx context.Context, origin string) (*LedgerInfo, error) {
	resp, n, err := read(ctx, c, func(ctx context.Context, n *node) (*cairnv1.GetLedgerResponse, error) {
		return n.dir.GetLedger(ctx, &cairnv1.GetLedgerRequest{Origin: origin})
	})
	if err != nil {
		return nil, err
	}
	return resp.Ledger, isLedger(resp.Ledger, origin, n)
}

func isLedger(l *LedgerInfo, origin string, n *node) error {
	if l.GetOrigin() != origin {
		return &VerificationError{What: "description of a ledger", Node: n.Name, Err: errors.Newf("it is about %q, not %q", l.GetOrigin(), origin)}
	}
	return nil
}
