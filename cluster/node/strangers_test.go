package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/pqcrypto/lpa"
)

// pipeListener accepts what the test gives it.
type pipeListener struct {
	net.Listener
	next net.Conn
}

func (l *pipeListener) Accept() (net.Conn, error) { return l.next, nil }

// fromConn is a connection from an address.
type fromConn struct {
	net.Conn
	from   string
	closed bool
}

func (c *fromConn) RemoteAddr() net.Addr       { return textAddr(c.from) }
func (c *fromConn) Close() error               { c.closed = true; return nil }
func (c *fromConn) Read(b []byte) (int, error) { return copy(b, "x"), nil }

type crowdWorld struct {
	*crowd
	ln        *pipeListener
	displaced []*visitor
}

func newCrowdWorld(port string, b budget) *crowdWorld {
	w := &crowdWorld{ln: &pipeListener{}}
	w.crowd = newCrowd(w.ln, port, b, func(v *visitor) { w.displaced = append(w.displaced, v) })
	return w
}

func (w *crowdWorld) connect(t *testing.T, from string) *visitor {
	t.Helper()
	w.ln.next = &fromConn{from: from}
	c, err := w.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return visitorOf(c)
}

func (v *visitor) gone() bool { return v.Conn.(*fromConn).closed }

func speak(v *visitor) { _, _ = v.Read(make([]byte, 1)) }

// TestCrowd: a flood drives out its own connections: the silent ones first, and never one that is
// known.
func TestCrowd(t *testing.T) {
	t.Parallel()
	w := newCrowdWorld("api", budget{total: 8, each: 4})
	friend, known := w.connect(t, "192.0.2.1:1"), w.connect(t, "192.0.2.66:1")
	speak(friend)
	known.known()
	handshake := w.connect(t, "192.0.2.66:2")
	speak(handshake)
	var silent []*visitor
	for i := range 20 {
		silent = append(silent, w.connect(t, fmt.Sprintf("192.0.2.66:%d", 10+i)))
	}
	if friend.gone() || known.gone() || handshake.gone() {
		t.Errorf("gone: another address %v, a known one %v, one in its handshake %v", friend.gone(), known.gone(), handshake.gone())
	}
	if !silent[0].gone() || silent[19].gone() || len(w.displaced) != 17 {
		t.Errorf("of the silent ones: the oldest gone %v, the newest gone %v, %d displaced", silent[0].gone(), silent[19].gone(), len(w.displaced))
	}
	// Many addresses: the total holds, and who has most loses first.
	for i := range 100 {
		w.connect(t, fmt.Sprintf("198.51.100.%d:1", i))
	}
	if w.mu.count != 8 || friend.gone() || known.gone() {
		t.Errorf("%d connections, the friend gone %v, the known one gone %v", w.mu.count, friend.gone(), known.gone())
	}
	// One machine has a /64.
	before := len(w.displaced)
	w2 := newCrowdWorld("api", budget{total: 8, each: 4})
	for i := range 6 {
		w2.connect(t, fmt.Sprintf("[2001:db8::%d]:1", i+1))
	}
	if len(w2.displaced) != 2 || len(w.displaced) != before {
		t.Errorf("%d of 6 addresses of one /64 were displaced, want 2", len(w2.displaced))
	}
}

// TestCrowdForgets: a connection that was closed takes no place.
func TestCrowdForgets(t *testing.T) {
	t.Parallel()
	w := newCrowdWorld("http", budget{total: 2, each: 2})
	for i := range 10 {
		v := w.connect(t, fmt.Sprintf("192.0.2.%d:1", i))
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if w.mu.count != 0 || len(w.mu.visitors) != 0 || len(w.displaced) != 0 {
		t.Errorf("%d connections, %d addresses, %d displaced", w.mu.count, len(w.mu.visitors), len(w.displaced))
	}
}

// TestCrowdOrder: among the connections of one address the silent ones go first, then, where
// requests are served, those that wait between two requests; of equals the oldest.
func TestCrowdOrder(t *testing.T) {
	t.Parallel()
	for port, requests := range map[string]bool{"http": true, "probe": true, "api": false, "peer": false} {
		w := newCrowdWorld(port, budget{total: 6, each: 6})
		names := map[*visitor]string{}
		for i, name := range []string{"busy", "waits", "silent", "waits too", "silent too", "busy too"} {
			v := w.connect(t, fmt.Sprintf("192.0.2.1:%d", i+1))
			names[v] = name
			if !strings.HasPrefix(name, "silent") {
				speak(v)
			}
			v.busy.Store(strings.HasPrefix(name, "busy"))
		}
		for i := range 6 {
			v := w.connect(t, fmt.Sprintf("192.0.2.1:%d", i+10))
			speak(v)
			v.busy.Store(true)
		}
		var got []string
		for _, v := range w.displaced {
			got = append(got, names[v])
		}
		want := []string{"silent", "silent too", "waits", "waits too", "busy", "busy too"}
		if !requests { // whoever has begun a handshake is as good as any other
			want = []string{"silent", "silent too", "busy", "waits", "waits too", "busy too"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: displaced in the order %q, want %q", port, got, want)
		}
	}
}

// TestProvedPeerIsNoStranger: a handshake that succeeds takes the connection out of the crowd, one
// that fails does not. Only a connection that has sent something has a line when it has to go; each
// is counted, by port.
func TestProvedPeerIsNoStranger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n := &node{metrics: newMetrics(), logs: &logs{access: newAccessLog(slog.New(slog.NewTextHandler(&out, nil)))}}
	for _, port := range []string{"api", "peer"} {
		w := newCrowdWorld(port, budget{total: 3, each: 3})
		w.crowd.displaced = n.displaced
		proved, failed, silent := w.connect(t, "192.0.2.1:1"), w.connect(t, "192.0.2.1:2"), w.connect(t, "192.0.2.1:3")
		speak(proved)
		speak(failed)
		n.observeHandshake(lpa.Event{Side: lpa.SideServer, Raw: proved, Remote: proved.RemoteAddr()})
		n.observeHandshake(lpa.Event{Side: lpa.SideServer, Raw: failed, Remote: failed.RemoteAddr(), Reason: lpa.ReasonProof, Err: errors.New("no")})
		if w.mu.count != 2 {
			t.Errorf("%s: %d of three connections are strangers', want the one that failed and the silent one", port, w.mu.count)
		}
		out.Reset()
		for i := range 10 {
			speak(w.connect(t, fmt.Sprintf("192.0.2.1:%d", 10+i)))
		}
		if proved.gone() || !failed.gone() || !silent.gone() {
			t.Errorf("%s: gone: the proved one %v, the one that failed %v, the silent one %v", port, proved.gone(), failed.gone(), silent.gone())
		}
		if got := displacedFrom(t, n, port); got != 9 {
			t.Errorf("%s: %v connections were displaced, want 9", port, got)
		}
		// The silent one went first, without a line; the others are one cause.
		if lines := strings.Count(out.String(), "\n"); lines != 1 || !strings.Contains(out.String(), "port="+port+" address=192.0.2.1:2 reason=displaced") {
			t.Errorf("%s: the log is\n%s", port, out.String())
		}
	}
	// This node's own calls are nobody's visit.
	n.observeHandshake(lpa.Event{Side: lpa.SideClient, Raw: &fromConn{from: "192.0.2.7:1"}, Remote: textAddr("192.0.2.7:1")})
}

// displacedFrom is what a node's metrics say of one port.
func displacedFrom(t *testing.T, n *node, port string) float64 {
	t.Helper()
	families, err := n.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "cairn_strangers_displaced_total" && m.GetLabel()[0].GetValue() == port {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no cairn_strangers_displaced_total of %s", port)
	return 0
}
