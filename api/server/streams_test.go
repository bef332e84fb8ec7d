package server_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
)

func TestRange(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{RangeEntries: 7})
	fill(t, c, a, 50)
	cases := []struct{ first, limit, want uint64 }{
		{0, 0, 50}, {0, 50, 50}, {0, 51, 50}, {49, 0, 1}, {50, 0, 0}, {50, 10, 0}, {10, 14, 14}, {3, 1, 1},
	}
	for _, tc := range cases {
		s, err := a.Range(within(t), &cairnv1.RangeRequest{First: tc.first, Limit: tc.limit})
		if err != nil {
			t.Fatal(err)
		}
		next, messages := tc.first, 0
		for {
			resp, err := s.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if messages++; resp.First != next || resp.Size != 50 || len(resp.Leaves) > 7 {
				t.Errorf("%+v: message %d has %d leaves from %d of %d", tc, messages, len(resp.Leaves), resp.First, resp.Size)
			}
			for _, leaf := range resp.Leaves {
				if got := payload(t, leaf); got != fmt.Sprint(next) {
					t.Errorf("%+v: index %d holds %q", tc, next, got)
				}
				next++
			}
		}
		if next-tc.first != tc.want || messages == 0 {
			t.Errorf("%+v: got %d entries in %d messages, want %d in at least one", tc, next-tc.first, messages, tc.want)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{RangeEntries: 7, WatchAlive: 10 * time.Millisecond})
	fill(t, c, a, 20)
	for _, from := range []uint64{0, 5, 20, 25} { // 25: beyond the size, for entries to come
		ctx, cancel := context.WithCancel(within(t))
		s, err := a.Watch(ctx, &cairnv1.WatchRequest{From: from})
		if err != nil {
			t.Fatal(err)
		}
		next, alive := from, 0
		want := max(from, 20) + 10
		appended := false
		for next < want {
			resp, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if resp.First != next {
				t.Fatalf("watch from %d: got index %d, want %d", from, resp.First, next)
			}
			if next += uint64(len(resp.Leaves)); len(resp.Leaves) == 0 {
				alive++
			}
			if next >= 20 && alive >= 2 && !appended {
				appended = true
				size, err := a.Head(ctx, &cairnv1.HeadRequest{})
				if err != nil {
					t.Fatal(err)
				}
				for i := size.Size; i < want; i++ {
					mustAppend(t, a, batch(fmt.Sprint(i)))
				}
			}
			for i, leaf := range resp.Leaves {
				if got := payload(t, leaf); got != fmt.Sprint(resp.First+uint64(i)) {
					t.Errorf("index %d holds %q", resp.First+uint64(i), got)
				}
			}
		}
		cancel()
	}
}

// TestSlowConsumer: a watcher that does not read loses its stream, not the node its memory, and is
// told where to go on.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	c := fakecluster.New(t, 1, fakecluster.Options{Limits: server.Limits{SendStall: 50 * time.Millisecond}})
	a := dial(t, c.Nodes[0])
	const entries = 40
	for range entries {
		mustAppend(t, a, batch(string(make([]byte, 60_000))))
	}
	s, err := dial(t, c.Nodes[0], narrow...).Watch(within(t), &cairnv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	awaitStall(t, c.Nodes[0])
	next := uint64(0)
	for {
		resp, err := s.Recv()
		if err != nil {
			f := demand(t, err, codes.ResourceExhausted, server.ReasonSlowConsumer, sure)
			if resume := f.detail.GetResume(); resume == nil || resume.Next > next {
				t.Errorf("resume at %v after %d entries: that leaves a gap", resume, next)
			}
			break
		}
		if next += uint64(len(resp.Leaves)); next >= entries {
			t.Fatal("a client that did not read got everything")
		}
	}
	// Whoever reads is not affected.
	if _, err := a.Get(within(t), &cairnv1.GetRequest{}); err != nil {
		t.Error(err)
	}
}

// TestWatchWithoutLeader: a node that has lost the others tells its watchers to go elsewhere.
func TestWatchWithoutLeader(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{WatchAlive: 10 * time.Millisecond, WatchAlone: 50 * time.Millisecond})
	mustAppend(t, a, batch("x"))
	s, err := a.Watch(within(t), &cairnv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // signs of life, far beyond WatchAlone
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	c.Lead(nil)
	for err == nil {
		_, err = s.Recv()
	}
	f := demand(t, err, codes.Unavailable, server.ReasonNoLeader, sure)
	if resume := f.detail.GetResume(); resume == nil || resume.Next != 1 {
		t.Errorf("resume %v, want 1", resume)
	}
}

// TestStopEndsStreams: streams end at once, with a reason to go elsewhere, so that a node stops in
// time.
func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	watch, err := a.Watch(within(t), &cairnv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	appends, err := a.AppendStream(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := appends.Send(&cairnv1.AppendStreamRequest{RequestId: 1, Append: batch("x")}); err != nil {
		t.Fatal(err)
	}
	if _, err := appends.Recv(); err != nil {
		t.Fatal(err)
	}
	next := uint64(0)
	for next == 0 {
		resp, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		next += uint64(len(resp.Leaves))
	}
	c.Nodes[0].Server.Stop(within(t))
	for {
		resp, recvErr := watch.Recv()
		if err = recvErr; err != nil {
			break
		}
		next += uint64(len(resp.Leaves))
	}
	f := demand(t, err, codes.Unavailable, server.ReasonStopping, sure)
	if resume := f.detail.GetResume(); resume == nil || resume.Next > next {
		t.Errorf("resume at %v after %d entries: that leaves a gap", resume, next)
	}
	_, err = appends.Recv()
	demand(t, err, codes.Unavailable, server.ReasonStopping, sure)
}

// TestStopEndsHealthWatches: whoever watches the health of a node does not hold up its stop.
func TestStopEndsHealthWatches(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	watch, err := healthv1.NewHealthClient(a.conn).Watch(within(t), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	patient, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c.Nodes[0].Server.Stop(patient)
	if patient.Err() != nil {
		t.Error("the server waited for a health watch")
	}
}

func TestWatchesAreLimited(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{Watches: 3, WatchesPerPrincipal: 2})
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	watch := func(who string) error {
		s, err := a.Watch(as(ctx, "spiffe://fake.example/svc/"+who, "reader"), &cairnv1.WatchRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	for _, who := range []string{"a", "a", "b"} {
		if err := watch(who); err != nil {
			t.Fatal(err)
		}
	}
	demand(t, watch("c"), codes.ResourceExhausted, server.ReasonTooMany, sure)
	cancel()
	ctx = within(t)
	eventually(t, "the places of watchers that went are free", func() bool { return watch("c") == nil })
}

// TestOnePrincipalsWatches: nobody takes all of them.
func TestOnePrincipalsWatches(t *testing.T) {
	t.Parallel()
	_, a := start(t, server.Limits{WatchesPerPrincipal: 1})
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	for i, who := range []string{"a", "a", "b"} {
		s, err := a.Watch(as(ctx, "spiffe://fake.example/svc/"+who, "reader"), &cairnv1.WatchRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		if i == 1 {
			demand(t, err, codes.ResourceExhausted, server.ReasonTooMany, sure)
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// racingLedger grows right after every look at its head.
type racingLedger struct {
	server.Ledger
	grow func()
}

func (l racingLedger) Head() ledger.Head {
	h := l.Ledger.Head()
	l.grow()
	return h
}

// TestRangeNamesOneSize: every message of a range names the size that bounds the range, however the
// ledger grows meanwhile.
func TestRangeNamesOneSize(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{RangeEntries: 3})
	fill(t, c, a, 10)
	n := c.Nodes[0]
	n.Replica = racingLedger{n.Ledger(), func() {
		b := ledger.Batch{Principal: fakecluster.Principal, Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("more")}}}
		if _, err := n.Append(context.Background(), b); err != nil {
			t.Error(err)
		}
	}}
	s, err := a.Range(within(t), &cairnv1.RangeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := uint64(0)
	for {
		resp, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if next += uint64(len(resp.Leaves)); resp.Size != 10 {
			t.Errorf("a message up to index %d names size %d, want 10", next, resp.Size)
		}
	}
	if next != 10 {
		t.Errorf("the range has %d entries, want 10", next)
	}
}

// TestWatchNamesASizeThatCoversItsEntries: the ledger grows between the look at its
// size and the reading of its entries.
func TestWatchNamesASizeThatCoversItsEntries(t *testing.T) {
	t.Parallel()
	c, a := start(t, server.Limits{})
	mustAppend(t, a, batch("0"))
	grown := 0
	grow := func() {
		if grown < 20 {
			grown++
			if _, err := c.Nodes[0].Append(context.Background(), ledger.Batch{Principal: "spiffe://fake.example/svc/w",
				Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("more")}}}); err != nil {
				t.Error(err)
			}
		}
	}
	c.Nodes[0].Replica = racingLedger{c.Nodes[0].Ledger(), grow}
	watch, err := a.Watch(within(t), &cairnv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for next := uint64(0); next < 20; {
		resp, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if next += uint64(len(resp.Leaves)); next > resp.Size {
			t.Fatalf("entries up to %d in a message that names size %d", next, resp.Size)
		}
	}
}
