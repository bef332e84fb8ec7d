package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const testWait = 20 * time.Second // only ever reached by a failing test

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leakedGoroutines(); left != "" {
			fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
			code = 1
		}
	}
	os.Exit(code)
}

func leakedGoroutines() string {
	var left []string
	for range 200 {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		left = left[:0]
		for g := range strings.SplitSeq(string(buf), "\n\n") {
			if strings.Contains(g, "cairn/raftnode") && !strings.Contains(g, "TestMain") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return strings.Join(left, "\n\n")
}

// recorder is a Handler that writes down what it hears.
type recorder struct {
	mu     sync.Mutex
	events []string
	raft   []*raftpb.Message
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

func (r *recorder) HandleRaft(_ uint64, _ NodeID, m *raftpb.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.raft = append(r.raft, m)
}
func (r *recorder) HandleBeat(group uint64, from NodeID, b Beat) {
	r.HandleRaft(group, from, b.Message(from, 3-from))
}
func (r *recorder) HandleApp(_ uint64, from NodeID, b []byte) { r.note("app %d %s", from, b) }
func (r *recorder) PeerUp(id NodeID)                          { r.note("up %d", id) }
func (r *recorder) PeerDown(id NodeID, refused bool)          { r.note("down %d refused=%t", id, refused) }
func (r *recorder) Unreachable(id NodeID)                     { r.note("unreachable %d", id) }

func (r *recorder) has(event string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.events, event)
}

func (r *recorder) messages() []*raftpb.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.raft)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testWait); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// pair is nodes 1 and 2, connected over loopback.
type pair struct {
	t         *testing.T
	addrs     map[NodeID]string
	recorders map[NodeID]*recorder
	nodes     map[NodeID]*Transport
	logs      recorder
	change    func(*Config)
}

func newPair(t *testing.T, change func(*Config)) *pair {
	p := &pair{t: t, addrs: map[NodeID]string{}, recorders: map[NodeID]*recorder{}, nodes: map[NodeID]*Transport{}, change: change}
	listeners := map[NodeID]net.Listener{}
	for id := NodeID(1); id <= 2; id++ {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[id], p.addrs[id] = ln, ln.Addr().String()
	}
	for id := NodeID(1); id <= 2; id++ {
		p.start(id, listeners[id])
	}
	p.connected()
	return p
}

func (p *pair) start(id NodeID, ln net.Listener) {
	cfg := Config{Self: id, Peers: p.addrs, Dial: plainDial(id), Accept: plainAccept, Membership: &acquainted{}, Logf: p.logs.note}
	if p.change != nil {
		p.change(&cfg)
	}
	p.recorders[id] = &recorder{}
	tr := New(cfg)
	tr.Register(1, p.recorders[id])
	tr.Start(ln)
	p.t.Cleanup(tr.Close)
	p.nodes[id] = tr
}

func (p *pair) connected() {
	p.t.Helper()
	eventually(p.t, "both nodes connected", func() bool {
		for _, tr := range p.nodes {
			for _, s := range tr.Stats() {
				if s.Connects == 0 {
					return false
				}
			}
		}
		return p.recorders[1].has("up 2") && p.recorders[2].has("up 1")
	})
}

func plainDial(self NodeID) func(context.Context, NodeID, string) (net.Conn, error) {
	return func(ctx context.Context, _ NodeID, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		_, err = c.Write(binary.BigEndian.AppendUint64(nil, self))
		return c, err
	}
}

func plainAccept(_ context.Context, raw net.Conn) (NodeID, net.Conn, error) {
	var b [8]byte
	if _, err := io.ReadFull(raw, b[:]); err != nil {
		return 0, nil, err
	}
	return binary.BigEndian.Uint64(b[:]), raw, nil
}

func appendMessage(index uint64, data []byte) *raftpb.Message {
	m := testMessages()[0]
	m.Index, m.LogTerm = ptr(index-1), ptr(uint64(7))
	m.Entries = []*raftpb.Entry{{Term: ptr(uint64(7)), Index: ptr(index), Data: data}}
	return m
}

// TestDelivery sends every type of message, small and large, and gets it back
// equal and, per class, in order.
func TestDelivery(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	want := testMessages()
	for i, size := range []int{1, directWrite - 1, directWrite, directWrite + 1, bufferSize, 1 << 20, 5 << 20} {
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(i + j*7)
		}
		want = append(want, appendMessage(uint64(100+i), data))
	}
	two := appendMessage(200, make([]byte, 100_000)) // large and small in one message
	two.Entries = append(two.Entries, testEntry(7, 201, "small"), testEntry(7, 202, strings.Repeat("y", 50_000)))
	want = append(want, two)
	for _, m := range want {
		p.nodes[1].SendRaft(1, m)
	}
	p.nodes[1].SendApp(1, 2, []byte("hello"))
	p.nodes[1].Flush(true)
	eventually(t, "all messages arrive", func() bool {
		return len(p.recorders[2].messages()) == len(want) && p.recorders[2].has("app 1 hello")
	})
	got := p.recorders[2].messages()
	way := func(m *raftpb.Message) string { // beats leave before the queue
		if _, ok := BeatOf(m); ok {
			return "beats"
		}
		return classOf(m).String()
	}
	for _, c := range []string{"control", "bulk", "beats"} {
		of := func(ms []*raftpb.Message) []*raftpb.Message {
			return slices.DeleteFunc(slices.Clone(ms), func(m *raftpb.Message) bool { return way(m) != c })
		}
		g, w := of(got), of(want)
		if len(g) != len(w) {
			t.Fatalf("%s: got %d messages, want %d", c, len(g), len(w))
		}
		for i := range w {
			if !proto.Equal(g[i], w[i]) {
				t.Errorf("%s message %d: got a different %s", c, i, g[i].GetType())
			}
		}
	}
	for _, s := range p.nodes[2].Stats() {
		if s.Inbound && (s.Frames == 0 || s.Bytes == 0 || s.Dropped != 0) {
			t.Errorf("counters of the receiver: %+v", s)
		}
	}
}

// stuckConn lets the hello of a bulk connection pass, and nothing after it.
type stuckConn struct {
	net.Conn
	bulk   bool
	closed chan struct{}
	once   sync.Once
}

func (c *stuckConn) Write(b []byte) (int, error) {
	if len(b) >= headerSize+helloSize && frameKind(b[5]) == kindHello {
		c.bulk = class(b[headerSize]) == classBulk
		return c.Conn.Write(b)
	}
	if c.bulk {
		<-c.closed
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestBlockedBulkDelaysNoHeartbeat: appends are stuck, the queue overflows, Raft
// is told, and heartbeats and application messages arrive all the same.
func TestBlockedBulkDelaysNoHeartbeat(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(cfg *Config) {
		cfg.BulkQueueBytes = 1 << 20
		dial := cfg.Dial
		cfg.Dial = func(ctx context.Context, id NodeID, addr string) (net.Conn, error) {
			c, err := dial(ctx, id, addr)
			return &stuckConn{Conn: c, closed: make(chan struct{})}, err
		}
	})
	tr := p.nodes[1]
	tr.SendRaft(1, appendMessage(1, make([]byte, 64<<10)))
	bulk := tr.peer(2).out[classBulk.index()]
	eventually(t, "the first append is stuck", func() bool {
		bulk.mu.Lock()
		defer bulk.mu.Unlock()
		return len(bulk.mu.queue) == 0
	})
	for i := uint64(2); !p.recorders[1].has("unreachable 2"); i++ {
		if i > 1000 {
			t.Fatal("1000 appends of 64 KiB fit into a queue of 1 MiB")
		}
		tr.SendRaft(1, appendMessage(i, make([]byte, 64<<10)))
	}
	heartbeat := testMessages()[7]
	tr.SendRaft(1, heartbeat)
	tr.SendApp(1, 2, []byte("cosign"))
	eventually(t, "the heartbeat arrives", func() bool {
		ms := p.recorders[2].messages()
		return len(ms) == 1 && proto.Equal(ms[0], heartbeat) && p.recorders[2].has("app 1 cosign")
	})
	for _, s := range tr.Stats() {
		if s.Class == "bulk" && !s.Inbound && (s.Dropped == 0 || s.Queued == 0 || s.Queued > 16) {
			t.Errorf("counters of the blocked queue: %+v", s)
		}
	}
}

// TestQueueOfFrames: the number of frames is bounded as well.
func TestQueueOfFrames(t *testing.T) {
	t.Parallel()
	tr := New(Config{Self: 1, Peers: map[NodeID]string{2: "127.0.0.1:1"}, Membership: &acquainted{}, QueueFrames: 10})
	o := tr.peer(2).out[classControl.index()]
	o.setConnected(true)
	for i := range 12 {
		if ok := o.push(item{size: 1, app: []byte("x")}); ok != (i < 10) {
			t.Errorf("frame %d accepted: %t", i, ok)
		}
	}
	if got := len(o.take().items); got != 10 {
		t.Errorf("queue has %d frames, want 10", got)
	}
	// Without a connection only the newest few wait, and no append does.
	o.setConnected(false)
	o.maxFrames = 1000
	for i := range 3 * waitingFrames {
		o.push(item{size: 1, app: []byte{byte(i)}})
	}
	if got := o.take().items; len(got) != waitingFrames || got[0].app[0] != 2*waitingFrames || got[waitingFrames-1].app[0] != 3*waitingFrames-1 {
		t.Errorf("%d frames wait for a connection, the first is %d", len(got), got[0].app[0])
	}
	if tr.peer(2).out[classBulk.index()].push(item{size: 1}) {
		t.Error("an append waits for a connection")
	}
}

// TestDeadProcess: connections break and new ones are refused.
func TestDeadProcess(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.nodes[2].Close()
	eventually(t, "the refusal is reported", func() bool { return p.recorders[1].has("down 2 refused=true") })
	r := p.recorders[1]
	r.mu.Lock()
	broken, refused := slices.Index(r.events, "down 2 refused=false"), slices.Index(r.events, "down 2 refused=true")
	r.events = nil
	r.mu.Unlock()
	if broken < 0 || refused < broken {
		t.Errorf("broken connection reported at %d, refusal at %d", broken, refused)
	}
	// It comes back.
	var ln net.Listener
	eventually(t, "listen again", func() (ok bool) {
		var err error
		ln, err = net.Listen("tcp", p.addrs[2])
		return err == nil
	})
	p.start(2, ln)
	p.connected()
	p.nodes[1].SendApp(1, 2, []byte("again"))
	eventually(t, "a message after the restart", func() bool { return p.recorders[2].has("app 1 again") })
}

// TestDeadProcessThatWeNeverReached: a node hears a peer but cannot connect to it,
// then the peer dies.
func TestDeadProcessThatWeNeverReached(t *testing.T) {
	t.Parallel()
	var dead atomic.Bool
	var refusals atomic.Int32
	r := &recorder{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tr := New(Config{
		Self: 1, Peers: map[NodeID]string{2: "nowhere"}, Accept: plainAccept, Membership: &acquainted{},
		Dial: func(context.Context, NodeID, string) (net.Conn, error) {
			if dead.Load() {
				refusals.Add(1)
				return nil, errors.Wrap(syscall.ECONNREFUSED, "dial")
			}
			return nil, errors.New("no route")
		},
	})
	tr.Register(1, r)
	tr.Start(ln)
	defer tr.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	app := appendHeader(nil, kindApp, 1, 0)
	sealFrame(app)
	if _, err := conn.Write(slices.Concat(binary.BigEndian.AppendUint64(nil, 2), hello{classControl, 2, 1, Introduction{Cluster: testCluster}}.appendFrame(nil), app)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the peer is heard", func() bool { return r.has("app 2 ") })
	dead.Store(true)
	eventually(t, "connections are refused", func() bool { return refusals.Load() > 2 })
	if r.has("down 2 refused=true") {
		t.Error("reported dead while its connection stands")
	}
	_ = conn.Close()
	eventually(t, "its death is reported", func() bool { return r.has("down 2 refused=true") })
}

// TestBrokenNetwork: a connection that breaks without a refusal is made again.
func TestBrokenNetwork(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.nodes[2].mu.Lock()
	for c := range p.nodes[2].mu.inbound {
		_ = c.Close()
	}
	p.nodes[2].mu.Unlock()
	eventually(t, "connected again", func() bool {
		for _, s := range p.nodes[1].Stats() {
			if !s.Inbound && s.Connects < 2 {
				return false
			}
		}
		return true
	})
	if r := p.recorders[1]; r.has("down 2 refused=true") || !r.has("down 2 refused=false") || !r.has("unreachable 2") {
		t.Errorf("events: %q", r.events)
	}
}

// TestStrangers: connections that do not follow the protocol are closed with a
// reason, and harm nobody else.
func TestStrangers(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	auth := func(id uint64) []byte { return binary.BigEndian.AppendUint64(nil, id) }
	hi := func(c class, from, to NodeID) []byte {
		return hello{c, from, to, Introduction{Cluster: testCluster}}.appendFrame(nil)
	}
	vote := appendRaftFrame(nil, 1, testMessages()[3])
	foreign := testMessages()[3]
	foreign.From = ptr(uint64(3))
	elsewhere := testMessages()[3]
	elsewhere.To = ptr(uint64(3))
	app := appendHeader(nil, kindApp, 1, 0)
	sealFrame(app)
	for _, tc := range []struct {
		name, reason string
		bytes        []byte
	}{
		{"unknown node", "is not a peer", slices.Concat(auth(9), hi(classControl, 9, 2))},
		{"no hello", "first frame is not a hello", slices.Concat(auth(1), helloSized())},
		{"somebody else's hello", "says hello as node 3", slices.Concat(auth(1), hi(classControl, 3, 2))},
		{"hello to somebody else", "to node 7", slices.Concat(auth(1), hi(classControl, 1, 7))},
		{"two hellos on bulk", "bulk hello from node 1 to node 2 on a bulk", slices.Concat(auth(1), hi(classBulk, 1, 2), hi(classBulk, 1, 2))},
		{"another hello of another class", "bulk hello from node 1 to node 2 on a control", slices.Concat(auth(1), hi(classControl, 1, 2), hi(classBulk, 1, 2))},
		{"another hello of somebody else", "hello from node 3", slices.Concat(auth(1), hi(classControl, 1, 2), hi(classControl, 3, 2))},
		{"vote on bulk", "MsgVote on a bulk connection", slices.Concat(auth(1), hi(classBulk, 1, 2), vote)},
		{"append on control", "MsgApp on a control connection", slices.Concat(auth(1), hi(classControl, 1, 2), appendRaftFrame(nil, 1, testMessages()[0]))},
		{"application frame on bulk", "application frame on a bulk", slices.Concat(auth(1), hi(classBulk, 1, 2), app)},
		{"another sender", "from node 3", slices.Concat(auth(1), hi(classControl, 1, 2), appendRaftFrame(nil, 1, foreign))},
		{"another receiver", "to node 3", slices.Concat(auth(1), hi(classControl, 1, 2), appendRaftFrame(nil, 1, elsewhere))},
		{"too large for control", "exceeds", slices.Concat(auth(1), hi(classControl, 1, 2), appendHeader(nil, kindApp, 1, MaxControlPayload+1))},
		{"garbage", "bad magic", slices.Concat(auth(1), hi(classControl, 1, 2), make([]byte, 100))},
	} {
		conn, err := net.Dial("tcp", p.addrs[2])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(tc.bytes); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(testWait))
		// The answer to a good hello may come before the end.
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: connection is not closed: %v", tc.name, err)
		}
		_ = conn.Close()
		eventually(t, tc.name+": reason "+tc.reason, func() bool {
			p.logs.mu.Lock()
			defer p.logs.mu.Unlock()
			return slices.ContainsFunc(p.logs.events, func(e string) bool { return strings.Contains(e, tc.reason) })
		})
	}
	if got := p.recorders[2].messages(); len(got) != 0 {
		t.Errorf("delivered %v", got)
	}
	// The strangers that proved to be node 1 have displaced its connections; it
	// has made new ones, or is about to.
	eventually(t, "the real node 1 is heard", func() bool {
		p.nodes[1].SendApp(1, 2, []byte("still here"))
		return p.recorders[2].has("app 1 still here")
	})
}

// TestOutages: a peer that is away for a moment is of interest to nobody, a longer absence has one
// line, and so has its end.
func TestOutages(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(c *Config) { c.ReportAfter = 300 * time.Millisecond })
	said := func(what string) (n int) {
		p.logs.mu.Lock()
		defer p.logs.mu.Unlock()
		for _, e := range p.logs.events {
			if strings.Contains(e, what) {
				n++
			}
		}
		return n
	}
	if n := said("unreachable") + said("connection refused"); n != 0 {
		t.Errorf("%d lines about a start", n)
	}
	p.nodes[2].Close()
	eventually(t, "the outage has a line", func() bool { return said("node 2 at "+p.addrs[2]+" has been unreachable for") > 0 })
	time.Sleep(400 * time.Millisecond)
	ln, err := net.Listen("tcp", p.addrs[2])
	if err != nil {
		t.Fatal(err)
	}
	p.start(2, ln)
	eventually(t, "its end has a line", func() bool { return said("node 2 at "+p.addrs[2]+" is reachable again after") > 0 })
	if n := said("has been unreachable"); n != 1 {
		t.Errorf("%d lines about one outage", n)
	}
}

// helloSized is a valid frame of a hello's length that is none.
func helloSized() []byte {
	b := appendHeader(nil, kindApp, 0, helloSize)
	b = append(b, make([]byte, helloSize)...)
	sealFrame(b)
	return b
}

// TestUnknownGroup: a late message for a group that is gone is dropped.
func TestUnknownGroup(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.nodes[1].SendRaft(5, testMessages()[3])
	p.nodes[1].SendApp(5, 2, []byte("lost"))
	p.nodes[1].SendApp(1, 2, []byte("heard"))
	eventually(t, "the last message arrives", func() bool { return p.recorders[2].has("app 1 heard") })
	p.nodes[2].Unregister(1)
	p.nodes[1].SendApp(1, 2, []byte("late"))
	eventually(t, "three messages are dropped", func() bool {
		for _, s := range p.nodes[2].Stats() {
			if s.Inbound && s.Class == "control" {
				return s.Dropped == 3
			}
		}
		return false
	})
	if len(p.recorders[2].messages()) != 0 || p.recorders[2].has("app 1 lost") || p.recorders[2].has("app 1 late") {
		t.Errorf("delivered: %v %q", p.recorders[2].messages(), p.recorders[2].events)
	}
}

// TestHandlersAreReplaced: who looks at the handlers while one is registered sees the former ones.
func TestHandlersAreReplaced(t *testing.T) {
	t.Parallel()
	tr := New(Config{Self: 1, Membership: &acquainted{}})
	tr.Register(1, &recorder{})
	before := *tr.handlers.Load()
	tr.Register(2, &recorder{})
	tr.Unregister(1)
	if len(before) != 1 || before[1] == nil || tr.handler(1) != nil || tr.handler(2) == nil {
		t.Errorf("the former handlers became %v, the present ones are %v", before, *tr.handlers.Load())
	}
}

// TestUnsendable: what the receiver would refuse is not sent.
func TestUnsendable(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	forwarded := testMessages()[10]
	forwarded.From = ptr(uint64(2))
	p.nodes[1].SendRaft(1, forwarded)
	p.nodes[1].SendRaft(1, edit(testMessages()[3], func(m *raftpb.Message) { m.Type = raftpb.MsgProp.Enum() }))
	p.nodes[1].SendApp(1, 2, make([]byte, MaxControlPayload+1))
	p.nodes[1].SendApp(1, 3, []byte("to nobody"))
	p.nodes[1].SendApp(1, 2, make([]byte, 1))
	p.nodes[1].SendApp(1, 2, make([]byte, MaxControlPayload))
	eventually(t, "the valid messages arrive", func() bool {
		return p.recorders[2].has("app 1 \x00") && p.recorders[2].has("app 1 "+string(make([]byte, MaxControlPayload)))
	})
	for _, s := range p.nodes[1].Stats() {
		if s.Class == "control" && !s.Inbound && s.Dropped != 3 {
			t.Errorf("dropped %d, want 3", s.Dropped)
		}
	}
}

// TestCloseWhileDialling: Close does not wait for peers that do not answer.
func TestCloseWhileDialling(t *testing.T) {
	t.Parallel()
	tr := New(Config{
		Self: 1, Peers: map[NodeID]string{2: "x", 3: "y"}, Membership: &acquainted{},
		Dial: func(ctx context.Context, id NodeID, _ string) (net.Conn, error) {
			if id == 3 {
				return nil, syscall.ECONNREFUSED
			}
			<-ctx.Done()
			return nil, ctx.Err()
		},
	})
	tr.Start(nil)
	tr.SendApp(1, 2, []byte("x"))
	tr.Close()
	tr.Close() // harmless
}
