package client

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
)

// TestSeen: whatever shows a size, no local read of the same client is answered from before it, by
// any node.
func TestSeen(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	for name, see := range map[string]func(ctx context.Context, c *Client) error{
		"append": func(ctx context.Context, c *Client) error {
			_, err := c.Append(ctx, Entry{Payload: []byte("x")})
			return err
		},
		"get":        func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, 0); return err },
		"head":       func(ctx context.Context, c *Client) error { _, err := c.Head(ctx); return err },
		"checkpoint": func(ctx context.Context, c *Client) error { _, err := c.Checkpoint(ctx); return err },
		"receipt":    func(ctx context.Context, c *Client) error { _, err := c.Receipt(ctx, 0); return err },
		"range": func(ctx context.Context, c *Client) error {
			_, err := c.Range(ctx, 0, 1, func(StoredEntry) error { return nil })
			return err
		},
		"watch": func(ctx context.Context, c *Client) error {
			// Whoever has an entry has seen the size of the message that brought it.
			err := c.Watch(ctx, 0, func(StoredEntry) error { return enough })
			if errors.Is(err, enough) {
				return nil
			}
			return err
		},
		"stream": func(ctx context.Context, c *Client) error {
			s := c.OpenStream(ctx)
			defer s.Close()
			p, err := s.Append(ctx, []Entry{{Payload: []byte("x")}})
			if err == nil {
				_, err = p.Wait(ctx)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := fakecluster.New(t, 2, fakecluster.Options{Limits: server.Limits{BehindWait: time.Millisecond, RangeEntries: 7}})
			p := Profile{Origin: fakecluster.Origin, Policy: cluster.WritePolicy(), Endpoints: []Endpoint{
				{"n1", cluster.Nodes[0].Address}, {"n2", cluster.Nodes[1].Address},
			}}
			dial := func() *Client {
				c, err := Dial(t.Context(), p, WithCredentials(fakecluster.Principal, fakecluster.Insecure))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = c.Close() })
				c.nodes.mu.turn = 0
				return c
			}
			cluster.Nodes[1].Lag(true)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if _, err := dial().AppendBatch(ctx, make([]Entry, 8)); err != nil {
				t.Fatal(err)
			}
			cluster.SealNow()
			c := dial()
			if err := see(ctx, c); err != nil {
				t.Fatal(err)
			}
			least := uint64(8)
			if name == "append" || name == "stream" {
				least = 9
			}
			for what, read := range map[string]func() (uint64, error){
				"head": func() (uint64, error) { h, err := c.Head(ctx, Local()); return h.Size, err },
				"range": func() (uint64, error) {
					return c.Range(ctx, 0, 0, func(StoredEntry) error { return nil }, Local())
				},
			} {
				c.nodes.mu.Lock()
				c.nodes.mu.turn = 1 // the node that lags is asked first
				c.nodes.mu.Unlock()
				if size, err := read(); err != nil || size < least {
					t.Errorf("local %s: size %d, %v; this client has seen %d", what, size, err, least)
				}
			}
		})
	}
}

// TestReceiptOfAnotherIndex: a receipt is accepted for the index that was asked for, and for no
// other.
func TestReceiptOfAnotherIndex(t *testing.T) {
	t.Parallel()
	_, c := inside(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := c.AppendBatch(ctx, make([]Entry, 3), Sealed()); err != nil {
		t.Fatal(err)
	}
	r, err := c.Receipt(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	cp := &Checkpoint{VerifiedCheckpoint: r.Sealed(), Note: r.Checkpoint}
	if _, err := c.receiptOf(want{index: 1}, r.Receipt, cp); err != nil {
		t.Errorf("its own index: %v", err)
	}
	if _, err := c.receiptOf(want{index: 2}, r.Receipt, cp); err == nil {
		t.Error("the receipt of entry 1 was accepted for entry 2")
	}
}

// TestLeavesAndEntries: an answer with another number of leaves than of entries is refused, though
// each of its receipts is right.
func TestLeavesAndEntries(t *testing.T) {
	t.Parallel()
	_, c := inside(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n := c.nodes.forLeader()
	req := &cairnv1.AppendRequest{Entries: []*cairnv1.NewEntry{{Payload: []byte("x")}, {Payload: []byte("y")}}, Wait: cairnv1.Wait_WAIT_SEALED}
	resp, err := n.ledger.Append(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.check(ctx, n, req, 0, resp); err != nil || a[1].Receipt == nil {
		t.Fatalf("the honest answer: %+v, %v", a, err)
	}
	leaves := resp.Leaves
	for _, other := range [][]*cairnv1.ProvedLeaf{leaves[:1], nil, append(leaves[:2:2], leaves[1])} {
		resp.Leaves = other
		var v *VerificationError
		if a, err := c.check(ctx, n, req, 0, resp); !errors.As(err, &v) {
			t.Errorf("%d leaves for 2 entries: got %+v, %v, want a verification error", len(other), a, err)
		}
	}
}
