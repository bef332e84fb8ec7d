package server

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// grant says who may call a method: whoever has one of roles. Whoever has one of genesis may call
// it about entry 0 alone: the genesis says who keeps the ledger and whose keys seal it, which
// everybody who is to believe the ledger has to know.
type grant struct{ roles, genesis pki.Role }

// anyone is every client: participants, who read no entries but the genesis, and readers.
const anyone = pki.RoleReader | pki.RoleParticipant

// grants has every method there is. A method without a row is refused. admin implies writer and
// operator, operator implies participant and reader, writer implies reader. A peer that is nothing
// else may call the service Replica alone, if it is a member of this cluster, and a node may only
// read, whatever its certificate says. A reader may call Replica to make a backup: blocks hold, besides
// the entries, the batches that the ledger refused.
var grants = map[string]grant{
	"/cairn.v1.Ledger/Append":           {roles: pki.RoleWriter},
	"/cairn.v1.Ledger/AppendStream":     {roles: pki.RoleWriter},
	"/cairn.v1.Ledger/Get":              {roles: pki.RoleReader, genesis: pki.RoleParticipant},
	"/cairn.v1.Ledger/Range":            {roles: pki.RoleReader},
	"/cairn.v1.Ledger/Watch":            {roles: pki.RoleReader},
	"/cairn.v1.Ledger/Head":             {roles: anyone},
	"/cairn.v1.Ledger/Checkpoint":       {roles: anyone},
	"/cairn.v1.Ledger/InclusionProof":   {roles: pki.RoleReader, genesis: pki.RoleParticipant},
	"/cairn.v1.Ledger/ConsistencyProof": {roles: anyone},
	"/cairn.v1.Ledger/Receipt":          {roles: pki.RoleReader, genesis: pki.RoleParticipant},
	"/cairn.v1.Ledger/Verify":           {roles: anyone},
	"/cairn.v1.Ledger/Policies":         {roles: anyone},
	"/cairn.v1.Ledger/Status":           {roles: anyone},

	"/cairn.v1.Admin/TransferLeadership": {roles: pki.RoleAdmin},
	"/cairn.v1.Admin/AddMember":          {roles: pki.RoleAdmin},
	"/cairn.v1.Admin/PromoteMember":      {roles: pki.RoleAdmin},
	"/cairn.v1.Admin/RemoveMember":       {roles: pki.RoleAdmin},
	"/cairn.v1.Admin/ListMembers":        {roles: pki.RoleReader},
	"/cairn.v1.Admin/RotateCosigner":     {roles: pki.RoleAdmin},

	"/cairn.v1.Directory/CreateLedger": {roles: pki.RoleAdmin},
	"/cairn.v1.Directory/ListLedgers":  {roles: pki.RoleReader},
	"/cairn.v1.Directory/GetLedger":    {roles: pki.RoleReader},

	"/cairn.v1.Settlement/Execute":          {roles: pki.RoleParticipant},
	"/cairn.v1.Settlement/ExecuteStream":    {roles: pki.RoleParticipant},
	"/cairn.v1.Settlement/GetAccount":       {roles: anyone},
	"/cairn.v1.Settlement/ListAccounts":     {roles: anyone},
	"/cairn.v1.Settlement/ListAssets":       {roles: anyone},
	"/cairn.v1.Settlement/GetTransfer":      {roles: anyone},
	"/cairn.v1.Settlement/ListTransfers":    {roles: anyone},
	"/cairn.v1.Settlement/GetOutcome":       {roles: anyone},
	"/cairn.v1.Settlement/ListHolds":        {roles: anyone},
	"/cairn.v1.Settlement/GetInstruction":   {roles: anyone},
	"/cairn.v1.Settlement/ListInstructions": {roles: anyone},
	"/cairn.v1.Settlement/Statement":        {roles: anyone},
	"/cairn.v1.Settlement/ProveAccount":     {roles: anyone},
	"/cairn.v1.Settlement/ProveTransfer":    {roles: anyone},
	"/cairn.v1.Settlement/ProveInstruction": {roles: anyone},

	"/cairn.v1.Replica/Blocks": {roles: pki.RolePeer | pki.RoleReader},
	"/cairn.v1.Replica/Sealed": {roles: pki.RolePeer | pki.RoleReader},

	"/grpc.health.v1.Health/Check": {roles: anyone},
	"/grpc.health.v1.Health/List":  {roles: anyone},
	"/grpc.health.v1.Health/Watch": {roles: anyone},

	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      {roles: anyone},
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": {roles: anyone},
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
	g, known := grants[method]
	switch {
	case !known:
		// The name of a method that does not exist is the client's own bytes: it is not repeated.
		return Peer{}, refuse(codes.PermissionDenied, ReasonPermissionDenied, "there is no such method: nobody may call it")
	case !peer.Roles.HasAny(g.roles | g.genesis):
		return Peer{}, denied(method, "", g.roles, peer)
	case !peer.Roles.HasAny((g.roles | g.genesis) &^ pki.RolePeer):
		if !s.cfg.Member(peer.Principal) {
			return Peer{}, refuse(codes.PermissionDenied, ReasonPermissionDenied, peer.Principal+" is no other member of this cluster")
		}
	case g.roles&pki.RoleReader == 0 && pki.ID(peer.Principal).IsNode():
		// What a ledger holds in the name of a node, its leader proposed by itself:
		// ledger.Input.ByNode.
		return Peer{}, refuse(codes.PermissionDenied, ReasonPermissionDenied, peer.Principal+" is a node: nodes only read here. Use a client's certificate")
	}
	return peer, nil
}

// mayRead refuses a call about an entry that the caller may not read. Every handler of a method
// whose grant has genesis calls it.
func mayRead(ctx context.Context, method string, index uint64) error {
	g, peer := grants[method], caller(ctx)
	if peer.Roles.HasAny(g.roles) || index == 0 && peer.Roles.HasAny(g.genesis) {
		return nil
	}
	return denied(method, " of another entry than 0, the genesis,", g.roles, peer)
}

// denied is the refusal of a call that needs one of these roles.
func denied(method, about string, needs pki.Role, peer Peer) error {
	name := method[strings.LastIndexByte(method, '/')+1:]
	list := strings.ReplaceAll(needs.String(), ",", " or ")
	r := refuse(codes.PermissionDenied, ReasonPermissionDenied, name+about+" needs the role "+list+"; "+peer.Principal+" has "+peer.Roles.String())
	r.metadata = map[string]string{"method": name, "needs": needs.String(), "has": peer.Roles.String()}
	return r
}

type peerKey struct{}

// caller returns who calls, as admit found out.
func caller(ctx context.Context) Peer {
	p, _ := ctx.Value(peerKey{}).(Peer)
	return p
}

// principal returns the caller's SPIFFE ID.
func principal(ctx context.Context) string { return caller(ctx).Principal }
