package server

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Verdicts of Verify.
const (
	VerdictOK        = "OK"
	VerdictMalformed = "MALFORMED"
	VerdictPolicy    = "POLICY"
	VerdictInclusion = "INCLUSION"
	VerdictFork      = "FORK"
	VerdictAhead     = "AHEAD"
)

// Verify implements cairnv1.LedgerServer.
func (s *Server) Verify(ctx context.Context, req *cairnv1.VerifyRequest) (*cairnv1.VerifyResponse, error) {
	resp := &cairnv1.VerifyResponse{}
	resp.Verdict, resp.Reason = s.judge(backend(ctx), req.GetReceipt(), resp)
	resp.Valid = resp.Verdict == VerdictOK || resp.Verdict == VerdictAhead
	return resp, nil
}

// judge examines a receipt from the outside in and stops at the first thing that is wrong. It fills
// in what it learns.
func (s *Server) judge(b Backend, raw []byte, resp *cairnv1.VerifyResponse) (verdict, reason string) {
	r, err := tlog.ParseReceipt(raw)
	if err != nil {
		return VerdictMalformed, err.Error()
	}
	resp.Index = r.Index
	if _, err := ledger.ParseLeaf(r.Extra); err != nil {
		return VerdictMalformed, "the extra line is not an entry: " + err.Error()
	}
	cp, err := s.verify(b, r.Checkpoint)
	if err != nil {
		return VerdictPolicy, err.Error()
	}
	resp.Size, resp.Root = cp.Size, cp.Root[:]
	for _, by := range cp.Cosigners {
		c := &cairnv1.Cosigner{Name: by.Name}
		if !by.Time.IsZero() {
			c.Time = uint64(by.Time.Unix())
		}
		resp.Cosigners = append(resp.Cosigners, c)
	}
	if err := merkle.VerifyInclusion(r.Index, cp.Size, merkle.LeafHash(r.Extra), r.Proof, cp.Root); err != nil {
		return VerdictInclusion, err.Error()
	}
	root, err := b.Ledger().RootAt(cp.Size)
	var missing *ledger.NotFoundError
	switch {
	case errors.As(err, &missing):
		return VerdictAhead, fmt.Sprintf("signatures and proof are valid; this node has only %d entries and cannot compare roots", missing.Size)
	case err != nil:
		return VerdictAhead, "signatures and proof are valid; this node cannot compare roots: " + err.Error()
	case root != cp.Root:
		return VerdictFork, fmt.Sprintf("the checkpoint has root %s at size %d, this node has %s: the ledger's keys signed two histories", cp.Root, cp.Size, root)
	}
	return VerdictOK, "signatures, quorum and inclusion are valid, and the checkpoint agrees with this node's ledger"
}

// verify verifies a checkpoint under the policies in force at its size, as the node's ledger has
// them; one beyond the ledger under the newest ones.
func (s *Server) verify(b Backend, note []byte) (*tlog.VerifiedCheckpoint, error) {
	cp, _, err := tlog.ParseCheckpoint(note)
	if err != nil {
		return nil, err
	}
	l := b.Ledger()
	in, err := l.PolicyAt(max(1, min(cp.Size, l.Head().Size)))
	if errors.Is(err, ledger.ErrNoGenesis) || errors.As(err, new(*ledger.NotFoundError)) {
		if s.cfg.Policy == nil {
			return nil, errors.New("the ledger has no genesis, and this node no policy of its own to verify with")
		}
		policy, err := s.cfg.Policy.For(b.Origin())
		if err != nil {
			return nil, err
		}
		return policy.Verify(note)
	}
	if err != nil {
		return nil, err
	}
	if err := in.Verify(b.Origin(), note); err != nil {
		return nil, err
	}
	newest, err := in.Newest.Verifier(b.Origin())
	if err != nil {
		return nil, err
	}
	return newest.Verify(note)
}
