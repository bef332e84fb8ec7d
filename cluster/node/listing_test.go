package node

import (
	"context"
	"testing"

	"github.com/cairnledger/cairn/cluster/directory"
)

// TestListingIsLinearizable: the ledgers are listed and shown behind a read barrier. A node that
// cannot confirm a read, here because its members of the Raft groups have ended, shows none.
func TestListingIsLinearizable(t *testing.T) {
	n := hermit(t)
	n.hostAlone(t)
	h, ctx := n.hosting, context.Background()
	n.soon(t, "the directory has a leader", func() bool { return h.directory.State().Serving })
	if all, err := h.List(ctx); err != nil || len(all) != 1 || all[0].Group != directory.Group {
		t.Fatalf("listed %d ledgers, %v; want the directory alone", len(all), err)
	}
	if own, err := h.Show(ctx, n.cfg.Directory); err != nil || own.Genesis.Origin != n.cfg.Directory {
		t.Fatalf("shown %q, %v; want the directory", own.Genesis.Origin, err)
	}
	if err := h.stopRaft(ctx); err != nil {
		t.Fatal(err)
	}
	if all, err := h.List(ctx); err == nil {
		t.Errorf("listed %d ledgers without a read barrier", len(all))
	}
	if own, err := h.Show(ctx, n.cfg.Directory); err == nil {
		t.Errorf("shown %q without a read barrier", own.Genesis.Origin)
	}
}
