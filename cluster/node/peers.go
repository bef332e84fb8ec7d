package node

import (
	"context"
	"net"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// peerChannel makes authenticated connections to the other members of this cluster, and accepts
// theirs. Every connection passes memberOf, whoever dialled.
type peerChannel struct {
	channel *lpa.Config
	self    pki.ID
	// members returns the SPIFFE IDs of the cluster's nodes, this one included. Each names the cluster.
	members func() map[pki.ID]uint64
}

// dial connects to a member and makes sure that this member answers.
func (p *peerChannel) dial(ctx context.Context, id uint64, addr string) (net.Conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := p.channel.Client(ctx, raw, p.idOf(id))
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	if _, err := p.memberOf(conn.Peer()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// noMemberError says that an authenticated peer is no member.
type noMemberError struct {
	cert *pki.Certificate
	err  error
}

func (e *noMemberError) Error() string { return e.err.Error() }
func (e *noMemberError) Unwrap() error { return e.err }

// denied says why a certificate is refused that is otherwise good: the deny list names it, or it is that
// of a node that was removed from the cluster.
func (n *node) denied(c *pki.Certificate) error {
	if err := n.deny.check(c); err != nil {
		return err
	}
	if list := n.nodesKnown.Load(); list != nil && list.gone[c.ID] {
		return errors.Wrapf(errGone, "%s", c.ID)
	}
	return nil
}

// refusedPeer notes that the transport refused a connection to the peer port. A handshake that
// failed has been noted already, with more about it.
func (n *node) refusedPeer(raw net.Conn, err error) {
	var handshake *lpa.HandshakeError
	if !errors.As(err, &handshake) {
		n.logs.access.peer(raw.RemoteAddr(), err)
	}
}

// accept takes a connection of a member and says which member has dialled.
func (p *peerChannel) accept(ctx context.Context, raw net.Conn) (uint64, net.Conn, error) {
	conn, err := p.channel.Server(ctx, raw)
	if err != nil {
		_ = raw.Close()
		return 0, nil, err
	}
	id, err := p.memberOf(conn.Peer())
	if err != nil {
		_ = conn.Close()
		err = &noMemberError{conn.Peer(), err}
		return 0, nil, err
	}
	return id, conn, nil
}

// memberOf decides whether the owner of an authenticated certificate is another member of this
// cluster: the certificate has the role peer, and its SPIFFE ID, which names the cluster, is that
// of a member. Both directions use it.
func (p *peerChannel) memberOf(c *pki.Certificate) (uint64, error) {
	if !c.Roles.Has(pki.RolePeer) {
		return 0, noMember("%s lacks the role peer", c.ID)
	}
	id, ok := p.members()[c.ID]
	switch {
	case c.ID == p.self:
		return 0, noMember("%s is this node itself", c.ID)
	case !ok && clusterPath(c.ID) != clusterPath(p.self):
		return 0, noMember("%s is no node of this cluster, whose nodes are %s/…", c.ID, clusterPath(p.self))
	case !ok:
		return 0, noMember("%s is no member of this cluster: neither the configuration nor the directory names such a node", c.ID)
	}
	return id, nil
}

// isMember reports whether a principal, whose certificate has the role peer, is another member.
func (p *peerChannel) isMember(principal string) bool {
	return p.members()[pki.ID(principal)] != 0 && pki.ID(principal) != p.self
}

// errNoMember is matched by every error of memberOf.
var errNoMember = errors.New("no other member of this cluster")

func noMember(format string, args ...any) error {
	return errors.Mark(errors.Newf(format, args...), errNoMember)
}

// idOf returns the SPIFFE ID of a member; "" for a stranger, whom no certificate names.
func (p *peerChannel) idOf(member uint64) pki.ID {
	for id, m := range p.members() {
		if m == member {
			return id
		}
	}
	return ""
}

// clusterPath is a node's SPIFFE ID without the last element, the node's name.
func clusterPath(id pki.ID) string {
	return string(id)[:max(0, strings.LastIndexByte(string(id), '/'))]
}
