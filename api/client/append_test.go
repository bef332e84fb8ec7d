package client_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
)

func TestAppend(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1)
	a := mustAppend(t, c, entry("", "one"))
	if a.Index != 0 || a.Duplicate || a.Receipt != nil || !justNow(a.Time) {
		t.Errorf("got %+v", a)
	}
	a = mustAppend(t, c, entry("k", "two"), client.Sealed())
	if a.Index != 1 || a.Receipt == nil || !justNow(a.Time) {
		t.Fatalf("got %+v, want index 1 with a receipt", a)
	}
	parsed, err := tlog.ParseReceipt(a.Receipt.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Keys.Policy.VerifyReceipt(parsed); err != nil {
		t.Errorf("the receipt does not verify offline: %v", err)
	}
	again := mustAppend(t, c, entry("k", "two"), client.Sealed())
	if again.Index != 1 || !again.Duplicate || !again.Time.Equal(a.Time) {
		t.Errorf("append again: got %+v, want a duplicate of %+v", again, a)
	}
	if again := mustAppend(t, c, entry("k", "two")); !again.Duplicate || !again.Time.IsZero() || again.Receipt != nil {
		t.Errorf("a duplicate without a receipt: got %+v, want no time: the block's is not the entry's", again)
	}
	many, err := c.AppendBatch(within(t), []client.Entry{entry("", "x"), entry("k", "two"), entry("", "y")})
	if err != nil || len(many) != 3 || many[0].Index != 2 || many[1].Index != 1 || !many[1].Duplicate || many[2].Index != 3 {
		t.Errorf("batch: got %+v, %v", many, err)
	}
	if a := mustAppend(t, c, entry("", "z"), client.ExpectedSize(4)); a.Index != 4 {
		t.Errorf("expected size: got %+v", a)
	}
}

func TestAppendRefusals(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1)
	mustAppend(t, c, entry("k", "stored"))
	_, err := c.Append(within(t), entry("k", "offered"))
	if e := wantError(t, err, "KEY_CONFLICT", true); e.Conflict == nil || e.Conflict.Index != 0 || string(e.Conflict.Key) != "k" || e.Node != "n1" {
		t.Errorf("conflict %+v", e)
	}
	_, err = c.Append(within(t), entry("", "x"), client.ExpectedSize(9))
	if e := wantError(t, err, "SIZE_MISMATCH", true); e.SizeMismatch == nil || e.SizeMismatch.Actual != 1 {
		t.Errorf("size mismatch %+v", e)
	}
	before := len(cluster.Nodes[0].Requests())
	for name, entries := range map[string][]client.Entry{
		"none":      nil,
		"too many":  make([]client.Entry, 8193),
		"too large": {{Payload: make([]byte, 65536)}},
		"long key":  {{Key: make([]byte, 129)}},
		"together":  slices.Repeat([]client.Entry{{Payload: make([]byte, 60_000)}}, 20),
		"key twice": {entry("a", "1"), entry("a", "2")},
	} {
		_, err := c.AppendBatch(within(t), entries)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		wantError(t, err, client.ReasonInvalid, true)
	}
	if n := len(cluster.Nodes[0].Requests()); n != before {
		t.Errorf("%d malformed appends were sent", n-before)
	}
}

// gate lets a test hold the backend's appends.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func hold(n *fakecluster.Node) *gate {
	g := &gate{make(chan struct{}, 1000), make(chan struct{})}
	n.Before = func(context.Context, ledger.Batch) error {
		g.entered <- struct{}{}
		<-g.open
		return nil
	}
	return g
}

// TestBatching: what arrives while a request is in flight leaves in one request.
func TestBatching(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1, client.WithInFlight(1))
	g := hold(cluster.Nodes[0])
	const callers = 100
	var wg sync.WaitGroup
	var failed atomic.Int32
	appendOne := func(i int) {
		defer wg.Done()
		if _, err := c.Append(within(t), entry(fmt.Sprint("k", i%90), fmt.Sprint(i%90))); err != nil {
			failed.Add(1)
			t.Error(err)
		}
	}
	wg.Add(callers)
	go appendOne(0)
	<-g.entered
	for i := 1; i < callers; i++ {
		go appendOne(i)
	}
	time.Sleep(200 * time.Millisecond) // lets them queue up; if some come later there are more requests, still far from 100
	close(g.open)
	wg.Wait()
	requests := cluster.Nodes[0].Requests()
	if len(requests) > 20 {
		t.Errorf("%d callers made %d requests %v", callers, len(requests), requests)
	}
	if n := size(t, cluster.Nodes[0]); n != 90 {
		t.Errorf("the ledger has %d entries, want 90: keys stand for one entry", n)
	}
}

// TestSharedRequestNotFate: one caller's conflict does not fail the callers whose entries travelled
// with it.
func TestSharedRequestNotFate(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1, client.WithInFlight(1))
	mustAppend(t, c, entry("taken", "original"))
	g := hold(cluster.Nodes[0])
	go func() { _, _ = c.Append(within(t), entry("", "first")) }()
	<-g.entered
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			e := entry("", fmt.Sprint("good", i))
			if i == 13 {
				e = entry("taken", "another")
			}
			_, err := c.Append(within(t), e)
			if i == 13 {
				wantError(t, err, "KEY_CONFLICT", true)
			} else if err != nil {
				t.Errorf("entry %d: %v", i, err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	close(g.open)
	wg.Wait()
	if n := size(t, cluster.Nodes[0]); n != 31 {
		t.Errorf("the ledger has %d entries, want 31", n)
	}
}

// TestSameKeyInOneRequest: callers who race for a key are judged one by one, also when their
// entries travel together.
func TestSameKeyInOneRequest(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1, client.WithInFlight(1))
	g := hold(cluster.Nodes[0])
	go func() { _, _ = c.Append(within(t), entry("", "first")) }()
	<-g.entered
	var wg sync.WaitGroup
	var won, lost atomic.Int32
	for i := range 10 {
		wg.Go(func() {
			_, err := c.Append(within(t), entry("k", fmt.Sprint(i%2)))
			if err == nil {
				won.Add(1)
			} else {
				wantError(t, err, "KEY_CONFLICT", true)
				lost.Add(1)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	close(g.open)
	wg.Wait()
	if n := size(t, cluster.Nodes[0]); n != 2 || won.Load() != 5 || lost.Load() != 5 {
		t.Errorf("%d won and %d lost in a ledger of %d, want 5, 5 and 2", won.Load(), lost.Load(), n)
	}
}

// TestUnknownOutcome: with a key the client tries again and the entry is there once; without, it
// says that it does not know.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1)
	var calls atomic.Int32
	n := cluster.Nodes[0]
	n.After = func(context.Context, ledger.Batch) error {
		if calls.Add(1) == 1 {
			return server.ErrIndefinite
		}
		return nil
	}
	a := mustAppend(t, c, entry("k", "v"))
	if a.Index != 0 || !a.Duplicate || size(t, n) != 1 {
		t.Errorf("with a key: got %+v in a ledger of %d", a, size(t, n))
	}
	calls.Store(0)
	_, err := c.Append(within(t), entry("", "v"))
	wantError(t, err, "OUTCOME_UNKNOWN", false)
	if got := size(t, n); got != 2 {
		t.Errorf("without a key: the ledger has %d entries, want 2: one attempt", got)
	}
	// A batch counts as keyed only if all of it is.
	calls.Store(0)
	_, err = c.AppendBatch(within(t), []client.Entry{entry("a", ""), entry("", "")})
	wantError(t, err, "OUTCOME_UNKNOWN", false)
	if got := size(t, n); got != 4 {
		t.Errorf("mixed batch: the ledger has %d entries, want 4", got)
	}
}

// TestMixedRequestAfterUnknownOutcome: of calls that shared a request, those with keys go on.
func TestMixedRequestAfterUnknownOutcome(t *testing.T) {
	t.Parallel()
	// On a loaded machine the two calls may queue up too late to leave together; then they get more
	// time.
	for pause := 100 * time.Millisecond; !mixedRequest(t, pause); pause *= 2 {
		if pause > 10*time.Second {
			t.Fatal("the two calls never share a request")
		}
	}
}

// mixedRequest lets two calls queue up for so long, and reports whether they shared a request.
func mixedRequest(t *testing.T, pause time.Duration) bool {
	t.Helper()
	cluster, c := start(t, 1, client.WithInFlight(1))
	n := cluster.Nodes[0]
	g := hold(n)
	n.After = func(_ context.Context, b ledger.Batch) error {
		if len(b.Entries) == 2 { // the request that both share
			return server.ErrIndefinite
		}
		return nil
	}
	go func() { _, _ = c.Append(within(t), entry("", "first")) }()
	<-g.entered
	var wg sync.WaitGroup
	var keyed client.Appended
	var keyedErr, bareErr error
	wg.Go(func() { keyed, keyedErr = c.Append(within(t), entry("k", "keyed")) })
	wg.Go(func() { _, bareErr = c.Append(within(t), entry("", "bare")) })
	time.Sleep(pause)
	if len(n.Requests()) != 1 {
		t.Fatalf("%d requests", len(n.Requests()))
	}
	close(g.open)
	wg.Wait()
	if !slices.Contains(n.Requests(), 2) {
		return false
	}
	if keyedErr != nil || !keyed.Duplicate {
		t.Errorf("keyed: got %+v, %v", keyed, keyedErr)
	}
	wantError(t, bareErr, "OUTCOME_UNKNOWN", false)
	if got := size(t, n); got != 3 {
		t.Errorf("the ledger has %d entries, want 3", got)
	}
	return true
}

// TestDefiniteRefusalsAreRepeated: overload and changes of leadership pass, also without keys.
func TestDefiniteRefusalsAreRepeated(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 3)
	var calls atomic.Int32
	cluster.Nodes[0].Before = func(context.Context, ledger.Batch) error {
		switch calls.Add(1) {
		case 1:
			return &server.OverloadedError{RetryAfter: time.Millisecond}
		case 2:
			return &server.NotLeaderError{}
		case 3:
			return server.ErrStopped
		}
		return nil
	}
	if a := mustAppend(t, c, entry("", "x")); a.Index != 0 || size(t, cluster.Nodes[0]) != 1 {
		t.Errorf("got %+v", a)
	}
	cluster.Lead(cluster.Nodes[2])
	if a := mustAppend(t, c, entry("", "y")); a.Index != 1 {
		t.Errorf("after the leader changed: got %+v", a)
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 3)
	mustAppend(t, c, entry("a", "1"), client.Sealed())
	cluster.Nodes[0].Kill()
	cluster.Lead(cluster.Nodes[1])
	if a := mustAppend(t, c, entry("b", "2"), client.Sealed()); a.Index != 1 {
		t.Errorf("got %+v", a)
	}
	cluster.Nodes[0].Start()
	cluster.Nodes[1].Kill()
	cluster.Lead(cluster.Nodes[0])
	if a := mustAppend(t, c, entry("c", "3"), client.Sealed()); a.Index != 2 {
		t.Errorf("got %+v", a)
	}
}

// TestLeaderNotInProfile: a hint leads to a node that the profile does not name.
func TestLeaderNotInProfile(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 3, fakecluster.Options{})
	cluster.Lead(cluster.Nodes[2])
	p := profile(t, cluster, "")
	p.Endpoints = p.Endpoints[:1]
	c := connect(t, p)
	mustAppend(t, c, entry("", "x"))
	if got := c.Nodes(); len(got) != 2 || got[1] != "n3" {
		t.Errorf("knows nodes %v", got)
	}
}

// TestNobodyThere: if nothing was ever sent, the failure is definite, whatever the entries.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 2)
	for _, n := range cluster.Nodes {
		n.Kill()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.Append(ctx, entry("", "x"))
	wantError(t, err, client.ReasonDeadline, true)
	_, err = c.Head(ctx)
	wantError(t, err, client.ReasonDeadline, true)
}

// TestSilentLeader: a request that was sent and never answered has an unknown outcome.
func TestSilentLeader(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1)
	g := hold(cluster.Nodes[0])
	defer close(g.open)
	_, err := c.Append(endOnEntry(t.Context(), g, context.DeadlineExceeded), entry("", "x"))
	wantError(t, err, client.ReasonDeadline, false)
}

// TestHowTheCallEnded: an append that was sent and never answered says whether its time was up or
// its caller gave up.
func TestHowTheCallEnded(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1)
	g := hold(cluster.Nodes[0])
	defer close(g.open)
	for _, opts := range [][]client.AppendOption{nil, {client.Sealed()}, {client.ExpectedSize(0)}} {
		for code, cause := range map[codes.Code]error{codes.DeadlineExceeded: context.DeadlineExceeded, codes.Canceled: context.Canceled} {
			_, err := c.Append(endOnEntry(t.Context(), g, cause), entry("", "x"), opts...)
			if e := wantError(t, err, client.ReasonDeadline, false); e.Code != code || !errors.Is(err, cause) {
				t.Errorf("%v: got code %v, %v", cause, e.Code, err)
			}
		}
	}
}

// ending is a context that ends when a request has reached the gate.
type ending struct {
	context.Context
	done  chan struct{}
	cause error
}

func endOnEntry(parent context.Context, g *gate, cause error) context.Context {
	e := ending{parent, make(chan struct{}), cause}
	go func() {
		<-g.entered
		close(e.done)
	}()
	return e
}

func (e ending) Done() <-chan struct{} { return e.done }

func (e ending) Err() error {
	select {
	case <-e.done:
		return e.cause
	default:
		return nil
	}
}

// TestCancelledBeforeSent: a call that still waits for its turn had no effect.
func TestCancelledBeforeSent(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1, client.WithInFlight(1))
	g := hold(cluster.Nodes[0])
	go func() { _, _ = c.Append(within(t), entry("", "first")) }()
	<-g.entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Append(ctx, entry("", "second"))
	wantError(t, err, client.ReasonDeadline, true)
	close(g.open)
	mustAppend(t, c, entry("", "third"))
	if n := size(t, cluster.Nodes[0]); n != 2 {
		t.Errorf("the ledger has %d entries, want 2", n)
	}
}

// TestSealedLate: the batch is committed but the seal takes longer than the node waits: the receipt
// is fetched later.
func TestSealedLate(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 1, fakecluster.Options{Limits: server.Limits{SealWait: 10 * time.Millisecond}})
	cluster.SealByHand()
	c := connect(t, profile(t, cluster, ""))
	go func() {
		eventually(t, "the entry is committed", func() bool { return size(t, cluster.Nodes[0]) == 1 })
		time.Sleep(50 * time.Millisecond)
		cluster.SealNow()
	}()
	if a := mustAppend(t, c, entry("", "x"), client.Sealed()); a.Receipt == nil || a.Index != 0 {
		t.Errorf("got %+v", a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cluster.Nodes[0].After = func(context.Context, ledger.Batch) error {
		time.AfterFunc(200*time.Millisecond, cancel) // the node has answered by then, and is asked for the receipt
		return nil
	}
	_, err := c.Append(ctx, entry("", "never sealed"), client.Sealed())
	if err == nil || client.IsDefinite(err) {
		t.Errorf("an entry that is committed and not sealed: got %v, which must not be definite", err)
	}
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	_, c := start(t, 1)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c.Append(t.Context(), entry("", "x"))
	wantError(t, err, client.ReasonClosed, true)
	_, err = c.Head(t.Context())
	wantError(t, err, client.ReasonClosed, true)
}

// TestExpectedSizeGoesAlone: an append with an expected size waits for no other request and shares
// none.
func TestExpectedSizeGoesAlone(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1, client.WithInFlight(1))
	g := hold(cluster.Nodes[0])
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(g.open)
	first := make(chan struct{})
	wg.Go(func() {
		_, _ = c.Append(within(t), entry("", "first"))
		close(first)
	})
	<-g.entered
	wg.Go(func() { _, _ = c.Append(within(t), entry("", "second"), client.ExpectedSize(0)) })
	select {
	case <-g.entered:
	case <-first: // it was given up, after 10 s
		t.Error("it waits for its turn among the others")
	}
}

// TestLeavingASharedRequest: of two callers whose entries travel together one gives up: for that
// one the outcome is unknown, and the other one gets its answer.
func TestLeavingASharedRequest(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1, client.WithInFlight(1))
	g := hold(cluster.Nodes[0])
	go func() { _, _ = c.Append(within(t), entry("", "first")) }()
	<-g.entered
	ctx, cancel := context.WithCancel(within(t))
	left, stays := make(chan error, 1), make(chan error, 1)
	go func() { _, err := c.Append(ctx, entry("", "leaves")); left <- err }()
	go func() { _, err := c.Append(within(t), entry("", "stays")); stays <- err }()
	time.Sleep(100 * time.Millisecond) // they queue up; if not, they do not share a request, and the rest holds all the same
	g.open <- struct{}{}
	<-g.entered
	cancel()
	if err := <-left; err == nil {
		t.Error("an append that gave up succeeded")
	} else if len(cluster.Nodes[0].Requests()) == 2 && cluster.Nodes[0].Requests()[1] == 2 && client.IsDefinite(err) {
		t.Errorf("got %v, want an error that is not definite", err)
	}
	close(g.open)
	if err := <-stays; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

// TestRetryAfter: a node that asks for time gets it, on every path, and the call succeeds within
// its deadline.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const asked = 300 * time.Millisecond
	for path, send := range senders {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			cluster, c := start(t, 1)
			var times []time.Time
			cluster.Nodes[0].Before = func(context.Context, ledger.Batch) error {
				if times = append(times, time.Now()); len(times) < 3 {
					return &server.OverloadedError{RetryAfter: asked}
				}
				return nil
			}
			if err := send(within(t), c, entry("", "x")); err != nil {
				t.Fatal(err)
			}
			for i := 1; i < len(times); i++ {
				if waited := times[i].Sub(times[i-1]); waited < asked {
					t.Errorf("attempt %d came after %s, the node asked for %s", i+1, waited, asked)
				}
			}
		})
	}
}

// TestTooManyCalls: a client that has too many calls under way waits for its turn instead of
// failing.
func TestTooManyCalls(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 1, fakecluster.Options{Limits: server.Limits{StreamsPerPrincipal: 2}})
	p := profile(t, cluster, "")
	c, watcher := connect(t, p), connect(t, p)
	fill(t, c, 5)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var watches sync.WaitGroup
	seen := make(chan struct{}, 100)
	for range 2 {
		watches.Go(func() {
			_ = watcher.Watch(ctx, 4, func(client.StoredEntry) error { seen <- struct{}{}; return nil })
		})
	}
	<-seen
	<-seen
	done := make(chan error, 2)
	go func() { _, err := c.Get(within(t), 3); done <- err }()
	go func() { _, err := c.Append(within(t), entry("", "x")); done <- err }()
	select {
	case err := <-done:
		t.Errorf("a call ended while others held all places: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	cancel()
	watches.Wait()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestTimeOfAnAttempt: a node that is paused must not hold up what can be repeated elsewhere; what
// cannot be repeated gets longer, since giving it up makes its outcome unknown.
func TestTimeOfAnAttempt(t *testing.T) {
	t.Parallel()
	for key, most := range map[string]time.Duration{"k": 3 * time.Second, "": 10 * time.Second} {
		cluster, c := start(t, 1)
		var left time.Duration
		cluster.Nodes[0].Before = func(ctx context.Context, _ ledger.Batch) error {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			return nil
		}
		mustAppend(t, c, entry(key, "x"))
		if left > most || left <= 0 || key == "" && left <= 3*time.Second {
			t.Errorf("key %q: an attempt may take %s, want up to %s", key, left, most)
		}
	}
}
