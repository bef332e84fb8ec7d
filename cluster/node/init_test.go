package node

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// TestAskMember: whoever answers decides whether a directory is made. Nobody who is silent does.
func TestAskMember(t *testing.T) {
	w := newPeerWorld(t)
	asking := &node{peers: w.node(ours, "n2", pki.RolePeer)}
	asking.cfg.Members = []Member{{ID: 1, Name: "n1"}, {ID: 2, Name: "n2"}, {ID: 3, Name: "n3"}}
	id := identity{cluster: uint64(ours), node: 2, name: "n2", directory: "example.org/ledger"}
	listen := func(serve func(net.Conn)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				raw, err := ln.Accept()
				if err != nil {
					return
				}
				serve(raw)
			}
		}()
		return ln.Addr().String()
	}
	// member runs n1's transport with what n1 remembers.
	member := func(p *peerChannel, knows byte) string {
		state := formation.New(uint64(ours), 1, transport.Incarnation{1}, asking.cfg.formationMembers())
		n1 := &node{log: asking.log, metrics: newMetrics()}
		m := formation.NewMemory(formation.Options{State: state, Persist: func([]byte) error { return nil }, Met: func(uint64, error) {}})
		if knows != 0 {
			own := transport.Incarnation{knows}
			if _, err := m.Meet(2, transport.Introduction{Cluster: uint64(ours), Incarnation: own,
				Members: []transport.Acquaintance{{ID: 1}, {ID: 2, Incarnation: own}, {ID: 3}}}); err != nil {
				t.Fatal(err)
			}
		}
		n1.members = &membership{Memory: m, node: n1}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tr := transport.New(transport.Config{Self: 1, Peers: map[uint64]string{2: "127.0.0.1:1"}, Dial: p.dial, Accept: p.accept, Membership: m})
		tr.Start(ln)
		t.Cleanup(tr.Close)
		return ln.Addr().String()
	}
	silent := make(chan net.Conn, 8)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	n1 := w.node(ours, "n1", pki.RolePeer)
	for _, x := range []struct {
		name, addr string
		want       error
		says       string
	}{
		{"nobody listens", gone.Addr().String(), nil, ""},
		{"somebody is silent", listen(func(c net.Conn) { silent <- c }), nil, ""},
		{"somebody hangs up", listen(func(c net.Conn) { c.Close() }), nil, ""},
		{"a member that knows nothing", member(n1, 0), nil, ""},
		{"a member that knows this node", member(n1, 9), ErrKnown, "n1 at 127.0.0.1:"},
		{"a node of another cluster", member(w.node(theirs, "n1", pki.RolePeer), 0), ErrNotAsked, "cannot be asked whether it knows n2"},
		{"a certificate without the role peer", member(w.node(ours, "n1", pki.RoleReader), 0), ErrNotAsked, "lacks the role peer"},
		{"a member that hangs up after the handshake", listen(func(c net.Conn) {
			if _, conn, err := n1.accept(context.Background(), c); err == nil {
				conn.Close()
			}
		}), ErrNotAsked, "nothing was made"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // only ever reached by a failing test
		if x.name == "somebody is silent" {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		err := asking.askMember(ctx, id, Member{ID: 1, Name: "n1", Peer: x.addr})
		cancel()
		if x.want == nil && err != nil || x.want != nil && !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
		if err != nil && !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v does not say %q", x.name, err, x.says)
		}
	}
}
