package node

import (
	"context"
	"net"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
	"github.com/cairnledger/cairn/raftnode/transport"
)

func (n *node) peerAddresses() map[uint64]string {
	peers := map[uint64]string{}
	for _, m := range n.cfg.Members {
		peers[m.ID] = m.Peer
	}
	return peers
}

// watchedTransport also tells the sealer when a peer connects, perhaps after a
// restart: then it is offered the newest sealed checkpoint again.
type watchedTransport struct {
	*transport.Transport
	up func(id uint64)
}

type watchedHandler struct {
	transport.Handler
	up func(id uint64)
}

// Register implements raftnode.Transport.
func (t *watchedTransport) Register(group uint64, h transport.Handler) {
	t.Transport.Register(group, watchedHandler{h, t.up})
}

// PeerUp implements transport.Handler.
func (h watchedHandler) PeerUp(id uint64) {
	h.Handler.PeerUp(id)
	h.up(id)
}

// dialPeer connects to a member and makes sure that it is this member.
func (n *node) dialPeer(ctx context.Context, id uint64, addr string) (net.Conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := n.channel.Client(ctx, raw, pki.NodeID(n.cfg.TrustDomain, n.replica.names[id].Name))
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// acceptPeer takes a connection of a member: role peer, and a name that is on the list.
func (n *node) acceptPeer(ctx context.Context, raw net.Conn) (uint64, net.Conn, error) {
	conn, err := n.channel.Server(ctx, raw)
	if err != nil {
		raw.Close()
		return 0, nil, err
	}
	id, err := n.memberOf(conn)
	if err != nil {
		conn.Close()
		return 0, nil, err
	}
	return id, conn, nil
}

func (n *node) memberOf(conn *lpa.Conn) (uint64, error) {
	peer := conn.Peer()
	if !peer.Roles.Has(pki.RolePeer) {
		return 0, errors.Newf("%s lacks the role peer", peer.ID)
	}
	id, ok := n.keys.members[peer.ID]
	if !ok || id == n.cfg.Self().ID {
		return 0, errors.Newf("%s is no other member of this cluster", peer.ID)
	}
	return id, nil
}
