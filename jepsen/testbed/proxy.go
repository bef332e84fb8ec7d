package testbed

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/errors"
)

// proxy carries the connections that one node dials to another.
type proxy struct {
	addr, target string
	// there is what the dialling node sends, back what comes back to it.
	there, back *gate
	logf        func(string, ...any)

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	ln    net.Listener // nil while the target refuses
	conns map[net.Conn]bool
}

// dialTimeout bounds a connection to a node, which is on this machine. A paused
// one still accepts: its kernel does.
const dialTimeout = 2 * time.Second

// startProxy listens at a free loopback port that is not to be avoided.
func startProxy(target string, avoid map[string]bool, there, back *gate, logf func(string, ...any)) (*proxy, error) {
	p := &proxy{target: target, there: there, back: back, logf: logf, conns: map[net.Conn]bool{}}
	ln, err := listenLow(avoid)
	if err != nil {
		return nil, err
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.addr, p.ln = ln.Addr().String(), ln
	p.wg.Add(1)
	go p.run(ln)
	return p, nil
}

// run accepts for as long as the target listens. While it does not, neither does
// the proxy: a node that dials a dead one is refused, which it takes for a proof.
func (p *proxy) run(ln net.Listener) {
	defer p.wg.Done()
	for {
		p.accept(ln)
		if !p.waitTarget() {
			return
		}
		var err error
		for ln, err = net.Listen("tcp", p.addr); err != nil; ln, err = net.Listen("tcp", p.addr) {
			p.logf("proxy to %s: %v", p.target, err)
			if !p.sleep(50 * time.Millisecond) {
				return
			}
		}
		p.mu.Lock()
		p.ln = ln
		p.mu.Unlock()
		if p.ctx.Err() != nil {
			p.refuse()
		}
	}
}

// accept serves until the listener is closed.
func (p *proxy) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) && p.sleep(10*time.Millisecond) {
				continue
			}
			return
		}
		p.wg.Add(1)
		go p.serve(c)
	}
}

// waitTarget waits until the target listens again; false when the proxy ends.
func (p *proxy) waitTarget() bool {
	for p.sleep(25 * time.Millisecond) {
		if c, err := net.DialTimeout("tcp", p.target, dialTimeout); err == nil {
			_ = c.Close()
			return true
		}
	}
	return false
}

func (p *proxy) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// refuse stops listening, before anybody learns that the target is gone.
func (p *proxy) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != nil {
		_ = p.ln.Close()
		p.ln = nil
	}
}

func (p *proxy) serve(down net.Conn) {
	defer p.wg.Done()
	defer reset(down)
	// What starts a connection must get through in both directions.
	if !p.there.pass(theBeginning, p.ctx.Done()) || !p.back.pass(theBeginning, p.ctx.Done()) {
		return
	}
	up, err := net.DialTimeout("tcp", p.target, dialTimeout)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			p.refuse()
		}
		return
	}
	defer reset(up)
	if !p.keep(down, up) {
		return
	}
	defer p.forget(down, up)
	over, end := context.WithCancel(p.ctx)
	defer end()
	done := make(chan struct{}, 2)
	go func() {
		p.pump(up, down, p.there, over.Done())
		done <- struct{}{}
	}()
	go func() {
		p.pump(down, up, p.back, over.Done())
		if over.Err() == nil && p.targetGone() {
			p.refuse()
		}
		done <- struct{}{}
	}()
	<-done
	end()
	reset(down)
	reset(up)
	<-done
}

// targetGone says whether the target refuses connections.
func (p *proxy) targetGone() bool {
	c, err := net.DialTimeout("tcp", p.target, dialTimeout)
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// pump copies until one side ends. The end travels like data: it is held, too.
func (p *proxy) pump(dst, src net.Conn, g *gate, over <-chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if !g.pass(n, over) {
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			g.pass(theEnd, over)
			return
		}
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	for _, c := range conns {
		p.conns[c] = true
	}
	return true
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// reset closes a connection at once, as the kernel does for a process that died.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// close ends the proxy and its connections.
func (p *proxy) close() {
	p.cancel()
	p.refuse()
	p.mu.Lock()
	for c := range p.conns {
		reset(c)
	}
	p.mu.Unlock()
	p.wg.Wait()
}
