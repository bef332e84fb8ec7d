package transport

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
)

// listening is node 2, which reaches nobody. dial opens a connection to it as node 1, before the
// hello. change may be nil.
func listening(t *testing.T, m Membership, change func(*Config)) (tr *Transport, r *recorder, dial func() net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r = &recorder{}
	cfg := Config{
		Self: 2, Peers: map[NodeID]string{1: "unused"}, Accept: plainAccept, Membership: m,
		Dial: func(context.Context, NodeID, string) (net.Conn, error) { return nil, errors.New("no route") },
	}
	if change != nil {
		change(&cfg)
	}
	tr = New(cfg)
	tr.Register(1, r)
	tr.Start(ln)
	t.Cleanup(tr.Close)
	return tr, r, func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.Write(binary.BigEndian.AppendUint64(nil, 1)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

// TestNewerConnection: a peer dials again only when it has given its connection up. The new one
// replaces the former of its class, and no other.
func TestNewerConnection(t *testing.T) {
	t.Parallel()
	tr, r, dial := listening(t, &acquainted{}, nil)
	open := func(c class) net.Conn {
		t.Helper()
		conn := dial()
		if _, err := greet(conn, c, 1, 2, Introduction{Cluster: testCluster}, time.Now().Add(testWait)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	connects := func(c string, n uint64) {
		t.Helper()
		eventually(t, "the connection is taken", func() bool {
			for _, s := range tr.Stats() {
				if s.Inbound && s.Class == c {
					return s.Connects == n
				}
			}
			return false
		})
	}
	bulk := open(classBulk)
	connects("bulk", 1)
	former := open(classControl)
	connects("control", 1)
	newer := open(classControl)
	connects("control", 2)
	closed := func(conn net.Conn) {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(testWait))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the former connection: %v, want it closed", err)
		}
	}
	closed(former)
	// The end of the former one does not make node 2 forget that the newer one is there.
	eventually(t, "the former connection is forgotten", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.mu.inbound) == 2
	})
	former, newer = newer, open(classControl)
	connects("control", 3)
	closed(former)
	app := appendPayloadFrame(nil, kindApp, 1, []byte("newer"))
	if _, err := newer.Write(app); err != nil {
		t.Error(err)
	}
	if _, err := bulk.Write(appendRaftFrame(nil, 1, appendMessage(1, []byte("x")))); err != nil {
		t.Error(err)
	}
	eventually(t, "the newer connection and that of the other class are heard", func() bool {
		return r.has("app 1 newer") && len(r.messages()) == 1
	})
}

// TestRefusedMemberHearsWhy: a member that is refused gets the answer to its hello, learns from it
// with whom it speaks, and then loses the connection.
func TestRefusedMemberHearsWhy(t *testing.T) {
	t.Parallel()
	_, _, dial := listening(t, &acquainted{version: 12, refuse: errors.New("another data directory")}, nil)
	for _, c := range []class{classControl, classBulk} {
		conn := dial()
		got, err := greet(conn, c, 1, 2, Introduction{Cluster: testCluster}, time.Now().Add(testWait))
		if err != nil || got.Incarnation != (Incarnation{12}) {
			t.Errorf("%s: the answer is %+v, %v; want the introduction of node 2", c, got, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(testWait))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read %v, want the connection closed", c, err)
		}
	}
}

// sickListener fails as often as it is told, and then waits for its end.
type sickListener struct {
	net.Listener
	fails chan error
	ended chan struct{}
}

func (l *sickListener) Accept() (net.Conn, error) {
	select {
	case err := <-l.fails:
		if err != nil {
			return nil, err
		}
		c, _ := net.Pipe()
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *sickListener) Close() error {
	close(l.ended)
	return nil
}

// TestAcceptFails: a listener that fails again and again has one line, and another one when it
// fails after a success.
func TestAcceptFails(t *testing.T) {
	t.Parallel()
	var logs, refused recorder
	ln := &sickListener{fails: make(chan error), ended: make(chan struct{})}
	tr := New(Config{Self: 2, Membership: &acquainted{}, Logf: logs.note,
		Refused: func(_ net.Conn, err error) { refused.note("%v", err) },
		Accept: func(_ context.Context, raw net.Conn) (NodeID, net.Conn, error) {
			return 0, nil, errors.New("nobody")
		}})
	tr.Start(ln)
	defer tr.Close()
	for _, err := range []error{errors.New("first"), errors.New("first"), errors.New("first"), nil, errors.New("second"), errors.New("second"), nil} {
		ln.fails <- err
	}
	eventually(t, "the connections are refused", func() bool {
		refused.mu.Lock()
		defer refused.mu.Unlock()
		return len(refused.events) == 2
	})
	logs.mu.Lock()
	defer logs.mu.Unlock()
	if len(logs.events) != 2 || logs.events[0] != "transport: accept: first" || logs.events[1] != "transport: accept: second" {
		t.Errorf("lines %q, want one for each failure that began", logs.events)
	}
}

// TestTransportDefaults are those that the comments name.
func TestTransportDefaults(t *testing.T) {
	t.Parallel()
	c := Config{}.withDefaults()
	if c.ReportAfter != 5*time.Second || c.QueueFrames != 4096 || c.ControlQueueBytes != 8<<20 || c.BulkQueueBytes != 128<<20 ||
		c.HandshakeTimeout != 10*time.Second || c.WriteTimeout != 10*time.Second || c.ClockInterval != time.Second || c.Mark() != 0 {
		t.Errorf("defaults %+v", c)
	}
}

// deadlines remembers how a connection's deadlines were set.
type deadlines struct {
	net.Conn
	mu  sync.Mutex
	set []time.Time
}

func (c *deadlines) note(d time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = append(c.set, d)
}

func (c *deadlines) SetDeadline(d time.Time) error {
	c.note(d)
	return c.Conn.SetDeadline(d)
}

func (c *deadlines) SetReadDeadline(d time.Time) error {
	c.note(d)
	return c.Conn.SetReadDeadline(d)
}

// limited demands that the first deadline lies within limit of now, and that the last one is none.
func (c *deadlines) limited(t *testing.T, limit time.Duration) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.set) < 2 || c.set[0].IsZero() || time.Until(c.set[0]) > limit || !c.set[len(c.set)-1].IsZero() {
		t.Errorf("deadlines %v, want one within %s for the hellos, and none afterwards", c.set, limit)
	}
}

// TestHellosAreTimed: each end waits for the other's hello no longer than HandshakeTimeout, and a
// connection that stands may be silent for as long as it likes.
func TestHellosAreTimed(t *testing.T) {
	t.Parallel()
	const limit = time.Hour
	accepted := make(chan *deadlines, 1)
	tr, _, dial := listening(t, &acquainted{}, func(c *Config) {
		c.HandshakeTimeout = limit
		c.Accept = func(ctx context.Context, raw net.Conn) (NodeID, net.Conn, error) {
			id, conn, err := plainAccept(ctx, raw)
			d := &deadlines{Conn: conn}
			accepted <- d
			return id, d, err
		}
	})
	near := &deadlines{Conn: dial()}
	if _, err := greet(near, classControl, 1, 2, Introduction{Cluster: testCluster}, time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	near.limited(t, limit)
	far := <-accepted
	eventually(t, "the connection stands", func() bool { return tr.peer(1).inbound.Load() == 1 })
	far.limited(t, limit)
}

// TestSilentStranger: a peer that says no hello loses its connection.
func TestSilentStranger(t *testing.T) {
	t.Parallel()
	_, _, dial := listening(t, &acquainted{}, func(c *Config) { c.HandshakeTimeout = 30 * time.Millisecond })
	conn := dial()
	_ = conn.SetReadDeadline(time.Now().Add(testWait))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %v, want the connection closed", err)
	}
}
