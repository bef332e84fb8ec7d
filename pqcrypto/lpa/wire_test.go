package lpa

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// recording is one honest handshake, run without a network, from which tests take the pieces.
type recording struct {
	w          *world
	client     *Config
	server     *Config
	local      *local
	ekm        []byte
	now        time.Time
	m1, m2, m3 []byte
	clientHalf *clientHalf
}

func record(t testing.TB, w *world) *recording {
	t.Helper()
	r := &recording{w: w, client: w.config(w.client), server: w.config(w.n1), now: time.Now(), ekm: bytes.Repeat([]byte{7}, ekmSize)}
	r.local = must(r.server.prepare())
	r.m1 = r.local.m1
	r.clientHalf = newClientHalf(r.client, must(r.client.prepare()), r.ekm, r.now, nodeOne)
	r.m2 = must(r.clientHalf.serverIdentity(r.m1))
	r.m3 = must(r.serverHalf().clientProof(r.m2))
	if err := r.clientHalf.serverFinished(r.m3); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *recording) serverHalf() *serverHalf {
	return &serverHalf{cfg: r.server, local: r.local, ekm: r.ekm, now: r.now}
}

// positions picks offsets of a frame: all of its start and end and a sample between.
func positions(n, step int) []int {
	var out []int
	for i := 0; i < n; i++ {
		if i < 40 || i >= n-40 || i%step == 0 {
			out = append(out, i)
		}
	}
	return out
}

// TestEveryFlippedByteIsRefused changes one bit of one byte of a frame in an otherwise honest
// handshake.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	t.Parallel()
	bothSuites(t, func(t *testing.T, w *world) {
		r := record(t, w)
		through := func(frame []byte, typ byte, limit int, half func([]byte) error) error {
			got, err := readFrame(bytes.NewReader(frame), typ, limit)
			if err != nil {
				return err
			}
			return half(got)
		}
		flip := func(frame []byte, i int) []byte {
			f := bytes.Clone(frame)
			f[i] ^= 1 << (i % 8)
			return f
		}
		t.Run("M1", func(t *testing.T) {
			for _, i := range positions(len(r.m1), 41) {
				h := newClientHalf(r.client, r.clientHalf.local, r.ekm, r.now, nodeOne)
				err := through(flip(r.m1, i), typeServerIdentity, maxIdentityFrame, func(m1 []byte) error {
					m2, err := h.serverIdentity(m1)
					if err == nil && m2 == nil {
						t.Fatalf("byte %d: neither M2 nor an error", i)
					}
					return err
				})
				if err == nil {
					t.Errorf("M1 with byte %d flipped was answered with a proof", i)
				}
			}
		})
		t.Run("M2", func(t *testing.T) {
			for _, i := range positions(len(r.m2), 13) {
				err := through(flip(r.m2, i), typeClientProof, maxProofFrame, func(m2 []byte) error {
					m3, err := r.serverHalf().clientProof(m2)
					if m3 != nil {
						t.Errorf("M2 with byte %d flipped got an authenticated answer", i)
					}
					return err
				})
				if err == nil {
					t.Errorf("M2 with byte %d flipped was accepted", i)
				}
			}
		})
		t.Run("M3", func(t *testing.T) {
			for i := range len(r.m3) {
				if err := through(flip(r.m3, i), typeServerFinished, maxFinishedFrame, r.clientHalf.serverFinished); err == nil {
					t.Errorf("M3 with byte %d flipped was accepted", i)
				}
			}
		})
	})
}

// TestFlippedBytesOnTheWire does the same to a few bytes of each frame between real ends, where
// application bytes follow.
func TestFlippedBytesOnTheWire(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	for _, part := range []int{0, 5, 50, 95, 100} {
		at := func(frame []byte) []byte {
			body := frame[frameHeader:]
			body[(len(body)-1)*part/100] ^= 0x10
			return frame
		}
		s := &evilServer{cfg: w.config(w.n1), m1: at}
		wantReason(t, attackClient(t, w.config(w.client), nodeOne, s.attack(t)), ReasonFrame, ReasonCertificate)
		c := &evilClient{cfg: w.config(w.client), server: nodeOne, m2: func(_ *clientHalf, _, m2 []byte) []byte { return at(m2) }}
		wantReason(t, attackServer(t, w.config(w.n1), c.attack(t)), ReasonProof)
		s = &evilServer{cfg: w.config(w.n1), m3: func(_ *serverHalf, _, m3 []byte) []byte { return at(m3) }}
		wantReason(t, attackClient(t, w.config(w.client), nodeOne, s.attack(t)), ReasonFinished)
	}
}

// TestFramesOutOfOrder sends frames of the wrong type, size, number and order to each side.
func TestFramesOutOfOrder(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	r := record(t, w)
	oversize := []byte{0, 0, 0x80, 1}
	retyped := func(frame []byte, typ byte) []byte { f := bytes.Clone(frame); f[0] = typ; return f }
	oversized := func(typ byte) []byte { return append(retyped(oversize, typ), make([]byte, 0x8001)...) }

	for name, tc := range map[string]struct {
		bytes []byte
		want  []string
	}{
		"M1 back":                 {r.m1, []string{ReasonFrame}},
		"M3 instead of M2":        {r.m3, []string{ReasonFrame}},
		"M2 retyped":              {retyped(r.m2, 3), []string{ReasonFrame}},
		"M2 of another handshake": {r.m2, []string{ReasonProof}},
		"type 0":                  {retyped(r.m2, 0), []string{ReasonFrame}},
		"oversize":                {oversized(typeClientProof), []string{ReasonFrame}},
		"empty":                   {[]byte{2, 0, 0, 0}, []string{ReasonFrame}},
		"too short":               {[]byte{2, 0, 0, 1, 0}, []string{ReasonFrame}},
		"HTTP/2":                  {[]byte(appBytes), []string{ReasonFrame}},
	} {
		t.Run("server, "+name, func(t *testing.T) {
			t.Parallel()
			evil := &evilClient{cfg: w.config(w.client), server: nodeOne, m2: func(*clientHalf, []byte, []byte) []byte { return bytes.Clone(tc.bytes) }}
			wantReason(t, attackServer(t, w.config(w.n1), evil.attack(t)), tc.want...)
		})
	}
	for name, tc := range map[string]struct {
		bytes []byte
		want  []string
	}{
		"M3 first":         {r.m3, []string{ReasonFrame}},
		"M2 instead of M1": {r.m2, []string{ReasonFrame}},
		"oversize":         {oversized(typeServerIdentity), []string{ReasonFrame}},
		"empty":            {[]byte{1, 0, 0, 0}, []string{ReasonFrame}},
		"one certificate":  {[]byte{1, 0, 0, 5, 1, 0, 0, 1, 0x30}, []string{ReasonFrame}},
		"HTTP/2 settings":  {[]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00"), []string{ReasonFrame}},
	} {
		t.Run("client at M1, "+name, func(t *testing.T) {
			t.Parallel()
			evil := &evilServer{cfg: w.config(w.n1), m1: func([]byte) []byte { return bytes.Clone(tc.bytes) }}
			wantReason(t, attackClient(t, w.config(w.client), nodeOne, evil.attack(t)), tc.want...)
		})
	}
	for name, change := range map[string]func(m2, m3 []byte) []byte{
		"M1 twice":      func(_, _ []byte) []byte { return r.m1 },
		"M2 back":       func(m2, _ []byte) []byte { return m2 },
		"retyped":       func(_, m3 []byte) []byte { return retyped(m3, 1) },
		"longer":        func(_, m3 []byte) []byte { m3 = append(m3, 0); m3[3]++; return m3 },
		"shorter":       func(_, m3 []byte) []byte { m3[3]--; return m3[:len(m3)-1] },
		"oversize":      func(_, _ []byte) []byte { return append([]byte{3, 0, 4, 1}, make([]byte, 0x401)...) },
		"another one's": func(_, _ []byte) []byte { return r.m3 },
	} {
		t.Run("client at M3, "+name, func(t *testing.T) {
			t.Parallel()
			evil := &evilServer{cfg: w.config(w.n1), m3: func(_ *serverHalf, m2, m3 []byte) []byte { return bytes.Clone(change(m2, m3)) }}
			wantReason(t, attackClient(t, w.config(w.client), nodeOne, evil.attack(t)), ReasonFrame, ReasonFinished)
		})
	}
}

// TestTruncation closes the connection in the middle of each frame.
func TestTruncation(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	for _, n := range []int{0, 1, 3, 4, 5, 1000, -1} {
		cut := func(frame []byte) []byte {
			if n < 0 {
				return frame[:len(frame)-1]
			}
			return frame[:min(n, len(frame)-1)]
		}
		err := attackServer(t, w.config(w.n1), func(raw net.Conn) {
			stream, ekm, err := w.suite.outerClient(raw)
			if err != nil {
				t.Errorf("attacker: %v", err)
				return
			}
			m1, err := readFrame(stream, typeServerIdentity, maxIdentityFrame)
			if err != nil {
				t.Errorf("attacker: %v", err)
				return
			}
			c := w.config(w.client)
			m2, err := newClientHalf(c, must(c.prepare()), ekm, time.Now(), nodeOne).serverIdentity(m1)
			if err != nil {
				t.Errorf("attacker: %v", err)
				return
			}
			_, _ = stream.Write(cut(m2))
			_ = stream.CloseWrite()
		})
		wantReason(t, err, ReasonClosed)
		for _, frame := range []string{"M1", "M3"} {
			err := attackClient(t, w.config(w.client), nodeOne, func(raw net.Conn) *tls.Conn {
				stream, ekm, err := w.suite.outerServer(raw)
				if err != nil {
					t.Errorf("attacker: %v", err)
					return nil
				}
				server := w.config(w.n1)
				l := must(server.prepare())
				if frame == "M1" {
					_, _ = stream.Write(cut(l.m1))
				} else {
					_, _ = stream.Write(l.m1)
					m2, err := readFrame(stream, typeClientProof, maxProofFrame)
					if err != nil {
						t.Errorf("attacker: %v", err)
					}
					m3, _ := (&serverHalf{cfg: server, local: l, ekm: ekm, now: time.Now()}).clientProof(m2)
					_, _ = stream.Write(cut(m3))
				}
				_ = stream.CloseWrite()
				return stream
			})
			wantReason(t, err, ReasonClosed)
		}
	}
}

// TestSlowPeer lets the peer stop, or send a byte now and then, at every point of the handshake.
// The bound must hold each time.
func TestSlowPeer(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	// timesOut wants the victim to time out, whenever that is. A loaded machine may need more time
	// for the honest part than the victim has: then the attacker fails before it can be slow, and
	// the victim gets more. Every frame has more than 30 bytes, so dripping one takes longer than
	// the victim has.
	timesOut := func(t *testing.T, victim *Config, attempt func(pause time.Duration) (victim, attacker error)) *HandshakeError {
		t.Helper()
		for bound := 300 * time.Millisecond; ; bound *= 3 {
			victim.HandshakeTimeout = bound
			err, attacker := attempt(bound / 30)
			h := wantReason(t, err, ReasonTimeout)
			if attacker == nil {
				return h
			}
			if bound > 20*time.Second {
				t.Fatalf("the attacker fails before it can be slow: %v", attacker)
			}
		}
	}
	// drip succeeds if at least two bytes go out before the victim gives up.
	drip := func(to io.Writer, frame []byte, pause time.Duration) error {
		for i := range frame {
			if _, err := to.Write(frame[i : i+1]); err != nil {
				if i < 2 {
					return err
				}
				return nil
			}
			time.Sleep(pause)
		}
		return nil
	}
	for _, slow := range []string{"silent before TLS", "drips TLS", "silent before M2", "drips M2", "silent inside M2"} {
		t.Run("server, "+slow, func(t *testing.T) {
			t.Parallel()
			attack := func(raw net.Conn, pause time.Duration) error {
				switch slow {
				case "silent before TLS":
					return nil
				case "drips TLS":
					return drip(raw, append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, make([]byte, 300)...), pause)
				}
				stream, ekm, err := w.suite.outerClient(raw)
				if err != nil {
					return err
				}
				m1, err := readFrame(stream, typeServerIdentity, maxIdentityFrame)
				if err != nil {
					return err
				}
				c := w.config(w.client)
				m2, err := newClientHalf(c, must(c.prepare()), ekm, time.Now(), nodeOne).serverIdentity(m1)
				if err != nil {
					return err
				}
				switch slow {
				case "drips M2":
					return drip(stream, m2, pause)
				case "silent inside M2":
					_, err = stream.Write(m2[:len(m2)-1])
				}
				return err
			}
			server := w.config(w.n1)
			h := timesOut(t, server, func(pause time.Duration) (victim, attacker error) {
				victim = attackServer(t, server, func(raw net.Conn) { attacker = attack(raw, pause) })
				return victim, attacker
			})
			if !h.Timeout() || !h.Temporary() {
				t.Errorf("%v: Timeout() = %v, Temporary() = %v, want both", h, h.Timeout(), h.Temporary())
			}
		})
	}
	for _, slow := range []string{"silent before TLS", "silent before M1", "drips M1", "silent before M3", "drips M3"} {
		t.Run("client, "+slow, func(t *testing.T) {
			t.Parallel()
			attack := func(raw net.Conn, pause time.Duration) (*tls.Conn, error) {
				if slow == "silent before TLS" {
					return nil, nil
				}
				stream, ekm, err := w.suite.outerServer(raw)
				if err != nil {
					return nil, err
				}
				server := w.config(w.n1)
				l := must(server.prepare())
				switch slow {
				case "silent before M1":
					return stream, nil
				case "drips M1":
					return stream, drip(stream, l.m1, pause)
				}
				if _, err := stream.Write(l.m1); err != nil {
					return stream, err
				}
				m2, err := readFrame(stream, typeClientProof, maxProofFrame)
				if err != nil {
					return stream, err
				}
				m3, err := (&serverHalf{cfg: server, local: l, ekm: ekm, now: time.Now()}).clientProof(m2)
				if err == nil && slow == "drips M3" {
					err = drip(stream, m3, pause)
				}
				return stream, err
			}
			client := w.config(w.client)
			timesOut(t, client, func(pause time.Duration) (victim, attacker error) {
				victim = attackClient(t, client, nodeOne, func(raw net.Conn) (stream *tls.Conn) {
					stream, attacker = attack(raw, pause)
					return stream
				})
				return victim, attacker
			})
		})
	}
}

func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	craw, sraw := tcpPair(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := w.config(w.client).Client(ctx, craw, nodeOne)
	wantReason(t, err, ReasonCanceled)
	wantClosed(t, sraw)

	craw, sraw = tcpPair(t)
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = w.config(w.n1).Server(ctx, sraw)
	wantReason(t, err, ReasonTimeout)
	wantClosed(t, craw)
}

// deadlineCounter counts who touches the deadlines of a connection.
type deadlineCounter struct {
	net.Conn
	calls atomic.Int32
}

func (c *deadlineCounter) SetDeadline(t time.Time) error {
	c.calls.Add(1)
	return c.Conn.SetDeadline(t)
}
func (c *deadlineCounter) SetReadDeadline(t time.Time) error {
	c.calls.Add(1)
	return c.Conn.SetReadDeadline(t)
}
func (c *deadlineCounter) SetWriteDeadline(t time.Time) error {
	c.calls.Add(1)
	return c.Conn.SetWriteDeadline(t)
}

// TestCallersDeadlineSurvives checks that the handshake leaves the deadlines of the raw connection
// alone: gRPC sets one before the handshake that must still bound the HTTP/2 preface after it.
func TestCallersDeadlineSurvives(t *testing.T) {
	t.Parallel()
	w := worldOf(Suite768)
	craw, sraw := tcpPair(t)
	c, s := &deadlineCounter{Conn: craw}, &deadlineCounter{Conn: sraw}
	var wg sync.WaitGroup
	wg.Go(func() {
		if conn, err := w.config(w.n1).Server(context.Background(), s); err != nil {
			t.Errorf("server: %v", err)
		} else {
			t.Cleanup(func() { _ = conn.Close() })
		}
	})
	conn, err := w.config(w.client).Client(context.Background(), c, nodeOne)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if n := c.calls.Load() + s.calls.Load(); n != 0 {
		t.Errorf("the handshake touched the deadlines %d times, want 0", n)
	}
	_ = craw.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
		t.Errorf("read after the deadline: %v, want a timeout", err)
	}
}
