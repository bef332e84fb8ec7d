package client

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
)

// ReasonHandshake: no node and this client accept one another's certificates. Nothing was sent.
const ReasonHandshake = "HANDSHAKE"

// refusal remembers why the last handshake with a node failed, if trying again will not help: gRPC
// would only say "unavailable".
type refusal struct{ why atomic.Pointer[error] }

// noting is a channel that fills in a refusal.
type noting struct {
	credentials.TransportCredentials
	refusal *refusal
}

func (n noting) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := n.TransportCredentials.ClientHandshake(ctx, authority, raw)
	var t interface{ Temporary() bool }
	switch {
	case err == nil:
		n.refusal.why.Store(nil)
	case errors.As(err, &t) && !t.Temporary():
		n.refusal.why.Store(&err)
	}
	return conn, info, err
}

func (n noting) Clone() credentials.TransportCredentials {
	return noting{n.TransportCredentials.Clone(), n.refusal}
}

// hopeless returns an error if trying on makes no sense: every node was reached and the handshake
// failed for good, or that is so for some and the others could not be reached in several rounds.
// The same goes for nodes that do not host the ledger, unless one is known to host it.
func (ns *nodes) hopeless(attempt int) *Error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	refused, without, with := 0, 0, 0
	var why error
	var who Endpoint
	var other *Error
	for _, n := range ns.mu.list {
		if err := n.refusal.why.Load(); err != nil {
			refused++
			why, who = *err, n.Endpoint
		}
		switch said := n.said.Load(); {
		case said == nil:
		case said.Reason == ReasonOtherLedger:
			without++
			other = said
		default:
			with++
		}
	}
	enough := func(n int) bool { return n == len(ns.mu.list) || n > 0 && attempt >= 3*len(ns.mu.list) }
	if enough(without) && with == 0 {
		no := *other
		no.Definite = true
		return &no
	}
	if !enough(refused) {
		return nil
	}
	return &Error{
		Code: codes.Unauthenticated, Reason: ReasonHandshake, Node: who.Name, Definite: true, cause: why,
		Message: handshakeFailed(who.Name, who.Address, why.Error()),
	}
}
