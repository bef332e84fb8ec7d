package lpa

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Client authenticates both ends of a freshly dialled connection and returns the secure stream over
// it. server is the identity that the other end must prove. The handshake is bounded by
// Config.HandshakeTimeout and by ctx; ctx does not matter afterwards. The error is always a
// *HandshakeError, and raw is closed then. Deadlines set on raw are left alone.
func (c *Config) Client(ctx context.Context, raw net.Conn, server pki.ID) (*Conn, error) {
	return c.run(ctx, raw, SideClient, func(l *local) (*Conn, error) {
		stream, ekm, err := c.Suite.outerClient(raw)
		if err != nil {
			return nil, err
		}
		half := newClientHalf(c, l, ekm, c.now(), server)
		m1, err := readFrame(stream, typeServerIdentity, maxIdentityFrame)
		if err != nil {
			return nil, err
		}
		m2, err := half.serverIdentity(m1)
		if err != nil {
			return nil, err
		}
		if _, err := stream.Write(m2); err != nil {
			return nil, errors.Wrap(err, "write frame M2")
		}
		m3, err := readFrame(stream, typeServerFinished, maxFinishedFrame)
		if err != nil {
			return nil, err
		}
		if err := half.serverFinished(m3); err != nil {
			return nil, err
		}
		return newConn(c, raw, stream, half.peer, half.keys.channelID), nil
	})
}

// Server authenticates both ends of a freshly accepted connection and returns the secure stream
// over it. The peer's identity and roles are in Conn.Peer. Bounds and errors are those of Client.
func (c *Config) Server(ctx context.Context, raw net.Conn) (*Conn, error) {
	return c.run(ctx, raw, SideServer, func(l *local) (*Conn, error) {
		if l.m1 == nil {
			return nil, fail(ReasonConfig, errors.New("this identity has no KEM certificate: it can dial but not accept"))
		}
		stream, ekm, err := c.Suite.outerServer(raw)
		if err != nil {
			return nil, err
		}
		if _, err := stream.Write(l.m1); err != nil {
			return nil, errors.Wrap(err, "write frame M1")
		}
		m2, err := readFrame(stream, typeClientProof, maxProofFrame)
		if err != nil {
			return nil, err
		}
		half := &serverHalf{cfg: c, local: l, ekm: ekm, now: c.now()}
		m3, refusal := half.clientProof(m2)
		if m3 != nil {
			if _, err := stream.Write(m3); err != nil && refusal == nil {
				return nil, errors.Wrap(err, "write frame M3")
			}
		}
		if refusal != nil {
			if m3 != nil {
				_ = stream.CloseWrite() // the client hears why before the connection goes
			}
			return nil, refusal
		}
		return newConn(c, raw, stream, half.peer, half.keys.channelID), nil
	})
}

// run bounds a handshake in time, closes raw unless it succeeded, and reports the outcome. The
// bound works by closing raw, not by a deadline on it, because the caller may have set one that
// must survive.
func (c *Config) run(ctx context.Context, raw net.Conn, side Side, handshake func(*local) (*Conn, error)) (*Conn, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.handshakeTimeout())
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })

	l, err := c.prepare()
	var conn *Conn
	if err == nil {
		conn, err = handshake(l)
	}
	if !stop() {
		// The bound fired, perhaps in the very moment of success: raw is closed either way.
		if conn != nil {
			_ = conn.Close()
			conn = nil
		}
		reason := ReasonTimeout
		if errors.Is(ctx.Err(), context.Canceled) {
			reason = ReasonCanceled
		}
		if err == nil {
			err = ctx.Err()
		}
		err = &HandshakeError{Reason: reason, err: err}
	}
	event := Event{Side: side, Remote: raw.RemoteAddr(), Raw: raw, Suite: c.Suite, Duration: time.Since(start)}
	if err != nil {
		_ = raw.Close()
		failure := failIO(ReasonTLS, err)
		event.Reason, event.Peer, event.Certificate, event.Err = failure.Reason, failure.Peer, failure.cert, failure
		c.observe(event)
		return nil, failure
	}
	event.Peer, event.Certificate = conn.peer.svid.ID, conn.peer.svid
	c.observe(event)
	return conn, nil
}

// failIO gives an error of the outer stream its reason: closed when the connection broke, timeout
// when a deadline of the caller's passed, the given one otherwise.
func failIO(reason string, err error) *HandshakeError {
	if errors.IsAny(err, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE) {
		reason = ReasonClosed
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		reason = ReasonTimeout
	}
	return fail(reason, err)
}
