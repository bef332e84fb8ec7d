package server_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// fill appends n entries "0", "1", … and seals.
func fill(t testing.TB, c *fakecluster.Cluster, a api, n int) {
	t.Helper()
	for i := 0; i < n; {
		req := &cairnv1.AppendRequest{}
		for ; i < n && len(req.Entries) < 1000; i++ {
			req.Entries = append(req.Entries, &cairnv1.NewEntry{Payload: fmt.Append(nil, i)})
		}
		mustAppend(t, a, req)
	}
	c.SealNow()
}

func payload(t testing.TB, leaf []byte) string {
	t.Helper()
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Body)
}

func TestReads(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	fill(t, c, a, 300)
	mustAppend(t, a, batch("not sealed"))
	ctx := within(t)
	l := c.Nodes[0].Ledger()

	got, err := a.Get(ctx, &cairnv1.GetRequest{Index: 123})
	if err != nil || payload(t, got.Leaf) != "123" || got.Index != 123 || got.Size != 301 {
		t.Errorf("Get: %v, %v", got, err)
	}
	h, err := a.Head(ctx, &cairnv1.HeadRequest{})
	root := l.Head().Root
	if err != nil || h.Size != 301 || string(h.Root) != string(root[:]) || h.Node != "n1" || h.Leader != "n1" || !justNow(h.Time) || h.Term != 1 {
		t.Errorf("Head: %v, %v", h, err)
	}
	cp, err := a.Checkpoint(ctx, &cairnv1.CheckpointRequest{})
	if err != nil || cp.Sealed.Size != 300 || len(cp.Sealed.Consistency) != 0 {
		t.Errorf("Checkpoint: %v, %v", cp, err)
	}
	inc, err := a.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: 5})
	if err != nil || inc.Size != 300 {
		t.Fatalf("InclusionProof: %v, %v", inc, err)
	}
	if err := merkle.VerifyInclusion(5, 300, merkle.Hash(inc.LeafHash), split(t, inc.Proof), merkle.Hash(inc.Root)); err != nil {
		t.Error(err)
	}
	con, err := a.ConsistencyProof(ctx, &cairnv1.ConsistencyProofRequest{OldSize: 17, NewSize: 301})
	if err != nil {
		t.Fatal(err)
	}
	if err := merkle.VerifyConsistency(17, 301, split(t, con.Proof), merkle.Hash(con.OldRoot), merkle.Hash(con.NewRoot)); err != nil {
		t.Error(err)
	}
	rec, err := a.Receipt(ctx, &cairnv1.ReceiptRequest{Index: 299, KnownSize: 100})
	if err != nil || len(rec.Sealed.Consistency) == 0 {
		t.Fatalf("Receipt: %v, %v", rec, err)
	}
	r, err := tlog.ParseReceipt(rec.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Keys.Policy.VerifyReceipt(r); err != nil || payload(t, r.Extra) != "299" {
		t.Errorf("the receipt does not verify: %v", err)
	}
	if _, err := a.Receipt(ctx, &cairnv1.ReceiptRequest{Index: 300}); err == nil {
		t.Error("got a receipt of an entry that is not sealed")
	}
	if rec, err = a.Receipt(ctx, &cairnv1.ReceiptRequest{Index: 300, Wait: true}); err != nil || rec.Sealed.Size != 301 {
		t.Errorf("Receipt with wait: %v, %v", rec, err)
	}
	rooted, err := a.Status(ctx, &cairnv1.StatusRequest{RootSize: 17})
	if err != nil || string(rooted.RequestedRoot) != string(con.OldRoot) {
		t.Errorf("Status names root %x for size 17, want %x, %v", rooted.GetRequestedRoot(), con.OldRoot, err)
	}
	beyond, err := a.Status(ctx, &cairnv1.StatusRequest{RootSize: 302})
	if err != nil || len(beyond.RequestedRoot) != 0 || string(beyond.SealedRoot) != string(root[:]) {
		t.Errorf("Status with a size beyond the ledger: %v, %v", beyond, err)
	}
	st, err := a.Status(ctx, &cairnv1.StatusRequest{})
	if err != nil || st.Node != "n1" || st.Role != "leader" || st.Size != 301 || st.SealedSize != 301 || len(st.Peers) != 1 || st.Origin != fakecluster.Origin {
		t.Errorf("Status: %v, %v", st, err)
	}
}

// TestHostileNumbers: no number makes a handler do anything but refuse, quickly and definitely.
func TestHostileNumbers(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{BehindWait: 5 * time.Millisecond, SealWait: 5 * time.Millisecond})
	fill(t, c, a, 10)
	c.SealByHand()
	mustAppend(t, a, batch("beyond the seal"))
	const local, exact = cairnv1.Consistency_CONSISTENCY_LOCAL, cairnv1.Consistency_CONSISTENCY_LINEARIZABLE
	huge := []uint64{11, 12, 1 << 31, 1 << 32, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64 - 1, math.MaxUint64}
	drain := func(recv func() error) error {
		for {
			if err := recv(); err != nil {
				return err
			}
		}
	}
	rangeOf := func(ctx context.Context, req *cairnv1.RangeRequest) error {
		s, err := a.Range(ctx, req)
		if err != nil {
			return err
		}
		return drain(func() error { _, err := s.Recv(); return err })
	}
	for _, n := range huge {
		calls := map[string]func(ctx context.Context) error{
			"Get": func(ctx context.Context) error { _, err := a.Get(ctx, &cairnv1.GetRequest{Index: n}); return err },
			"Get local": func(ctx context.Context) error {
				_, err := a.Get(ctx, &cairnv1.GetRequest{Index: n, Consistency: local})
				return err
			},
			"Get min size": func(ctx context.Context) error {
				_, err := a.Get(ctx, &cairnv1.GetRequest{Index: n, Consistency: local, MinSize: n})
				return err
			},
			"Get consistency": func(ctx context.Context) error {
				_, err := a.Get(ctx, &cairnv1.GetRequest{Index: n, Consistency: 17})
				return err
			},
			"Head consistency": func(ctx context.Context) error {
				_, err := a.Head(ctx, &cairnv1.HeadRequest{Consistency: -1})
				return err
			},
			"Inclusion index": func(ctx context.Context) error {
				_, err := a.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: n})
				return err
			},
			"Inclusion size": func(ctx context.Context) error {
				_, err := a.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: 3, Size: n + 1})
				return err
			},
			"Inclusion both": func(ctx context.Context) error {
				_, err := a.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: n, Size: n})
				return err
			},
			"Inclusion i>=n": func(ctx context.Context) error {
				_, err := a.InclusionProof(ctx, &cairnv1.InclusionProofRequest{Index: n, Size: 10})
				return err
			},
			"Consistency m>n": func(ctx context.Context) error {
				_, err := a.ConsistencyProof(ctx, &cairnv1.ConsistencyProofRequest{OldSize: n, NewSize: 5})
				return err
			},
			"Consistency m": func(ctx context.Context) error {
				_, err := a.ConsistencyProof(ctx, &cairnv1.ConsistencyProofRequest{OldSize: n})
				return err
			},
			"Receipt": func(ctx context.Context) error {
				_, err := a.Receipt(ctx, &cairnv1.ReceiptRequest{Index: n})
				return err
			},
			"Receipt wait": func(ctx context.Context) error {
				_, err := a.Receipt(ctx, &cairnv1.ReceiptRequest{Index: n, Wait: true})
				return err
			},
			"Range first":       func(ctx context.Context) error { return rangeOf(ctx, &cairnv1.RangeRequest{First: n + 1, Limit: n}) },
			"Range consistency": func(ctx context.Context) error { return rangeOf(ctx, &cairnv1.RangeRequest{Consistency: 9}) },
			"Range min size": func(ctx context.Context) error {
				return rangeOf(ctx, &cairnv1.RangeRequest{Consistency: local, MinSize: n + 1})
			},
			"Range, exact, size": func(ctx context.Context) error {
				return rangeOf(ctx, &cairnv1.RangeRequest{First: n + 1, Consistency: exact, MinSize: n})
			},
		}
		if n >= 12 {
			calls["Consistency n"] = func(ctx context.Context) error {
				_, err := a.ConsistencyProof(ctx, &cairnv1.ConsistencyProofRequest{OldSize: 1, NewSize: n})
				return err
			}
			calls["Head min size"] = func(ctx context.Context) error {
				_, err := a.Head(ctx, &cairnv1.HeadRequest{Consistency: local, MinSize: n})
				return err
			}
		}
		if n >= 1<<63 {
			calls["Watch"] = func(ctx context.Context) error {
				s, err := a.Watch(ctx, &cairnv1.WatchRequest{From: n})
				if err != nil {
					return err
				}
				return drain(func() error { _, err := s.Recv(); return err })
			}
		}
		for name, call := range calls {
			if n == math.MaxUint64 && (name == "Inclusion size" || name == "Range first" || name == "Range min size" || name == "Range, exact, size") {
				continue // n+1 is 0, which is allowed
			}
			err := call(within(t))
			f := dissect(t, err)
			if f.detail.Outcome != sure || f.code == codes.Internal || f.code == codes.OK {
				t.Errorf("%s with %d: %v, %v", name, n, f.code, err)
			}
		}
	}
	// Limits that overflow are limits that do not matter.
	for _, n := range huge {
		got := 0
		s, err := a.Range(within(t), &cairnv1.RangeRequest{First: 4, Limit: n})
		if err != nil {
			t.Fatal(err)
		}
		for {
			resp, err := s.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got += len(resp.Leaves)
		}
		if got != 7 {
			t.Errorf("Range from 4 with limit %d gave %d entries of 11, want 7", n, got)
		}
		// A known size that does not exist needs no proof, and is no error: the client decides.
		if cp, err := a.Checkpoint(within(t), &cairnv1.CheckpointRequest{KnownSize: n}); err != nil || len(cp.Sealed.Consistency) != 0 {
			t.Errorf("Checkpoint with known size %d: %v, %v", n, cp, err)
		}
	}
}

func TestNothingIsSealedYet(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{SealWait: 20 * time.Millisecond})
	c.SealByHand()
	ctx := within(t)
	_, err := a.Checkpoint(ctx, &cairnv1.CheckpointRequest{})
	demand(t, err, codes.FailedPrecondition, server.ReasonNotSealed, sure)
	_, err = a.ConsistencyProof(ctx, &cairnv1.ConsistencyProofRequest{})
	demand(t, err, codes.FailedPrecondition, server.ReasonNotSealed, sure)
	_, err = a.Get(ctx, &cairnv1.GetRequest{})
	demand(t, err, codes.NotFound, server.ReasonNotFound, sure)
	mustAppend(t, a, batch("committed"))
	_, err = a.InclusionProof(ctx, &cairnv1.InclusionProofRequest{})
	demand(t, err, codes.FailedPrecondition, server.ReasonNotSealed, sure)
	_, err = a.Receipt(ctx, &cairnv1.ReceiptRequest{})
	demand(t, err, codes.FailedPrecondition, server.ReasonNotSealed, sure)
	// The caller has time left: the reason is the missing seal, not a deadline.
	_, err = a.Receipt(ctx, &cairnv1.ReceiptRequest{Wait: true})
	demand(t, err, codes.Unavailable, server.ReasonNotSealed, sure)
}

// TestFreshness: a linearizable read on a node that lags catches up first; a local one does not,
// unless the client has seen more.
func TestFreshness(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 2, fakecluster.Options{Limits: server.Limits{BehindWait: 20 * time.Millisecond}})
	leader, follower := dial(t, c.Nodes[0]), dial(t, c.Nodes[1])
	mustAppend(t, leader, batch("a"))
	c.Nodes[1].Lag(true)
	mustAppend(t, leader, batch("b"))
	ctx := within(t)
	const local = cairnv1.Consistency_CONSISTENCY_LOCAL
	if h, err := follower.Head(ctx, &cairnv1.HeadRequest{Consistency: local}); err != nil || h.Size != 1 {
		t.Errorf("local head of a node that lags: %v, %v", h, err)
	}
	_, err := follower.Head(ctx, &cairnv1.HeadRequest{Consistency: local, MinSize: 2})
	demand(t, err, codes.Unavailable, server.ReasonBehind, sure)
	_, err = follower.Get(ctx, &cairnv1.GetRequest{Index: 1, Consistency: local})
	demand(t, err, codes.NotFound, server.ReasonNotFound, sure)
	if got, err := follower.Get(ctx, &cairnv1.GetRequest{Index: 1}); err != nil || payload(t, got.Leaf) != "b" {
		t.Errorf("linearizable Get on a node that lags: %v, %v", got, err)
	}
	c.Lead(nil)
	_, err = follower.Head(ctx, &cairnv1.HeadRequest{})
	demand(t, err, codes.Unavailable, server.ReasonNoLeader, sure)
	if got, err := follower.Get(ctx, &cairnv1.GetRequest{Index: 1}); err != nil {
		t.Errorf("an entry that is here needs no leader: %v, %v", got, err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	keys, second := fakecluster.TwoLedgers(t, "second.example/ledger")
	c := fakecluster.New(t, 1, fakecluster.Options{Keys: keys})
	a := dial(t, c.Nodes[0])
	fill(t, c, a, 20)
	other := fakecluster.New(t, 1, fakecluster.Options{Keys: c.Keys}) // same keys, another history
	fillWith(t, other, 20, "forged")
	stranger := fakecluster.New(t, 1, fakecluster.Options{})
	fillWith(t, stranger, 20, "x")
	ahead := fakecluster.New(t, 1, fakecluster.Options{Keys: c.Keys})
	fillWith(t, ahead, 50, "y")
	seconds := fakecluster.New(t, 1, fakecluster.Options{Keys: second})
	fillWith(t, seconds, 20, "z")
	secondAhead := fakecluster.New(t, 1, fakecluster.Options{Keys: second})
	fillWith(t, secondAhead, 50, "z")
	receipt := func(c *fakecluster.Cluster, index uint64) *tlog.Receipt {
		r, err := dial(t, c.Nodes[0]).Receipt(within(t), &cairnv1.ReceiptRequest{Index: index})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := tlog.ParseReceipt(r.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	good := receipt(c, 7)
	flipped := *good
	flipped.Extra = append([]byte(nil), good.Extra...)
	flipped.Extra[len(flipped.Extra)-1] ^= 1
	bare := *good
	bare.Extra = nil
	cases := []struct {
		name    string
		receipt []byte
		verdict string
		valid   bool
		size    uint64 // of a valid receipt's checkpoint
	}{
		{"good", good.Marshal(), server.VerdictOK, true, 20},
		{"flipped entry", flipped.Marshal(), server.VerdictInclusion, false, 0},
		{"no entry", bare.Marshal(), server.VerdictMalformed, false, 0},
		{"truncated", good.Marshal()[:len(good.Marshal())-100], server.VerdictMalformed, false, 0},
		{"empty", nil, server.VerdictMalformed, false, 0},
		{"foreign keys", receipt(stranger, 7).Marshal(), server.VerdictPolicy, false, 0},
		{"fork", receipt(other, 7).Marshal(), server.VerdictFork, false, 0},
		{"ahead", receipt(ahead, 7).Marshal(), server.VerdictAhead, true, 50},
		// The policy accepts both ledgers: a receipt of the second one is no fork of this one, at
		// any size.
		{"second ledger", receipt(seconds, 7).Marshal(), server.VerdictPolicy, false, 0},
		{"second ledger, larger", receipt(secondAhead, 7).Marshal(), server.VerdictPolicy, false, 0},
	}
	for _, tc := range cases {
		got, err := a.Verify(within(t), &cairnv1.VerifyRequest{Receipt: tc.receipt})
		if err != nil || got.Verdict != tc.verdict || got.Valid != tc.valid || got.Reason == "" {
			t.Errorf("%s: got %v (error %v), want %s", tc.name, got, err, tc.verdict)
		}
		if tc.valid && len(got.Cosigners) == 0 {
			t.Errorf("%s: no cosigner is named", tc.name)
		}
		if tc.valid && (got.Index != 7 || got.Size != tc.size || len(got.Root) != merkle.HashSize) {
			t.Errorf("%s: index %d of size %d, root %x; want index 7 of size %d", tc.name, got.Index, got.Size, got.Root, tc.size)
		}
		for _, by := range got.Cosigners {
			if at := time.Unix(int64(by.Time), 0); by.Name == "" || time.Since(at).Abs() > 10*time.Minute {
				t.Errorf("%s: cosigned by %q at %v, want a moment of this test", tc.name, by.Name, at)
			}
		}
	}
}

func fillWith(t testing.TB, c *fakecluster.Cluster, n int, what string) {
	t.Helper()
	req := &cairnv1.AppendRequest{}
	for range n {
		req.Entries = append(req.Entries, &cairnv1.NewEntry{Payload: []byte(what)})
	}
	mustAppend(t, dial(t, c.Nodes[0]), req)
	c.SealNow()
}

func TestTransferLeadership(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 3, fakecluster.Options{})
	a := dial(t, c.Nodes[0])
	admin := as(within(t), "spiffe://fake.example/svc/op", "admin")
	got, err := a.TransferLeadership(admin, &cairnv1.TransferLeadershipRequest{To: "n3"})
	if err != nil || got.Leader != "n3" {
		t.Fatalf("got %v, %v", got, err)
	}
	_, err = a.TransferLeadership(admin, &cairnv1.TransferLeadershipRequest{To: "n2"})
	demand(t, err, codes.Unavailable, server.ReasonNotLeader, sure)
	for _, to := range []string{"n99", string(make([]byte, 1000))} {
		_, err = dial(t, c.Nodes[2]).TransferLeadership(admin, &cairnv1.TransferLeadershipRequest{To: to})
		demand(t, err, codes.NotFound, server.ReasonUnknownNode, sure)
	}
	_, alone := start(t, server.Limits{})
	_, err = alone.TransferLeadership(admin, &cairnv1.TransferLeadershipRequest{})
	demand(t, err, codes.FailedPrecondition, server.ReasonNotTransferred, sure)
}

// TestTransferOutcomes: once a transfer has begun, leadership may move later: only what was not
// begun is definite.
func TestTransferOutcomes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err     error
		code    codes.Code
		reason  string
		outcome cairnv1.Outcome
	}{
		{server.ErrNotTransferred, codes.FailedPrecondition, server.ReasonNotTransferred, unsure},
		{context.DeadlineExceeded, codes.DeadlineExceeded, server.ReasonDeadline, unsure},
		{context.Canceled, codes.Canceled, server.ReasonDeadline, unsure},
		{errors.New("the disk is on fire"), codes.Internal, server.ReasonInternal, unsure},
		{server.ErrNoSuccessor, codes.FailedPrecondition, server.ReasonNotTransferred, sure},
		{server.ErrUnknownNode, codes.NotFound, server.ReasonUnknownNode, sure},
		{&server.NotLeaderError{}, codes.Unavailable, server.ReasonNoLeader, sure},
		{server.ErrStopped, codes.Unavailable, server.ReasonStopping, sure},
	} {
		_, a := serve(t, server.Config{Ledger: only(described{transfer: tc.err})})
		_, err := a.TransferLeadership(as(within(t), "spiffe://fake.example/svc/op", "admin"), &cairnv1.TransferLeadershipRequest{})
		demand(t, err, tc.code, tc.reason, tc.outcome)
	}
}

// described is a node that says about itself what a test wants.
type described struct {
	server.Backend
	status   server.Status
	transfer error
}

func (d described) Status() server.Status                            { return d.status }
func (d described) Brief() server.Status                             { return d.status }
func (d described) TransferLeadership(context.Context, string) error { return d.transfer }

// TestStatusSaysAll: whatever a node knows about itself and its peers is in its status.
func TestStatusSaysAll(t *testing.T) {
	t.Parallel()
	c, _ := start(t, server.Limits{})
	head := c.Nodes[0].Ledger().Head()
	_, a := serve(t, server.Config{Ledger: only(described{Backend: c.Nodes[0], status: server.Status{
		Node: "n7", ID: 7, Version: "v7", Role: "candidate", LeaderName: "n8", LeaderAddr: "10.0.0.8:1",
		Term: 3, Commit: 4, Applied: 5, Started: time.UnixMicro(1_700_000_000_123_456),
		WALBytes: 11, StoreBytes: 12, DiskFreeBytes: 13, QueuedRequests: 14, QueuedBytes: 15, MemoryBytes: 16, Problems: []string{"a slow disk"},
		Certificates: []server.CertificateStatus{{Kind: "kem", Serial: "1f", Expires: time.Unix(1_800_000_000, 0), Soon: true}},
		Peers: []server.PeerStatus{
			{ID: 7, Name: "n7", Address: "10.0.0.7:1", Kind: "voter", Connected: true, Match: 16},
			{ID: 8, Name: "n8", Address: "10.0.0.8:1", Kind: "learner", Problem: "its data directory is new"},
		},
	}})})
	want := &cairnv1.StatusResponse{
		Node: "n7", Id: 7, Origin: fakecluster.Origin, Version: "v7", Role: "candidate", Leader: "n8", LeaderAddress: "10.0.0.8:1",
		Term: 3, Commit: 4, Applied: 5, Root: head.Root[:], Started: 1_700_000_000_123_456,
		WalBytes: 11, StoreBytes: 12, DiskFreeBytes: 13, QueuedRequests: 14, QueuedBytes: 15, MemoryBytes: 16, Problems: []string{"a slow disk"},
		Program: "log", ProgramVersion: 1,
		Certificates: []*cairnv1.CertificateStatus{{Kind: "kem", Serial: "1f", Expires: 1_800_000_000, Soon: true}},
		Peers: []*cairnv1.Peer{
			{Id: 7, Name: "n7", Address: "10.0.0.7:1", Kind: "voter", Connected: true, Match: 16},
			{Id: 8, Name: "n8", Address: "10.0.0.8:1", Kind: "learner", Problem: "its data directory is new"},
		},
	}
	if got, err := a.Status(within(t), &cairnv1.StatusRequest{}); err != nil || !proto.Equal(got, want) {
		t.Errorf("got  %v, %v\nwant %v", got, err, want)
	}
	h, err := a.Head(within(t), &cairnv1.HeadRequest{Consistency: cairnv1.Consistency_CONSISTENCY_LOCAL})
	if err != nil || h.Node != "n7" || h.Leader != "n8" || h.Term != 3 {
		t.Errorf("Head: %v, %v", h, err)
	}
}

func TestRolesOverTheWire(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{})
	mustAppend(t, a, batch("x"))
	_, err := a.Append(as(within(t), "spiffe://fake.example/svc/r", "reader"), batch("x"))
	f := demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
	if f.info.Metadata["needs"] != "writer" || f.info.Metadata["has"] != "reader" {
		t.Errorf("metadata %v", f.info.Metadata)
	}
	_, err = a.Get(as(within(t), "spiffe://fake.example/node/n2", "peer"), &cairnv1.GetRequest{})
	demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
	_, err = a.TransferLeadership(within(t), &cairnv1.TransferLeadershipRequest{})
	demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
	_, err = a.Head(as(within(t), "", "none"), &cairnv1.HeadRequest{})
	demand(t, err, codes.Unauthenticated, server.ReasonUnauthenticated, sure)
	stream, err := a.Watch(as(within(t), "spiffe://fake.example/node/n2", "peer"), &cairnv1.WatchRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	demand(t, err, codes.PermissionDenied, server.ReasonPermissionDenied, sure)
}

func TestHealthAndReflection(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	health := healthv1.NewHealthClient(a.conn)
	check := func(health healthv1.HealthClient, want healthv1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for _, service := range []string{"", "cairn.v1.Ledger", "cairn.v1.Admin"} {
			got, err := health.Check(within(t), &healthv1.HealthCheckRequest{Service: service})
			if err != nil || got.Status != want {
				t.Errorf("health of %q: %v, %v, want %v", service, got, err, want)
			}
		}
	}
	check(health, healthv1.HealthCheckResponse_SERVING)
	c.Nodes[0].Server.SetServing(false)
	check(health, healthv1.HealthCheckResponse_NOT_SERVING)
	_, fresh := serve(t, server.Config{Ledger: only(c.Nodes[0])}) // nobody has told it that it may serve
	check(healthv1.NewHealthClient(fresh.conn), healthv1.HealthCheckResponse_NOT_SERVING)
	r, err := reflectionv1.NewServerReflectionClient(a.conn).ServerReflectionInfo(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	resp, err := r.Recv()
	if err != nil || len(resp.GetListServicesResponse().GetService()) < 4 {
		t.Errorf("reflection: %v, %v", resp, err)
	}
}
