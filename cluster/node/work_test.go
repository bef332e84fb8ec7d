package node

import (
	"testing"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/programs"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
)

func init() { kinds[accounts.WithHolds{}.Name()] = programs.Kind{Program: accounts.WithHolds{}} }

// TestWorkOfAHostedLedger: a node proposes the work of a ledger's program when it is due, although
// nobody appends anything, and under its own name.
func TestWorkOfAHostedLedger(t *testing.T) {
	t.Parallel()
	const origin = "example.org/holds"
	n := hermit(t)
	n.committed(t, directory.Group, n.creation(t, origin, accounts.WithHolds{}))
	n.hostAlone(t)
	n.soon(t, "the ledger has a leader", func() bool { l := n.hosting.find(origin); return l != nil && l.State().Serving })
	h := n.hosting.find(origin)
	b := ledger.Batch{Principal: "p"}
	for _, c := range [][]byte{accounts.Open(1, 100), accounts.Hold(1, 1, 10, 100_000), accounts.Hold(2, 1, 10, 200_000), accounts.Hold(3, 1, 10, 1<<40)} {
		b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: c})
	}
	r, err := h.Append(t.Context(), b)
	if err != nil || r.Err != nil {
		t.Fatal(err, r.Err)
	}
	l := h.Replica.Ledger()
	n.soon(t, "two holds expire", func() bool { return l.Head().Size >= 7 })
	for i, timeout := range []int64{100_000, 200_000} {
		leaf, err := l.Leaf(uint64(5 + i))
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.ParseLeaf(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != ledger.KindCommand || e.Principal != "spiffe://example.org/cluster/0000000000000001/node/n1" || len(e.Key) > 0 ||
			e.Outcome[0] != accounts.Done || e.Time < r.Time+timeout {
			t.Errorf("expiry %d is %+v; its hold of %d µs began at %d", i, e, timeout, r.Time)
		}
	}
	if size := l.Head().Size; size != 7 {
		t.Errorf("the ledger has %d entries, want 7", size)
	}
}
