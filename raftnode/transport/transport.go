package transport

import (
	"context"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/gather"
)

// NodeID is a node's Raft id, the same in all groups, not 0.
type NodeID = uint64

// Handler receives what concerns one group. Its methods are called on the
// transport's goroutines, concurrently for different connections; they must not
// block and must not call Close.
type Handler interface {
	// HandleRaft gets a validated message; m.From is the authenticated sender.
	HandleRaft(group uint64, from NodeID, m *raftpb.Message)
	// HandleBeat is HandleRaft for a heartbeat, or the answer to one, of a round that has one for
	// many groups. What the handler sends to from before it returns leaves with what the other
	// groups of the round send.
	HandleBeat(group uint64, from NodeID, b Beat)
	// HandleApp gets an application's payload, which it owns.
	HandleApp(group uint64, from NodeID, payload []byte)
	// PeerUp: the control connection to a peer stands.
	PeerUp(id NodeID)
	// PeerDown: the control connection to a peer broke. refused = true follows
	// when the peer's machine answers but nobody listens there: its process is gone.
	PeerDown(id NodeID, refused bool)
	// Unreachable: appends to a peer were dropped or may be lost.
	Unreachable(id NodeID)
}

// Config configures a Transport. Zero limits mean the defaults.
type Config struct {
	Self NodeID
	// Peers are the other nodes' addresses at first (SetPeers); an entry for Self is ignored.
	Peers map[NodeID]string
	// Dial opens an authenticated connection to a peer: it must fail when whoever
	// answers is not id. An error that matches syscall.ECONNREFUSED means that
	// nobody listens.
	Dial func(ctx context.Context, id NodeID, addr string) (net.Conn, error)
	// Accept authenticates a connection that a peer has opened and says whose it
	// is. It closes raw on error. How many connections may wait in Accept at one time
	// is up to the listener.
	Accept func(ctx context.Context, raw net.Conn) (peer NodeID, c net.Conn, err error)
	// Membership decides with whom messages are exchanged. Required.
	Membership Membership
	// Logf, when not nil, gets what an operator should know: a peer that has been
	// unreachable for ReportAfter, and its return.
	Logf func(format string, args ...any)
	// Debugf, when not nil, gets every connection that is made, breaks or fails.
	Debugf func(format string, args ...any)
	// Refused, when not nil, gets every inbound connection that was refused, and
	// why; nil: Logf gets it.
	Refused func(raw net.Conn, err error)
	// ReportAfter is how long a peer is unreachable before that is worth a line;
	// 0 means 5 s.
	ReportAfter time.Duration

	// QueueFrames bounds each queue to a peer; 0 means 4096.
	QueueFrames int
	// ControlQueueBytes and BulkQueueBytes bound a queue's payload; 0 means 8 MiB
	// and 128 MiB. A single frame always fits into an empty queue.
	ControlQueueBytes, BulkQueueBytes int
	// HandshakeTimeout bounds Dial, Accept and the hello; 0 means 10 s.
	HandshakeTimeout time.Duration
	// WriteTimeout is how long a peer may take for 64 KiB before its connection is
	// given up; 0 means 10 s.
	WriteTimeout time.Duration

	// Crowd, when not nil, is given a moment before a write to a connection, in which others add
	// to it.
	Crowd *gather.Crowd

	// Now is this node's wall clock, which peers compare with theirs (Clocks); nil
	// means time.Now.
	Now func() time.Time
	// Mark is a number of the caller's that peers learn together with the clock; nil means 0.
	Mark func() int64
	// ClockInterval is how often a peer is asked for its time; 0 means 1 s.
	ClockInterval time.Duration
}

func (c Config) withDefaults() Config {
	if c.QueueFrames == 0 {
		c.QueueFrames = 4096
	}
	if c.ControlQueueBytes == 0 {
		c.ControlQueueBytes = 8 << 20
	}
	if c.BulkQueueBytes == 0 {
		c.BulkQueueBytes = 128 << 20
	}
	if c.HandshakeTimeout == 0 {
		c.HandshakeTimeout = 10 * time.Second
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 10 * time.Second
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Mark == nil {
		c.Mark = func() int64 { return 0 }
	}
	if c.ClockInterval == 0 {
		c.ClockInterval = time.Second
	}
	if c.Debugf == nil {
		c.Debugf = func(string, ...any) {}
	}
	if c.Refused == nil {
		c.Refused = func(raw net.Conn, err error) {
			c.Logf("transport: connection from %s refused: %v", raw.RemoteAddr(), err)
		}
	}
	if c.ReportAfter == 0 {
		c.ReportAfter = 5 * time.Second
	}
	return c
}

// Transport connects one node with its peers. Safe for concurrent use.
type Transport struct {
	cfg     Config
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	started time.Time // of New; carries the monotonic clock
	// peers is replaced, never changed, by SetPeers.
	peers atomic.Pointer[map[NodeID]*peer]
	// news counts how often this node has learned something about members.
	news atomic.Uint64
	// handlers is replaced, never changed.
	handlers atomic.Pointer[map[uint64]Handler]

	mu struct {
		sync.Mutex
		closed   bool
		started  bool
		listener net.Listener
		// inbound holds every accepted connection, authenticated or not, so that
		// Close can close it.
		inbound map[net.Conn]struct{}
		// current is the authenticated connection of each peer and class; a newer
		// one replaces it, because a peer dials again only when it has given up.
		current map[inboundKey]net.Conn
	}
}

type inboundKey struct {
	peer  NodeID
	class class
}

// peer is another node at one address, until SetPeers says otherwise.
type peer struct {
	// ctx ends when the node is a peer no longer, at least not at this address. No connection of
	// the peer outlives it.
	ctx    context.Context
	cancel context.CancelFunc
	// running are the goroutines of out, before those of the same node at its former address, nil if
	// there are none. before ends first, so that the handlers hear of the end of the old connections
	// before they hear of the new one.
	running, before *sync.WaitGroup

	id    NodeID
	addr  string
	out   [2]*outbound // by class.index()
	in    [2]counters
	local counters // dropped before a queue was chosen
	clock peerClock

	// A peer is known to be dead when it was alive, none of its control
	// connections to us is left, and it refuses ours. alive is set by every control
	// connection that is made, in either direction, and cleared by the report;
	// inbound counts the control connections from the peer.
	alive   atomic.Bool
	inbound atomic.Int32
}

// refused notes that nobody listens at the peer's address, and says whether that
// is news of its death.
func (p *peer) refused() bool { return p.inbound.Load() == 0 && p.alive.Swap(false) }

// New makes a transport; nothing happens before Start.
func New(cfg Config) *Transport {
	cfg = cfg.withDefaults()
	t := &Transport{cfg: cfg, started: time.Now()}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.handlers.Store(&map[uint64]Handler{})
	t.mu.inbound = make(map[net.Conn]struct{})
	t.mu.current = make(map[inboundKey]net.Conn)
	t.peers.Store(&map[NodeID]*peer{})
	t.SetPeers(cfg.Peers)
	return t
}

func (t *Transport) newPeer(id NodeID, addr string, before *peer) *peer {
	p := &peer{id: id, addr: addr, running: new(sync.WaitGroup)}
	if before != nil {
		p.before = before.running
	}
	p.ctx, p.cancel = context.WithCancel(t.ctx)
	for _, c := range []class{classControl, classBulk} {
		p.out[c.index()] = newOutbound(t, p, c)
	}
	return p
}

// SetPeers says who the other nodes are from now on, and at which addresses; an entry for Self is
// ignored. The connections with a node that is missing, or has another address now, are closed at once,
// in both directions. The others are left alone.
func (t *Transport) SetPeers(addrs map[NodeID]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		return
	}
	old, next := *t.peers.Load(), make(map[NodeID]*peer, len(addrs))
	for id, addr := range addrs {
		switch p := old[id]; {
		case id == t.cfg.Self:
		case p != nil && p.addr == addr:
			next[id] = p
		default:
			next[id] = t.newPeer(id, addr, p)
			if t.mu.started {
				t.dial(next[id])
			}
		}
	}
	t.peers.Store(&next) // first: whoever dials in after this is refused
	for id, p := range old {
		if next[id] == p {
			continue
		}
		p.cancel()
		for _, c := range []class{classControl, classBulk} {
			if conn := t.mu.current[inboundKey{id, c}]; conn != nil {
				_ = conn.Close()
			}
		}
	}
}

// dial starts the connections to a peer. The caller holds t.mu.
func (t *Transport) dial(p *peer) {
	for _, o := range p.out {
		p.running.Add(1)
		t.wg.Go(func() {
			defer p.running.Done()
			if p.before != nil {
				p.before.Wait()
			}
			o.run()
		})
	}
}

// peer returns a peer, nil when the node is none.
func (t *Transport) peer(id NodeID) *peer { return (*t.peers.Load())[id] }

// Register makes h the handler of a group; what arrives for other groups is dropped.
func (t *Transport) Register(group uint64, h Handler) { t.setHandler(group, h) }

// Unregister removes a group's handler. A call that is under way may still finish.
func (t *Transport) Unregister(group uint64) { t.setHandler(group, nil) }

func (t *Transport) setHandler(group uint64, h Handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := maps.Clone(*t.handlers.Load())
	if h == nil {
		delete(m, group)
	} else {
		m[group] = h
	}
	t.handlers.Store(&m)
}

// Start dials all peers and accepts from ln, which the transport closes; ln may
// be nil. It is called once.
func (t *Transport) Start(ln net.Listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed || t.mu.started {
		if ln != nil {
			_ = ln.Close()
		}
		return
	}
	t.mu.started = true
	for _, p := range *t.peers.Load() {
		t.dial(p)
	}
	t.wg.Go(t.askClocks)
	if ln != nil {
		t.mu.listener = ln
		t.wg.Go(func() { t.acceptLoop(ln) })
	}
}

// Close closes all connections and waits for the transport's goroutines.
func (t *Transport) Close() {
	t.mu.Lock()
	t.mu.closed = true
	t.cancel()
	if t.mu.listener != nil {
		_ = t.mu.listener.Close()
	}
	for c := range t.mu.inbound {
		_ = c.Close()
	}
	t.mu.Unlock()
	t.wg.Wait()
}

// SendRaft sends a message to m.To, which with its entries must not be changed
// any more. It never blocks; what cannot be queued is dropped. Heartbeats without a context, and
// answers to such, wait for the next Flush; of a group only the newest of each leaves.
func (t *Transport) SendRaft(group uint64, m *raftpb.Message) {
	p := t.peer(m.GetTo())
	if p == nil {
		return
	}
	valid := Validate(m) == nil
	if valid {
		m = pack(m)
	}
	c := classOf(m)
	size := messageLength(m)
	// A node that is not formed sends nothing; see Membership.
	// From differs when Raft forwards another member's read after losing the
	// lead; the receiver would refuse it, and the reader asks again by itself.
	if !t.cfg.Membership.Formed() || m.GetFrom() != t.cfg.Self || size > c.maxPayload() || !valid {
		p.local.dropped.Add(1)
		return
	}
	if b, ok := BeatOf(m); ok {
		p.out[c.index()].putBeat(beat{group, b}, false)
		return
	}
	if !p.out[c.index()].push(item{group: group, message: m, size: size}) && c == classBulk {
		t.unreachable(group, p.id)
	}
}

// SendBeat is SendRaft for a heartbeat without a context, or an answer to one, that waits for a Flush
// of a round.
func (t *Transport) SendBeat(group uint64, to NodeID, b Beat) {
	p := t.peer(to)
	switch {
	case p == nil:
	case !t.cfg.Membership.Formed() || b.Term == 0:
		p.local.dropped.Add(1)
	default:
		p.out[classControl.index()].putBeat(beat{group, b}, true)
	}
}

// Flush lets the heartbeats and answers leave that SendRaft has gathered, and with a round those of
// SendBeat: for each peer a frame of heartbeats and one of answers, in one write.
func (t *Transport) Flush(round bool) {
	for _, p := range *t.peers.Load() {
		p.out[classControl.index()].release(round)
	}
}

// SendApp sends an application's payload of at most MaxControlPayload bytes,
// which must not be changed any more. It never blocks and may drop.
func (t *Transport) SendApp(group uint64, to NodeID, payload []byte) {
	p := t.peer(to)
	if p == nil {
		return
	}
	if !t.cfg.Membership.Formed() || len(payload) > MaxControlPayload {
		p.local.dropped.Add(1)
		return
	}
	p.out[classControl.index()].push(item{group: group, app: payload, size: len(payload)})
}

func (t *Transport) handler(group uint64) Handler { return (*t.handlers.Load())[group] }

func (t *Transport) unreachable(group uint64, id NodeID) {
	if h := t.handler(group); h != nil {
		h.Unreachable(id)
	}
}

func (t *Transport) eachHandler(f func(Handler)) {
	for _, h := range *t.handlers.Load() {
		f(h)
	}
}
