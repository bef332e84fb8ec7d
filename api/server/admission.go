package server

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/tap"

	"github.com/cairnledger/cairn/api/cairnv1"
)

// refusedLifetime is how long a refused call may take to hear so. Refusing it before it starts
// would be simpler, but gRPC then keeps the timer of its deadline, which the client chooses.
const refusedLifetime = time.Second

// tooManyRetry is what a client is told to wait when it has too many calls.
const tooManyRetry = 50 * time.Millisecond

type (
	verdictKey struct{}
	ledgerKey  struct{}
)

// admit sees each call before any of its message is read, decides whether the peer may make it,
// and counts it. The context of an admitted call carries the peer and the ledger.
func (s *Server) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	peer, err := s.authorise(ctx, info.FullMethodName)
	var meant Backend
	if err == nil {
		meant, err = s.meant(info.FullMethodName, info.Header)
	}
	if err == nil {
		if err = s.admitted.enter(peer.Principal); err == nil {
			context.AfterFunc(ctx, func() { s.admitted.leave(peer.Principal) })
			ctx = context.WithValue(ctx, peerKey{}, peer)
			return context.WithValue(ctx, ledgerKey{}, meant), nil
		}
	}
	s.metrics.refused(info.FullMethodName, err)
	s.note(ctx, info.FullMethodName, true, err, 0)
	short, cancel := context.WithTimeout(ctx, refusedLifetime)
	context.AfterFunc(ctx, cancel)
	return context.WithValue(short, verdictKey{}, err), nil
}

// meant returns the ledger that a call names, and refuses a call that names none of this node's;
// see cairnv1.OriginHeader. It sees unary calls and streams alike. Only methods of grpc.health.v1
// and of reflection may leave the name out: they say nothing about a ledger, and the programs that
// call them often cannot send metadata.
func (s *Server) meant(method string, header metadata.MD) (Backend, error) {
	named := header.Get(cairnv1.OriginHeader)
	switch {
	case len(named) == 0 && strings.HasPrefix(method, "/grpc."):
		return nil, nil
	case len(named) == 0:
		return nil, refuse(codes.InvalidArgument, ReasonNoLedgerNamed, fmt.Sprintf(
			"the call names no ledger: send the metadata %s with the ledger's origin", cairnv1.OriginHeader))
	case len(named) > 1:
		return nil, refuse(codes.InvalidArgument, ReasonNoLedgerNamed, fmt.Sprintf(
			"the call has the metadata %s %d times: name one ledger", cairnv1.OriginHeader, len(named)))
	}
	if b, ok := s.cfg.Ledger(named[0]); ok {
		return b, nil
	}
	if s.cfg.Halted != nil {
		if why := s.cfg.Halted(named[0]); why != nil {
			return nil, explain(why)
		}
	}
	if s.cfg.Learning != nil {
		if why := s.cfg.Learning(); why != nil {
			r := refuse(codes.Unavailable, ReasonBehind, fmt.Sprintf("this node does not know yet whether it hosts the ledger %q: %v", cut(named[0], maxOrigin), why))
			r.retry = electionPause
			return nil, r
		}
		if b, ok := s.cfg.Ledger(named[0]); ok { // learnt between the two questions
			return b, nil
		}
	}
	return nil, refuse(codes.FailedPrecondition, ReasonOtherLedger, fmt.Sprintf(
		"this node hosts no ledger %q; `cairn ledger list` shows which there are", cut(named[0], maxOrigin)))
}

// maxOrigin bounds what is repeated of the name of a ledger, in bytes.
const maxOrigin = 200

// backend returns the ledger that the call of ctx names. The handlers of cairn.v1 are called with
// such contexts only.
func backend(ctx context.Context) Backend { return ctx.Value(ledgerKey{}).(Backend) }

// verdict returns why the call was not admitted, nil if it was.
func verdict(ctx context.Context) error {
	if err, ok := ctx.Value(verdictKey{}).(error); ok {
		return err
	}
	if _, ok := ctx.Value(peerKey{}).(Peer); !ok {
		return refuse(codes.Unauthenticated, ReasonUnauthenticated, "the call was not admitted")
	}
	return nil
}

// gate counts calls of one kind, in all and for each principal.
type gate struct {
	what           string
	most, mostEach int

	mu   sync.Mutex
	all  int
	each map[string]int // principals with at least one call
}

func (g *gate) init(what string, most, mostEach int) {
	g.what, g.most, g.mostEach, g.each = what, most, mostEach, make(map[string]int)
}

func (g *gate) enter(principal string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= g.most {
		return tooMany(g.what+" on this node", g.most)
	}
	if g.each[principal] >= g.mostEach {
		return tooMany(g.what+" of this principal", g.mostEach)
	}
	g.all++
	g.each[principal]++
	return nil
}

func (g *gate) leave(principal string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.each[principal]--; g.each[principal] == 0 {
		delete(g.each, principal)
	}
}

func tooMany(what string, limit int) error {
	r := refuse(codes.ResourceExhausted, ReasonTooMany, "too many "+what+" at a time")
	r.retry = tooManyRetry
	return r.limit(what, uint64(limit), uint64(limit)+1, 0)
}

// semaphore holds as many tokens as are in use.
type semaphore chan struct{}

func (s semaphore) tryAcquire() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s semaphore) release() { <-s }

// limited is what LimitListener returns. Connections beyond the number are closed before any
// handshake.
type limited struct {
	net.Listener
	free semaphore
}

// LimitListener returns a listener that has at most so many connections at a time and closes
// further ones at once.
func LimitListener(ln net.Listener, most int) net.Listener {
	return &limited{ln, make(semaphore, most)}
}

func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.free.tryAcquire() {
			return &counted{Conn: conn, free: l.free}, nil
		}
		_ = conn.Close() // the client sees a closed connection and backs off
	}
}

// counted gives its token back when it is closed.
type counted struct {
	net.Conn
	free semaphore
	once sync.Once
}

// NetConn returns the connection that is counted.
func (c *counted) NetConn() net.Conn { return c.Conn }

func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.free.release)
	return err
}
