package sim

import (
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

const (
	group     = 1
	clusterID = 0x51
)

// process is one life of a node's process: the replica and the driver of production, with events in
// place of goroutines. It is the Shell of both, and looks at what the replica does as the driver's
// Machine.
type process struct {
	w *world
	n *node

	log    *wal.Log
	group  *wal.Group
	driver *raftnode.Driver
	ledger *ledger.Ledger

	running  bool // between begin and the end
	dead     bool
	stopping bool
	backlog  []func() // what happened while the process stood still

	tasks    [3]task
	state    raftnode.State
	commit   uint64
	applied  uint64
	unsynced []wal.Record // written, but not followed by a sync yet
	behind   []waiter     // for a size of the ledger

	*replica.Replica
	sealing  sealing
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

func newProcess(n *node) *process {
	return &process{w: n.w, n: n, ignored: map[ledger.IgnoreReason]uint64{}}
}

// open recovers log and ledger from the disks, as cluster/node does.
func (p *process) open() (err error) {
	c := &p.w.cfg
	p.log, err = wal.Open(wal.Options{
		FS: p.n.disk, Dir: logDir, Cluster: clusterID, Node: p.n.id,
		SegmentSize: c.segment, RetainBytes: c.retain, CacheBytes: c.cache,
	})
	if err != nil {
		return errors.Wrap(err, "open the Raft log")
	}
	if !p.n.begun {
		var voters []uint64
		for _, n := range p.w.nodes[1:] {
			voters = append(voters, n.id)
		}
		if _, err := replica.Bootstrap(p.log, group, voters, p.w.genesis); err != nil {
			return err
		}
	}
	p.group = p.log.Group(group)
	var store ledger.Store = p.n.store
	if d := p.n.storeDamage; d != nil {
		store = &damagedStore{store, d}
	}
	p.ledger, err = replica.Open(store, p.group, ledger.Config{Group: storeGroup, Origin: origin, Program: p.w.program()})
	if err != nil {
		return err
	}
	return replica.CheckGenesis(p.ledger, p.w.genesis)
}

// begin makes the driver once the process is up.
func (p *process) begin() {
	p.n.disk.settle()
	p.n.begun = true
	p.applied = p.group.Mark().Index
	p.initTasks()
	if err := p.newReplica(); err != nil {
		p.fatal(errors.Wrap(err, "begin"))
		return
	}
	var err error
	p.driver, err = raftnode.NewDriver(raftnode.Config{
		ID: p.n.id, Group: group, Log: p.log, Transport: wire{p}, Machine: p,
		Incarnation:  p.n.rng.Uint64(),
		TickInterval: p.w.cfg.tick, HeartbeatTicks: p.w.cfg.heartbeat, ElectionTicks: p.w.cfg.election,
		MaxInflightBlocks: p.w.cfg.inflight, MaxBlockBytes: p.w.cfg.maxBlockBytes, QueueRequests: p.w.cfg.queueLimit,
		Unfit: p.Unfit, Vet: p.Vet, Refused: p.messageRefused, Observe: p.observe,
	}, p)
	if err != nil {
		p.fatal(errors.Wrap(err, "begin"))
		return
	}
	p.running = true
	p.w.stats.Restarts++
	p.w.note(p.n.id, "up", "")
	p.traceStart()
	p.Bind(p.driver)
	p.Wake(raftnode.TaskTurn)
	p.ticker()
	p.keepMark()
	for _, other := range p.w.nodes[1:] {
		if q := other.proc; other != p.n && q != nil && q.running {
			p.PeerUp(other.id)
			q.PeerUp(p.n.id)
		}
	}
}

// after lets f run in this process, if it still lives then and stands not still.
func (p *process) after(d time.Duration, f func()) { p.w.after(d, func() { p.run(f) }) }

func (p *process) run(f func()) {
	switch {
	case p.dead:
	case p.n.paused > 0:
		p.backlog = append(p.backlog, f)
	default:
		p.w.entropy.current = p.n.entropy
		f()
	}
}

func (p *process) resume() {
	backlog := p.backlog
	p.backlog = nil
	for _, f := range backlog {
		p.run(f)
	}
}

func (p *process) ticker() {
	period := time.Duration(float64(p.w.cfg.tick) * p.n.tickRate)
	p.w.after(period, func() {
		if p.dead {
			return
		}
		if p.n.paused == 0 { // ticks that nobody could take are lost
			p.driver.Tick(true)
			p.Wake(raftnode.TaskTurn)
		}
		p.ticker()
	})
}

// fatal ends the process because of its log or its ledger, as production does.
func (p *process) fatal(err error) {
	n := p.n
	n.end(err.Error())
	n.store = n.store.ProcessCrash()
	p.hangUp()
	n.spreadNews()
	n.refused(err)
}
