package server_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

func mustAppend(t testing.TB, a api, req *cairnv1.AppendRequest) *cairnv1.AppendResponse {
	t.Helper()
	resp, err := a.Append(within(t), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestAppend(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{})
	got := mustAppend(t, a, batch("a", "b", ""))
	if !slices.Equal(got.Indexes, []uint64{0, 1, 2}) || len(got.Duplicates) != 0 || got.Size != 3 || !justNow(got.Time) || got.Sealed != nil {
		t.Errorf("got %v", got)
	}
	mustAppend(t, a, keyed("k", "v"))
	again := keyed("k", "v")
	again.Entries = append(again.Entries, &cairnv1.NewEntry{Payload: []byte("new")})
	got = mustAppend(t, a, again)
	if !slices.Equal(got.Indexes, []uint64{3, 4}) || !slices.Equal(got.Duplicates, []uint32{0}) || got.Size != 5 {
		t.Errorf("append again under the same key: got %v", got)
	}
	size := uint64(5)
	exact := batch("exact")
	exact.ExpectedSize = &size
	if got = mustAppend(t, a, exact); got.Indexes[0] != 5 {
		t.Errorf("append with expected size: got %v", got)
	}
}

func TestAppendPrincipalComesFromTheChannel(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{})
	const alice = "spiffe://fake.example/svc/alice"
	if _, err := a.Append(as(within(t), alice, "writer"), keyed("k", "alice's")); err != nil {
		t.Fatal(err)
	}
	// Another principal has another name space for keys.
	mustAppend(t, a, keyed("k", "other"))
	got, err := a.Get(within(t), &cairnv1.GetRequest{Index: 0})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := ledger.ParseLeaf(got.Leaf); err != nil || e.Principal != alice || string(e.Body) != "alice's" {
		t.Errorf("got entry %+v (error %v), want one of %s", e, err, alice)
	}
}

func TestAppendSealed(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	mustAppend(t, a, batch("x", "y"))
	c.SealNow()
	req := batch("a", "b")
	req.Entries[0].Key = []byte("key")
	req.Wait, req.KnownSize = cairnv1.Wait_WAIT_SEALED, 2
	for round, want := range [][]uint64{{2, 3}, {2, 4}} { // the second time, "a" is a duplicate far from "b"
		got := mustAppend(t, a, req)
		if !slices.Equal(got.Indexes, want) || len(got.Leaves) != 2 || got.Sealed == nil {
			t.Fatalf("round %d: got %v, want indexes %v with proofs", round, got, want)
		}
		cp, err := c.Keys.Policy.Verify(got.Sealed.Note)
		if err != nil || cp.Size != got.Sealed.Size {
			t.Fatalf("checkpoint: %v", err)
		}
		for i, l := range got.Leaves {
			receipt := tlog.Receipt{Extra: l.Leaf, Index: got.Indexes[i], Proof: split(t, l.Proof), Checkpoint: got.Sealed.Note}
			if _, err := c.Keys.Policy.VerifyReceipt(&receipt); err != nil {
				t.Errorf("receipt of index %d: %v", got.Indexes[i], err)
			}
			if e, err := ledger.ParseLeaf(l.Leaf); err != nil || string(e.Body) != string(req.Entries[i].Payload) {
				t.Errorf("leaf of entry %d holds %q (error %v)", i, e.Body, err)
			}
		}
		old, err := c.Nodes[0].Ledger().RootAt(2)
		if err != nil {
			t.Fatal(err)
		}
		if err := merkle.VerifyConsistency(2, cp.Size, split(t, got.Sealed.Consistency), old, cp.Root); err != nil {
			t.Errorf("consistency with the known size: %v", err)
		}
	}
}

func split(t testing.TB, proof []byte) []merkle.Hash {
	t.Helper()
	if len(proof)%merkle.HashSize != 0 {
		t.Fatalf("a proof of %d bytes", len(proof))
	}
	var out []merkle.Hash
	for ; len(proof) > 0; proof = proof[merkle.HashSize:] {
		out = append(out, merkle.Hash(proof[:merkle.HashSize]))
	}
	return out
}

// TestAppendNamesItsOwnSize: the size in the answer is that of the ledger right after the batch,
// not after what came later.
func TestAppendNamesItsOwnSize(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	n := c.Nodes[0]
	n.After = func(ctx context.Context, b ledger.Batch) error {
		if string(b.Entries[0].Body) == "later" {
			return nil
		}
		_, err := n.Append(ctx, ledger.Batch{Principal: b.Principal, Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("later")}}})
		return err
	}
	if got := mustAppend(t, a, batch("x", "y")); got.Size != 2 || n.Ledger().Head().Size != 3 {
		t.Errorf("size %d in the answer, want 2 of a ledger with 3 entries by now (it has %d)", got.Size, n.Ledger().Head().Size)
	}
}

// unprovable is a ledger that cannot make proofs of one kind.
type unprovable struct {
	server.Ledger
	tiles, consistency bool
}

func (u unprovable) Tile(level uint8, index uint64, width int) ([]byte, error) {
	if u.tiles {
		return nil, errors.New("no tile")
	}
	return u.Ledger.Tile(level, index, width)
}

func (u unprovable) ConsistencyProof(oldSize, newSize uint64) ([]merkle.Hash, error) {
	if u.consistency {
		return nil, errors.New("no proof")
	}
	return u.Ledger.ConsistencyProof(oldSize, newSize)
}

// TestAppendWithoutProof: a committed batch whose proofs fail has its indexes, and neither leaves
// nor a checkpoint.
func TestAppendWithoutProof(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	mustAppend(t, a, batch("x"))
	c.SealNow()
	n := c.Nodes[0]
	l := n.Ledger()
	for i, replica := range []unprovable{{l, true, false}, {l, false, true}} {
		n.Replica = replica
		req := batch("a")
		req.Wait, req.KnownSize = cairnv1.Wait_WAIT_SEALED, 1
		got := mustAppend(t, a, req)
		if !slices.Equal(got.Indexes, []uint64{uint64(i) + 1}) || len(got.Leaves) != 0 || got.Sealed != nil {
			t.Errorf("%+v: got %v, want index %d alone", replica, got, i+1)
		}
	}
}

// programmed is a ledger of another program.
type programmed struct {
	server.Ledger
	program ledger.Program
}

func (p programmed) Program() ledger.Program { return p.program }

// roomy is a program whose outcomes need room, and that does not understand the payload "no".
type roomy struct{ ledger.Log }

func (roomy) MaxOutcome(_ ledger.Kind, body []byte) (int, error) {
	if string(body) == "no" {
		return 0, errors.New("not that")
	}
	return 1000, nil
}

// TestAppendLeavesRoomForTheOutcome: an entry whose leaf could become too large, a batch whose
// outcomes could, and a payload that the program does not understand are refused before they are
// proposed.
func TestAppendLeavesRoomForTheOutcome(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{BatchBytes: 100_000})
	n := c.Nodes[0]
	n.Replica = programmed{n.Ledger(), roomy{}}
	most := ledger.MaxBody(fakecluster.Principal, 0) - 1000
	mustAppend(t, a, batch(string(make([]byte, most))))
	_, err := a.Append(within(t), batch(string(make([]byte, most+1))))
	f := demand(t, err, codes.InvalidArgument, server.ReasonEntryTooLarge, sure)
	if l := f.detail.GetLimit(); l.GetLimit() != uint64(most) || l.GetGot() != uint64(most)+1 {
		t.Errorf("the limit is %v, want %d", l, most)
	}
	_, err = a.Append(within(t), batch(make([]string, 99)...))
	demand(t, err, codes.InvalidArgument, server.ReasonBatchTooLarge, sure)
	_, err = a.Append(within(t), batch("no"))
	demand(t, err, codes.InvalidArgument, server.ReasonRefused, sure)
}

// TestAppendNotSealedInTime: the batch is committed, so the answer is success with indexes, never
// an error.
func TestAppendNotSealedInTime(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{SealWait: 20 * time.Millisecond})
	c.SealByHand()
	req := batch("a")
	req.Wait = cairnv1.Wait_WAIT_SEALED
	got := mustAppend(t, a, req)
	if !slices.Equal(got.Indexes, []uint64{0}) || got.Sealed != nil || len(got.Leaves) != 0 {
		t.Errorf("got %v, want index 0 without seal", got)
	}
}

func TestAppendRefusals(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{BatchEntries: 10, BatchBytes: 100_000})
	mustAppend(t, a, keyed("k", "stored"))
	most := ledger.MaxBody(fakecluster.Principal, 0)
	mustAppend(t, a, batch(string(make([]byte, most))))
	seven := uint64(7)
	wrongSize := batch("x")
	wrongSize.ExpectedSize = &seven
	huge := uint64(1<<64 - 1)
	hugeSize := batch("x")
	hugeSize.ExpectedSize = &huge
	badWait := batch("x")
	badWait.Wait = -7
	cases := []struct {
		name   string
		req    *cairnv1.AppendRequest
		code   codes.Code
		reason string
		check  func(failure) bool
	}{
		{"nothing", &cairnv1.AppendRequest{}, codes.InvalidArgument, server.ReasonInvalidArgument, nil},
		{"unknown wait", badWait, codes.InvalidArgument, server.ReasonInvalidArgument, nil},
		{"too many entries", batch(make([]string, 11)...), codes.InvalidArgument, server.ReasonBatchTooLarge, func(f failure) bool {
			return f.detail.GetLimit().GetLimit() == 10 && f.detail.GetLimit().GetGot() == 11
		}},
		{"far too many entries", batch(make([]string, 50_000)...), codes.InvalidArgument, server.ReasonBatchTooLarge, nil},
		{"entry of 65,536 bytes", batch("", string(make([]byte, 65536))), codes.InvalidArgument, server.ReasonEntryTooLarge, func(f failure) bool {
			return f.detail.GetLimit().GetPosition() == 1 && f.detail.GetLimit().GetLimit() == uint64(most)
		}},
		{"one byte too many", batch(string(make([]byte, most+1))), codes.InvalidArgument, server.ReasonEntryTooLarge, nil},
		{"batch too large", batch(string(make([]byte, 60_000)), string(make([]byte, 60_000))), codes.InvalidArgument, server.ReasonBatchTooLarge, nil},
		{"key of 129 bytes", keyed(string(make([]byte, 129)), ""), codes.InvalidArgument, server.ReasonKeyTooLong, nil},
		{"key twice", &cairnv1.AppendRequest{Entries: []*cairnv1.NewEntry{{Key: []byte("d"), Payload: []byte("1")}, {Key: []byte("d"), Payload: []byte("2")}}},
			codes.InvalidArgument, server.ReasonInvalidArgument, nil},
		{"conflict", keyed("k", "offered"), codes.AlreadyExists, server.ReasonKeyConflict, func(f failure) bool {
			k := f.detail.GetKeyConflict()
			stored, offered := sha256.Sum256([]byte("stored")), sha256.Sum256([]byte("offered"))
			return string(k.GetKey()) == "k" && k.GetIndex() == 0 && string(k.GetStoredDigest()) == string(stored[:]) && string(k.GetOfferedDigest()) == string(offered[:])
		}},
		{"size mismatch", wrongSize, codes.FailedPrecondition, server.ReasonSizeMismatch, func(f failure) bool {
			return f.detail.GetSizeMismatch().GetExpected() == 7 && f.detail.GetSizeMismatch().GetActual() == 2
		}},
		{"expected size of -1", hugeSize, codes.FailedPrecondition, server.ReasonSizeMismatch, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := a.Append(within(t), c.req)
			f := demand(t, err, c.code, c.reason, sure)
			if c.check != nil && !c.check(f) {
				t.Errorf("unexpected detail %v", f.detail)
			}
			stream, err := a.AppendStream(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(&cairnv1.AppendStreamRequest{RequestId: 1, Append: c.req}); err != nil {
				t.Fatal(err)
			}
			resp, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if e := resp.GetError(); codes.Code(e.GetCode()) != c.code || e.GetReason() != c.reason || !proto.Equal(e.GetDetail(), f.detail) {
				t.Errorf("over a stream: %v, want the same as by itself: %v", e, f.detail)
			}
		})
	}
	h, err := a.Head(within(t), &cairnv1.HeadRequest{})
	if err != nil || h.Size != 2 {
		t.Errorf("after refusals the ledger has %d entries (error %v), want 2", h.GetSize(), err)
	}
}

// TestAppendOutcomes: what the backend says about a batch reaches the client with the right bit.
func TestAppendOutcomes(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		err     error
		code    codes.Code
		reason  string
		outcome cairnv1.Outcome
	}{
		{"overloaded", &server.OverloadedError{RetryAfter: 30 * time.Millisecond}, codes.ResourceExhausted, server.ReasonOverloaded, sure},
		{"a past state is being computed", &ledger.BusyError{RetryAfter: 30 * time.Millisecond}, codes.ResourceExhausted, server.ReasonOverloaded, sure},
		{"stopping", server.ErrStopped, codes.Unavailable, server.ReasonStopping, sure},
		{"halted", errors.Wrap(&server.HaltedError{Origin: "example.org/x", Why: "upgrade this node"}, "submit"), codes.Unavailable, server.ReasonHalted, sure},
		{"not leader", &server.NotLeaderError{LeaderName: "n9", LeaderAddr: "10.0.0.9:1"}, codes.Unavailable, server.ReasonNotLeader, sure},
		{"no leader", errors.Wrap(&server.NotLeaderError{}, "submit"), codes.Unavailable, server.ReasonNoLeader, sure},
		{"deadline before submit", context.DeadlineExceeded, codes.DeadlineExceeded, server.ReasonDeadline, sure},
		{"lost leadership", errors.Wrap(server.ErrIndefinite, "leadership was lost"), codes.Unavailable, server.ReasonOutcomeUnknown, unsure},
		{"deadline after submit", errors.Mark(errors.Wrap(context.DeadlineExceeded, "wait"), server.ErrIndefinite), codes.DeadlineExceeded, server.ReasonOutcomeUnknown, unsure},
		{"unknown outcome hides its cause", errors.Mark(&server.NotLeaderError{LeaderName: "n2"}, server.ErrIndefinite), codes.Unavailable, server.ReasonOutcomeUnknown, unsure},
		{"bad batch", errors.Wrap(ledger.ErrBadBatch, "no"), codes.InvalidArgument, server.ReasonInvalidArgument, sure},
		{"the state is gone", ledger.ErrStateGone, codes.Aborted, server.ReasonStateGone, sure},
		{"refused by the program", &ledger.RefusedError{Reason: ledger.RefusedNotUnderstood, Err: errors.New("no")}, codes.InvalidArgument, server.ReasonRefused, sure},
		{"anything else", errors.New("the disk is on fire"), codes.Internal, server.ReasonInternal, unsure},
	}
	c, a := start(t, server.Limits{})
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c.Nodes[0].Before = func(context.Context, ledger.Batch) error { return tc.err }
			_, err := a.Append(within(t), batch("x"))
			f := demand(t, err, tc.code, tc.reason, tc.outcome)
			if tc.reason == server.ReasonOverloaded && (f.retry.GetRetryDelay().AsDuration() != 30*time.Millisecond || f.detail.RetryAfterMs != 30) {
				t.Errorf("retry delays %v and %d ms, want 30 ms", f.retry.GetRetryDelay().AsDuration(), f.detail.RetryAfterMs)
			}
			if hint := f.detail.GetNotLeader(); tc.reason == server.ReasonNotLeader && (hint.GetName() != "n9" || hint.GetAddress() != "10.0.0.9:1") {
				t.Errorf("leader hint %v", hint)
			}
		})
	}
}

// TestPanicIsAnAnswer: a bug in a handler costs one call, with an unknown outcome, and not the
// node.
func TestPanicIsAnAnswer(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	c.Nodes[0].Before = func(context.Context, ledger.Batch) error { panic("bug") }
	_, err := a.Append(within(t), batch("x"))
	demand(t, err, codes.Internal, server.ReasonInternal, unsure)
	if _, err := a.Head(within(t), &cairnv1.HeadRequest{}); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

// TestPanicsAreLoggedBounded: a panic is logged with its stack, and what a client sent cannot make
// the line long.
func TestPanicsAreLoggedBounded(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 1, fakecluster.Options{})
	lines := make(chan string, 1)
	_, a := serve(t, server.Config{Ledger: only(c.Nodes[0]), Logf: func(format string, args ...any) { lines <- fmt.Sprintf(format, args...) }})
	c.Nodes[0].Before = func(_ context.Context, b ledger.Batch) error {
		panic(strings.Repeat(string(b.Entries[0].Body), 1000))
	}
	_, err := a.Append(within(t), batch(strings.Repeat("é", 1000)))
	demand(t, err, codes.Internal, server.ReasonInternal, unsure)
	line := <-lines
	if len(line) > 20_000 || !utf8.ValidString(line) || !strings.Contains(line, "(2000000 bytes)") || !strings.Contains(line, "TestPanicsAreLoggedBounded") {
		t.Errorf("the line has %d bytes: %.200s", len(line), line)
	}
}

func TestAppendStream(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{StreamBatches: 4})
	stream, err := a.AppendStream(within(t))
	if err != nil {
		t.Fatal(err)
	}
	const batches = 40
	go func() {
		for i := range uint64(batches) {
			req := batch(fmt.Sprint("p", i))
			if i == 7 {
				req = &cairnv1.AppendRequest{} // refused; the others go on
			}
			if err := stream.Send(&cairnv1.AppendStreamRequest{RequestId: 1000 + i, Append: req}); err != nil {
				t.Error(err)
			}
		}
		_ = stream.CloseSend()
	}()
	places := map[uint64]uint64{}
	for range batches {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if resp.RequestId == 1007 {
			if e := resp.GetError(); e.GetReason() != server.ReasonInvalidArgument || e.GetDetail().GetOutcome() != sure || codes.Code(e.GetCode()) != codes.InvalidArgument {
				t.Errorf("an empty batch was answered with %v", resp)
			}
			continue
		}
		places[resp.RequestId] = resp.GetResponse().GetIndexes()[0]
	}
	if _, err := stream.Recv(); err == nil || len(places) != batches-1 {
		t.Errorf("got %d places and error %v at the end", len(places), err)
	}
	want := uint64(0)
	for i := range uint64(batches) {
		if i == 7 {
			continue
		}
		if places[1000+i] != want {
			t.Errorf("batch %d is at index %d, want %d: batches of one stream keep their order", i, places[1000+i], want)
		}
		want++
	}
}

func TestAppendStreamSealed(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	stream, err := a.AppendStream(within(t))
	if err != nil {
		t.Fatal(err)
	}
	req := batch("a")
	req.Wait = cairnv1.Wait_WAIT_SEALED
	if err := stream.Send(&cairnv1.AppendStreamRequest{RequestId: 1, Append: req}); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	r := resp.GetResponse()
	if _, err := c.Keys.Policy.Verify(r.GetSealed().GetNote()); err != nil || len(r.GetLeaves()) != 1 {
		t.Errorf("got %v (error %v)", resp, err)
	}
}

// TestAppendStreamBackPressure: a client that sends and never reads is not read from for ever.
func TestAppendStreamBackPressure(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{StreamBatches: 2})
	release := make(chan struct{})
	n := c.Nodes[0]
	n.Before = func(context.Context, ledger.Batch) error { <-release; return nil }
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	defer close(release)
	stream, err := a.AppendStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	payload := string(make([]byte, 60_000))
	sent := make(chan int, 1)
	go func() {
		n := 0
		defer func() { sent <- n }()
		for ; n < 1000; n++ {
			if stream.Send(&cairnv1.AppendStreamRequest{RequestId: uint64(n), Append: batch(payload)}) != nil {
				return
			}
		}
	}()
	eventually(t, "two batches are submitted", func() bool { return n.Submitted() >= 2 })
	time.Sleep(50 * time.Millisecond) // for more, if there were more
	cancel()
	if n := <-sent; n == 1000 {
		t.Error("60 MB were taken from a client whose first batch is not decided")
	}
	if n := n.Submitted(); n != 2 {
		t.Errorf("%d batches were submitted, the window is 2", n)
	}
}

// TestAppendStreamCountsReceipts: what the answers will hold counts, too: their receipts are larger
// than small entries.
func TestAppendStreamCountsReceipts(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{StreamBytes: 200_000, SealWait: time.Minute})
	c.SealByHand()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	stream, err := a.AppendStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	req := batch(make([]string, 100)...)
	req.Wait = cairnv1.Wait_WAIT_SEALED
	for n := range uint64(40) {
		if err := stream.Send(&cairnv1.AppendStreamRequest{RequestId: n, Append: req}); err != nil {
			t.Fatal(err)
		}
	}
	n := c.Nodes[0]
	eventually(t, "some batches are submitted", func() bool { return n.Submitted() >= 2 })
	time.Sleep(50 * time.Millisecond) // for more, if there were more
	if got := n.Submitted(); got > 5 {
		t.Errorf("%d batches wait for receipts of 40 kB each, the window is 200 kB", got)
	}
	go func() {
		for {
			if _, err := stream.Recv(); err != nil {
				return
			}
		}
	}()
	eventually(t, "the window moves on", func() bool { c.SealNow(); return n.Submitted() > 10 })
}

// TestAppendStreamStalls: a client that does not read its answers loses the stream, and knows that
// it knows nothing.
func TestAppendStreamStalls(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 1, fakecluster.Options{Limits: server.Limits{SendStall: 50 * time.Millisecond}})
	stream, err := dial(t, c.Nodes[0], narrow...).AppendStream(within(t))
	if err != nil {
		t.Fatal(err)
	}
	req := batch(string(make([]byte, 60_000)))
	req.Wait = cairnv1.Wait_WAIT_SEALED
	const batches = 40
	go func() { // a send that waits for the node learns only from Recv that the stream is over
		for n := range uint64(batches) {
			if stream.Send(&cairnv1.AppendStreamRequest{RequestId: n, Append: req}) != nil {
				return
			}
		}
	}()
	awaitStall(t, c.Nodes[0])
	for n := 0; ; n++ {
		if _, err := stream.Recv(); err != nil {
			demand(t, err, codes.ResourceExhausted, server.ReasonSlowConsumer, unsure)
			return
		}
		if n == batches {
			t.Fatal("a client that did not read got everything")
		}
	}
}
