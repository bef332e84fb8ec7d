package client

import (
	"context"
	"testing"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// prover answers every question for a proof with one error.
type prover struct {
	cairnv1.LedgerClient
	err error
}

func (p prover) ConsistencyProof(context.Context, *cairnv1.ConsistencyProofRequest, ...grpc.CallOption) (*cairnv1.ConsistencyProofResponse, error) {
	return nil, p.err
}

// TestProverGone: a node that is gone before it proves its checkpoint is not accused of anything,
// one that refuses is.
func TestProverGone(t *testing.T) {
	for code, accused := range map[codes.Code]bool{
		codes.Unavailable: false, codes.DeadlineExceeded: false, codes.Aborted: false,
		codes.OutOfRange: true, codes.Internal: true,
	} {
		n := &node{Endpoint: Endpoint{Name: "n1"}, ledger: prover{err: status.Error(code, "no proof")}}
		c := &Client{nodes: &nodes{}}
		c.nodes.mu.list = []*node{n}
		tr := &tracker{c: c}
		at := func(size uint64) *Checkpoint {
			return &Checkpoint{VerifiedCheckpoint: &tlog.VerifiedCheckpoint{Checkpoint: tlog.Checkpoint{Size: size}}}
		}
		known, shown := at(5), at(9)
		err := tr.prove(t.Context(), n, known, shown, known, shown)
		var v *VerificationError
		var e *Error
		switch {
		case accused && !errors.As(err, &v):
			t.Errorf("%s: got %v, want a verification error", code, err)
		case !accused && (!errors.As(err, &e) || errors.As(err, &v) || e.Code != code || e.Definite):
			t.Errorf("%s: got %v, want an error of the same code that accuses nobody", code, err)
		}
	}
}

// TestWithoutReceipts: what is wrong is never called late.
func TestWithoutReceipts(t *testing.T) {
	unproved := &VerificationError{What: "checkpoint", Err: ErrNotProved}
	wrong := &VerificationError{What: "receipt", Err: errors.New("the proof does not hold")}
	for _, c := range []struct {
		err  error
		late bool
	}{{context.DeadlineExceeded, true}, {&Error{Reason: ReasonUnreachable}, true}, {unproved, true}, {wrong, false}, {&ForkError{}, false}} {
		err := withoutReceipts(errors.Wrap(c.err, "get the receipt"), "n1")
		var e *Error
		if late := errors.As(err, &e) && e.Reason == ReasonNotSealed; late != c.late || !errors.Is(err, c.err) {
			t.Errorf("%v: %v, called late: %t", c.err, err, late)
		}
	}
}
