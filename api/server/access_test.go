package server_test

import (
	"net"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
)

// TestAccess: the access log hears of every call who made it from where, and how it ended; of a
// refused one, that and why.
func TestAccess(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 1, fakecluster.Options{})
	fillWith(t, c, 1, "x")
	calls := make(chan server.Call, 1)
	_, a := serve(t, server.Config{Ledger: only(c.Nodes[0]), Access: func(c server.Call) { calls <- c }})
	const reader, peer = "spiffe://fake.example/svc/r", "spiffe://fake.example/node/n2"
	for _, tc := range []struct {
		principal, role string
		index           uint64
		code            codes.Code
		reason          string
		refused, began  bool
	}{
		{reader, "reader", 0, codes.OK, "", false, true},
		{reader, "reader", 1, codes.NotFound, server.ReasonNotFound, false, true},
		{peer, "peer", 0, codes.PermissionDenied, server.ReasonPermissionDenied, true, false},
		{reader, "participant", 1, codes.PermissionDenied, server.ReasonPermissionDenied, true, true}, // only the handler knows the index
	} {
		_, err := a.Get(as(within(t), tc.principal, tc.role), &cairnv1.GetRequest{Index: tc.index})
		got := <-calls
		if got.Method != cairnv1.Ledger_Get_FullMethodName || got.Peer.Principal != tc.principal || got.Code != tc.code ||
			got.Reason != tc.reason || got.Refused != tc.refused || (got.Detail != "") != (err != nil) || (got.Took > 0) != tc.began {
			t.Errorf("index %d as %s: heard %+v", tc.index, tc.role, got)
		}
		if from, ok := got.Remote.(*net.TCPAddr); !ok || !from.IP.IsLoopback() {
			t.Errorf("index %d as %s: from %v, want the client's address", tc.index, tc.role, got.Remote)
		}
	}
}
