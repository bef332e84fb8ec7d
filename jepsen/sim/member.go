package sim

import (
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// member is one ledger in one process: the replica and the driver of production. It is the Shell of
// both, and looks at what the replica does as the driver's Machine.
type member struct {
	w *world
	n *node
	p *process
	g *group

	log    *wal.Group
	ledger *ledger.Ledger
	driver *raftnode.Driver
	*replica.Replica
	turns, applies task
	writer         raftnode.Writer
	written        bool // the driver will not write any more

	policy   *ledger.Policy    // the newest that was noted
	counted  *raftnode.Members // whom the core counts
	state    raftnode.State
	commit   uint64
	applied  uint64
	behind   []waiter // for a size of the ledger
	filling  filling
	sealing  alarm
	working  alarm
	ignored  map[ledger.IgnoreReason]uint64 // blocks without effect that were judged
	refused  uint64                         // batches that the program refused
	calls    []*call
	watchers []*watcher
}

// waiter waits until the ledger has a size.
type waiter struct {
	index uint64
	do    func()
}

// alarm is how a member runs its replica's sealer or worker: soon after a wake, and when the newest
// deadline has come.
type alarm struct {
	woken bool
	timer int // counts timers: only the newest one counts
}

func newMember(p *process, g *group) *member {
	m := &member{w: p.w, n: p.n, p: p, g: g, ignored: map[ledger.IgnoreReason]uint64{}}
	m.turns = task{run: m.turn, mean: p.w.cfg.loopMean}
	m.applies = task{run: m.apply}
	m.writer.Over = func() { m.written = true }
	return m
}

// open begins the ledger, once in the life of the node, and opens it.
func (m *member) open() (err error) {
	if !m.n.begun {
		if _, err := replica.Bootstrap(m.p.log, m.g.id, m.g.founderIDs(), m.g.genesis); err != nil {
			return err
		}
	}
	m.log = m.p.log.Group(m.g.id)
	m.ledger, err = replica.Open(ledger.Shared(m.p.store), m.log, ledger.Config{
		Group: m.g.id, Origin: originOf(m.g.id), Program: m.g.program, Caches: m.p.caches, MovesPerBase: 4 << (m.g.id % 6),
	})
	if err != nil {
		return err
	}
	return errors.CombineErrors(replica.CheckGenesis(m.ledger, m.g.genesis), replica.CheckLog(m.log, m.g.genesis))
}

// make makes replica and driver.
func (m *member) make() (err error) {
	c, keys := &m.w.cfg, simKeys()
	m.applied = m.log.Mark().Index
	m.Replica, err = replica.New(replica.Config{
		Ledger: m.ledger, Log: m.log, Shell: m, Principal: principalOf(m.n.id), Policy: m.g.seals.policy, FillStep: c.fillStep,
		// Clocks jump by days here, and stay there: their bounds would leave nobody to lead.
		Clocks: replica.Clocks{Now: m.n.wall, MaxOffset: 1 << 62, Voters: m.w.opt.Nodes},
		Seal: seal.Config{
			Self: m.n.id, Voters: keys.voters(m.g.founders), LogCosigner: keys.logs[m.g.id-1], NodeCosigner: keys.nodes[m.n.id],
			More:    []seal.Cosigner{keys.next[m.n.id]},
			Cadence: c.cadence, Gather: c.cadence / 4, Timeout: c.cadence / 2, Show: 4 * c.cadence,
		},
	})
	if err != nil {
		return err
	}
	m.driver, err = raftnode.NewDriver(raftnode.Config{
		ID: m.n.id, Group: m.g.id, Log: m.p.log, Transport: wire{m}, Machine: m,
		Incarnation:  m.n.rng.Uint64(),
		TickInterval: c.tick, HeartbeatTicks: c.heartbeat, ElectionTicks: c.election,
		MaxInflightBlocks: c.inflight, MaxBlockBytes: c.maxBlockBytes, QueueRequests: c.queueLimit,
		Behind: m.Rebuilding(), Unfit: m.Unfit, Vet: m.Vet, Members: m.Members, Refused: m.messageRefused, Observe: m.observe,
	}, m)
	m.writer.Driver = m.driver
	return err
}

// begin lets the member take part.
func (m *member) begin() {
	m.traceStart()
	m.Bind(m.driver)
	if m.Removed() {
		m.leave()
	}
	m.Wake(raftnode.TaskTurn)
	m.keepMark()
}

// hear gives a message of another member to the driver, as the connection that carries it does.
func (m *member) hear(from uint64, msg *raftpb.Message) {
	beat, ok := transport.BeatOf(msg)
	if !ok {
		m.driver.HandleRaft(m.g.id, from, msg)
		return
	}
	m.p.run(func() { // a quiet member answers from inside HandleBeat
		m.w.stats.Beats++
		if m.driver.HandleBeat(from, beat) {
			m.Wake(raftnode.TaskTurn)
		} else {
			m.w.stats.QuietBeats++
		}
	})
}

// Apply implements raftnode.Machine: the replica's, with a look at what it does.
func (m *member) Apply(run []raftnode.Committed) error {
	for i := range run {
		e := &run[i]
		m.g.raft.Applied(m.n.id, check.RaftEntry{Index: e.Index, Term: e.Term, Hash: hashOf(e.Data)})
	}
	size := m.ledger.Head().Size
	if err := m.Replica.Apply(run); err != nil {
		return err
	}
	m.applied = run[len(run)-1].Index
	m.noteMembers()
	for _, reason := range []ledger.IgnoreReason{ledger.IgnoredMalformed, ledger.IgnoredAnchor, ledger.IgnoredTime} {
		// Every proposer of the simulation is honest.
		if n := m.ledger.Ignored(reason); n > m.ignored[reason] && !m.n.damaged() {
			m.ignored[reason] = n
			m.g.fail("diverged", m.applied, "node %d: a block up to raft index %d has no effect (%s)", m.n.id, m.applied, reason)
		}
	}
	m.checkProgram()
	if m.ledger.Head().Size > size {
		m.deliver()
	}
	return nil
}

// StateChanged implements raftnode.Machine.
func (m *member) StateChanged(s raftnode.State) {
	old := m.state
	m.state = s
	if s.Role == raftnode.RoleLeader && (old.Role != raftnode.RoleLeader || old.Term != s.Term) {
		m.g.raft.Leads(m.n.id, s.Term)
		m.w.stats.Elections++
		m.w.note(m.n.id, "leader", "leads term %d%s", s.Term, m.g.label(" of "))
	}
	m.Replica.StateChanged(s)
}

// keepMark tells the log now and then how far it need not reach back any more.
func (m *member) keepMark() {
	m.p.after(m.w.cfg.markInterval, func() {
		m.KeepMark()
		m.keepMark()
	})
}

// barrier calls do when this replica has applied everything that was
// acknowledged before the call, or with an error.
func (m *member) barrier(do func(error)) {
	listening := m.driver.ReadIndex(func(index uint64, err error) {
		if err != nil {
			do(err)
			return
		}
		m.driver.WhenApplied(index, func() { do(nil) })
	})
	if !listening {
		do(raftnode.ErrStopped)
	}
}

// transfer hands leadership over; nobody waits for it.
func (m *member) transfer(to uint64) { m.driver.TransferLeadership(to, func(error) {}) }

// WakeSealer implements replica.Shell.
func (m *member) WakeSealer() {
	if !m.sealing.woken {
		m.sealing.woken = true
		m.p.after(exp(m.n.rng, m.w.cfg.loopMean), func() {
			m.sealing.woken = false
			m.seal()
		})
	}
}

func (m *member) seal() {
	m.sealing.timer++
	due, ok := m.Seal()
	if !ok || m.p.dead {
		return
	}
	timer := m.sealing.timer
	d := min(max(due.Sub(m.n.wall()), time.Millisecond), time.Hour)
	m.p.after(d, func() {
		if timer == m.sealing.timer {
			m.seal()
		}
	})
}

// Halt implements replica.Shell.
func (m *member) Halt(err error, _ *tlog.Contradiction) {
	if errors.Is(err, replica.ErrRemoved) {
		m.leave()
		return
	}
	m.p.fatal(err)
}

// MembersChanged implements replica.Shell.
func (m *member) MembersChanged(*ledger.PolicyInForce) {}

// Sealed implements replica.Shell.
func (m *member) Sealed(c *ledger.Sealed) { m.g.seals.sealed(m, c) }

// Contradicted implements replica.Shell.
func (m *member) Contradicted(c seal.Contradiction) { m.g.seals.problem(m.n, c.Err()) }

// Problem implements replica.Shell.
func (m *member) Problem(err error) { m.g.seals.problem(m.n, err) }
