package client_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
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
	policies    []byte // nil: it does not know the call
	stream      func(appends) error
}

type appends = grpc.BidiStreamingServer[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse]

func (s *scripted) AppendStream(stream appends) error { return s.stream(stream) }

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
func (s *scripted) Policies(req *cairnv1.PoliciesRequest, stream grpc.ServerStreamingServer[cairnv1.PoliciesResponse]) error {
	if s.policies == nil {
		return s.UnimplementedLedgerServer.Policies(req, stream)
	}
	for _, piece := range [][]byte{s.policies[:100], s.policies[100:]} {
		if err := stream.Send(&cairnv1.PoliciesResponse{Chain: piece}); err != nil {
			return err
		}
	}
	return nil
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

func against(t *testing.T, s cairnv1.LedgerServer, opts ...client.Option) *client.Client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	g := grpc.NewServer()
	cairnv1.RegisterLedgerServer(g, s)
	if admin, ok := s.(cairnv1.AdminServer); ok {
		cairnv1.RegisterAdminServer(g, admin)
	}
	go func() { _ = g.Serve(ln) }()
	t.Cleanup(g.Stop)
	cluster := fakecluster.New(t, 1, fakecluster.Options{}) // for its policy
	p := profile(t, cluster, "")
	p.Endpoints = []client.Endpoint{{Name: "n1", Address: ln.Addr().String()}}
	return connect(t, p, opts...)
}

// TestHostileServer: malformed and contradictory answers are errors, never results and never
// panics.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	entry_ := ledger.Entry{Kind: ledger.KindPayload, Time: 1, Principal: fakecluster.Principal, Body: []byte("x")}
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
		"append without index":    {scripted{append_: &cairnv1.AppendResponse{Size: 9}}, plain},
		"append with two":         {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{1, 2}}}, plain},
		"append beyond size":      {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{9}}}, plain},
		"append duplicate":        {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{1}, Duplicates: []uint32{1}}}, plain},
		"append, no leaves":       {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{1}, Sealed: &cairnv1.SealedCheckpoint{}}}, sealed},
		"append, a leaf too many": {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{1}, Leaves: []*cairnv1.ProvedLeaf{{}, {}}, Sealed: &cairnv1.SealedCheckpoint{}}}, sealed},
		"append, empty note":      {scripted{append_: &cairnv1.AppendResponse{Size: 9, Indexes: []uint64{1}, Leaves: []*cairnv1.ProvedLeaf{{}}, Sealed: &cairnv1.SealedCheckpoint{}}}, sealed},
		"get, wrong index":        {scripted{get: &cairnv1.GetResponse{Index: 4, Size: 9, Leaf: leaf}}, func(c *client.Client) error { _, err := c.Get(within(t), 3); return err }},
		"get beyond size":         {scripted{get: &cairnv1.GetResponse{Index: 3, Size: 3, Leaf: leaf}}, func(c *client.Client) error { _, err := c.Get(within(t), 3); return err }},
		"head, short root":        {scripted{head: &cairnv1.HeadResponse{Size: 1, Root: hash[:31]}}, func(c *client.Client) error { _, err := c.Head(within(t)); return err }},
		"watch with a gap":        {scripted{watch: []*cairnv1.WatchResponse{{First: 0, Leaves: [][]byte{leaf}, Size: 3}, {First: 2, Leaves: [][]byte{leaf}, Size: 3}}}, watch},
		"watch with a repeat":     {scripted{watch: []*cairnv1.WatchResponse{{First: 0, Leaves: [][]byte{leaf}, Size: 3}, {First: 0, Leaves: [][]byte{leaf}, Size: 3}}}, watch},
		"range from elsewhere":    {scripted{range_: []*cairnv1.RangeResponse{{First: 1, Leaves: [][]byte{leaf}, Size: 3}}}, two},
		"range with too many":     {scripted{range_: []*cairnv1.RangeResponse{{First: 0, Leaves: three, Size: 3}}}, two},
		"range beyond its size":   {scripted{range_: []*cairnv1.RangeResponse{{First: 0, Leaves: three[:2], Size: 1}}}, two},
		"range from beyond size":  {scripted{range_: []*cairnv1.RangeResponse{{First: 5, Leaves: three[:2], Size: 3}}}, func(c *client.Client) error { _, err := c.Range(within(t), 5, 2, none); return err }},
		"inclusion, odd proof":    {scripted{inclusion: &cairnv1.InclusionProofResponse{Index: 1, Size: 3, LeafHash: hash, Root: hash, Proof: make([]byte, 33)}}, func(c *client.Client) error { _, err := c.InclusionProof(within(t), 1, 3); return err }},
		"inclusion, huge proof":   {scripted{inclusion: &cairnv1.InclusionProofResponse{Index: 1, Size: 3, LeafHash: hash, Root: hash, Proof: make([]byte, 32<<10)}}, func(c *client.Client) error { _, err := c.InclusionProof(within(t), 1, 3); return err }},
		"inclusion, other index":  {scripted{inclusion: &cairnv1.InclusionProofResponse{Index: 0, Size: 1, LeafHash: hash, Root: hash}}, func(c *client.Client) error { _, err := c.InclusionProof(within(t), 1, 3); return err }},
		"consistency, other":      {scripted{consistency: &cairnv1.ConsistencyProofResponse{OldSize: 3, NewSize: 3, OldRoot: hash, NewRoot: hash}}, func(c *client.Client) error { _, err := c.ConsistencyProof(within(t), 1, 3); return err }},
		"receipt, garbage":        {scripted{receipt: &cairnv1.ReceiptResponse{Receipt: []byte("x")}}, func(c *client.Client) error { _, err := c.Receipt(within(t), 1); return err }},
		"checkpoint, none":        {scripted{checkpoint: &cairnv1.CheckpointResponse{}}, func(c *client.Client) error { _, err := c.Checkpoint(within(t)); return err }},
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

// proxied is a node behind a proxy that refuses the first call with a bare status, which says no
// more than when to try again.
type proxied struct {
	scripted
	refusal *status.Status
	calls   []time.Time
}

func (p *proxied) refuse() error {
	if p.calls = append(p.calls, time.Now()); len(p.calls) == 1 {
		return p.refusal.Err()
	}
	return nil
}

func (p *proxied) Append(ctx context.Context, req *cairnv1.AppendRequest) (*cairnv1.AppendResponse, error) {
	if err := p.refuse(); err != nil {
		return nil, err
	}
	return p.scripted.Append(ctx, req)
}

func (p *proxied) Head(ctx context.Context, req *cairnv1.HeadRequest) (*cairnv1.HeadResponse, error) {
	if err := p.refuse(); err != nil {
		return nil, err
	}
	return p.scripted.Head(ctx, req)
}

// TestBareRefusals: what may pass is tried again also if a proxy refused it, and not before the
// time that the proxy names.
func TestBareRefusals(t *testing.T) {
	t.Parallel()
	const asked = 300 * time.Millisecond
	later, err := status.New(codes.ResourceExhausted, "too many").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(asked)})
	must(t, err)
	for name, tc := range map[string]struct {
		refusal *status.Status
		wait    time.Duration
	}{
		"wait": {later, asked}, "unavailable": {status.New(codes.Unavailable, "no"), 0}, "aborted": {status.New(codes.Aborted, "no"), 0},
	} {
		for method, call := range map[string]func(*client.Client) error{
			"read":   func(c *client.Client) error { _, err := c.Head(within(t)); return err },
			"append": func(c *client.Client) error { _, err := c.Append(within(t), entry("k", "x")); return err },
		} {
			t.Run(name+", "+method, func(t *testing.T) {
				t.Parallel()
				p := &proxied{refusal: tc.refusal, scripted: scripted{
					head:    &cairnv1.HeadResponse{Size: 1, Root: make([]byte, 32)},
					append_: &cairnv1.AppendResponse{Size: 1, Indexes: []uint64{0}},
				}}
				if err := call(against(t, p)); err != nil || len(p.calls) != 2 {
					t.Fatalf("%d calls, %v; want two, and success", len(p.calls), err)
				}
				if waited := p.calls[1].Sub(p.calls[0]); waited < tc.wait {
					t.Errorf("tried again after %v, want %v", waited, tc.wait)
				}
			})
		}
	}
}

// sealedSenders are the ways to append one batch and get its receipts. late: the seal comes after
// the answer to the append.
var sealedSenders = map[string]func(t *testing.T, c *client.Client, entries []client.Entry) error{
	"unary": func(t *testing.T, c *client.Client, entries []client.Entry) error {
		_, err := c.AppendBatch(within(t), entries, client.Sealed())
		return err
	},
	"stream": func(t *testing.T, c *client.Client, entries []client.Entry) error {
		s := c.OpenStream(within(t))
		defer s.Close()
		p, err := s.Append(within(t), entries, client.Sealed())
		must(t, err)
		_, err = p.Wait(within(t))
		return err
	},
}

// TestAnotherEntrysReceipt: a node acknowledges an append with the place, and a valid receipt, of
// another entry: an error on every path to a receipt.
func TestAnotherEntrysReceipt(t *testing.T) {
	t.Parallel()
	const other = "spiffe://fake.example/svc/other"
	before := []client.Entry{entry("", "old"), entry("k1", "same"), entry("k2", "another payload"), entry("", "mine")}
	at := func(indexes ...uint64) func(*ledger.Result) {
		return func(r *ledger.Result) { r.Indexes = indexes }
	}
	for name, lie := range map[string]struct {
		principal string // that the client believes to have
		known     bool   // the client knows a checkpoint of what was there before
		entries   []client.Entry
		alter     func(*ledger.Result)
	}{
		"another payload":              {fakecluster.Principal, false, []client.Entry{entry("", "mine!")}, at(0)},
		"another key":                  {fakecluster.Principal, false, []client.Entry{entry("k3", "same")}, at(1)},
		"a key where there is none":    {fakecluster.Principal, false, []client.Entry{entry("", "same")}, at(1)},
		"another principal":            {other, false, []client.Entry{entry("", "mine")}, at(3)},
		"an older entry that is equal": {fakecluster.Principal, true, []client.Entry{entry("", "mine")}, at(3)},
		"one entry for two":            {fakecluster.Principal, false, []client.Entry{entry("", "two"), entry("", "two")}, at(4, 4)},
		"a duplicate without a key": {fakecluster.Principal, true, []client.Entry{entry("", "mine")}, func(r *ledger.Result) {
			r.Indexes, r.Duplicate = []uint64{3}, []bool{true}
		}},
	} {
		for path, send := range sealedSenders {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/late=%t", name, path, late), func(t *testing.T) {
					t.Parallel()
					o := fakecluster.Options{}
					if late {
						o.Limits.SealWait = time.Millisecond
					}
					cluster := fakecluster.New(t, 1, o)
					writer := connect(t, profile(t, cluster, ""))
					_, err := writer.AppendBatch(within(t), before)
					must(t, err)
					c := connect(t, profile(t, cluster, ""), client.WithCredentials(lie.principal, fakecluster.Insecure))
					if lie.known {
						cluster.SealNow()
						_, err := c.Checkpoint(within(t))
						must(t, err)
					}
					n := cluster.Nodes[0]
					n.Alter = lie.alter
					if late {
						cluster.SealByHand()
						hidden := &unsealed{Ledger: n.Ledger()}
						n.Replica = hidden
						go hidden.show(t.Context(), cluster)
					}
					err = send(t, c, lie.entries)
					var v *client.VerificationError
					if !errors.As(err, &v) || client.IsDefinite(err) {
						t.Errorf("got %v, want a verification error that is not definite", err)
					}
				})
			}
		}
	}
}

// unsealed is a replica that has no checkpoint until it is told to show it.
type unsealed struct {
	server.Ledger
	shown atomic.Bool
	asked atomic.Int32 // how often somebody waited for a checkpoint
}

// show seals, and shows the checkpoint, once somebody waits for it again: the append has been
// answered without.
func (u *unsealed) show(ctx context.Context, cluster *fakecluster.Cluster) {
	for u.asked.Load() < 2 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
	cluster.SealNow()
	u.shown.Store(true)
}

func (u *unsealed) Sealed() *ledger.Sealed {
	if !u.shown.Load() {
		return nil
	}
	return u.Ledger.Sealed()
}

func (u *unsealed) WaitSealed(ctx context.Context, size uint64) (*ledger.Sealed, error) {
	if u.asked.Add(1); !u.shown.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return u.Ledger.WaitSealed(ctx, size)
}

// TestLateSeal: the honest case of the above: the receipt that comes late is that of the entry.
func TestLateSeal(t *testing.T) {
	t.Parallel()
	for path, send := range sealedSenders {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			cluster := fakecluster.New(t, 1, fakecluster.Options{Limits: server.Limits{SealWait: time.Millisecond}})
			cluster.SealByHand()
			c := connect(t, profile(t, cluster, ""))
			hidden := &unsealed{Ledger: cluster.Nodes[0].Ledger()}
			cluster.Nodes[0].Replica = hidden
			go hidden.show(t.Context(), cluster)
			if err := send(t, c, []client.Entry{entry("", "a"), entry("k", "b"), entry("k", "b"), entry("", "a")}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCheckpointOfAnotherLedger: a policy may accept two ledgers; the checkpoints and receipts of
// the other one say nothing about the profile's.
func TestCheckpointOfAnotherLedger(t *testing.T) {
	t.Parallel()
	ours, others := fakecluster.TwoLedgers(t, "other.example/ledger")
	cluster := fakecluster.New(t, 1, fakecluster.Options{Keys: ours})
	p := profile(t, cluster, "state")
	c := connect(t, p)
	fill(t, c, 3)
	n := cluster.Nodes[0]
	n.Replica = &liar{Ledger: n.Ledger(), sealed: func(*ledger.Sealed) *ledger.Sealed { return others.Seal(t, n.Ledger().Head()) }}
	cluster.SealNow()
	for what, call := range map[string]func() error{
		"checkpoint": func() error { _, err := c.Checkpoint(within(t)); return err },
		"receipt":    func() error { _, err := c.Receipt(within(t), 1); return err },
		"append":     func() error { _, err := c.Append(within(t), entry("", "x"), client.Sealed()); return err },
	} {
		err := call()
		var v *client.VerificationError
		if !errors.As(err, &v) || !strings.Contains(err.Error(), "other.example/ledger") {
			t.Errorf("%s: got %v, want a verification error that names the other ledger", what, err)
		}
	}
	if cp := c.LastCheckpoint(); cp != nil {
		t.Errorf("the client believes %+v", cp.Checkpoint)
	}
	// The same in the state file.
	must(t, os.WriteFile(p.State, others.Seal(t, n.Ledger().Head()).Note, 0o600))
	if c, err := client.Dial(t.Context(), p, client.WithCredentials(fakecluster.Principal, fakecluster.Insecure)); err == nil {
		_ = c.Close()
		t.Error("a state file of another ledger was believed")
	}
}

// TestProofsOfAnotherTree: proofs that are valid in themselves, but for another tree than the known
// checkpoint's.
func TestProofsOfAnotherTree(t *testing.T) {
	t.Parallel()
	no := merkle.LeafHash([]byte("not in the ledger"))
	for name, tc := range map[string]struct {
		known int // size of the checkpoint that the client knows
		lie   func(l server.Ledger) *liar
		call  func(c *client.Client) error
	}{
		"consistency, new root": {4, func(l server.Ledger) *liar {
			root2, _ := l.RootAt(2)
			return &liar{consistency: always(no), rootOf: map[uint64]merkle.Hash{4: merkle.NodeHash(root2, no)}}
		}, func(c *client.Client) error { _, err := c.ConsistencyProof(within(t), 2, 4); return err }},
		"consistency, old root": {2, func(server.Ledger) *liar {
			return &liar{consistency: always(no), rootOf: map[uint64]merkle.Hash{2: no, 4: merkle.NodeHash(no, no)}}
		}, func(c *client.Client) error { _, err := c.ConsistencyProof(within(t), 2, 4); return err }},
		"inclusion": {2, func(l server.Ledger) *liar {
			leaf, _ := l.Leaf(0)
			return &liar{inclusion: always(no), rootOf: map[uint64]merkle.Hash{2: merkle.NodeHash(merkle.LeafHash(leaf), no)}}
		}, func(c *client.Client) error { _, err := c.InclusionProof(within(t), 0, 2); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster, c := start(t, 1)
			fill(t, c, tc.known)
			cluster.SealNow()
			_, err := c.Checkpoint(within(t))
			must(t, err)
			fill(t, c, 4-tc.known+1)
			n := cluster.Nodes[0]
			honest := n.Ledger()
			lie := tc.lie(honest)
			lie.Ledger = honest
			n.Replica = lie
			err = tc.call(c)
			var v *client.VerificationError
			if !errors.As(err, &v) || v.Node != "n1" || !strings.Contains(err.Error(), "contradicts the sealed checkpoint") {
				t.Errorf("got %v, want a verification error of n1", err)
			}
			n.Replica = nil
			if err := tc.call(c); err != nil {
				t.Errorf("without the lie: %v", err)
			}
		})
	}
}

func always(h merkle.Hash) func([]merkle.Hash) []merkle.Hash {
	return func([]merkle.Hash) []merkle.Hash { return []merkle.Hash{h} }
}
