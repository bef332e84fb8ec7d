package workload

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/jepsen/testbed"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// failing is a node that answers every question with one failure. A stream is opened,
// and then ends with it.
type failing struct {
	cairnv1.LedgerClient
	err error
}

func failure(t *testing.T, reason string) failing {
	t.Helper()
	st, err := status.New(codes.Internal, "it broke").WithDetails(
		protoadapt.MessageV1Of(&errdetails.ErrorInfo{Reason: reason, Domain: "cairn"}),
		protoadapt.MessageV1Of(&cairnv1.ErrorDetail{Outcome: cairnv1.Outcome_OUTCOME_DEFINITE}))
	if err != nil {
		t.Fatal(err)
	}
	return failing{err: st.Err()}
}

func (f failing) Append(context.Context, *cairnv1.AppendRequest, ...grpc.CallOption) (*cairnv1.AppendResponse, error) {
	return nil, f.err
}

func (f failing) Get(context.Context, *cairnv1.GetRequest, ...grpc.CallOption) (*cairnv1.GetResponse, error) {
	return nil, f.err
}

func (f failing) Head(context.Context, *cairnv1.HeadRequest, ...grpc.CallOption) (*cairnv1.HeadResponse, error) {
	return nil, f.err
}

func (f failing) Checkpoint(context.Context, *cairnv1.CheckpointRequest, ...grpc.CallOption) (*cairnv1.CheckpointResponse, error) {
	return nil, f.err
}

func (f failing) Receipt(context.Context, *cairnv1.ReceiptRequest, ...grpc.CallOption) (*cairnv1.ReceiptResponse, error) {
	return nil, f.err
}

func (f failing) InclusionProof(context.Context, *cairnv1.InclusionProofRequest, ...grpc.CallOption) (*cairnv1.InclusionProofResponse, error) {
	return nil, f.err
}

func (f failing) ConsistencyProof(context.Context, *cairnv1.ConsistencyProofRequest, ...grpc.CallOption) (*cairnv1.ConsistencyProofResponse, error) {
	return nil, f.err
}

func (f failing) Range(context.Context, *cairnv1.RangeRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[cairnv1.RangeResponse], error) {
	return &ending[cairnv1.RangeResponse]{err: f.err}, nil
}

func (f failing) Watch(context.Context, *cairnv1.WatchRequest, ...grpc.CallOption) (grpc.ServerStreamingClient[cairnv1.WatchResponse], error) {
	return &ending[cairnv1.WatchResponse]{err: f.err}, nil
}

func (f failing) AppendStream(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[cairnv1.AppendStreamRequest, cairnv1.AppendStreamResponse], error) {
	return appending{sent: make(chan uint64, 1), err: f.err}, nil
}

// ending is a stream with a few messages.
type ending[M any] struct {
	grpc.ClientStream
	messages []*M
	err      error
}

func (e *ending[M]) Recv() (*M, error) {
	if len(e.messages) == 0 {
		return nil, e.err
	}
	m := e.messages[0]
	e.messages = e.messages[1:]
	return m, nil
}

// appending is a stream on which the first batch is refused; then it ends.
type appending struct {
	grpc.ClientStream
	sent chan uint64
	err  error
}

func (a appending) Send(r *cairnv1.AppendStreamRequest) error {
	a.sent <- r.RequestId
	return nil
}

func (a appending) Recv() (*cairnv1.AppendStreamResponse, error) {
	<-a.sent
	return nil, a.err
}

func failingWorkload(t *testing.T, reason string, readable func(int, time.Time) bool) (*Workload, *cl) {
	t.Helper()
	rec, err := history.Create(filepath.Join(t.TempDir(), "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rec.Close() })
	o := Options{Seed: 1, Timeout: time.Second, Readable: readable}
	o.fill()
	conn := &testbed.Conn{Name: "n1", Ledger: failure(t, reason)}
	w := &Workload{opt: o, start: time.Now(), rec: rec, users: []*user{{principal: "p", conns: []*testbed.Conn{conn}, streams: []*stream{newStream(conn)}}}}
	w.watching, w.stopWatching = context.WithCancel(context.Background())
	t.Cleanup(w.stopWatching)
	return w, newClient(w, 0)
}

// TestFailures: whatever a client asks, that a node failed or cannot read what it holds
// is a violation, unless its disk could not be read.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		readable func(int, time.Time) bool
		blamed   bool
	}{
		"failed":                            {"INTERNAL", nil, true},
		"cannot read":                       {"CORRUPT", func(int, time.Time) bool { return true }, true},
		"failed without a disk":             {"INTERNAL", func(int, time.Time) bool { return false }, false},
		"cannot read since it was damaged":  {"CORRUPT", func(int, time.Time) bool { return false }, false},
		"does not lead":                     {"NOT_LEADER", nil, false},
		"failed, and could read since then": {"INTERNAL", func(_ int, since time.Time) bool { return time.Since(since) < time.Minute }, true},
	} {
		for what, ask := range map[string]func(*cl){
			"append": (*cl).append, "get": (*cl).get, "head": (*cl).head, "range": (*cl).readRange, "local head": (*cl).localHead,
			"checkpoint": (*cl).checkpoint, "receipt": (*cl).receipt, "nonsense": (*cl).nonsense,
			"watch": func(c *cl) { newWatcher(c.w, 0).subscribe() },
			"library": func(c *cl) {
				l := &library{journal: newJournal(c.w)}
				op := history.Op{Kind: history.Head}
				l.answered(l.invoke(&op), &op, &client.Error{Reason: c.user.conns[0].Ledger.(failing).reason(), Node: "n1"})
			},
		} {
			const times = 24 // appends take two ways, nonsense eight
			w, client := failingWorkload(t, c.reason, c.readable)
			for range times {
				ask(client)
			}
			got, want := 0, 0
			for _, v := range w.Violations() {
				if v.Kind == "failure" {
					got++
				}
			}
			if c.blamed {
				want = times
			}
			if got != want {
				t.Errorf("%s: %s: blamed %d times, want %d", name, what, got, want)
			}
		}
	}
}

func (f failing) reason() string { return understand(f.err, true).word }

// breaking is a node whose ranges break after one entry.
type breaking struct {
	failing
	leaf []byte
}

func (b breaking) Range(_ context.Context, r *cairnv1.RangeRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[cairnv1.RangeResponse], error) {
	one := &cairnv1.RangeResponse{First: r.First, Size: r.First + 9, Leaves: [][]byte{b.leaf}}
	return &ending[cairnv1.RangeResponse]{messages: []*cairnv1.RangeResponse{one}, err: b.err}, nil
}

// TestBrokenRange: what a range showed before it broke is in the history.
func TestBrokenRange(t *testing.T) {
	w, c := failingWorkload(t, "NO_LEADER", nil)
	e := ledger.Entry{Kind: ledger.KindPayload, Time: 1, Principal: "spiffe://t/p", Body: []byte("shown")}
	c.user.conns[0].Ledger = breaking{failure(t, "NO_LEADER"), e.AppendLeaf(nil)}
	c.readRange()
	c.end()
	ops := w.Ops()
	if len(ops) != 1 || ops[0].Outcome != history.Fail || ops[0].Return == history.Never || len(ops[0].Entries) != 1 ||
		ops[0].Entries[0].Body != history.DigestOf([]byte("shown")) || ops[0].Entries[0].Index != ops[0].First {
		t.Errorf("history %+v, want a range that failed and showed one entry", ops)
	}
}

// TestSeals: only appends that were asked for from the moment on count.
func TestSeals(t *testing.T) {
	w := &Workload{start: time.Now()}
	early := w.now()
	time.Sleep(time.Millisecond)
	w.seals.waited(early, true)
	w.CountSeals()
	w.seals.waited(early, true)
	w.seals.waited(w.now(), false)
	w.seals.waited(w.now(), true)
	w.seals.waited(w.now(), false)
	if waited, sealed := w.Seals(); waited != 3 || sealed != 1 {
		t.Errorf("%d appends waited and %d got receipts, want 3 and 1", waited, sealed)
	}
}

// TestKinds: clients ask for everything that a history can hold, without watchers for all but that.
func TestKinds(t *testing.T) {
	if all := (Options{}).Kinds(); len(all) != len(history.Kinds()) || len(all) < 7 {
		t.Errorf("the clients ask for %v, want %v", all, history.Kinds())
	}
	if some := (Options{Watchers: -1}).Kinds(); len(some) != len(history.Kinds())-1 {
		t.Errorf("without watchers the clients ask for %v", some)
	}
}

// TestAccusations: a node that finds something wrong with a question in which nothing
// is wrong breaks a promise, though its refusal has no effect on any history.
func TestAccusations(t *testing.T) {
	for _, c := range []struct {
		reason string
		op     history.Op
		want   int
	}{
		{"INVALID_ARGUMENT", history.Op{Kind: history.Append}, 1},
		{"PERMISSION_DENIED", history.Op{Kind: history.Get, First: 5}, 1},
		{"OUT_OF_RANGE", history.Op{Kind: history.Head}, 1},
		{"OUT_OF_RANGE", history.Op{Kind: history.Get, First: 1 << 63}, 0},
		{"OUT_OF_RANGE", history.Op{Kind: history.Append, Conditional: true, Size: 1 << 63}, 0},
		{"NO_LEADER", history.Op{Kind: history.Append}, 0},
		{"OVERLOADED", history.Op{Kind: history.Get}, 0},
	} {
		w, direct := failingWorkload(t, c.reason, nil)
		op := c.op
		direct.answered(direct.invoke(&op), &op, failure(t, c.reason).err, true)
		l := &library{journal: newJournal(w)}
		op = c.op
		l.answered(l.invoke(&op), &op, &client.Error{Reason: c.reason, Node: "n1", Definite: true})
		if got := len(w.Violations()); got != 2*c.want {
			t.Errorf("%s for %s: %d violations, want %d", c.reason, c.op.Kind, got, 2*c.want)
		}
	}
}

// TestWithoutReceipts: that a seal comes late is no excuse for a receipt that does not
// verify, nor for a fork.
func TestWithoutReceipts(t *testing.T) {
	late := &client.Error{Reason: "NOT_SEALED"}
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"late":                      {late, true},
		"nothing":                   {nil, false},
		"another failure":           {&client.Error{Reason: "NO_LEADER"}, false},
		"a proof that nobody gives": {fmt.Errorf("%w: %w", late, &client.VerificationError{What: "checkpoint", Err: client.ErrNotProved}), true},
		"a receipt that is wrong":   {fmt.Errorf("%w: %w", late, &client.VerificationError{What: "receipt", Err: io.EOF}), false},
		"a fork":                    {fmt.Errorf("%w: %w", late, &client.ForkError{}), false},
	} {
		if got := withoutReceipts(c.err); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

// TestExtends: a checkpoint comes with the proof that it extends the one that was named.
func TestExtends(t *testing.T) {
	one, two := merkle.LeafHash([]byte("one")), merkle.LeafHash([]byte("two"))
	next := tlog.Checkpoint{Size: 2, Root: merkle.NodeHash(one, two)}
	for name, c := range map[string]struct {
		known uint64
		proof []byte
		want  int
	}{
		"proved":        {1, two[:], 0},
		"another proof": {1, one[:], 1},
		"no proof":      {1, nil, 1},
		"half a hash":   {1, two[:7], 1},
		"not asked for": {0, nil, 0},
		"not larger":    {2, nil, 0},
	} {
		w, client := failingWorkload(t, "NO_LEADER", nil)
		client.shown = tlog.Checkpoint{Size: 1, Root: one}
		client.extends(c.known, next, c.proof)
		if got := len(w.Violations()); got != c.want {
			t.Errorf("%s: %d violations, want %d", name, got, c.want)
		}
		if proved := w.counts.Consistencies.Load() == 1; proved != (name == "proved") {
			t.Errorf("%s: counts as a proof: %t", name, proved)
		}
	}
}
