package raftnode

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// Task is one of the three things that a Driver has to be run for.
type Task uint8

const (
	// TaskTurn is one turn of the core: Driver.Turn.
	TaskTurn Task = iota
	// TaskWrite is one write to the log: Driver.NextWrite, then Driver.Written.
	TaskWrite
	// TaskApply is one run of committed entries: Driver.NextApply, then Driver.Applied.
	TaskApply
	tasks
)

// Shell runs a Driver: goroutines and the machine's clock in production, events and virtual time
// in the simulation.
type Shell interface {
	// Wake asks the shell to run a task soon. Several calls before the run count as one. Wake is
	// called from anywhere, also from inside the task itself, and must not block.
	Wake(Task)
	// Now is a monotonic clock. Only differences between its values matter.
	Now() time.Duration
	// Failed reports, once, why the driver has stopped by itself. It must not block.
	Failed(error)
}

// Driver is everything that one member of a group does, and the order in which it does it: it
// collects what happens, steps the Core, sends, writes, applies and answers. A Driver has no
// goroutine, no clock and no I/O. A Shell runs its three tasks.
//
// # Who owns what
//
// Each task has one owner, which runs it for one thing at a time: whoever calls Turn owns the core
// and the turn state; whoever calls NextWrite also writes to the log and calls Written; whoever
// calls NextApply also calls the machine and then Applied. The three may run at the same time. All
// other methods are safe from anywhere and never wait: they leave something in the inbox or in the
// queue, under a lock that no I/O is done under, and wake a task.
//
// # Order
//
//   - A turn takes everything that the inbox holds: finished writes and applies first, because they
//     free what messages may need; then messages, dead peers, at most one tick, transfers, reads.
//     Then it does what the core asks for, and then it makes blocks of what waits.
//   - Messages of Effects.Send leave during the turn. Messages that vouch for a write leave in
//     Written, after the write (and its sync, if one was asked for) has succeeded.
//   - A write holds everything that waited when it began (group commit). Writes are in the order of
//     the turns.
//   - Committed entries are applied in order. A run holds all that waited when it began (group
//     apply).
//
// # How it ends
//
// Close, a failed write or a machine that returns an error ends the driver with its next turn:
// every read, transfer and request is answered then, with ErrIndefinite for requests that were
// proposed. Writes and applies that are queued are still handed out, so that a shell can finish
// what is under way, until NextWrite and NextApply report the end.
type Driver struct {
	cfg   Config
	group *wal.Group
	shell Shell

	core  *Core     // owned by Turn
	turn  turnState // owned by Turn
	inbox inbox
	queue submitQueue

	writes  writeQueue
	applies applyQueue
	// waiting are those who wait for an applied index.
	waiting waiters

	// beats are the heartbeats that a quiet leader sends with the newest tick. Owned by Tick.
	beats []contact

	// Written by Turn, read by anybody.
	state    atomic.Pointer[State]
	progress struct {
		sync.Mutex
		list []Progress // empty when not leading
	}
	inflight atomic.Int64
	// applied is the index up to which the core knows the machine to have applied: the core may
	// still read the log from there on.
	applied atomic.Uint64
	stalled atomic.Bool
	// behind: the machine has not reached the group's mark (Config.Behind).
	behind atomic.Bool
	// holding: a turn holds news back, or has just sent it.
	holding atomic.Bool

	closing atomic.Bool
	failed  struct {
		sync.Mutex
		err error
	}
	isFailed atomic.Bool
}

// readTimeoutElections is how many election timeouts a read waits for a quorum: long
// enough for an election that has to be held twice, and short enough that whoever
// asked still waits for the answer and can go to another node.
const readTimeoutElections = 5

// NewDriver makes the driver of a member from what its log holds. Entries behind the group's newest
// mark are given to the machine again as they become known to be committed. The shell has to run
// TaskTurn once; everything else follows from Wake.
func NewDriver(cfg Config, shell Shell) (*Driver, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Driver{cfg: cfg, group: cfg.Log.Group(cfg.Group), shell: shell, turn: newTurnState()}
	_, confState, err := d.group.InitialState()
	if err != nil {
		return nil, errors.Wrap(err, "read the group's state")
	}
	if len(confState.GetVoters()) == 0 {
		return nil, errors.Newf("group %d has no voters: its log has not been bootstrapped", cfg.Group)
	}
	applied := d.group.Mark().Index
	d.core, err = NewCore(CoreConfig{
		ID:                cfg.ID,
		Group:             cfg.Group,
		Storage:           d.group,
		Applied:           applied,
		Incarnation:       cfg.Incarnation,
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
	if cfg.New {
		d.core.Begin()
	}
	wakeTurn := func() { shell.Wake(TaskTurn) }
	d.inbox.wake, d.inbox.budget = wakeTurn, &cfg.budgets.inbox
	d.writes.bytes.of, d.turn.inflight.of = &cfg.budgets.inbox, &cfg.budgets.inflight
	d.inbox.unwritten = &d.writes.bytes
	d.queue.maxRequests, d.queue.wake, d.queue.bytes.of = cfg.QueueRequests, wakeTurn, &cfg.budgets.queue
	d.applied.Store(applied)
	if d.behind.Store(cfg.Behind); !cfg.Behind {
		d.waiting.mu.index = applied
	}
	initial := d.core.State()
	d.state.Store(&initial)
	return d, nil
}

// Submit gives a request to the leader's queue. An error is definite, and the request will not be
// heard of again: *NotLeaderError, ErrQueueFull, ErrTooLarge, ErrStopped. Otherwise the machine
// gets the request back, through Apply or Fail.
func (d *Driver) Submit(r Request) error {
	d.cfg.crowd.Add(1)
	err := d.queue.add(r, d.cfg.Stages.Now())
	if err != nil {
		d.cfg.crowd.Add(-1)
	}
	return err
}

// failRequests answers requests that the machine will not apply.
func (d *Driver) failRequests(reqs []Request, err error) {
	d.cfg.crowd.Add(-len(reqs))
	d.cfg.Machine.Fail(reqs, err)
}

// ReadIndex calls done, from inside a turn, with an index such that a read of a state that has
// applied it is linearizable, or with ErrReadTimeout or ErrStopped. All reads that wait at the same
// time share one round trip to a quorum. It returns false, and forgets done, when the driver has
// ended.
func (d *Driver) ReadIndex(done func(index uint64, err error)) bool {
	return d.inbox.put(func(m *mail) { m.readers = append(m.readers, done) })
}

// WhenApplied calls done once the machine has applied index: at once when it has, else from inside
// Applied. cancel forgets done, unless it has been called.
func (d *Driver) WhenApplied(index uint64, done func()) (cancel func()) {
	return d.waiting.add(index, done)
}

// TransferLeadership hands leadership over to another voter, 0 for the most advanced one, and calls
// done from inside a turn once this node knows that another one leads; a leader that is to hand
// over to itself is done at once. Errors: *NotLeaderError, ErrNoSuccessor, ErrNotTransferred, or
// why the driver ended. It returns false, and forgets done, when the driver has ended.
func (d *Driver) TransferLeadership(to uint64, done func(error)) bool {
	return d.inbox.put(func(m *mail) { m.transfers = append(m.transfers, transfer{to: to, done: done}) })
}

// ChangeMembers gives the leader a block that changes the members of the group. The request is answered
// as those of Submit are. It returns false, and forgets the change, when the driver has ended.
func (d *Driver) ChangeMembers(c Change) bool {
	d.cfg.crowd.Add(1)
	ok := d.inbox.put(func(m *mail) { m.changes = append(m.changes, c) })
	if !ok {
		d.cfg.crowd.Add(-1)
	}
	return ok
}

// AppendNote puts data into one of the group's slots, durably; it shares the group commit. done is
// called from inside Written, or at once when the driver has ended, and must be quick.
func (d *Driver) AppendNote(slot uint8, data []byte, done func(error)) {
	if !d.pushWrite(writeItem{note: &wal.Note{Slot: slot, Data: data}, done: done}) {
		done(ErrStopped)
	}
}

// SendApp sends a payload to the machine of another member; it may be lost.
func (d *Driver) SendApp(to uint64, payload []byte) {
	d.cfg.Transport.SendApp(d.cfg.Group, to, payload)
}

// SetMark records that everything up to m.Index is durable in the machine, so that the log may
// forget it. It is written with the next write, without a sync of its own. Without a ConfState the
// group's present one is kept. It does nothing and returns false while the core does not know yet
// that m.Index is applied: the core would miss the entries before it. Come again with a newer mark.
func (d *Driver) SetMark(m wal.Mark) bool {
	if m.Index > d.applied.Load() {
		return false
	}
	if m.ConfState == nil {
		if _, cs, err := d.group.InitialState(); err == nil {
			m.ConfState = cs
		}
	}
	return d.pushWrite(writeItem{mark: &m})
}

// Tick says that one tick has passed, and whether it is a round: heartbeats of a leader may leave
// with it. A shell gives all its groups the same rounds, one in HeartbeatTicks ticks, so that their
// heartbeats leave together; a shell that has no use for that lets every tick be a round. The shell
// runs TaskTurn after it when Tick says so. A quiet member takes no turn for it (quiet).
//
// Tick is called for one tick at a time.
//
// Ticks that no turn could take meanwhile are lost on purpose: a process that was not scheduled for
// a second must not believe that it has not heard from its leader for a second.
func (d *Driver) Tick(round bool) (turn bool) {
	b := &d.inbox
	b.mu.Lock()
	q := &b.mu.quiet
	if !q.on || !d.tickQuiet(q, round) {
		b.mu.ticked, b.mu.round = true, b.mu.round || round
		b.mu.Unlock()
		return true
	}
	term := q.term
	d.beats = q.due(d.beats[:0])
	b.mu.Unlock()
	for i := range d.beats {
		d.cfg.Transport.SendBeat(d.cfg.Group, d.beats[i].id, transport.Beat{Term: term, Commit: d.beats[i].commit})
	}
	return false
}

// HandleRaft implements transport.Handler.
func (d *Driver) HandleRaft(_, from uint64, m *raftpb.Message) { d.inbox.putMessage(from, m) }

// HandleBeat takes a heartbeat without a context, or the answer to one. The shell runs TaskTurn after
// it when HandleBeat says so. A quiet member takes no turn for it, and answers at once.
func (d *Driver) HandleBeat(from uint64, b transport.Beat) (turn bool) {
	if !d.inbox.note(from, b) {
		d.inbox.addMessage(from, b.Message(from, d.cfg.ID))
		return true
	}
	if !b.Answer {
		d.cfg.Transport.SendBeat(d.cfg.Group, from, transport.Beat{Term: b.Term, Answer: true})
	}
	return false
}

// HandleApp implements transport.Handler.
func (d *Driver) HandleApp(_, from uint64, payload []byte) { d.cfg.Machine.HandleApp(from, payload) }

// PeerUp implements transport.Handler.
func (d *Driver) PeerUp(id uint64) { d.cfg.PeerUp(id) }

// PeerDown implements transport.Handler.
func (d *Driver) PeerDown(id uint64, refused bool) {
	if refused {
		d.inbox.put(func(m *mail) { m.peersDown = append(m.peersDown, id) })
	}
}

// Unreachable implements transport.Handler.
func (d *Driver) Unreachable(id uint64) {
	d.inbox.put(func(m *mail) {
		for _, have := range m.unreachable {
			if have == id {
				return
			}
		}
		m.unreachable = append(m.unreachable, id)
	})
}

// Filled answers Machine.Fill: with ok the machine holds everything up to the index, durably, and what
// it is there is what the Snapshot said. Otherwise it does not get there now; the leader asks again.
func (d *Driver) Filled(index uint64, ok bool) {
	d.inbox.put(func(m *mail) { m.filled = append(m.filled, filled{index, ok}) })
}

// Reached ends Config.Behind: the machine is where the group's mark was when the driver was made.
func (d *Driver) Reached() {
	if d.behind.Swap(false) {
		d.waiting.advance(d.applied.Load())
		d.shell.Wake(TaskApply)
	}
}

// Refuse closes the queue of requests for good. Those that wait fail with ErrStopped.
func (d *Driver) Refuse() {
	if waiting := d.queue.stop(); len(waiting) > 0 {
		d.failRequests(waiting, ErrStopped)
	}
}

// Close ends the driver with its next turn.
func (d *Driver) Close() {
	d.closing.Store(true)
	d.shell.Wake(TaskTurn)
}

// fail ends the driver because of err. The first call counts.
func (d *Driver) fail(err error, doing string) {
	d.failed.Lock()
	if d.failed.err != nil {
		d.failed.Unlock()
		return
	}
	err = errors.Wrap(err, doing)
	d.failed.err = err
	d.isFailed.Store(true)
	d.failed.Unlock()
	d.cfg.Logf("raft: node stops: %v", err)
	d.shell.Failed(err)
	d.shell.Wake(TaskTurn)
}

// failure is why the driver has stopped by itself; nil otherwise.
func (d *Driver) failure() error {
	if !d.isFailed.Load() {
		return nil
	}
	d.failed.Lock()
	defer d.failed.Unlock()
	return d.failed.err
}
