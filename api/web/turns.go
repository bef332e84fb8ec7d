package web

import (
	"context"
	"net/netip"
	"sync"
)

// turns bounds the requests that hold memory: in all, and those of one client to a half, so that
// one client that reads slowly does not keep the others waiting.
type turns struct {
	all chan struct{}

	mu struct {
		sync.Mutex
		shares map[string]*share // by client
	}
}

// share is what one client holds.
type share struct {
	tokens chan struct{}
	users  int // requests that hold or wait for a token
}

func newTurns(n int) *turns {
	t := &turns{all: make(chan struct{}, n)}
	t.mu.shares = map[string]*share{}
	return t
}

// take waits for a turn and returns the function that ends it; false if there was none until ctx
// ended.
func (t *turns) take(ctx context.Context, client string) (done func(), ok bool) {
	mine := t.enter(client)
	if !acquire(ctx, mine.tokens) {
		t.leave(client, mine)
		return nil, false
	}
	if !acquire(ctx, t.all) {
		<-mine.tokens
		t.leave(client, mine)
		return nil, false
	}
	return func() {
		<-t.all
		<-mine.tokens
		t.leave(client, mine)
	}, true
}

func acquire(ctx context.Context, tokens chan struct{}) bool {
	select {
	case tokens <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *turns) enter(client string) *share {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.mu.shares[client]
	if s == nil {
		s = &share{tokens: make(chan struct{}, max(1, cap(t.all)/2))}
		t.mu.shares[client] = s
	}
	s.users++
	return s
}

func (t *turns) leave(client string, s *share) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(t.mu.shares, client)
	}
}

// NetworkOf returns whom an address and port counts for where turns and places are shared: an IPv4
// address, or the /64 of an IPv6 address, since one machine has a whole /64. What is no address and
// port stays as it is.
func NetworkOf(address string) string {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return address
	}
	ip := ap.Addr().Unmap().WithZone("")
	if prefix, err := ip.Prefix(64); err == nil && ip.Is6() {
		return prefix.String()
	}
	return ip.String()
}
