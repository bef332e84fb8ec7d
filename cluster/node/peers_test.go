package node

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

const (
	peerDomain               = "ledger.example"
	ours       pki.ClusterID = 0xa1
	theirs     pki.ClusterID = 0xb2
)

// peerWorld is one authority that serves two clusters with nodes of the same names.
type peerWorld struct {
	t    *testing.T
	root *pki.Authority
	pool *pki.Pool
}

func newPeerWorld(t *testing.T) *peerWorld {
	t.Helper()
	root, err := pki.NewRoot("test root", peerDomain, pqcrypto.MLDSA65, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pki.NewPool(root.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return &peerWorld{t, root, pool}
}

// node returns the channel of a node of a cluster of n1, n2 and n3.
func (w *peerWorld) node(cluster pki.ClusterID, name string, roles pki.Role) *peerChannel {
	w.t.Helper()
	must := func(err error) {
		if err != nil {
			w.t.Helper()
			w.t.Fatal(err)
		}
	}
	self := pki.NodeID(peerDomain, cluster, name)
	key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA65)
	must(err)
	svid, err := w.root.IssueIdentity(pki.IssueRequest{ID: self, Roles: roles, PublicKey: key.Public(), Validity: time.Minute})
	must(err)
	kemKey, err := pqcrypto.GenerateDecapsulationKey(pqcrypto.MLKEM768)
	must(err)
	kem, err := w.root.IssueKEM(pki.KEMRequest{SVID: svid, PublicKey: kemKey.Public(), Validity: time.Minute})
	must(err)
	identity, err := pki.NewIdentity([]*pki.Certificate{svid}, key, []*pki.Certificate{kem}, kemKey)
	must(err)
	members := map[pki.ID]uint64{}
	for i, member := range []string{"n1", "n2", "n3"} {
		members[pki.NodeID(peerDomain, cluster, member)] = uint64(i + 1)
	}
	p := &peerChannel{
		channel: &lpa.Config{Suite: lpa.Suite768, Identity: identity, Roots: w.pool},
		self:    self, members: func() map[pki.ID]uint64 { return members },
	}
	must(p.channel.Validate())
	return p
}

// meet lets dialler dial acceptor as the member to, and returns what each side thinks of it.
func meet(t *testing.T, dialler, acceptor *peerChannel, to uint64) (dialled, accepted error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // only ever reached by a failing test
	defer cancel()
	verdict := make(chan error, 1)
	go func() {
		raw, err := ln.Accept()
		if err == nil {
			var conn net.Conn
			if _, conn, err = acceptor.accept(ctx, raw); err == nil {
				defer conn.Close()
			}
		}
		verdict <- err
	}()
	conn, dialled := dialler.dial(ctx, to, ln.Addr().String())
	if dialled == nil {
		defer conn.Close()
	}
	return dialled, <-verdict
}

// TestPeers: members of one cluster meet. Whoever is no member is refused by the side that can
// tell, whichever side dialled.
func TestPeers(t *testing.T) {
	w := newPeerWorld(t)
	n1, n2 := w.node(ours, "n1", pki.RolePeer), w.node(ours, "n2", pki.RolePeer)
	reader := w.node(ours, "n2", pki.RoleReader|pki.RoleWriter|pki.RoleAdmin)
	foreign := w.node(theirs, "n2", pki.RolePeer)
	stranger := w.node(ours, "n7", pki.RolePeer)
	twin := w.node(ours, "n1", pki.RolePeer)
	// believing dials whatever name the other side has.
	believing := w.node(ours, "n1", pki.RolePeer)
	believing.members()[pki.NodeID(peerDomain, ours, "n7")] = 7

	if dialled, accepted := meet(t, n1, n2, 2); dialled != nil || accepted != nil {
		t.Fatalf("members refuse each other: %v; %v", dialled, accepted)
	}
	refusals := []struct {
		name     string
		by, of   *peerChannel
		dialling bool // by dials
		want     string
	}{
		{"a reader with a member's name dials in", n1, reader, false, "lacks the role peer"},
		{"a reader with a member's name is dialled", n1, reader, true, "lacks the role peer"},
		{"a node of another cluster dials in", n1, foreign, false, "is no node of this cluster"},
		{"a node of another cluster is dialled", n1, foreign, true, "/cluster/00000000000000b2/node/n2"},
		{"a node that no configuration names dials in", n1, stranger, false, "no member"},
		{"a node that no configuration names is dialled", n1, stranger, true, "/node/n7"},
		{"a second process with this node's certificate dials in", n1, twin, false, "this node itself"},
	}
	for _, r := range refusals {
		var got error
		if r.dialling {
			got, _ = meet(t, r.by, r.of, 2)
		} else {
			// The stranger finds what it looks for; only the accepting side can refuse it.
			dialler := *r.of
			dialler.members = func() map[pki.ID]uint64 { return map[pki.ID]uint64{r.by.self: 1} }
			_, got = meet(t, &dialler, r.by, 1)
		}
		if got == nil || !strings.Contains(got.Error(), r.want) {
			t.Errorf("%s: %v, want an error with %q", r.name, got, r.want)
		}
	}
	if dialled, accepted := meet(t, believing, stranger, 7); dialled != nil || accepted != nil {
		t.Errorf("the stranger is met by whoever lists it: %v; %v", dialled, accepted)
	}
}
