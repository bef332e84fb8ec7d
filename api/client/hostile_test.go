package client_test

import (
	"context"
	"net"
	"testing"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/ledger"
)

// scripted is a server that answers what a test says, however wrong.
type scripted struct {
	cairnv1.UnimplementedLedgerServer
	append_     *cairnv1.AppendResponse
	get         *cairnv1.GetResponse
	head        *cairnv1.HeadResponse
	watch       []*cairnv1.WatchResponse
	range_      []*cairnv1.RangeResponse
	inclusion   *cairnv1.InclusionProofResponse
	consistency *cairnv1.ConsistencyProofResponse
	receipt     *cairnv1.ReceiptResponse
	checkpoint  *cairnv1.CheckpointResponse
}

func (s *scripted) Append(context.Context, *cairnv1.AppendRequest) (*cairnv1.AppendResponse, error) {
	return s.append_, nil
}
func (s *scripted) Get(context.Context, *cairnv1.GetRequest) (*cairnv1.GetResponse, error) {
	return s.get, nil
}
func (s *scripted) Head(context.Context, *cairnv1.HeadRequest) (*cairnv1.HeadResponse, error) {
	return s.head, nil
}
func (s *scripted) InclusionProof(context.Context, *cairnv1.InclusionProofRequest) (*cairnv1.InclusionProofResponse, error) {
	return s.inclusion, nil
}
func (s *scripted) ConsistencyProof(context.Context, *cairnv1.ConsistencyProofRequest) (*cairnv1.ConsistencyProofResponse, error) {
	return s.consistency, nil
}
func (s *scripted) Receipt(context.Context, *cairnv1.ReceiptRequest) (*cairnv1.ReceiptResponse, error) {
	return s.receipt, nil
}
func (s *scripted) Checkpoint(context.Context, *cairnv1.CheckpointRequest) (*cairnv1.CheckpointResponse, error) {
	return s.checkpoint, nil
}
func (s *scripted) Watch(_ *cairnv1.WatchRequest, stream grpc.ServerStreamingServer[cairnv1.WatchResponse]) error {
	for _, r := range s.watch {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}
func (s *scripted) Range(_ *cairnv1.RangeRequest, stream grpc.ServerStreamingServer[cairnv1.RangeResponse]) error {
	for _, r := range s.range_ {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	return nil
}

func against(t *testing.T, s *scripted) *client.Client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	g := grpc.NewServer()
	cairnv1.RegisterLedgerServer(g, s)
	go func() { _ = g.Serve(ln) }()
	t.Cleanup(g.Stop)
	cluster := fakecluster.New(t, 1, fakecluster.Options{}) // for its policy
	p := profile(t, cluster, "")
	p.Endpoints = []client.Endpoint{{Name: "n1", Address: ln.Addr().String()}}
	return connect(t, p)
}

// TestHostileServer: malformed and contradictory answers are errors, never results and never panics.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	entry_ := ledger.Entry{Time: 1, Principal: fakecluster.Principal, Payload: []byte("x")}
	leaf := entry_.AppendLeaf(nil)
	hash := make([]byte, 32)
	none := func(client.StoredEntry) error { return nil }
	plain := func(c *client.Client) error { _, err := c.Append(within(t), entry("", "x")); return err }
	sealed := func(c *client.Client) error {
		_, err := c.Append(within(t), entry("", "x"), client.Sealed())
		return err
	}
	watch := func(c *client.Client) error { return c.Watch(within(t), 0, none) }
	two := func(c *client.Client) error { _, err := c.Range(within(t), 0, 2, none); return err }
	three := [][]byte{leaf, leaf, leaf}
	cases := map[string]struct {
		s    scripted
		call func(*client.Client) error
	}{
		"append without index":   {scripted{append_: &cairnv1.AppendResponse{Size: 9}}, plain},
		"append with two":        {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{1, 2}}}, plain},
		"append beyond size":     {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{9}}}, plain},
		"append duplicate":       {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{1}, Duplicates: []uint32{1}}}, plain},
		"append, no leaves":      {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{1}, Sealed: &cairnv1.SealedCheckpoint{}}}, sealed},
		"append, empty note":     {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{1}, Leaves: []*cairnv1.ProvedLeaf{{}}, Sealed: &cairnv1.SealedCheckpoint{}}}, sealed},
		"get, wrong index":       {scripted{get: &cairnv1.GetResponse{Index: 4, Size: 9, Leaf: leaf}}, func(c *client.Client) error { _, err := c.Get(within(t), 3); return err }},
		"get beyond size":        {scripted{get: &cairnv1.GetResponse{Index: 3, Size: 3, Leaf: leaf}}, func(c *client.Client) error { _, err := c.Get(within(t), 3); return err }},
		"head, short root":       {scripted{head: &cairnv1.HeadResponse{Size: 1, Root: hash[:31]}}, func(c *client.Client) error { _, err := c.Head(within(t)); return err }},
		"watch with a gap":       {scripted{watch: []*cairnv1.WatchResponse{{First: 0, Leaves: [][]byte{leaf}, Size: 3}, {First: 2, Leaves: [][]byte{leaf}, Size: 3}}}, watch},
		"watch with a repeat":    {scripted{watch: []*cairnv1.WatchResponse{{First: 0, Leaves: [][]byte{leaf}, Size: 3}, {First: 0, Leaves: [][]byte{leaf}, Size: 3}}}, watch},
		"range from elsewhere":   {scripted{range_: []*cairnv1.RangeResponse{{First: 1, Leaves: [][]byte{leaf}, Size: 3}}}, two},
		"range with too many":    {scripted{range_: []*cairnv1.RangeResponse{{First: 0, Leaves: three, Size: 3}}}, two},
		"range beyond its size":  {scripted{range_: []*cairnv1.RangeResponse{{First: 0, Leaves: three[:2], Size: 1}}}, two},
		"inclusion, odd proof":   {scripted{inclusion: &cairnv1.InclusionProofResponse{Index: 1, Size: 3, LeafHash: hash, Root: hash, Proof: make([]byte, 33)}}, func(c *client.Client) error { _, err := c.InclusionProof(within(t), 1, 3); return err }},
		"inclusion, huge proof":  {scripted{inclusion: &cairnv1.InclusionProofResponse{Index: 1, Size: 3, LeafHash: hash, Root: hash, Proof: make([]byte, 32<<10)}}, func(c *client.Client) error { _, err := c.InclusionProof(within(t), 1, 3); return err }},
		"inclusion, other index": {scripted{inclusion: &cairnv1.InclusionProofResponse{Index: 0, Size: 1, LeafHash: hash, Root: hash}}, func(c *client.Client) error { _, err := c.InclusionProof(within(t), 1, 3); return err }},
		"consistency, other":     {scripted{consistency: &cairnv1.ConsistencyProofResponse{OldSize: 3, NewSize: 3, OldRoot: hash, NewRoot: hash}}, func(c *client.Client) error { _, err := c.ConsistencyProof(within(t), 1, 3); return err }},
		"receipt, garbage":       {scripted{receipt: &cairnv1.ReceiptResponse{Receipt: []byte("x")}}, func(c *client.Client) error { _, err := c.Receipt(within(t), 1); return err }},
		"checkpoint, none":       {scripted{checkpoint: &cairnv1.CheckpointResponse{}}, func(c *client.Client) error { _, err := c.Checkpoint(within(t)); return err }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.call(against(t, &tc.s))
			var v *client.VerificationError
			if !errors.As(err, &v) || client.IsDefinite(err) {
				t.Errorf("got %v, want a verification error that is not definite", err)
			}
		})
	}
}

// TestAnotherEntrysReceipt: a valid receipt, but of another entry than the one that was appended.
func TestAnotherEntrysReceipt(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1)
	fill(t, c, 5)
	cluster.Nodes[0].Alter = func(r *ledger.Result) { r.Indexes = []uint64{2} }
	_, err := c.Append(within(t), entry("", "mine"), client.Sealed())
	var v *client.VerificationError
	if !errors.As(err, &v) {
		t.Errorf("got %v, want a verification error", err)
	}
}
