package client_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
)

// TestWatchAcrossFailures: every entry once, in order, while nodes come and go and the stream is
// broken again and again.
func TestWatchAcrossFailures(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 3, fakecluster.Options{Limits: server.Limits{RangeEntries: 3, WatchAlive: 20 * time.Millisecond}})
	p := profile(t, cluster, "")
	c, watcher := connect(t, p), connect(t, p)
	const entries, rounds = 120, 6
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan error, 1)
	next := uint64(5)
	go func() {
		done <- watcher.Watch(ctx, 5, func(e client.StoredEntry) error {
			if e.Index != next || string(e.Payload) != fmt.Sprint(next) || e.Principal != fakecluster.Principal || e.Time.IsZero() {
				return fmt.Errorf("got %d %q, want %d", e.Index, e.Payload, next)
			}
			if next++; next == entries {
				cancel()
			}
			return nil
		})
	}()
	for i := range entries {
		mustAppend(t, c, entry(fmt.Sprint("k", i), fmt.Sprint(i)))
		if i%(entries/rounds) == 0 {
			victim := cluster.Nodes[(i/(entries/rounds))%3]
			victim.Kill()
			cluster.Lead(cluster.Nodes[(i/(entries/rounds)+1)%3])
			victim.Start()
		}
	}
	err := <-done
	wantError(t, err, client.ReasonDeadline, true)
	if next != entries {
		t.Errorf("the watch ended at %d, want %d", next, entries)
	}
}

func TestWatchEndsWithItsFunction(t *testing.T) {
	t.Parallel()
	_, c := start(t, 1)
	fill(t, c, 10)
	enough := errors.New("enough")
	seen := 0
	err := c.Watch(within(t), 0, func(client.StoredEntry) error {
		if seen++; seen == 4 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || seen != 4 {
		t.Errorf("got %v after %d entries", err, seen)
	}
	err = c.Watch(within(t), 1<<63, func(client.StoredEntry) error { return nil })
	wantError(t, err, "OUT_OF_RANGE", true)
}

// TestWatchLie: a node that leaves something out is not believed.
func TestWatchLie(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 1)
	fill(t, c, 10)
	cluster.Nodes[0].Replica = &liar{Ledger: cluster.Nodes[0].Ledger(), leaf: func(uint64, []byte) []byte { return []byte("garbage") }}
	err := c.Watch(within(t), 0, func(client.StoredEntry) error { return nil })
	var v *client.VerificationError
	if !errors.As(err, &v) {
		t.Errorf("got %v, want a verification error", err)
	}
}

func TestRange(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 2, fakecluster.Options{Limits: server.Limits{RangeEntries: 4}})
	c := connect(t, profile(t, cluster, ""))
	fill(t, c, 40)
	for _, tc := range []struct{ first, limit, want uint64 }{{0, 0, 40}, {3, 7, 7}, {39, 100, 1}, {40, 0, 0}, {5, 1<<64 - 1, 35}} {
		next, killed := tc.first, false
		size, err := c.Range(within(t), tc.first, tc.limit, func(e client.StoredEntry) error {
			if e.Index != next || string(e.Payload) != fmt.Sprint(next) {
				t.Errorf("%+v: got %d %q, want %d", tc, e.Index, e.Payload, next)
			}
			if next++; next == tc.first+5 && !killed { // in the middle: both nodes break, one after the other
				killed = true
				for _, n := range cluster.Nodes {
					n.Kill()
					n.Start()
				}
			}
			return nil
		})
		if err != nil || size != 40 || next-tc.first != tc.want {
			t.Errorf("%+v: got %d entries of %d, %v", tc, next-tc.first, size, err)
		}
	}
	_, err := c.Range(within(t), 41, 0, func(client.StoredEntry) error { return nil })
	wantError(t, err, "NOT_FOUND", true)
}

// mute says nothing in the first stream, and what it should in the second.
type mute struct {
	scripted
	streams atomic.Int32
}

func (m *mute) Watch(req *cairnv1.WatchRequest, stream grpc.ServerStreamingServer[cairnv1.WatchResponse]) error {
	if m.streams.Add(1) == 1 {
		<-stream.Context().Done()
		return nil
	}
	return m.scripted.Watch(req, stream)
}

func (m *mute) Range(req *cairnv1.RangeRequest, stream grpc.ServerStreamingServer[cairnv1.RangeResponse]) error {
	if m.streams.Add(1) == 1 {
		<-stream.Context().Done()
		return nil
	}
	return m.scripted.Range(req, stream)
}

// TestSilentNode: a node that lets a reader wait in silence is given up.
func TestSilentNode(t *testing.T) {
	t.Parallel()
	leaf := (&ledger.Entry{Kind: ledger.KindPayload, Time: 1, Principal: fakecluster.Principal, Body: []byte("x")}).AppendLeaf(nil)
	enough := errors.New("enough")
	for name, read := range map[string]func(*client.Client, func(client.StoredEntry) error) error{
		"watch": func(c *client.Client, f func(client.StoredEntry) error) error { return c.Watch(within(t), 0, f) },
		"range": func(c *client.Client, f func(client.StoredEntry) error) error {
			_, err := c.Range(within(t), 0, 0, f)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := against(t, &mute{scripted: scripted{
				watch:  []*cairnv1.WatchResponse{{Leaves: [][]byte{leaf}, Size: 1}},
				range_: []*cairnv1.RangeResponse{{Leaves: [][]byte{leaf}, Size: 1}},
			}})
			err := read(c, func(client.StoredEntry) error { return enough })
			if !errors.Is(err, enough) {
				t.Errorf("got %v, want the entry that the node shows in the next stream", err)
			}
		})
	}
}

// brittle breaks the first stream of a range after three entries, and has forty more by the next.
type brittle struct {
	scripted
	leaf  []byte
	asked []*cairnv1.RangeRequest
}

func (b *brittle) Range(req *cairnv1.RangeRequest, stream grpc.ServerStreamingServer[cairnv1.RangeResponse]) error {
	b.asked = append(b.asked, req)
	if len(b.asked) == 1 {
		if err := stream.Send(&cairnv1.RangeResponse{First: req.First, Leaves: slices.Repeat([][]byte{b.leaf}, 3), Size: 10}); err != nil {
			return err
		}
		return status.Error(codes.Unavailable, "gone")
	}
	n := 50 - req.First
	if req.Limit > 0 {
		n = min(n, req.Limit)
	}
	return stream.Send(&cairnv1.RangeResponse{First: req.First, Leaves: slices.Repeat([][]byte{b.leaf}, int(n)), Size: 50})
}

// TestRangeKeepsItsEnd: a range that goes on elsewhere ends where it would have ended, although the
// ledger has grown, and only a node that has all of it may serve the rest.
func TestRangeKeepsItsEnd(t *testing.T) {
	t.Parallel()
	leaf := (&ledger.Entry{Kind: ledger.KindPayload, Time: 1, Principal: fakecluster.Principal, Body: []byte("x")}).AppendLeaf(nil)
	for limit, end := range map[uint64]uint64{0: 10, 7: 9, 100: 10} {
		b := &brittle{leaf: leaf}
		next := uint64(2)
		size, err := against(t, b).Range(within(t), 2, limit, func(e client.StoredEntry) error {
			if e.Index != next {
				t.Errorf("limit %d: got index %d, want %d", limit, e.Index, next)
			}
			next++
			return nil
		})
		if err != nil || size != 10 || next != end {
			t.Errorf("limit %d: up to %d of %d, %v; want up to %d of 10", limit, next, size, err, end)
		}
		rest := &cairnv1.RangeRequest{First: 5, Limit: end - 5, MinSize: end, Consistency: cairnv1.Consistency_CONSISTENCY_LOCAL}
		if len(b.asked) != 2 || !proto.Equal(b.asked[1], rest) {
			t.Errorf("limit %d: asked for %v, want the rest as %v", limit, b.asked, rest)
		}
	}
}

func TestReads(t *testing.T) {
	t.Parallel()
	cluster, c := start(t, 3)
	fill(t, c, 30)
	cluster.SealNow()
	ctx := within(t)
	e, err := c.Get(ctx, 17)
	if err != nil || string(e.Payload) != "17" || e.Principal != fakecluster.Principal || e.Index != 17 || !justNow(e.Time) {
		t.Errorf("Get: %+v, %v", e, err)
	}
	_, err = c.Get(ctx, 30)
	wantError(t, err, "NOT_FOUND", true)
	h, err := c.Head(ctx)
	if err != nil || h.Size != 30 || h.Root != cluster.Nodes[0].Ledger().Head().Root || h.Leader != "n1" || h.Node == "" || !justNow(h.Time) {
		t.Errorf("Head: %+v, %v", h, err)
	}
	inc, err := c.InclusionProof(ctx, 3, 0)
	if err != nil || inc.Size != 30 {
		t.Errorf("InclusionProof: %+v, %v", inc, err)
	}
	for _, sizes := range [][2]uint64{{0, 30}, {30, 30}, {7, 0}, {7, 21}} {
		con, err := c.ConsistencyProof(ctx, sizes[0], sizes[1])
		if err != nil || con.OldSize != sizes[0] {
			t.Errorf("ConsistencyProof %v: %+v, %v", sizes, con, err)
		}
	}
	r, err := c.Receipt(ctx, 29)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.VerifyOnline(ctx, r.Marshal()); err != nil || !v.Valid || v.Verdict != server.VerdictOK || v.Reason == "" ||
		v.Index != 29 || v.Size != 30 || v.Root != h.Root || len(v.Cosigners) < 2 || !justNow(v.Cosigners[0].Time) {
		t.Errorf("Verify: %+v, %v", v, err)
	}
	for _, name := range append(c.Nodes(), "") {
		if st, err := c.Status(ctx, name); err != nil || name != "" && st.Node != name {
			t.Errorf("Status of %q: %v, %v", name, st, err)
		}
	}
	if _, err := c.Status(ctx, "nobody"); err == nil {
		t.Error("a node that the profile does not name has a status")
	}
	_, err = c.TransferLeadership(ctx, "")
	wantError(t, err, "PERMISSION_DENIED", true)
}

// TestLocalReadsNeverGoBack: a client that has seen an entry is not answered by a node that has
// not.
func TestLocalReadsNeverGoBack(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 2, fakecluster.Options{Limits: server.Limits{BehindWait: 5 * time.Millisecond}})
	p := profile(t, cluster, "")
	for range 8 { // each client starts with a node at random
		c := connect(t, p)
		cluster.Nodes[1].Lag(true)
		a := mustAppend(t, c, entry("", "x"))
		h, err := c.Head(within(t), client.Local())
		if err != nil || h.Size <= a.Index {
			t.Errorf("after the append of index %d the local head is %+v, %v", a.Index, h, err)
		}
		if _, err := c.Get(within(t), a.Index, client.Local()); err != nil {
			t.Error(err)
		}
		cluster.Nodes[1].Lag(false)
	}
}
