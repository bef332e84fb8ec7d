package server_test

import (
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/merkle"
)

// slowReads is a ledger whose proofs and entries take time on a test's clock.
type slowReads struct {
	server.Ledger
	now          *time.Duration
	proof, leafs time.Duration
}

func (l slowReads) InclusionProof(index, size uint64) ([]merkle.Hash, error) {
	*l.now += l.proof
	return l.Ledger.InclusionProof(index, size)
}

func (l slowReads) Leaves(first uint64, most, bytes int) ([][]byte, error) {
	*l.now += l.leafs
	return l.Ledger.Leaves(first, most, bytes)
}

// TestDelayOfReadsShowsInItsStage: what delays a proof shows in the stage proof, and what delays the
// reading of entries in the stage range. Status tells both when it is asked, and nothing else.
func TestDelayOfReadsShowsInItsStage(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	ctx := as(within(t), "spiffe://fake.example/svc/writer", "writer")
	if _, err := a.Append(ctx, &cairnv1.AppendRequest{Entries: batch("a", "b").Entries, Wait: cairnv1.Wait_WAIT_SEALED}); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ proof, leafs time.Duration }{{time.Second, 0}, {0, time.Second}} {
		now := new(time.Duration)
		c.Nodes[0].Replica = slowReads{c.Nodes[0].Ledger(), now, x.proof, x.leafs}
		_, a := serve(t, server.Config{Ledger: only(c.Nodes[0]), Stages: stages.New(func() time.Duration { return *now })})
		if _, err := a.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Receipt(ctx, &cairnv1.ReceiptRequest{Index: 1}); err != nil {
			t.Fatal(err)
		}
		stream, err := a.Range(ctx, &cairnv1.RangeRequest{})
		for err == nil {
			_, err = stream.Recv()
		}
		if err != io.EOF {
			t.Fatal(err)
		}
		st, err := a.Status(ctx, &cairnv1.StatusRequest{Stages: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Stages) != int(stages.Count) {
			t.Fatalf("status names %d stages, want %d", len(st.Stages), stages.Count)
		}
		for i, s := range st.Stages {
			calls, longest := uint64(0), time.Duration(0)
			switch stages.Stage(i) {
			case stages.Proof:
				calls, longest = 2, x.proof
			case stages.Range:
				calls, longest = 1, x.leafs
			}
			for _, l := range []*cairnv1.Latency{s.SinceStart, s.Recent} {
				if s.Stage != stages.Stage(i).String() || l.Count != calls || l.Max != int64(longest) || l.P50 != int64(longest) || l.P99 != l.P50 || l.P999 != l.P50 {
					t.Errorf("stage %d is %s with %v, want %d of %v", i, s.Stage, l, calls, longest)
				}
			}
		}
		if st, err = a.Status(ctx, &cairnv1.StatusRequest{}); err != nil || st.Stages != nil {
			t.Errorf("nobody asked: %v, %v", st.GetStages(), err)
		}
	}
}

// TestStatusNamesLedgers: readers get all ledgers of a node, sorted. Participants do not learn what
// other ledgers there are.
func TestStatusNamesLedgers(t *testing.T) {
	t.Parallel()
	c, direct := start(t, server.Limits{})
	sealed := &cairnv1.AppendRequest{Entries: batch("a", "b").Entries, Wait: cairnv1.Wait_WAIT_SEALED}
	if _, err := direct.Append(as(within(t), "spiffe://fake.example/svc/writer", "writer"), sealed); err != nil {
		t.Fatal(err)
	}
	head := c.Nodes[0].Ledger().Head()
	one := described{Backend: c.Nodes[0], status: server.Status{Role: "leader", LeaderName: "n1", Term: 3, QueuedRequests: 14, QueuedBytes: 15}}
	_, a := serve(t, server.Config{Ledger: only(one), Ledgers: func() []server.Backend { return []server.Backend{one, named{one, "a"}} }})
	st, err := a.Status(as(within(t), "spiffe://fake.example/svc/r", "reader"), &cairnv1.StatusRequest{Ledgers: true})
	if err != nil || len(st.Ledgers) != 2 || st.Ledgers[0].Origin != "a" {
		t.Fatalf("%v, %v", st, err)
	}
	l := st.Ledgers[1]
	if l.Origin != fakecluster.Origin || l.Program != "log" || l.Role != "leader" || l.Leader != "n1" || l.Term != 3 || l.Size != head.Size ||
		l.SealedSize != c.Nodes[0].Ledger().Sealed().Size || l.QueuedRequests != 14 || l.QueuedBytes != 15 {
		t.Errorf("the ledger is %v", l)
	}
	_, err = a.Status(as(within(t), "spiffe://fake.example/svc/p", "participant"), &cairnv1.StatusRequest{Ledgers: true})
	demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
}

// named is a ledger with another origin.
type named struct {
	described
	origin string
}

func (n named) Origin() string { return n.origin }
