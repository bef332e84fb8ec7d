package server_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/peers"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

const otherMember = "spiffe://fake.example/cluster/00000000000000c1/node/n2"

func asMember(t testing.TB) context.Context { return as(within(t), otherMember, "peer") }

func dialPeer(t testing.TB, n *fakecluster.Node) *peers.Client {
	t.Helper()
	c, err := peers.New(n.Address, fakecluster.Insecure(""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestBlocksForMembers: a member copies a ledger from another one, each batch proved under a root
// that it knows, from any entry on.
func TestBlocksForMembers(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	for range 3 { // more than one message
		big := &cairnv1.AppendRequest{}
		for range 10 {
			big.Entries = append(big.Entries, &cairnv1.NewEntry{Payload: make([]byte, 20_000)})
		}
		mustAppend(t, a, big)
	}
	fill(t, c, a, 3000)
	mustAppend(t, a, batch("not sealed"))
	from := c.Nodes[0].Ledger()
	head := from.Head()
	p := dialPeer(t, c.Nodes[0])

	to, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: c.Origin})
	if err != nil {
		t.Fatal(err)
	}
	batches := 0
	err = p.Blocks(asMember(t), c.Origin, peers.Request{ProofSize: head.Size}, func(b peers.Batch) error {
		batches++
		for _, r := range b.Records {
			if _, err := to.ApplyMany([]ledger.Committed{{RaftIndex: r.RaftIndex, RaftTerm: r.RaftTerm, Block: r.Block}}); err != nil {
				return err
			}
		}
		h := to.Head()
		return merkle.VerifyConsistency(h.Size, head.Size, b.Proof, h.Root, head.Root)
	})
	if err != nil || batches < 3 {
		t.Fatalf("%d batches, %v; want at least 3", batches, err)
	}
	if h := to.Head(); h.Size != head.Size || h.Root != head.Root || h.RaftIndex != head.RaftIndex {
		t.Errorf("the copy is at %+v, want %+v", h, head)
	}
	pos, err := p.Sealed(asMember(t), c.Origin, head.Size)
	if err != nil || pos.Size != head.Size || pos.RaftIndex != head.RaftIndex || string(pos.Note) != string(from.Sealed().Note) {
		t.Fatalf("the position is %+v, %v", pos, err)
	}
	if s := from.Sealed(); merkle.VerifyConsistency(s.Size, head.Size, pos.Proof, s.Root, head.Root) != nil {
		t.Error("the checkpoint's proof is wrong")
	}

	// The block that holds an entry, alone, for whoever repairs it.
	var one []*ledger.BlockRecord
	err = p.Blocks(asMember(t), c.Origin, peers.Request{First: 25, Blocks: 1}, func(b peers.Batch) error {
		one = append(one, b.Records...)
		return nil
	})
	if err != nil || len(one) != 1 || one[0].First > 25 || one[0].End() <= 25 {
		t.Errorf("the block of entry 25: %+v, %v", one, err)
	}
	// A size inside a block: only the blocks before it belong to the ledger of that size.
	last := uint64(0)
	err = p.Blocks(asMember(t), c.Origin, peers.Request{ProofSize: 45}, func(b peers.Batch) error {
		last = b.Records[len(b.Records)-1].End()
		return nil
	})
	if err != nil || last == 0 || last > 45 {
		t.Errorf("blocks of the ledger of 45 entries end at %d, %v", last, err)
	}
	// The caller's own error comes back, and ends the stream.
	enough := errors.New("enough")
	if err := p.Blocks(asMember(t), c.Origin, peers.Request{}, func(peers.Batch) error { return enough }); err != enough {
		t.Errorf("got %v, want the caller's error", err)
	}
}

// TestBlocksAreForMembersAndReaders: a member may call the service, and who reads entries; nobody
// else, whatever their roles.
func TestBlocksAreForMembersAndReaders(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	fill(t, c, a, 10)
	rpc := cairnv1.NewReplicaClient(a.conn)
	call := func(ctx context.Context) (blocks, sealed error) {
		stream, err := rpc.Blocks(ctx, &cairnv1.BlocksRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		_, sealed = rpc.Sealed(ctx, &cairnv1.SealedRequest{})
		return err, sealed
	}
	for who, ctx := range map[string]context.Context{
		"a stranger with the role peer": as(within(t), "spiffe://fake.example/svc/x", "peer"),
		"a participant":                 as(within(t), "spiffe://fake.example/svc/x", "participant"),
	} {
		blocks, sealed := call(ctx)
		t.Log(who)
		demand(t, blocks, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
		demand(t, sealed, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
	}
	for who, ctx := range map[string]context.Context{
		"a member": asMember(t), "a reader": as(within(t), "spiffe://fake.example/svc/x", "reader"), "an admin": as(within(t), "spiffe://fake.example/svc/x", "admin"),
	} {
		if blocks, sealed := call(ctx); blocks != nil || sealed != nil {
			t.Errorf("%s: %v, %v", who, blocks, sealed)
		}
	}
	// What the node has not reached.
	ctx := asMember(t)
	stream, err := rpc.Blocks(ctx, &cairnv1.BlocksRequest{ProofSize: 11})
	if err == nil {
		_, err = stream.Recv()
	}
	demand(t, err, codes.NotFound, server.ReasonNotFound, sure)
	_, err = rpc.Sealed(ctx, &cairnv1.SealedRequest{Size: 11})
	demand(t, err, codes.NotFound, server.ReasonNotFound, sure)
}
