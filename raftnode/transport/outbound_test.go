package transport

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
)

// TestPauses: the pause doubles up to its bound, also when connections are made that live only for
// a moment. One that lasted is made again at once, and a member that refuses is left in peace.
func TestPauses(t *testing.T) {
	t.Parallel()
	broken, refused := errors.New("broken"), errors.Mark(errors.New("another data directory"), ErrRefused)
	pause := time.Duration(0)
	for _, x := range []struct {
		lived time.Duration
		err   error
		want  time.Duration
	}{
		{0, broken, 2 * time.Millisecond},
		{0, broken, 4 * time.Millisecond},
		{time.Millisecond, broken, 8 * time.Millisecond},
		{redialMax, broken, 16 * time.Millisecond},
		{redialMax + 1, broken, 0},
		{time.Millisecond, io.EOF, 2 * time.Millisecond},
		{0, refused, 2 * time.Second},
		{0, refused, 2 * time.Second},
		{0, broken, 250 * time.Millisecond},
		{time.Millisecond, broken, 250 * time.Millisecond},
		{time.Hour, broken, 0},
	} {
		next := pauseAfter(pause, x.lived, x.err)
		if next != x.want {
			t.Errorf("after a pause of %s and a connection of %s that ended with %v: pause %s, want %s", pause, x.lived, x.err, next, x.want)
		}
		pause = next
	}
}

// served is a Dial whose connections end in memory: serve plays the member that accepts, after the
// hellos.
func served(t *testing.T, serve func(c class, conn net.Conn)) func(context.Context, NodeID, string) (net.Conn, error) {
	return func(_ context.Context, id NodeID, _ string) (net.Conn, error) {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		go func() {
			hi, err := readHello(far, 1, id)
			if err == nil {
				_, err = far.Write(hello{hi.class, id, 1, Introduction{Cluster: testCluster}}.appendFrame(nil))
			}
			if err != nil {
				_ = far.Close()
				return
			}
			serve(hi.class, far)
		}()
		return near, nil
	}
}

// TestPeerThatBreaksEveryConnection is not dialled without a pause.
func TestPeerThatBreaksEveryConnection(t *testing.T) {
	t.Parallel()
	attempts := make(chan time.Time, 1000)
	accept := served(t, func(_ class, conn net.Conn) { _ = conn.Close() })
	tr := New(Config{
		Self: 1, Peers: map[NodeID]string{2: "unused"}, Membership: &acquainted{},
		Dial: func(ctx context.Context, id NodeID, addr string) (net.Conn, error) {
			attempts <- time.Now()
			return accept(ctx, id, addr)
		},
	})
	tr.Start(nil)
	defer tr.Close()
	// Two classes with eight attempts each: 2+4+…+128 ms, or a connection that lived longer than
	// 250 ms.
	first := <-attempts
	var last time.Time
	for range 15 {
		last = <-attempts
	}
	if took := last.Sub(first); took < redialMax {
		t.Errorf("16 attempts to connect in %s, want pauses that grow", took)
	}
}

// TestPeerThatTakesNothing: a connection on which no data leaves is given up after WriteTimeout.
func TestPeerThatTakesNothing(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	tr := New(Config{
		Self: 1, Peers: map[NodeID]string{2: "unused"}, Membership: &acquainted{}, WriteTimeout: 50 * time.Millisecond, ClockInterval: time.Hour,
		Dial: served(t, func(c class, conn net.Conn) {
			if c == classControl {
				_, _ = io.Copy(io.Discard, conn)
			}
		}),
	})
	tr.Register(1, r)
	tr.Start(nil)
	defer tr.Close()
	eventually(t, "connected", func() bool {
		for _, s := range tr.Stats() {
			if !s.Inbound && !s.Connected {
				return false
			}
		}
		return true
	})
	tr.SendRaft(1, appendMessage(1, []byte("x")))
	eventually(t, "the bulk connection is given up", func() bool { return r.has("unreachable 2") })
}

// timedConn counts the bytes that are written under one deadline.
type timedConn struct {
	net.Conn
	written, most int
	deadline      time.Time
}

func (c *timedConn) SetWriteDeadline(d time.Time) error {
	if d.Before(c.deadline) {
		return errors.Newf("the deadline %s is before the last one, %s", d, c.deadline)
	}
	c.written, c.deadline = 0, d
	return nil
}

func (c *timedConn) Write(b []byte) (int, error) {
	c.written += len(b)
	c.most = max(c.most, c.written)
	return len(b), nil
}

// TestSlowPeerHasTime: WriteTimeout is for 64 KiB, so that a peer that takes data slowly keeps its
// connection, however large an append is.
func TestSlowPeerHasTime(t *testing.T) {
	t.Parallel()
	tr := New(Config{Self: 1, Peers: map[NodeID]string{2: "unused"}, Membership: &acquainted{}})
	conn := &timedConn{}
	large := appendMessage(1, make([]byte, 3<<20))
	small := appendMessage(2, make([]byte, directWrite-messageSize-entrySize-1))
	var items []item
	size := 0
	for _, m := range []*raftpb.Message{small, large, small, small, small, small} {
		items = append(items, item{group: 1, message: m, size: messageLength(m)})
		size += headerSize + messageLength(m)
	}
	o := tr.peer(2).out[classBulk.index()]
	if err := o.writeTaken(conn, &taken{items: items}); err != nil {
		t.Fatal(err)
	}
	if s := o.stats.read(2, classBulk, false); s.Bytes != uint64(size) {
		t.Errorf("%d bytes were written, want %d", s.Bytes, size)
	}
	if conn.most == 0 || conn.most > 64<<10 {
		t.Errorf("%d bytes were written under one deadline, want at most 64 KiB", conn.most)
	}
}

// TestQueueOfBytes: a queue is bounded in bytes, and a frame that is larger than the bound fits
// when it is alone. Frames that wait when the connection breaks count as dropped.
func TestQueueOfBytes(t *testing.T) {
	t.Parallel()
	tr := New(Config{Self: 1, Peers: map[NodeID]string{2: "unused"}, Membership: &acquainted{}, ControlQueueBytes: 100, BulkQueueBytes: 1000})
	for c, limit := range map[class]int{classControl: 100, classBulk: 1000} {
		o := tr.peer(2).out[c.index()]
		o.setConnected(true)
		push := func(size int, want bool) {
			t.Helper()
			if ok := o.push(item{size: size, app: []byte{}}); ok != want {
				t.Errorf("%s: a frame of %d bytes was taken: %t, want %t", c, size, ok, want)
			}
		}
		push(limit+1, true)
		push(0, false)
		o.take()
		push(limit-1, true)
		push(2, false)
		push(1, true)
		push(1, false)
		o.setConnected(false)
		if s := o.stats.read(2, c, false); s.Dropped != 3+2 {
			t.Errorf("%s: %d frames dropped, want the 3 that did not fit and the 2 that waited", c, s.Dropped)
		}
	}
}

// TestNewsDuringTheHellos: what a node learns while it greets a peer, after it has said what it
// knows, is told again.
func TestNewsDuringTheHellos(t *testing.T) {
	t.Parallel()
	again := make(chan error, 1)
	var tr *Transport
	tr = New(Config{
		Self: 1, Peers: map[NodeID]string{2: "unused"}, Membership: &acquainted{}, ClockInterval: time.Hour,
		Dial: func(context.Context, NodeID, string) (net.Conn, error) {
			near, far := net.Pipe()
			t.Cleanup(func() { _ = far.Close() })
			go func() {
				hi, err := readHello(far, 1, 2)
				if err != nil || hi.class != classControl {
					_ = far.Close()
					return
				}
				tr.news.Add(1)
				if _, err := far.Write(hello{hi.class, 2, 1, Introduction{Cluster: testCluster}}.appendFrame(nil)); err != nil {
					return
				}
				for {
					h, payload, err := readFrame(far, MaxControlPayload)
					if err == nil && h.kind == kindClock {
						continue
					}
					if err == nil {
						_, err = parseHello(h, payload)
					}
					select {
					case again <- err:
					default:
					}
					_, _ = io.Copy(io.Discard, far)
					return
				}
			}()
			return near, nil
		},
	})
	tr.Start(nil)
	defer tr.Close()
	select {
	case err := <-again:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testWait):
		t.Error("no second hello")
	}
}

// TestPeerThatTalksBack: the accepting side sends nothing after its hello. If it does, the
// connection ends, and the log says why.
func TestPeerThatTalksBack(t *testing.T) {
	t.Parallel()
	var debug recorder
	tr := New(Config{
		Self: 1, Peers: map[NodeID]string{2: "unused"}, Membership: &acquainted{}, Debugf: debug.note,
		Dial: served(t, func(c class, conn net.Conn) {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			_, _ = conn.Write([]byte{1})
		}),
	})
	tr.Start(nil)
	defer tr.Close()
	for _, c := range []class{classControl, classBulk} {
		eventually(t, c.String()+" ends with a reason", func() bool {
			return debug.has("transport: " + c.String() + " connection to node 2 broke: peer sent data on a connection that carries none in this direction")
		})
	}
}
