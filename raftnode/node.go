package raftnode

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/wal"
)

// Node runs one member of a group: the shell around a Core. All methods are safe
// for concurrent use, but must not be called from inside the machine's methods,
// except Submit, SendApp, AppendNote and SetMark, which never wait.
type Node struct {
	cfg   Config
	group *wal.Group
	start time.Time

	core     *Core // owned by the loop goroutine
	inbox    *inbox
	queue    *submitQueue
	appender *appender
	applier  *applier

	// Written by the loop, read by anybody.
	state    atomic.Pointer[State]
	progress atomic.Pointer[[]Progress] // nil when not leading
	inflight atomic.Int64
	// applied is the index up to which the core knows the machine to have applied: it may
	// still read the log from there on.
	applied   atomic.Uint64
	stalled   atomic.Bool
	loopDone  chan struct{}
	stopLoop  chan struct{} // closed by Stop
	tickerEnd chan struct{}

	failed struct {
		sync.Mutex
		err error
		ch  chan struct{} // closed when err is set
	}
	isFailed atomic.Bool

	stop sync.Once
}

// readTimeoutElections is how many election timeouts a read waits for a quorum: long
// enough for an election that has to be held twice, and short enough that whoever
// asked still waits for the answer and can go to another node.
const readTimeoutElections = 5

// Start starts a member from its log. Entries behind the group's newest mark are
// given to the machine again as they become known to be committed.
func Start(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return nil, errors.Wrap(err, "draw an incarnation")
	}
	n := &Node{
		cfg:       cfg,
		group:     cfg.Log.Group(cfg.Group),
		start:     time.Now(),
		inbox:     newInbox(),
		loopDone:  make(chan struct{}),
		stopLoop:  make(chan struct{}),
		tickerEnd: make(chan struct{}),
	}
	_, confState, err := n.group.InitialState()
	if err != nil {
		return nil, errors.Wrap(err, "read the group's state")
	}
	if len(confState.GetVoters()) == 0 {
		return nil, errors.Newf("group %d has no voters: its log has not been bootstrapped", cfg.Group)
	}
	applied := n.group.Mark().Index
	n.core, err = NewCore(CoreConfig{
		ID:                cfg.ID,
		Group:             cfg.Group,
		Storage:           n.group,
		Applied:           applied,
		Incarnation:       binary.LittleEndian.Uint64(nonce[:]),
		HeartbeatTicks:    cfg.HeartbeatTicks,
		ElectionTicks:     cfg.ElectionTicks,
		ReadTimeoutTicks:  readTimeoutElections * cfg.ElectionTicks,
		MaxInflightBlocks: cfg.MaxInflightBlocks,
		Vet:               cfg.Vet,
		Logger:            NewLogger(cfg.Logf),
	})
	if err != nil {
		return nil, err
	}
	n.failed.ch = make(chan struct{})
	n.queue = &submitQueue{maxBytes: cfg.QueueBytes, maxRequests: cfg.QueueRequests, wake: n.inbox.signal}
	n.appender = newAppender(n)
	n.applier = newApplier(n, applied)
	n.applied.Store(applied)
	initial := n.core.State()
	n.state.Store(&initial)

	go n.appender.run()
	go n.applier.run()
	go n.loop()
	go n.ticker()
	cfg.Transport.Register(cfg.Group, n)
	return n, nil
}

// Submit gives a request to the leader's queue. An error is definite, and the
// request will not be heard of again: *NotLeaderError, ErrQueueFull, ErrTooLarge,
// ErrStopped. Otherwise the machine gets it back, through Apply or Fail.
func (n *Node) Submit(r Request) error { return n.queue.add(r) }

// ReadIndex returns an index such that a read of a state that has applied it is
// linearizable. It costs one round trip to a quorum, shared by all callers that
// wait at the same time. Errors: ErrReadTimeout, ErrStopped, or ctx's.
func (n *Node) ReadIndex(ctx context.Context) (uint64, error) {
	answer := make(chan readAnswer, 1)
	if !n.inbox.put(func(m *mail) { m.readers = append(m.readers, answer) }) {
		return 0, ErrStopped
	}
	select {
	case a := <-answer:
		return a.index, a.err
	case <-ctx.Done():
		return 0, errors.Wrap(context.Cause(ctx), "wait for a quorum to confirm a read")
	}
}

// WaitApplied waits until the machine has applied index. Errors: ErrStopped, or ctx's.
func (n *Node) WaitApplied(ctx context.Context, index uint64) error {
	return n.applier.applied.wait(ctx, index, n.loopDone)
}

// AppendNote puts data into one of the group's slots, durably; it shares the
// group commit. done is called on the append goroutine, or at once on the
// caller's when the node has stopped, and must be quick.
func (n *Node) AppendNote(slot uint8, data []byte, done func(error)) {
	if !n.appender.push(appendItem{note: &wal.Note{Slot: slot, Data: data}, done: done}) {
		done(ErrStopped)
	}
}

// SetMark records that everything up to m.Index is durable in the machine, so
// that the log may forget it. It is written with the next write, without a sync of
// its own. Without a ConfState the group's present one is kept. It does nothing and
// returns false while Raft does not know yet that m.Index is applied: it would miss
// the entries before it. Come again with a newer one.
func (n *Node) SetMark(m wal.Mark) bool {
	if m.Index > n.applied.Load() {
		return false
	}
	if m.ConfState == nil {
		if _, cs, err := n.group.InitialState(); err == nil {
			m.ConfState = cs
		}
	}
	return n.appender.push(appendItem{mark: &m})
}

// SendApp sends a payload to the machine of another member; it may be lost.
func (n *Node) SendApp(to uint64, payload []byte) { n.cfg.Transport.SendApp(n.cfg.Group, to, payload) }

// clock is the monotonic time since Start in nanoseconds; never 0.
func (n *Node) clock() int64 { return int64(time.Since(n.start)) + 1 }

// fail stops the node because of err. The first call counts.
func (n *Node) fail(err error, doing string) {
	n.failed.Lock()
	defer n.failed.Unlock()
	if n.failed.err != nil {
		return
	}
	n.failed.err = errors.Wrap(err, doing)
	n.isFailed.Store(true)
	close(n.failed.ch)
	n.cfg.Logf("raft: node stops: %v", n.failed.err)
	if n.cfg.Fatal != nil {
		go n.cfg.Fatal(n.failed.err)
	}
	n.inbox.signal()
}

func (n *Node) failure() error {
	if !n.isFailed.Load() {
		return nil
	}
	n.failed.Lock()
	defer n.failed.Unlock()
	return n.failed.err
}

// ticker wakes the loop for ticks. Ticks that the loop could not take meanwhile
// are lost on purpose: a process that was not scheduled for a second must not
// believe that it has not heard from its leader for a second.
func (n *Node) ticker() {
	defer close(n.tickerEnd)
	t := time.NewTicker(n.cfg.TickInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n.inbox.put(func(m *mail) { m.tick = true })
		case <-n.loopDone:
			return
		}
	}
}

// HandleRaft implements transport.Handler.
func (n *Node) HandleRaft(_, _ uint64, m *raftpb.Message) { n.inbox.putMessage(m) }

// HandleApp implements transport.Handler.
func (n *Node) HandleApp(_, from uint64, payload []byte) { n.cfg.Machine.HandleApp(from, payload) }

// PeerUp implements transport.Handler.
func (n *Node) PeerUp(uint64) {}

// PeerDown implements transport.Handler.
func (n *Node) PeerDown(id uint64, refused bool) {
	if refused {
		n.inbox.put(func(m *mail) { m.peersDown = append(m.peersDown, id) })
	}
}

// Unreachable implements transport.Handler.
func (n *Node) Unreachable(id uint64) {
	n.inbox.put(func(m *mail) {
		for _, have := range m.unreachable {
			if have == id {
				return
			}
		}
		m.unreachable = append(m.unreachable, id)
	})
}
