package transport

import (
	"bufio"
	"context"
	"io"
	"net"
	"time"

	"github.com/cockroachdb/errors"
)

func (t *Transport) acceptLoop(ln net.Listener) {
	failing := false // one line says that Accept fails, until it succeeds
	for {
		raw, err := ln.Accept()
		if err != nil {
			if t.ctx.Err() != nil {
				return
			}
			if !failing {
				failing = true
				t.cfg.Logf("transport: accept: %v", err)
			}
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-t.ctx.Done():
				return
			}
		}
		failing = false
		if !t.track(raw) {
			_ = raw.Close()
			return
		}
		t.wg.Go(func() {
			defer t.untrack(raw)
			t.serve(raw)
		})
	}
}

func (t *Transport) track(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		return false
	}
	t.mu.inbound[c] = struct{}{}
	return true
}

func (t *Transport) untrack(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.mu.inbound, c)
}

// serve authenticates a connection and delivers what arrives on it until it
// breaks.
func (t *Transport) serve(raw net.Conn) {
	conn, p, class, r, err := t.handshake(raw)
	if errors.Is(err, errInquiry) {
		_ = raw.Close()
		return
	}
	if err != nil {
		if t.ctx.Err() == nil {
			t.cfg.Refused(raw, err)
		}
		_ = raw.Close()
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(p.ctx, func() { _ = conn.Close() }) // it may be a peer no longer since the handshake
	defer stop()
	key := inboundKey{p.id, class}
	t.mu.Lock()
	if old := t.mu.current[key]; old != nil {
		_ = old.Close()
	}
	t.mu.current[key] = conn
	t.mu.Unlock()

	if class == classControl {
		p.inbound.Add(1)
		p.alive.Store(true)
	}

	err = t.receive(r, p, class)

	if class == classControl && p.inbound.Add(-1) == 0 {
		// If it is dead, and our own connection to it does not stand, find out now.
		select {
		case p.out[classControl.index()].redial <- struct{}{}:
		default:
		}
	}
	t.mu.Lock()
	if t.mu.current[key] == conn {
		delete(t.mu.current, key)
	}
	t.mu.Unlock()
	if p.ctx.Err() == nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		t.cfg.Logf("transport: %s connection from node %d closed: %v", class, p.id, err)
	}
}

func (t *Transport) handshake(raw net.Conn) (net.Conn, *peer, class, *bufio.Reader, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.HandshakeTimeout)
	defer cancel()
	id, conn, err := t.cfg.Accept(ctx, raw)
	if err != nil {
		return nil, nil, 0, nil, errors.Wrap(err, "authenticate")
	}
	fail := func(err error) (net.Conn, *peer, class, *bufio.Reader, error) {
		_ = conn.Close()
		return nil, nil, 0, nil, err
	}
	p := t.peer(id)
	if p == nil {
		return fail(errors.Newf("node %d is not a peer of node %d", id, t.cfg.Self))
	}
	if err := conn.SetReadDeadline(time.Now().Add(t.cfg.HandshakeTimeout)); err != nil {
		return fail(errors.Wrap(err, "set read deadline"))
	}
	r := bufio.NewReaderSize(conn, bufferSize)
	hi, err := readHello(r, id, t.cfg.Self)
	if err != nil {
		return fail(err)
	}
	if err := t.answer(conn, hi); err != nil {
		return fail(err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return fail(errors.Wrap(err, "clear read deadline"))
	}
	return conn, p, hi.class, r, nil
}

// errInquiry ends a connection that has got its answer.
var errInquiry = errors.New("the inquiry has been answered")

// answer learns from a hello and answers it. The answer also goes to a member that is refused: the
// member learns from it why.
func (t *Transport) answer(conn net.Conn, hi hello) error {
	var refusal error
	if hi.class != classInquiry {
		refusal = t.meet(hi.from, hi.Introduction)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(t.cfg.HandshakeTimeout)); err != nil {
		return errors.Wrap(err, "set write deadline")
	}
	answer := hello{hi.class, t.cfg.Self, hi.from, t.cfg.Membership.Introduce()}
	if _, err := conn.Write(answer.appendFrame(nil)); err != nil && refusal == nil {
		return errors.Wrap(err, "answer hello")
	}
	if hi.class == classInquiry {
		return errInquiry
	}
	return refusal
}

// meet learns from an introduction, and tells the other members what is new.
func (t *Transport) meet(peer NodeID, in Introduction) error {
	changed, err := t.cfg.Membership.Meet(peer, in)
	if err != nil {
		return errors.Mark(err, ErrRefused)
	}
	if changed {
		t.news.Add(1)
		for _, p := range *t.peers.Load() {
			p.out[classControl.index()].signal()
		}
	}
	return nil
}

// receive delivers frames until the connection breaks or carries a malformed one.
func (t *Transport) receive(r *bufio.Reader, p *peer, c class) error {
	stats := &p.in[c.index()]
	stats.connects.Add(1)
	for {
		h, payload, err := readFrame(r, c.maxPayload())
		if err != nil {
			return err
		}
		stats.frames.Add(1)
		stats.bytes.Add(uint64(headerSize + len(payload)))
		if err := t.deliver(h, payload, p, c); err != nil {
			return err
		}
	}
}

func (t *Transport) deliver(h header, payload []byte, p *peer, c class) error {
	handler := t.handler(h.group)
	if !t.cfg.Membership.Formed() {
		handler = nil
	}
	switch h.kind {
	case kindHello:
		hi, err := parseHello(h, payload)
		if err != nil {
			return err
		}
		if c != classControl || hi.class != c || hi.from != p.id || hi.to != t.cfg.Self {
			return malformed("%s hello from node %d to node %d on a %s connection of node %d", hi.class, hi.from, hi.to, c, p.id)
		}
		return t.meet(p.id, hi.Introduction)
	case kindApp:
		if c != classControl {
			return malformed("application frame on a %s connection", c)
		}
		if handler == nil {
			p.in[c.index()].dropped.Add(1)
			return nil
		}
		handler.HandleApp(h.group, p.id, payload)
	case kindClock:
		if c != classControl || h.group != 0 {
			return malformed("clock frame of group %d on a %s connection", h.group, c)
		}
		return t.handleClock(p, payload)
	case kindBeats, kindBeatAnswers:
		if c != classControl || h.group != 0 {
			return malformed("beats frame of group %d on a %s connection", h.group, c)
		}
		return t.handleBeats(h.kind, payload, p)
	case kindRaft:
		m, err := parseMessage(payload)
		if err != nil {
			return err
		}
		if m.GetFrom() != p.id || m.GetTo() != t.cfg.Self {
			return malformed("node %d sent a message from node %d to node %d", p.id, m.GetFrom(), m.GetTo())
		}
		if classOf(m) != c {
			return malformed("%s on a %s connection", m.GetType(), c)
		}
		if handler == nil {
			p.in[c.index()].dropped.Add(1)
			return nil
		}
		handler.HandleRaft(h.group, p.id, m)
	default:
		return malformed("unknown frame kind %d", h.kind)
	}
	return nil
}
