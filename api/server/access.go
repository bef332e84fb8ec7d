package server

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Call is what an access log says about a call that was refused or has ended. Its strings may be
// the client's own bytes.
type Call struct {
	Method  string // full name
	Peer    Peer   // zero if the connection carries no identity
	Remote  net.Addr
	Refused bool // not admitted: identity, role, ledger, limits; or denied by the handler
	Code    codes.Code
	Reason  string // one of the Reason words if the call failed
	Detail  string // the error's text
	Took    time.Duration
}

// done counts and notes a call that was admitted and has ended.
func (s *Server) done(ctx context.Context, method string, err error, took time.Duration) {
	s.metrics.done(method, err, took)
	s.note(ctx, method, status.Code(err) == codes.PermissionDenied, err, took)
}

func (s *Server) note(ctx context.Context, method string, refused bool, err error, took time.Duration) {
	c := Call{Method: method, Refused: refused, Code: status.Code(err), Took: took}
	c.Peer, _ = s.cfg.Peer(ctx)
	if p, ok := peer.FromContext(ctx); ok {
		c.Remote = p.Addr
	}
	if err != nil {
		c.Reason, c.Detail = c.Code.String(), err.Error()
	}
	if r, ok := err.(*refusal); ok {
		c.Reason = r.reason
	}
	s.cfg.Access(c)
}
