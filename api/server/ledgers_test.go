package server_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
)

const second = "fake.example/second"

// twoLedgers is a cluster of n nodes with two ledgers, the second of which begins with its genesis,
// and an API client for each on the first node.
func twoLedgers(t *testing.T, n int) (clusters map[string]*fakecluster.Cluster, apis map[string]api) {
	t.Helper()
	first := fakecluster.New(t, n, fakecluster.Options{})
	clusters = map[string]*fakecluster.Cluster{fakecluster.Origin: first, second: first.Host(second, nil)}
	apis = map[string]api{}
	for origin := range clusters {
		apis[origin] = dial(t, first.Nodes[0], cairnv1.ForLedger(origin))
	}
	return clusters, apis
}

// TestCallsTouchTheirLedgerOnly: two ledgers of one node have different entries at the same
// indexes, and every method answers from, and acts on, the ledger that the call names.
func TestCallsTouchTheirLedgerOnly(t *testing.T) {
	t.Parallel()
	clusters, apis := twoLedgers(t, 1)
	body := func(origin string, index uint64) string { return fmt.Sprint(origin, " entry ", index) }
	for origin, a := range apis {
		var bodies []string
		first := clusters[origin].Nodes[0].Ledger().Head().Size
		for i := range uint64(5) {
			bodies = append(bodies, body(origin, first+i))
		}
		r := mustAppend(t, a, batch(bodies[:3]...))
		if r.Indexes[0] != first || r.Size != first+3 {
			t.Fatalf("%s: appended at %v, size %d", origin, r.Indexes, r.Size)
		}
		stream, err := a.AppendStream(within(t))
		if err != nil {
			t.Fatal(err)
		}
		rest := batch(bodies[3:]...)
		rest.Wait = cairnv1.Wait_WAIT_SEALED
		if err := stream.Send(&cairnv1.AppendStreamRequest{RequestId: 1, Append: rest}); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil || got.GetResponse().GetIndexes()[0] != first+3 || got.GetResponse().GetSealed().GetSize() != first+5 {
			t.Fatalf("%s: stream: %v, %v", origin, got, err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
	}
	receipts := map[string][]byte{}
	for origin, a := range apis {
		ctx := within(t)
		head := clusters[origin].Nodes[0].Ledger().Head()
		holds := func(method string, first uint64, leaves [][]byte, err error) {
			t.Helper()
			if err != nil || len(leaves) == 0 {
				t.Errorf("%s: %s: %d leaves, %v", origin, method, len(leaves), err)
			}
			for i, leaf := range leaves {
				if e, err := ledger.ParseLeaf(leaf); err != nil || string(e.Body) != body(origin, first+uint64(i)) {
					t.Errorf("%s: %s: entry %d is %q, %v", origin, method, first+uint64(i), e.Body, err)
				}
			}
		}
		root := func(method string, got []byte, err error) {
			t.Helper()
			if err != nil || !bytes.Equal(got, head.Root[:]) {
				t.Errorf("%s: %s: root %x, %v; want %s", origin, method, got, err, head.Root)
			}
		}
		got, err := a.Get(ctx, &cairnv1.GetRequest{Index: 2})
		holds("Get", 2, [][]byte{got.GetLeaf()}, err)
		ranged, err := a.Range(ctx, &cairnv1.RangeRequest{First: 1})
		if err != nil {
			t.Fatal(err)
		}
		part, err := ranged.Recv()
		holds("Range", 1, part.GetLeaves(), err)
		watch, err := a.Watch(ctx, &cairnv1.WatchRequest{From: 1})
		if err != nil {
			t.Fatal(err)
		}
		seen, err := watch.Recv()
		holds("Watch", 1, seen.GetLeaves(), err)
		h, err := a.Head(ctx, &cairnv1.HeadRequest{})
		root("Head", h.GetRoot(), err)
		in, err := a.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: 1})
		root("InclusionProof", in.GetRoot(), err)
		grown, err := a.ConsistencyProof(ctx, &cairnv1.ConsistencyProofRequest{OldSize: 3})
		root("ConsistencyProof", grown.GetNewRoot(), err)
		st, err := a.Status(ctx, &cairnv1.StatusRequest{})
		root("Status", st.GetRoot(), err)
		if st.GetOrigin() != origin {
			t.Errorf("%s: Status names %q", origin, st.GetOrigin())
		}
		cp, err := a.Checkpoint(ctx, &cairnv1.CheckpointRequest{})
		if parsed, _, err := tlog.ParseCheckpoint(cp.GetSealed().GetNote()); err != nil || parsed.Origin != origin || parsed.Root != head.Root {
			t.Errorf("%s: Checkpoint: %+v, %v", origin, parsed, err)
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := a.Receipt(ctx, &cairnv1.ReceiptRequest{Index: 4})
		if err != nil {
			t.Fatal(err)
		}
		receipts[origin] = r.Receipt
		parsed, err := tlog.ParseReceipt(r.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		holds("Receipt", 4, [][]byte{parsed.Extra}, nil)
	}
	for origin, a := range apis {
		for of, receipt := range receipts {
			want := server.VerdictOK
			if of != origin {
				want = server.VerdictPolicy
			}
			if v, err := a.Verify(within(t), &cairnv1.VerifyRequest{Receipt: receipt}); err != nil || v.Verdict != want {
				t.Errorf("Verify for %s of a receipt of %s: %v, %v; want %s", origin, of, v, err, want)
			}
		}
	}
}

// TestKeysAreOfOneLedger: the same idempotency key in two ledgers stands for two entries.
func TestKeysAreOfOneLedger(t *testing.T) {
	t.Parallel()
	_, apis := twoLedgers(t, 1)
	for origin, a := range apis {
		if r := mustAppend(t, a, keyed("k", origin)); len(r.Duplicates) != 0 {
			t.Errorf("%s: %v", origin, r)
		}
	}
}

// TestLeadersAreOfOneLedger: each ledger has its own leader, and TransferLeadership moves that of
// the ledger which the call names.
func TestLeadersAreOfOneLedger(t *testing.T) {
	t.Parallel()
	_, apis := twoLedgers(t, 3)
	admin := as(within(t), "spiffe://fake.example/svc/op", "admin")
	if got, err := apis[second].TransferLeadership(admin, &cairnv1.TransferLeadershipRequest{To: "n3"}); err != nil || got.Leader != "n3" {
		t.Fatalf("got %v, %v", got, err)
	}
	mustAppend(t, apis[fakecluster.Origin], batch("the leader of this ledger has not moved"))
	_, err := apis[second].Append(within(t), batch("x"))
	if f := demand(t, err, codes.Unavailable, server.ReasonNotLeader, sure); f.detail.GetNotLeader().GetName() != "n3" {
		t.Errorf("the hint names %v, want n3", f.detail.GetNotLeader())
	}
}

// TestUnknownLedger: the refusal names what was asked for, shortened, and not what else there is.
func TestUnknownLedger(t *testing.T) {
	t.Parallel()
	clusters, _ := twoLedgers(t, 1)
	for _, origin := range []string{"fake.example/third", strings.Repeat("x", 4000)} {
		a := dial(t, clusters[second].Nodes[0], cairnv1.ForLedger(origin))
		_, err := a.Append(within(t), batch("x"))
		demand(t, err, codes.FailedPrecondition, server.ReasonOtherLedger, sure)
		text := err.Error()
		if !strings.Contains(text, origin[:18]) || len(text) > 600 || !strings.Contains(text, "`cairn ledger list`") {
			t.Errorf("the refusal of %d bytes does not name the ledger or what to do: %s", len(text), text)
		}
		for there := range clusters {
			if strings.Contains(text, there) {
				t.Errorf("the refusal lists %s: %s", there, text)
			}
		}
	}
	for origin, c := range clusters {
		if n := len(c.Nodes[0].Requests()); n != 0 {
			t.Errorf("%d batches reached %s", n, origin)
		}
	}
}

// TestLedgerThatIsNotKnownYet: a node that may come to host further ledgers does not say that it
// hosts none of this name, but to ask again. What it does host it serves meanwhile.
func TestLedgerThatIsNotKnownYet(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 1, fakecluster.Options{})
	var why atomic.Pointer[error]
	_, known := serve(t, server.Config{Ledger: only(c.Nodes[0]), Learning: func() error {
		if err := why.Load(); err != nil {
			return *err
		}
		return nil
	}})
	other := dialAddress(t, strings.TrimPrefix(known.conn.CanonicalTarget(), "passthrough:///"), cairnv1.ForLedger(second))
	because := errors.New("the directory has no leader")
	why.Store(&because)
	_, err := other.Append(within(t), batch("x"))
	f := demand(t, err, codes.Unavailable, server.ReasonBehind, sure)
	if text := err.Error(); f.retry == nil || !strings.Contains(text, second) || !strings.Contains(text, because.Error()) {
		t.Errorf("the refusal names no ledger, reason or pause: %+v, %s", f, text)
	}
	mustAppend(t, known, batch("x"))
	why.Store(nil)
	_, err = other.Append(within(t), batch("x"))
	demand(t, err, codes.FailedPrecondition, server.ReasonOtherLedger, sure)
}

// TestLedgerThatHasHalted: a call for a ledger whose replica has stopped on this node is told so and
// why, so that the client asks another node. The node's other ledgers are served.
func TestLedgerThatHasHalted(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 1, fakecluster.Options{})
	_, well := serve(t, server.Config{Ledger: only(c.Nodes[0]), Halted: func(origin string) error {
		if origin == second {
			return &server.HaltedError{Origin: origin, Why: "upgrade this node"}
		}
		return nil
	}})
	halted := dialAddress(t, strings.TrimPrefix(well.conn.CanonicalTarget(), "passthrough:///"), cairnv1.ForLedger(second))
	_, err := halted.Append(within(t), batch("x"))
	demand(t, err, codes.Unavailable, server.ReasonHalted, sure)
	if text := err.Error(); !strings.Contains(text, second) || !strings.Contains(text, "upgrade this node") {
		t.Errorf("the refusal is %q, want the ledger and the reason", text)
	}
	mustAppend(t, well, batch("x"))
}

// TestLedgerThatIsLearntMeanwhile: a ledger that the node begins between the look for it and the
// question whether there may be others is served.
func TestLedgerThatIsLearntMeanwhile(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 1, fakecluster.Options{})
	var begun atomic.Bool
	_, a := serve(t, server.Config{
		Ledger:   func(string) (server.Backend, bool) { return c.Nodes[0], begun.Load() },
		Learning: func() error { begun.Store(true); return nil },
	})
	mustAppend(t, a, batch("x"))
}
