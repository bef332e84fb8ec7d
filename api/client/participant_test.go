package client_test

import (
	"context"
	"testing"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/internal/fakecluster"
	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// TestParticipantConfirmsADerivedPolicy: a client that reads no entries can still compare a derived
// policy with the genesis, and so believe the checkpoints of another ledger.
func TestParticipantConfirmsADerivedPolicy(t *testing.T) {
	t.Parallel()
	cluster := fakecluster.New(t, 3, fakecluster.Options{Peer: func(context.Context) (server.Peer, bool) {
		return server.Peer{Principal: fakecluster.Principal, Roles: pki.RoleParticipant}, true
	}})
	hosted := cluster.Host(second, nil)
	hosted.SealNow()
	c := connect(t, profile(t, cluster, "").ForLedger(second))
	if cp, err := c.Checkpoint(within(t)); err != nil || cp.Size != 1 || cp.Origin != second {
		t.Fatalf("checkpoint %+v, %v", cp, err)
	}
	if r, err := c.Receipt(within(t), 0); err != nil || r.Entry().Index != 0 {
		t.Errorf("the receipt of the genesis: %+v, %v", r, err)
	}
	for call, err := range map[string]error{
		"get":   func() error { _, err := c.Get(within(t), 1); return err }(),
		"watch": c.Watch(within(t), 0, func(client.StoredEntry) error { return nil }),
	} {
		if e := wantError(t, err, server.ReasonPermissionDenied, true); e.Metadata["needs"] != "reader" {
			t.Errorf("%s: %v, want a refusal that names the role", call, e.Metadata)
		}
	}
}
