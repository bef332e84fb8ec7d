package sim

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

const (
	group     = 1
	clusterID = 0x51
)

// process is one life of a node's process: what raftnode.Node is in production,
// with events in place of goroutines. The loop's order is loop.go's: responses,
// dead peers, messages, tick, readers; then effects; then proposals.
type process struct {
	w *world
	n *node

	log    *wal.Log
	group  *wal.Group
	core   *raftnode.Core
	ledger *ledger.Ledger

	running  bool // between begin and the end
	dead     bool
	stopping bool
	backlog  []func() // what happened while the process stood still

	mail    mail
	waking  bool
	state   raftnode.State
	commit  uint64
	blocks  map[uint64][]*request
	nextTag uint64
	readers map[uint64][]func(uint64, error)
	nextGet uint64

	queue     []*request
	accepting bool // the queue takes requests: this node leads
	lead      uint64

	appends   []appendItem
	appending bool
	unsynced  []*raftnode.AppendWork // done, but not followed by a sync yet

	applies  []applyItem
	applying bool
	applied  uint64
	waiters  []waiter

	replica
	calls    []*call
	watchers []*watcher
}

// mail is what the loop has to react to.
type mail struct {
	tick     bool
	appended []*raftnode.AppendWork
	applied  []*raftnode.ApplyWork
	down     []uint64
	lost     []uint64
	messages []*raftpb.Message
	readers  []func(uint64, error)
	transfer []uint64
}

type appendItem struct {
	work *raftnode.AppendWork
	mark *wal.Mark
	note *wal.Note
	done func()
}

type applyItem struct {
	work *raftnode.ApplyWork
	reqs [][]*request
}

// waiter waits for an applied index.
type waiter struct {
	index uint64
	do    func()
}

func newProcess(n *node) *process {
	return &process{w: n.w, n: n, blocks: map[uint64][]*request{}, readers: map[uint64][]func(uint64, error){}}
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
	p.group = p.log.Group(group)
	_, conf, err := p.group.InitialState()
	if err != nil {
		return err
	}
	if len(conf.GetVoters()) == 0 {
		var voters []uint64
		for _, n := range p.w.nodes[1:] {
			voters = append(voters, n.id)
		}
		if err := p.log.Bootstrap(group, wal.Mark{ConfState: &raftpb.ConfState{Voters: voters}}); err != nil {
			return errors.Wrap(err, "bootstrap the Raft log")
		}
	}
	start, err := ledger.ParseSummary(p.group.Mark().Meta)
	if err != nil {
		return errors.Wrap(err, "read the Raft log's mark")
	}
	var store ledger.Store = p.n.store
	if d := p.n.storeDamage; d != nil {
		store = &damagedStore{store, d}
	}
	p.ledger, err = ledger.Open(store, ledger.Config{Group: storeGroup, Origin: origin, Start: start})
	return err
}

// begin starts Raft once the process is up.
func (p *process) begin() {
	p.n.disk.settle()
	p.applied = p.group.Mark().Index
	p.nextGet = 0
	var err error
	p.core, err = raftnode.NewCore(raftnode.CoreConfig{
		ID: p.n.id, Group: group, Storage: p.group, Applied: p.applied,
		Incarnation:    p.n.rng.Uint64(),
		HeartbeatTicks: p.w.cfg.heartbeat, ElectionTicks: p.w.cfg.election, MaxInflightBlocks: p.w.cfg.inflight,
	})
	if err == nil {
		err = p.beginReplica()
	}
	if err != nil {
		p.fatal(err)
		return
	}
	p.running = true
	p.w.stats.Restarts++
	p.w.note(p.n.id, "up", "")
	p.traceStart()
	p.dispatch()
	p.ticker()
	for _, other := range p.w.nodes[1:] {
		if q := other.proc; other != p.n && q != nil && q.running {
			p.peerUp(other.id)
			q.peerUp(p.n.id)
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
			p.mail.tick = true
			p.wake()
		}
		p.ticker()
	})
}

// wake lets the loop run soon, once for everything that has come by then.
func (p *process) wake() {
	if !p.waking {
		p.waking = true
		p.after(exp(p.n.rng, p.w.cfg.loopMean), p.loop)
	}
}

func (p *process) receive(m *raftpb.Message) {
	p.mail.messages = append(p.mail.messages, m)
	p.wake()
}

func (p *process) peerDown(id uint64) {
	if p.running {
		p.mail.down = append(p.mail.down, id)
		p.wake()
	}
}

func (p *process) unreachable(id uint64) {
	if p.running {
		p.mail.lost = append(p.mail.lost, id)
		p.wake()
	}
}

func (p *process) transfer(to uint64) {
	p.mail.transfer = append(p.mail.transfer, to)
	p.wake()
}

func (p *process) loop() {
	p.waking = false
	m := p.mail
	p.mail = mail{}
	for _, w := range m.appended {
		p.core.AppendDone(w)
	}
	for _, w := range m.applied {
		p.core.ApplyDone(w)
	}
	for _, id := range m.down {
		p.core.PeerDown(id)
	}
	for _, id := range m.lost {
		p.core.Unreachable(id)
	}
	for _, msg := range m.messages {
		_ = p.core.Step(msg)
	}
	if m.tick {
		p.core.Tick()
	}
	for _, to := range m.transfer {
		p.core.TransferLeader(to)
	}
	if len(m.readers) > 0 {
		p.nextGet++
		p.readers[p.nextGet] = m.readers
		p.core.ReadIndex(p.nextGet)
	}
	p.dispatch()
	p.propose()
}

// dispatch does what the core asks for, until it asks for nothing.
func (p *process) dispatch() {
	for {
		e, ok := p.core.Ready()
		if !ok {
			return
		}
		for _, m := range e.Send {
			p.send(m)
		}
		if e.Append != nil {
			p.w.raft.Appended(p.n.id, e.State.Term, raftEntries(e.Append.Entries))
			p.push(appendItem{work: e.Append})
		}
		if e.State.Commit > p.commit {
			p.w.raft.Committed(p.n.id, e.State.Commit)
			p.commit = e.State.Commit
		}
		if e.Apply != nil {
			p.applies = append(p.applies, applyItem{e.Apply, p.claim(e.Apply)})
			p.kickApply()
		}
		for _, r := range e.Reads {
			for _, do := range p.readers[r.Tag] {
				do(r.Index, r.Err)
			}
			delete(p.readers, r.Tag)
		}
		for _, l := range e.Lost {
			reqs := p.blocks[l.Tag]
			delete(p.blocks, l.Tag)
			if l.Definite {
				p.refuse(reqs, raftnode.ErrDropped)
			} else {
				p.refuse(reqs, raftnode.ErrIndefinite)
			}
		}
		if e.StateChanged {
			p.stateChanged(e.State)
		}
	}
}

func (p *process) stateChanged(s raftnode.State) {
	old := p.state
	p.state = s
	if s.Role == raftnode.RoleLeader && (old.Role != raftnode.RoleLeader || old.Term != s.Term) {
		p.w.raft.Leads(p.n.id, s.Term)
		p.w.stats.Elections++
		p.w.note(p.n.id, "leader", "leads term %d", s.Term)
	}
	p.accepting, p.lead = s.Role == raftnode.RoleLeader && !p.stopping, s.Leader
	if !p.accepting {
		waiting := p.queue
		p.queue = nil
		p.refuse(waiting, &raftnode.NotLeaderError{Leader: s.Leader})
	}
	if old.Serving != s.Serving || old.Term != s.Term {
		p.leading(s.Serving)
	}
}

func (p *process) claim(w *raftnode.ApplyWork) [][]*request {
	out := make([][]*request, len(w.Entries))
	for i := range w.Entries {
		if tag := w.Entries[i].Tag; tag != 0 {
			out[i] = p.blocks[tag]
			delete(p.blocks, tag)
		}
	}
	return out
}

// propose makes blocks of what waits, as long as there is room for more in flight.
func (p *process) propose() {
	for len(p.queue) > 0 && p.core.CanPropose() == nil {
		n, bytes := 0, 0
		for n < len(p.queue) {
			size := p.queue[n].size
			if n > 0 && bytes+size > p.w.cfg.maxBlockBytes {
				break
			}
			bytes += size
			n++
		}
		reqs := p.queue[:n:n]
		p.queue = p.queue[n:]
		block, err := p.buildBlock(reqs)
		if err == nil {
			p.nextTag++
			err = p.core.Propose(p.nextTag, block)
		}
		if err != nil {
			p.refuse(reqs, err)
			continue
		}
		p.blocks[p.nextTag] = reqs
		p.dispatch()
	}
}

func (p *process) refuse(reqs []*request, err error) {
	for _, r := range reqs {
		r.done(ledger.Result{}, err)
	}
}

// send gives a message to the network and to the checker.
func (p *process) send(m *raftpb.Message) {
	switch m.GetType() {
	case raftpb.MsgVoteResp:
		if !m.GetReject() {
			p.w.raft.Voted(p.n.id, m.GetTerm(), m.GetTo())
		}
	case raftpb.MsgAppResp:
		if !m.GetReject() {
			p.w.raft.Acknowledged(p.n.id, m.GetTerm(), m.GetIndex())
		}
	}
	p.w.net.raft(m)
}

// push gives work to the log's writer: one write at a time, of everything that
// waits when it starts.
func (p *process) push(it appendItem) {
	p.appends = append(p.appends, it)
	p.kickAppend()
}

func (p *process) kickAppend() {
	if !p.appending && len(p.appends) > 0 {
		p.appending = true
		p.after(exp(p.n.rng, 10*time.Microsecond), p.write)
	}
}

func (p *process) write() {
	items := p.appends
	p.appends = nil
	var records []wal.Record
	sync := false
	for i := range items {
		r := wal.Record{Group: group}
		switch it := &items[i]; {
		case it.work != nil:
			r.Entries, r.HardState = it.work.Entries, it.work.HardState
			sync = sync || it.work.NeedsSync
		case it.mark != nil:
			r.Mark = it.mark
		case it.note != nil:
			r.Note = it.note
			sync = true
		}
		records = append(records, r)
	}
	err := p.log.Append(records, sync)
	d := exp(p.n.rng, 20*time.Microsecond)
	if sync {
		d += p.n.syncLatency()
		if strike := p.n.ambush; strike != nil {
			p.n.ambush = nil
			p.w.after(time.Duration(p.n.rng.Float64()*float64(d)), strike)
		}
	}
	p.after(d, func() { p.written(items, sync, err) })
}

// syncLatency draws how long a sync takes here and now.
func (n *node) syncLatency() time.Duration {
	c := &n.w.cfg
	d := c.syncMin + exp(n.rng, c.syncMean)
	if n.rng.Float64() < c.slowSync {
		d *= 20
	}
	if n.slow > 0 {
		d += exp(n.rng, 150*time.Millisecond)
	}
	return d
}

// written hands out the responses of finished work.
func (p *process) written(items []appendItem, synced bool, err error) {
	if err != nil {
		p.fatal(errors.Wrap(err, "write to the log"))
		return
	}
	p.n.disk.settle()
	for i := range items {
		if w := items[i].work; w != nil {
			p.unsynced = append(p.unsynced, w)
		}
	}
	if synced {
		for _, w := range p.unsynced {
			p.traceDurable(w)
		}
		p.unsynced = nil
	}
	for i := range items {
		it := &items[i]
		if it.work != nil {
			for _, m := range it.work.Remote {
				p.send(m)
			}
			p.mail.appended = append(p.mail.appended, it.work)
		}
		if it.done != nil {
			it.done()
		}
	}
	p.appending = false
	p.wake()
	p.kickAppend()
}

func (p *process) kickApply() {
	if !p.applying && len(p.applies) > 0 {
		p.applying = true
		it := p.applies[0]
		p.applies = p.applies[1:]
		p.applyFrom(it, 0)
	}
}

// applyFrom applies the entries of a work one after the other.
func (p *process) applyFrom(it applyItem, i int) {
	if i == len(it.work.Entries) {
		p.mail.applied = append(p.mail.applied, it.work)
		p.applying = false
		p.wake()
		p.kickApply()
		return
	}
	p.after(exp(p.n.rng, p.w.cfg.applyMean), func() {
		e := &it.work.Entries[i]
		p.w.raft.Applied(p.n.id, check.RaftEntry{Index: e.Index, Term: e.Term, Hash: hashOf(e.Data)})
		if err := p.apply(e.Index, e.Term, e.Data, it.reqs[i]); err != nil {
			p.fatal(err)
			return
		}
		p.applied = e.Index
		p.advance()
		p.applyFrom(it, i+1)
	})
}

// waitApplied calls do when index is applied.
func (p *process) waitApplied(index uint64, do func()) {
	if index <= p.applied {
		do()
		return
	}
	p.waiters = append(p.waiters, waiter{index, do})
}

func (p *process) advance() {
	var left []waiter
	waiting := p.waiters
	p.waiters = nil
	for _, w := range waiting {
		if w.index <= p.applied {
			w.do()
		} else {
			left = append(left, w)
		}
	}
	p.waiters = append(left, p.waiters...)
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

func hashOf(data []byte) uint64 {
	return uint64(len(data))<<32 | uint64(crc32.Checksum(data, castagnoli))
}

func raftEntries(entries []*raftpb.Entry) []check.RaftEntry {
	out := make([]check.RaftEntry, len(entries))
	for i, e := range entries {
		out[i] = check.RaftEntry{Index: e.GetIndex(), Term: e.GetTerm(), Hash: hashOf(e.GetData())}
	}
	return out
}

// traceStart tells the checker what was found on the disk.
func (p *process) traceStart() {
	s := p.core.State()
	p.state, p.commit = s, s.Commit
	vote := uint64(0)
	hs, _, err := p.group.InitialState()
	if err == nil && hs.GetTerm() == s.Term {
		vote = hs.GetVote()
	}
	first, err1 := p.group.FirstIndex()
	last, err2 := p.group.LastIndex()
	baseTerm, err3 := p.group.Term(first - 1)
	var entries []*raftpb.Entry
	var err4 error
	if last >= first {
		entries, err4 = p.group.Entries(first, last+1, math.MaxUint64)
	}
	if err := errors.CombineErrors(errors.CombineErrors(err, err1), errors.CombineErrors(err2, errors.CombineErrors(err3, err4))); err != nil {
		p.w.fail("refused", 0, "node %d cannot read its own log: %v", p.n.id, err)
		return
	}
	p.w.raft.Restarted(p.n.id, s.Term, vote, first-1, baseTerm, raftEntries(entries), s.Commit, p.applied)
	p.w.trace.begin('u', p.n.id)
	p.w.trace.bytes(binary.BigEndian.AppendUint64(nil, s.Term))
}

// traceDurable tells the checker that a work is on the disk for good.
func (p *process) traceDurable(w *raftnode.AppendWork) {
	if k := len(w.Entries); k > 0 {
		p.w.raft.Durable(p.n.id, w.Entries[k-1].GetIndex(), w.Entries[k-1].GetTerm())
	}
	if hs := w.HardState; hs.GetVote() != 0 {
		p.w.raft.Voted(p.n.id, hs.GetTerm(), hs.GetVote())
	}
}
