package server

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// roles says which role a caller needs, for every method there is. A method without a row is
// refused. admin implies writer, writer implies reader; a peer that is nothing else may do nothing
// here, and a node may only read, whatever its certificate says.
var roles = map[string]pki.Role{
	"/cairn.v1.Ledger/Append":           pki.RoleWriter,
	"/cairn.v1.Ledger/AppendStream":     pki.RoleWriter,
	"/cairn.v1.Ledger/Get":              pki.RoleReader,
	"/cairn.v1.Ledger/Range":            pki.RoleReader,
	"/cairn.v1.Ledger/Watch":            pki.RoleReader,
	"/cairn.v1.Ledger/Head":             pki.RoleReader,
	"/cairn.v1.Ledger/Checkpoint":       pki.RoleReader,
	"/cairn.v1.Ledger/InclusionProof":   pki.RoleReader,
	"/cairn.v1.Ledger/ConsistencyProof": pki.RoleReader,
	"/cairn.v1.Ledger/Receipt":          pki.RoleReader,
	"/cairn.v1.Ledger/Verify":           pki.RoleReader,
	"/cairn.v1.Ledger/Status":           pki.RoleReader,

	"/cairn.v1.Admin/TransferLeadership": pki.RoleAdmin,

	"/cairn.v1.Directory/CreateLedger": pki.RoleAdmin,
	"/cairn.v1.Directory/ListLedgers":  pki.RoleReader,
	"/cairn.v1.Directory/GetLedger":    pki.RoleReader,

	"/grpc.health.v1.Health/Check": pki.RoleReader,
	"/grpc.health.v1.Health/List":  pki.RoleReader,
	"/grpc.health.v1.Health/Watch": pki.RoleReader,

	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      pki.RoleReader,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": pki.RoleReader,
}

// Peer is the authenticated other end of a call.
type Peer struct {
	Principal string // SPIFFE ID
	Serial    string // of its certificate, hexadecimal; for logs
	Roles     pki.Role
}

// peerFromChannel is the default of Config.Peer.
func peerFromChannel(ctx context.Context) (Peer, bool) {
	cert, ok := lpa.PeerFromContext(ctx)
	if !ok {
		return Peer{}, false
	}
	return Peer{Principal: string(cert.ID), Serial: cert.SerialNumber.Text(16), Roles: cert.Roles}, true
}

// authorise decides whether the peer of ctx may call a method.
func (s *Server) authorise(ctx context.Context, method string) (Peer, error) {
	peer, ok := s.cfg.Peer(ctx)
	if !ok {
		return Peer{}, refuse(codes.Unauthenticated, ReasonUnauthenticated, "the connection carries no identity")
	}
	needs, known := roles[method]
	if known && needs != pki.RoleReader && pki.ID(peer.Principal).IsNode() {
		// What a ledger holds in the name of a node, its leader proposed by itself:
		// ledger.Input.ByNode.
		return Peer{}, refuse(codes.PermissionDenied, ReasonPermissionDenied, peer.Principal+" is a node: nodes only read here. Use a client's certificate")
	}
	if known && peer.Roles.Has(needs) {
		return peer, nil
	}
	if !known {
		// The name of a method that does not exist is the client's own bytes: it is not repeated.
		return Peer{}, refuse(codes.PermissionDenied, ReasonPermissionDenied, "there is no such method: nobody may call it")
	}
	name := method[strings.LastIndexByte(method, '/')+1:]
	r := refuse(codes.PermissionDenied, ReasonPermissionDenied, name+" needs the role "+needs.String()+"; "+peer.Principal+" has "+peer.Roles.String())
	r.metadata = map[string]string{"method": name, "needs": needs.String(), "has": peer.Roles.String()}
	return Peer{}, r
}

type peerKey struct{}

// principal returns who calls, as the interceptors found out.
func principal(ctx context.Context) string {
	p, _ := ctx.Value(peerKey{}).(Peer)
	return p.Principal
}
