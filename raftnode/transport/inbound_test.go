package transport

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
)

// listening is node 2, which reaches nobody. dial opens a connection to it as node 1, before the hello.
func listening(t *testing.T, m Membership) (tr *Transport, r *recorder, dial func() net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r = &recorder{}
	tr = New(Config{
		Self: 2, Peers: map[NodeID]string{1: "unused"}, Accept: plainAccept, Membership: m,
		Dial: func(context.Context, NodeID, string) (net.Conn, error) { return nil, errors.New("no route") },
	})
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

// TestNewerConnection: a peer dials again only when it has given its connection up. The new one replaces the former of
// its class, and no other.
func TestNewerConnection(t *testing.T) {
	t.Parallel()
	tr, r, dial := listening(t, &acquainted{})
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
	_ = former.SetReadDeadline(time.Now().Add(testWait))
	if _, err := former.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the former connection: %v, want it closed", err)
	}
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

// TestRefusedMemberHearsWhy: a member that is refused gets the answer to its hello, learns from it with whom it speaks,
// and then loses the connection.
func TestRefusedMemberHearsWhy(t *testing.T) {
	t.Parallel()
	_, _, dial := listening(t, &acquainted{version: 12, refuse: errors.New("another data directory")})
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

// TestAcceptFails: a listener that fails again and again has one line, and another one when it fails after a success.
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
