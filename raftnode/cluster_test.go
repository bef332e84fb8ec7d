package raftnode

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

const (
	testGroup   = 1
	testCluster = 77
	testWait    = 20 * time.Second // only ever reached by a failing test
)

// TestMain checks, when all tests have passed, that every goroutine of the
// package has ended.
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

// request is a Request of the tests; result gets exactly one value.
type request struct {
	data   string
	result chan outcome
}

type outcome struct {
	index uint64
	err   error
}

func newRequest(data string) *request { return &request{data: data, result: make(chan outcome, 1)} }

func (r *request) Size() int { return len(r.data) + 4 }

// acquainted is the membership of nodes that have met before.
type acquainted struct{}

func (acquainted) Introduce() transport.Introduction {
	return transport.Introduction{Cluster: testCluster}
}
func (acquainted) Meet(uint64, transport.Introduction) (bool, error) { return false, nil }
func (acquainted) Formed() bool                                      { return true }

// machine keeps every block it is given and answers requests with the block's index.
type machine struct {
	id uint64
	// forgetful machines keep nothing, for benchmarks.
	forgetful bool
	gate      atomic.Pointer[chan struct{}] // not nil: Apply waits until it is closed

	mu struct {
		sync.Mutex
		dead     bool // crashed: nobody hears answers any more
		index    uint64
		log      []applied // entries with data, by index
		states   []State
		apps     []string
		applyErr error
	}
}

type applied struct {
	index, term uint64
	block       string
}

func (m *machine) BuildBlock(reqs []Request) ([]byte, error) {
	size := 0
	for _, r := range reqs {
		size += r.Size()
	}
	out := make([]byte, 0, size)
	for _, r := range reqs {
		data := r.(*request).data
		if data == "refuse" {
			return nil, errors.New("refused")
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
		out = append(out, data...)
	}
	return out, nil
}

func (m *machine) Apply(run []Committed) error {
	if gate := m.gate.Load(); gate != nil {
		<-*gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range run {
		if err := m.take(&run[i]); err != nil {
			return err
		}
	}
	for i := range run {
		for _, r := range run[i].Requests {
			if !m.mu.dead {
				r.(*request).result <- outcome{index: run[i].Index}
			}
		}
	}
	return nil
}

// take is called with the lock.
func (m *machine) take(e *Committed) error {
	if m.mu.applyErr != nil {
		return m.mu.applyErr
	}
	if m.mu.index != 0 && e.Index != m.mu.index+1 {
		return errors.Newf("entry %d applied after %d", e.Index, m.mu.index)
	}
	m.mu.index = e.Index
	if m.forgetful {
		return nil
	}
	if len(e.Data) > 0 {
		m.mu.log = append(m.mu.log, applied{e.Index, e.Term, string(e.Data)})
	}
	if len(e.Requests) > 0 {
		want, _ := m.BuildBlock(e.Requests)
		if string(want) != string(e.Data) {
			return errors.Newf("block %d came back with other requests than it was built of", e.Index)
		}
	}
	return nil
}

func (m *machine) Fail(reqs []Request, err error) {
	for _, r := range reqs {
		r.(*request).result <- outcome{err: err}
	}
}

func (m *machine) HandleApp(from uint64, payload []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.apps = append(m.mu.apps, fmt.Sprintf("%d: %s", from, payload))
}

func (m *machine) Fill(Snapshot) {}

func (m *machine) StateChanged(s State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.states = append(m.mu.states, s)
}

func (m *machine) blocks() []applied {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mu.log)
}

// entries unpacks the requests of all applied blocks.
func (m *machine) entries() []string {
	var out []string
	for _, a := range m.blocks() {
		for b := a.block; len(b) > 0; {
			n := binary.BigEndian.Uint32([]byte(b[:4]))
			out = append(out, b[4:4+n])
			b = b[4+n:]
		}
	}
	return out
}

// cluster is a group of nodes in one process: real sockets on loopback, logs in
// crashable memory.
type cluster struct {
	t     testing.TB
	addrs map[uint64]string
	nodes map[uint64]*testNode
	// listeners of the first start, so that no node dials before all listen.
	listeners map[uint64]net.Listener
	// configure changes a node's configuration before it starts; may be nil.
	configure func(*Config)
	forgetful bool   // of the machines
	dir       string // on the real disk, instead of memory, when not empty
	// wrap puts a file system around a node's own; may be nil.
	wrap func(id uint64, fs vfs.FS) vfs.FS
}

type testNode struct {
	host *Host
	*Node
	machine   *machine
	transport *transport.Transport
	log       *wal.Log
	fs        *vfs.MemFS
	running   bool
}

func newCluster(t testing.TB, n int, configure func(*Config)) *cluster {
	c := makeCluster(t, n, configure)
	c.startAll()
	return c
}

// makeCluster reserves addresses; startAll starts the nodes.
func makeCluster(t testing.TB, n int, configure func(*Config)) *cluster {
	c := &cluster{t: t, addrs: map[uint64]string{}, nodes: map[uint64]*testNode{}, listeners: map[uint64]net.Listener{}, configure: configure}
	for id := uint64(1); id <= uint64(n); id++ {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.listeners[id], c.addrs[id] = ln, ln.Addr().String()
		c.nodes[id] = &testNode{fs: vfs.NewCrashableMem()}
	}
	t.Cleanup(c.stopAll)
	return c
}

func (c *cluster) startAll() {
	c.t.Helper()
	for id, ln := range c.listeners {
		c.startOn(id, ln)
	}
}

func (c *cluster) stopAll() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // no hand-over when a test is over
	for _, n := range c.nodes {
		if n.running {
			n.transport.Close()
			_ = n.Stop(ctx)
			n.host.Close()
			_ = n.log.Close()
		}
	}
}

func (c *cluster) start(id uint64) {
	c.t.Helper()
	var ln net.Listener
	c.eventually("listen again", func() (err error) {
		ln, err = net.Listen("tcp", c.addrs[id])
		return err
	})
	c.startOn(id, ln)
}

func (c *cluster) startOn(id uint64, ln net.Listener) {
	c.t.Helper()
	n := c.nodes[id]
	fs := vfs.FS(n.fs)
	if c.wrap != nil {
		fs = c.wrap(id, fs)
	}
	var err error
	opts := wal.Options{FS: fs, Dir: "wal", Cluster: testCluster, Node: id, SegmentSize: 1 << 20}
	if c.dir != "" {
		opts = wal.Options{Dir: filepath.Join(c.dir, fmt.Sprint(id)), Cluster: testCluster, Node: id}
	}
	n.log, err = wal.Open(opts)
	if err != nil {
		c.t.Fatal(err)
	}
	var voters []uint64
	for v := range c.addrs {
		voters = append(voters, v)
	}
	slices.Sort(voters)
	err = n.log.Bootstrap(testGroup, wal.Mark{Index: 1, Term: 1, ConfState: &raftpb.ConfState{Voters: voters}})
	if err != nil && !errors.Is(err, wal.ErrNotEmpty) {
		c.t.Fatal(err)
	}
	n.machine = &machine{id: id, forgetful: c.forgetful}
	n.transport = transport.New(transport.Config{Self: id, Peers: c.addrs, Dial: plainDial(id), Accept: plainAccept, Membership: acquainted{}})
	cfg := Config{ID: id, Group: testGroup, Machine: n.machine}
	if testing.Verbose() {
		cfg.Logf = func(f string, a ...any) {
			fmt.Fprintf(os.Stderr, "%s n%d %s\n", time.Now().Format("05.000"), id, fmt.Sprintf(f, a...))
		}
	}
	if c.configure != nil {
		c.configure(&cfg)
	}
	n.host = NewHost(HostConfig{Log: n.log, Transport: n.transport, TickInterval: cfg.TickInterval})
	if cfg.budgets != nil {
		n.host.budgets = cfg.budgets
	}
	n.Node, err = n.host.Start(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	n.transport.Start(ln)
	n.running = true
}

// plainDial connects without cryptography; the first 8 bytes say who calls.
func plainDial(self uint64) func(context.Context, uint64, string) (net.Conn, error) {
	return func(ctx context.Context, _ uint64, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		_, err = c.Write(binary.BigEndian.AppendUint64(nil, self))
		return c, err
	}
}

func plainAccept(_ context.Context, raw net.Conn) (uint64, net.Conn, error) {
	var b [8]byte
	if _, err := io.ReadFull(raw, b[:]); err != nil {
		_ = raw.Close()
		return 0, nil, err
	}
	return binary.BigEndian.Uint64(b[:]), raw, nil
}

func message(typ string) *raftpb.Message {
	t := raftpb.MessageType(raftpb.MessageType_value[typ])
	return &raftpb.Message{Type: &t}
}

// crash cuts a node's power: connections break, nobody hears its answers any
// more, and what was not synced is gone.
func (c *cluster) crash(id uint64) {
	n := c.nodes[id]
	n.machine.mu.Lock()
	n.machine.mu.dead = true
	n.machine.mu.Unlock()
	fs := n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.transport.Close()
	n.driver.fail(errors.New("power failure"), "run")
	_ = n.Stop(context.Background())
	n.host.Close()
	_ = n.log.Close()
	n.fs, n.running = fs, false
}

// eventually waits until f returns nil.
func (c *cluster) eventually(what string, f func() error) {
	c.t.Helper()
	deadline := time.Now().Add(testWait)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// leader waits for a serving leader that all running nodes know.
func (c *cluster) leader() *testNode {
	c.t.Helper()
	var leader *testNode
	c.eventually("elect a leader", func() error {
		leader = nil
		ids := map[uint64]bool{}
		for _, n := range c.nodes {
			if !n.running {
				continue
			}
			s := n.Status()
			ids[s.Leader] = true
			if s.Serving {
				leader = n
			}
		}
		if leader == nil || len(ids) != 1 || !ids[leader.cfg.ID] {
			return errors.Newf("leaders known: %v", ids)
		}
		return nil
	})
	return leader
}

// submit proposes wherever the leader is, until it is committed, and retries what
// failed for certain. An unknown outcome is returned.
func (c *cluster) submit(data string) outcome {
	deadline := time.Now().Add(testWait)
	for time.Now().Before(deadline) {
		for _, n := range c.nodes {
			if n.Node == nil || !n.Status().Serving {
				continue
			}
			r := newRequest(data)
			if n.Submit(r) != nil {
				continue
			}
			select {
			case o := <-r.result:
				if o.err == nil || errors.Is(o.err, ErrIndefinite) {
					return o
				}
			case <-time.After(testWait):
				return outcome{err: errors.New("no answer")}
			}
		}
		time.Sleep(time.Millisecond)
	}
	return outcome{err: errors.New("no leader took the request")}
}

// agree waits until all running nodes have applied the same, and returns it.
func (c *cluster) agree() []string {
	c.t.Helper()
	last := c.submit("last")
	if last.err != nil {
		c.t.Fatalf("write a last entry: %v", last.err)
	}
	var first *testNode
	for _, n := range c.nodes {
		if !n.running {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), testWait)
		if err := n.WaitApplied(ctx, last.index); err != nil {
			c.t.Fatalf("node %d: %v", n.cfg.ID, err)
		}
		cancel()
		if first == nil {
			first = n
		} else if a, b := first.machine.blocks(), n.machine.blocks(); !slices.Equal(a, b) {
			c.t.Fatalf("nodes %d and %d have applied different blocks: %d and %d of them", first.cfg.ID, n.cfg.ID, len(a), len(b))
		}
	}
	return first.machine.entries()
}
