package node

import (
	"cmp"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// budget bounds the connections of strangers to one listener: in total, and those from one
// address (see addressOf).
type budget struct{ total, each int }

// On listen.api and listen.peer a connection is a stranger's until its handshake has succeeded, on
// listen.http and listen.probe for as long as it lives.
var (
	apiStrangers   = budget{total: 256, each: 64}
	peerStrangers  = budget{total: 256, each: 64}
	httpStrangers  = budget{total: 512, each: 128}
	probeStrangers = budget{total: 64, each: 32}
)

// crowd is a listener that bounds the connections of strangers. A new connection always enters.
// When a budget is used up, another connection goes for it: of the same address if that
// address has used up its own budget, otherwise of the address that has most. Of these the
// oldest one goes, first among those that have sent nothing, then among those that wait between two
// requests. So whoever floods the listener drives out his own connections, and a client that
// goes on with its handshake at once gets through.
type crowd struct {
	net.Listener
	port      string
	budget    budget
	displaced func(v *visitor)

	mu struct {
		sync.Mutex
		visitors map[string][]*visitor // by address, oldest first; no empty slices
		count    int
	}
}

func newCrowd(ln net.Listener, port string, b budget, displaced func(v *visitor)) *crowd {
	c := &crowd{Listener: ln, port: port, budget: b, displaced: displaced}
	c.mu.visitors = map[string][]*visitor{}
	return c
}

// visitor is one connection of a crowd.
type visitor struct {
	net.Conn
	crowd   *crowd
	address string
	since   uint64      // order of arrival
	heard   atomic.Bool // at least one byte has come
	busy    atomic.Bool // a request is being served
}

var arrivals atomic.Uint64

// Accept implements net.Listener.
func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	v := &visitor{Conn: conn, crowd: c, address: addressOf(conn.RemoteAddr()), since: arrivals.Add(1)}
	if victim := c.enter(v); victim != nil {
		_ = victim.Conn.Close()
		c.displaced(victim)
	}
	return v, nil
}

// enter adds a connection and returns the one that has to go for it, if any.
func (c *crowd) enter(v *visitor) (victim *visitor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(c.mu.visitors[v.address]) >= c.budget.each:
		victim = choose(c.mu.visitors[v.address])
	case c.mu.count >= c.budget.total:
		most := 0
		for _, vs := range c.mu.visitors {
			most = max(most, len(vs))
		}
		var candidates []*visitor
		for _, vs := range c.mu.visitors {
			if len(vs) == most {
				candidates = append(candidates, choose(vs))
			}
		}
		victim = choose(candidates)
	}
	if victim != nil {
		c.remove(victim)
	}
	c.mu.visitors[v.address] = append(c.mu.visitors[v.address], v)
	c.mu.count++
	return victim
}

// choose returns the connection that goes first. vs is not empty.
func choose(vs []*visitor) *visitor {
	return slices.MinFunc(vs, func(a, b *visitor) int {
		return cmp.Or(cmp.Compare(a.class(), b.class()), cmp.Compare(a.since, b.since))
	})
}

// class orders connections by what is lost with them.
func (v *visitor) class() int {
	switch {
	case !v.heard.Load():
		return 0
	case (v.crowd.port == "http" || v.crowd.port == "probe") && !v.busy.Load():
		return 1
	}
	return 2
}

// remove forgets a connection, if it is still there. The caller holds c.mu.
func (c *crowd) remove(v *visitor) {
	vs := c.mu.visitors[v.address]
	for i := range vs {
		if vs[i] != v {
			continue
		}
		c.mu.count--
		if len(vs) == 1 {
			delete(c.mu.visitors, v.address)
			return
		}
		c.mu.visitors[v.address] = append(vs[:i:i], vs[i+1:]...)
		return
	}
}

// known takes a connection out of the crowd: its peer has proved who it is.
func (v *visitor) known() {
	v.crowd.mu.Lock()
	defer v.crowd.mu.Unlock()
	v.crowd.remove(v)
}

// Read implements net.Conn.
func (v *visitor) Read(b []byte) (int, error) {
	n, err := v.Conn.Read(b)
	if n > 0 && !v.heard.Load() {
		v.heard.Store(true)
	}
	return n, err
}

// Close implements net.Conn.
func (v *visitor) Close() error {
	v.known()
	return v.Conn.Close()
}

// visitorOf finds the visitor below the connections that others have wrapped around it.
func visitorOf(c net.Conn) *visitor {
	for {
		if v, ok := c.(*visitor); ok {
			return v
		}
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = inner.NetConn()
	}
}
