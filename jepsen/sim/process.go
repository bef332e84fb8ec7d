package sim

import (
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

const clusterID = 0x51

// process is one life of a node's process: the members of all ledgers, and what they share, which
// is the log, the store and its cache, the connections and the clock. Events are in the place of
// goroutines.
type process struct {
	w *world
	n *node

	log      *wal.Log
	store    ledger.Store
	caches   *ledger.Caches
	commit   *raftnode.GroupCommit
	writes   task
	unsynced []wal.Record // written, but not followed by a sync yet
	members  []*member    // of all groups, in their order
	ticks    int

	running  bool // between begin and the end
	dead     bool
	stopping bool
	backlog  []func() // what happened while the process stood still
}

func newProcess(n *node) *process {
	p := &process{w: n.w, n: n, commit: raftnode.NewGroupCommit()}
	p.writes = task{run: p.write, mean: 10 * time.Microsecond}
	for _, g := range n.w.groups {
		p.members = append(p.members, newMember(p, g))
	}
	return p
}

// open recovers log and ledgers from the disks, as cluster/node does.
func (p *process) open() (err error) {
	c := &p.w.cfg
	p.log, err = wal.Open(wal.Options{
		FS: p.n.disk, Dir: logDir, Cluster: clusterID, Node: p.n.id,
		SegmentSize: c.segment, RetainBytes: c.retain, CacheBytes: c.cache,
	})
	if err != nil {
		return errors.Wrap(err, "open the Raft log")
	}
	if p.n.storeLost {
		if err := replica.LoseStore(p.log); err != nil {
			return err
		}
	}
	p.store = p.n.store
	if d := p.n.storeDamage; d != nil {
		p.store = &damagedStore{p.store, d}
	}
	p.caches = ledger.NewCaches(c.ledgerCache)
	for _, m := range p.members {
		if err := m.open(); err != nil {
			return err
		}
	}
	return nil
}

// begin makes the drivers once the process is up.
func (p *process) begin() {
	p.n.disk.settle()
	p.n.begun, p.n.storeLost = true, false
	for _, m := range p.members {
		if err := m.make(); err != nil {
			p.fatal(errors.Wrap(err, "begin"))
			return
		}
	}
	p.running = true
	p.w.stats.Restarts++
	p.w.note(p.n.id, "up", "")
	for _, m := range p.members {
		m.begin()
	}
	p.ticker()
	for _, other := range p.w.nodes[1:] {
		if q := other.proc; other != p.n && q != nil && q.running {
			for i := range p.members {
				p.members[i].PeerUp(other.id)
				q.members[i].PeerUp(p.n.id)
			}
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
			// One in heartbeat ticks is a round, for all members, as raftnode.Host has it.
			p.ticks++
			for _, m := range p.members {
				p.w.stats.Ticks++
				if m.driver.Tick(p.ticks%p.w.cfg.heartbeat == 0) {
					m.Wake(raftnode.TaskTurn)
				} else {
					p.w.stats.QuietTicks++
				}
			}
		}
		p.ticker()
	})
}

// peerDown tells all members that a peer's process is gone for certain.
func (p *process) peerDown(id uint64) {
	for _, m := range p.members {
		m.driver.PeerDown(id, true)
	}
}

// hangUp breaks the connections of a process that has ended.
func (p *process) hangUp() {
	for _, m := range p.members {
		m.hangUp()
	}
}

// fatal ends the process because of its log or one of its ledgers, as production does. The first
// reason counts.
func (p *process) fatal(err error) {
	if p.dead {
		return
	}
	n := p.n
	n.end(err.Error())
	n.store = n.store.ProcessCrash()
	p.hangUp()
	n.spreadNews()
	n.refused(err)
}

// stop ends the process cleanly: hand over, finish what is in flight, close. It is
// started again after down.
func (n *node) stop(down time.Duration) {
	p := n.proc
	if p == nil || !p.running || p.stopping {
		return
	}
	p.stopping = true
	for _, m := range p.members {
		m.driver.Refuse()
		m.transfer(0)
	}
	p.after(time.Duration(n.w.cfg.election)*n.w.cfg.tick, func() {
		for _, m := range p.members {
			m.driver.Close()
		}
		p.close(down)
	})
}

// close waits for the disk and closes everything.
func (p *process) close(down time.Duration) {
	for _, m := range p.members {
		if !m.turns.over || !m.written || !m.applies.over {
			p.after(time.Millisecond, func() { p.close(down) })
			return
		}
	}
	n := p.n
	if err := p.closeFiles(); err != nil {
		p.fatal(err)
		return
	}
	n.w.note(n.id, "down", "stopped cleanly")
	n.countLog()
	p.dead, n.proc = true, nil
	n.disk.settle()
	n.disk.life++
	n.store = n.store.Reopen()
	p.hangUp()
	n.spreadNews()
	n.startAfter(down)
}

// closeFiles closes the ledgers, their store and the log. The marks that it leaves spare the next
// start the replay: with the store everything in it is durable.
func (p *process) closeFiles() error {
	var err error
	for _, m := range p.members {
		m.StopSealing()
		m.StopWorking()
		err = errors.CombineErrors(err, m.ledger.Close())
	}
	err = errors.CombineErrors(err, p.store.Close())
	var marks []wal.Record
	for _, m := range p.members {
		mark, e := m.FinalMark()
		if err = errors.CombineErrors(err, e); mark != nil {
			marks = append(marks, wal.Record{Group: m.g.id, Mark: mark})
		}
	}
	if err == nil && len(marks) > 0 {
		err = p.log.Append(marks, true)
	}
	return errors.CombineErrors(err, p.log.Close())
}
