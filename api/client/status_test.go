package client_test

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
)

// TestStatusOfALostNode: to ask for a status has no effect, so its failure is definite, also when
// the node is gone.
func TestStatusOfALostNode(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 2)
	if _, err := c.Status(within(t), "n2"); err != nil {
		t.Fatal(err)
	}
	cluster.Nodes[1].Kill()
	_, err := c.Status(within(t), "n2")
	wantError(t, err, client.ReasonUnreachable, true)
	// The next one is reached, and has no such method.
	_, err = against(t, &scripted{}).Status(within(t), "n1")
	wantError(t, err, "UNIMPLEMENTED", true)
	_, err = c.Status(within(t), "nobody")
	wantError(t, err, client.ReasonInvalid, true)
}

// operated is a node that answers one transfer of leadership as a test says, and carries out the
// next.
type operated struct {
	scripted
	cairnv1.UnimplementedAdminServer
	first error
	calls int
}

func (o *operated) TransferLeadership(context.Context, *cairnv1.TransferLeadershipRequest) (*cairnv1.TransferLeadershipResponse, error) {
	if o.calls++; o.calls == 1 {
		return nil, o.first
	}
	return &cairnv1.TransferLeadershipResponse{Leader: "n1"}, nil
}

// TestTransferIsNotRepeated: a transfer whose outcome is unknown is not begun again, one that was
// certainly refused is.
func TestTransferIsNotRepeated(t *testing.T) {
	t.Parallel()
	with := func(outcome cairnv1.Outcome) error {
		st, err := status.New(codes.Unavailable, "not now").WithDetails(&cairnv1.ErrorDetail{Outcome: outcome})
		must(t, err)
		return st.Err()
	}
	for name, tc := range map[string]struct {
		first error
		calls int
	}{
		"unknown":  {with(cairnv1.Outcome_OUTCOME_INDEFINITE), 1},
		"no word":  {status.Error(codes.Unavailable, "not now"), 1},
		"definite": {with(cairnv1.Outcome_OUTCOME_DEFINITE), 2},
	} {
		o := &operated{first: tc.first}
		leader, err := against(t, o).TransferLeadership(within(t), "")
		if o.calls != tc.calls || (err == nil) != (tc.calls == 2) || err == nil && leader != "n1" || client.IsDefinite(err) {
			t.Errorf("%s: %d calls, leader %q, error %v; want %d calls", name, o.calls, leader, err, tc.calls)
		}
	}
}
