package transport

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"
)

const (
	// redialMin and redialMax bound the pause before an attempt to connect; pauseAfter
	// chooses it.
	redialMin = 2 * time.Millisecond
	redialMax = 250 * time.Millisecond
	// redialRefused is the pause after an ErrRefused, which only an operator can mend.
	redialRefused = 2 * time.Second
	// waitingFrames is how many control frames wait for a connection that does not
	// stand; newer ones displace older ones, and appends do not wait at all.
	waitingFrames = 16
	// directWrite is the size from which entry data is written from where it is,
	// instead of being copied next to its header; in bytes.
	directWrite = 32 << 10
	bufferSize  = 64 << 10
)

// item is one frame to be sent: a raft message, a clock frame's payload, or an
// application's payload when both others are nil.
type item struct {
	group   uint64
	message *raftpb.Message
	clock   []byte
	app     []byte
	size    int // payload bytes
}

// outbound is the sending side of one connection: a bounded queue, and one
// goroutine that connects, encodes and writes.
type outbound struct {
	t         *Transport
	peer      *peer
	class     class
	maxBytes  int
	maxFrames int
	stats     counters
	wake      chan struct{} // capacity 1
	redial    chan struct{} // capacity 1: do not wait before the next attempt

	mu struct {
		sync.Mutex
		connected bool
		queue     []item
		bytes     int // sum of queue[i].size
		// beats and answers are the rounds of a control connection. They are no part of the
		// queue, and are kept only while the connection stands: they come again.
		beats, answers round
		// due: release was called since the rounds left last.
		due bool
	}
	// gathered: a beat was put since the last release. patient: one that waits for a round was.
	gathered, patient atomic.Bool

	// Owned by run.
	told  uint64 // Transport.news when the peer was last told what this node knows
	taken taken  // what take gave out last, for reuse
	buf   []byte
	heads []byte
}

func newOutbound(t *Transport, p *peer, c class) *outbound {
	o := &outbound{t: t, peer: p, class: c, maxFrames: t.cfg.QueueFrames,
		wake: make(chan struct{}, 1), redial: make(chan struct{}, 1)}
	o.maxBytes = t.cfg.ControlQueueBytes
	if c == classBulk {
		o.maxBytes = t.cfg.BulkQueueBytes
	}
	return o
}

// push queues an item; false when it was dropped.
func (o *outbound) push(it item) bool {
	o.mu.Lock()
	ok := true
	switch {
	case !o.mu.connected && o.class == classBulk:
		ok = false
	case !o.mu.connected && len(o.mu.queue) >= waitingFrames:
		o.mu.bytes -= o.mu.queue[0].size
		copy(o.mu.queue, o.mu.queue[1:])
		o.mu.queue = o.mu.queue[:len(o.mu.queue)-1]
		o.stats.dropped.Add(1)
	case len(o.mu.queue) >= o.maxFrames, len(o.mu.queue) > 0 && o.mu.bytes+it.size > o.maxBytes:
		ok = false
	}
	if ok {
		o.mu.queue = append(o.mu.queue, it)
		o.mu.bytes += it.size
	}
	wake := ok && o.mu.connected
	o.mu.Unlock()
	if !ok {
		o.stats.dropped.Add(1)
	}
	if wake {
		o.signal()
	}
	return ok
}

// putBeat gathers a beat until the next release, of a round if it is patient; false when it was
// dropped.
func (o *outbound) putBeat(b beat, patient bool) bool {
	o.mu.Lock()
	ok := o.mu.connected
	switch {
	case !ok:
	case b.Answer:
		o.mu.answers = o.mu.answers.put(b)
	default:
		o.mu.beats = o.mu.beats.put(b)
	}
	o.mu.Unlock()
	switch {
	case !ok:
		o.stats.dropped.Add(1)
	case patient:
		o.patient.Store(true)
	default:
		o.gathered.Store(true)
	}
	return ok
}

// release lets the beats leave that have been put before, unless all of them wait for a round.
func (o *outbound) release(round bool) {
	due := o.gathered.Load() && o.gathered.Swap(false)
	if (due || round) && o.patient.Load() {
		due = o.patient.Swap(false) || due
	}
	if !due {
		return
	}
	o.mu.Lock()
	o.mu.due = true
	o.mu.Unlock()
	o.signal()
}

func (o *outbound) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// taken is what is to be sent next.
type taken struct {
	beats, answers round
	items          []item
}

func (n *taken) empty() bool { return len(n.items)+len(n.beats)+len(n.answers) == 0 }

// take empties the queue, and the rounds when they are due. The result is valid until the next take.
func (o *outbound) take() *taken {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := &o.taken
	n.items, o.mu.queue, o.mu.bytes = o.mu.queue, n.items[:0], 0
	n.beats, n.answers = n.beats[:0], n.answers[:0]
	if o.mu.due {
		n.beats, o.mu.beats = o.mu.beats, n.beats
		n.answers, o.mu.answers = o.mu.answers, n.answers
		o.mu.due = false
	}
	return n
}

func (o *outbound) setConnected(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.connected = on
	if !on {
		o.stats.dropped.Add(uint64(len(o.mu.queue)))
		clear(o.mu.queue)
		o.mu.queue, o.mu.bytes = o.mu.queue[:0], 0
		o.mu.beats, o.mu.answers, o.mu.due = o.mu.beats[:0], o.mu.answers[:0], false
	}
}

// run connects, sends until the connection breaks, and connects again, as long as the peer is one.
func (o *outbound) run() {
	var pause time.Duration
	out := outage{o: o, since: time.Now()}
	for o.wait(pause) {
		conn, err := o.connect()
		if err != nil {
			if o.peer.ctx.Err() != nil {
				return
			}
			if o.class == classControl && errors.Is(err, syscall.ECONNREFUSED) && o.peer.refused() {
				o.t.eachHandler(func(h Handler) { h.PeerDown(o.peer.id, true) })
			}
			out.failed(err)
			pause = pauseAfter(pause, 0, err)
			continue
		}
		made := time.Now()
		out.ended()
		o.setConnected(true)
		o.stats.connects.Add(1)
		if o.class == classControl {
			o.peer.alive.Store(true)
			o.t.askClock(o.peer)
			o.t.eachHandler(func(h Handler) { h.PeerUp(o.peer.id) })
		}
		err = o.send(conn)
		_ = conn.Close()
		o.setConnected(false)
		if o.t.ctx.Err() != nil {
			return
		}
		o.t.cfg.Debugf("transport: %s connection to node %d broke: %v", o.class, o.peer.id, err)
		out = outage{o: o, since: time.Now()}
		o.t.eachHandler(func(h Handler) {
			if o.class == classControl {
				h.PeerDown(o.peer.id, false)
			}
			h.Unreachable(o.peer.id)
		})
		pause = pauseAfter(pause, time.Since(made), err)
	}
}

// pauseAfter chooses the pause before the next attempt to connect. last is the pause before the
// attempt that ended with err; lived is how long its connection stood, 0 when there was none.
//
// The pause doubles from attempt to attempt. Only a connection that lived longer than the longest
// pause ends the doubling, and is made again at once. Without that condition a peer that takes
// every connection and breaks it would be dialled as fast as this machine can.
func pauseAfter(last, lived time.Duration, err error) time.Duration {
	switch {
	case lived > redialMax:
		return 0
	case errors.Is(err, ErrRefused):
		return redialRefused
	}
	return min(max(2*last, redialMin), redialMax)
}

// wait waits for a pause, which redial cuts short; false when the transport closes.
func (o *outbound) wait(pause time.Duration) bool {
	if pause == 0 {
		return o.peer.ctx.Err() == nil
	}
	select {
	case <-time.After(pause):
		return true
	case <-o.redial:
		return true
	case <-o.peer.ctx.Done():
		return false
	}
}

// outage is the time without a connection. It is owned by run. Short ones, as at a
// start, are of interest to nobody: only a long one is logged, once, and its end.
type outage struct {
	o        *outbound
	since    time.Time
	tried    bool
	reported bool
}

// failed notes an attempt to connect that failed.
func (u *outage) failed(err error) {
	cfg, p := &u.o.t.cfg, u.o.peer
	if !u.tried {
		u.tried = true
		cfg.Debugf("transport: %s connection to node %d at %s: %v", u.o.class, p.id, p.addr, err)
	}
	if lasts := time.Since(u.since); u.o.class == classControl && !u.reported && lasts >= cfg.ReportAfter {
		u.reported = true
		cfg.Logf("transport: node %d at %s has been unreachable for %v: %v", p.id, p.addr, lasts.Round(time.Millisecond), err)
	}
}

// ended notes that the connection stands.
func (u *outage) ended() {
	cfg, p := &u.o.t.cfg, u.o.peer
	cfg.Debugf("transport: %s connection to node %d at %s is up", u.o.class, p.id, p.addr)
	if u.reported {
		cfg.Logf("transport: node %d at %s is reachable again after %v", p.id, p.addr, time.Since(u.since).Round(time.Millisecond))
	}
}

// connect dials and says hello.
func (o *outbound) connect() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(o.peer.ctx, o.t.cfg.HandshakeTimeout)
	defer cancel()
	conn, err := o.t.cfg.Dial(ctx, o.peer.id, o.peer.addr)
	if err != nil {
		return nil, errors.Wrap(err, "connect")
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // Close must not wait for the answer
	defer stop()
	o.told = o.t.news.Load() // before Introduce: what comes after it is told again
	in, err := greet(conn, o.class, o.t.cfg.Self, o.peer.id, o.t.cfg.Membership.Introduce(), time.Now().Add(o.t.cfg.HandshakeTimeout))
	if err == nil {
		err = o.t.meet(o.peer.id, in)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// tellNews says hello again if this node knows more than when it last did.
func (o *outbound) tellNews(conn net.Conn) error {
	news := o.t.news.Load()
	if o.class != classControl || news == o.told {
		return nil
	}
	o.told = news
	return o.write(conn, hello{o.class, o.t.cfg.Self, o.peer.id, o.t.cfg.Membership.Introduce()}.appendFrame(nil))
}

// send writes queued items until the connection breaks or the transport closes.
func (o *outbound) send(conn net.Conn) error {
	// The peer sends nothing on this connection, so a read returns when it breaks.
	broken := make(chan error, 1)
	o.t.wg.Go(func() {
		var b [1]byte
		n, err := conn.Read(b[:])
		if n > 0 {
			err = malformed("peer sent data on a connection that carries none in this direction")
		}
		_ = conn.Close() // also wakes a write that is stuck
		broken <- err
	})
	stop := context.AfterFunc(o.peer.ctx, func() { _ = conn.Close() })
	defer stop()
	for {
		if err := o.tellNews(conn); err != nil {
			return err
		}
		next := o.take()
		if next.empty() {
			select {
			case <-o.wake:
				o.t.cfg.Crowd.Pause()
				continue
			case err := <-broken:
				return err
			case <-o.peer.ctx.Done():
				return o.peer.ctx.Err()
			}
		}
		err := o.writeTaken(conn, next)
		clear(next.items) // let go of what has been sent
		if err != nil {
			return err
		}
	}
}

// writeTaken encodes rounds and items into as few writes as is sensible.
func (o *outbound) writeTaken(conn net.Conn, n *taken) error {
	o.buf = o.buf[:0]
	o.addBeats(kindBeats, n.beats)
	o.addBeats(kindBeatAnswers, n.answers)
	for i := range n.items {
		it := &n.items[i]
		switch {
		case it.clock != nil:
			o.buf = appendPayloadFrame(o.buf, kindClock, 0, it.clock)
		case it.message == nil:
			o.buf = appendPayloadFrame(o.buf, kindApp, it.group, it.app)
		case it.size < directWrite:
			o.buf = appendRaftFrame(o.buf, it.group, it.message)
		default:
			if err := o.writeLarge(conn, it); err != nil {
				return err
			}
		}
		if len(o.buf) >= bufferSize {
			if err := o.flush(conn); err != nil {
				return err
			}
		}
		o.stats.frames.Add(1)
		o.stats.bytes.Add(uint64(headerSize + it.size))
	}
	return o.flush(conn)
}

// addBeats encodes a round into a frame, or several when it has more than maxBeats.
func (o *outbound) addBeats(kind frameKind, r round) {
	for part := range slices.Chunk(r, maxBeats) {
		start := len(o.buf)
		o.buf = appendBeatsFrame(o.buf, kind, part)
		o.stats.frames.Add(1)
		o.stats.bytes.Add(uint64(len(o.buf) - start))
	}
}

// writeLarge writes a frame whose data is large without copying the data.
func (o *outbound) writeLarge(conn net.Conn, it *item) error {
	start := len(o.buf)
	o.buf = appendHeader(o.buf, kindRaft, it.group, it.size)
	o.buf = appendMessageHead(o.buf, it.message)
	o.heads = o.heads[:0]
	for _, e := range it.message.GetEntries() {
		o.heads = appendEntryHead(o.heads, e)
	}
	sealHeader(o.buf[start:], raftFrameCRC(o.buf[start:], o.heads, it.message))
	for i, e := range it.message.GetEntries() {
		o.buf = append(o.buf, o.heads[i*entrySize:(i+1)*entrySize]...)
		data := e.GetData()
		if len(data) < directWrite {
			o.buf = append(o.buf, data...)
			continue
		}
		if err := o.flush(conn); err != nil {
			return err
		}
		if err := o.write(conn, data); err != nil {
			return err
		}
	}
	return nil
}

func (o *outbound) flush(conn net.Conn) error {
	if len(o.buf) == 0 {
		return nil
	}
	err := o.write(conn, o.buf)
	o.buf = o.buf[:0]
	if cap(o.buf) > 4*bufferSize {
		o.buf = nil
	}
	return err
}

// write writes b in pieces, each with a deadline of its own: a peer that takes data slowly keeps
// its connection, however large b is.
func (o *outbound) write(conn net.Conn, b []byte) error {
	for len(b) > 0 {
		piece := b[:min(len(b), bufferSize)]
		if err := conn.SetWriteDeadline(time.Now().Add(o.t.cfg.WriteTimeout)); err != nil {
			return errors.Wrap(err, "set write deadline")
		}
		if _, err := conn.Write(piece); err != nil {
			return errors.Wrap(err, "write")
		}
		b = b[len(piece):]
	}
	return nil
}
