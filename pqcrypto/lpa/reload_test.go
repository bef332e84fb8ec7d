package lpa

import (
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// TestReloadChangesNewHandshakes: a reissued certificate shows on the next connection, the live one
// goes on.
func TestReloadChangesNewHandshakes(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	server, client := w.config(w.n1), w.config(w.client)
	before, _, cerr, serr := shake(t, client, nodeOne, server)
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	reissued := w.node(w.issuing, nodeOne, time.Time{}, time.Hour)
	if err := server.Reload(reissued, server.Roots); err != nil {
		t.Fatal(err)
	}
	if n := server.Recheck(); n != 0 {
		t.Errorf("Recheck closed %d connections, want none", n)
	}
	after, _, cerr, serr := shake(t, client, nodeOne, server)
	if cerr != nil || serr != nil {
		t.Fatal(cerr, serr)
	}
	if got, want := after.Peer().SerialNumber, reissued.Leaf().SerialNumber; got.Cmp(want) != 0 || got.Cmp(before.Peer().SerialNumber) == 0 {
		t.Errorf("the new connection shows serial %x, want %x; the old one %x", got, want, before.Peer().SerialNumber)
	}
	if server.Current() != reissued {
		t.Error("Current is not the reissued identity")
	}
	wrong := *reissued
	wrong.Key = w.n2.Key
	wrong.Chain = nil
	if err := server.Reload(&wrong, server.Roots); err == nil || server.Current() != reissued {
		t.Errorf("an identity without a chain: %v, and Current has changed: %v", err, server.Current() != reissued)
	}
}

// TestReloadTakesARootAway: Recheck closes the connections whose peers do not lead to the new
// trust anchors, on both sides.
func TestReloadTakesARootAway(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	root, err := pki.NewRoot("another", w.root.Certificate().TrustDomain, w.suite.sig, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	others := must(pki.NewPool(root.Certificate()))
	for _, side := range []Side{SideClient, SideServer} {
		server, client := w.config(w.n1), w.config(w.client)
		cc, sc, cerr, serr := shake(t, client, nodeOne, server)
		if cerr != nil || serr != nil {
			t.Fatal(cerr, serr)
		}
		cfg, conn := client, cc
		if side == SideServer {
			cfg, conn = server, sc
		}
		if err := cfg.Reload(cfg.Current(), others); err != nil {
			t.Fatal(err)
		}
		if n := cfg.Recheck(); n != 1 {
			t.Errorf("%s: Recheck closed %d connections, want 1", side, n)
		}
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, ErrPeerUntrusted) {
			t.Errorf("%s: read: %v, want ErrPeerUntrusted", side, err)
		}
		if _, _, cerr, serr := shake(t, client, nodeOne, server); cerr == nil && serr == nil {
			t.Errorf("%s: a new connection was made", side)
		}
	}
}
