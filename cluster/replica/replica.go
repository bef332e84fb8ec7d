// Package replica is one ledger on one node. A Replica connects a Raft group, which orders opaque
// blocks, with the ledger, which applies them, and with the sealer, which has the result cosigned.
//
// A Replica has no goroutine, no clock and no I/O besides the ledger's store: cluster/node runs it
// with goroutines, once for each ledger, and jepsen/sim runs the same one with events, once for
// each simulated node.
//
// # Who owns what
//
// BuildBlock, Unfit and Vet run on the group's turns, Apply on its applies, Seal for one caller at
// a time, and Work for one caller at a time; Work reads the ledger's store. Everything else is safe
// from anywhere and never waits.
package replica

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// sealNote is the slot of the Raft log that holds what this replica has promised to sign.
const sealNote = 1

// Raft is what a replica needs of its group: *raftnode.Node in production, *raftnode.Driver in the
// simulation.
type Raft interface {
	Submit(raftnode.Request) error
	ChangeMembers(raftnode.Change) bool
	Status() raftnode.Status
	SendApp(to uint64, payload []byte)
	AppendNote(slot uint8, data []byte, done func(error))
	SetMark(wal.Mark) bool
	Filled(index uint64, ok bool)
	Reached()
	Publish()
}

// Shell runs a replica. Its methods must not block.
type Shell interface {
	// WakeSealer asks for a call of Replica.Seal soon. Several before the call count as one.
	WakeSealer()
	// WakeWorker asks for a call of Replica.Work soon. Several before the call count as one. It is
	// never called when the ledger's program is not ledger.Timed.
	WakeWorker()
	// WakeFiller asks for calls of Replica.NextFill soon, until it has nothing to ask. Several before
	// the calls count as one.
	WakeFiller()
	// FillProblem is what a peer has answered that the filler has no use for, to log and count.
	FillProblem(peer uint64, err error)
	// Halt says why the replica cannot go on. The evidence, if there is any, proves that two
	// histories were cosigned.
	Halt(err error, evidence *tlog.Contradiction)
	// MembersChanged says that the ledger has other members from now on. It is called from Apply.
	MembersChanged(*ledger.PolicyInForce)
	// Sealed says that the ledger has a new sealed checkpoint.
	Sealed(*ledger.Sealed)
	// Contradicted reports keys that cosigned another history. The replica goes on without them.
	Contradicted(seal.Contradiction)
	// Problem is something about sealing to log and count, WorkProblem about the program's work.
	Problem(error)
	WorkProblem(error)
}

// Config of New.
type Config struct {
	Ledger *ledger.Ledger
	Log    *wal.Group // of this ledger
	Shell  Shell
	Clocks Clocks
	// Principal is this node's: of what it proposes in its own name.
	Principal string
	// Policy is what a sealed checkpoint of a peer has to satisfy.
	Policy *tlog.Policy
	// FillStep is how many bytes of blocks a replica takes from its peers until it makes them durable;
	// 0 is 64 MiB.
	FillStep int
	// Seal says who seals, with which keys, and how often. New adds what the ledger and its log
	// hold.
	Seal seal.Config
	// Stages, when not nil, measures the stages from the commit until the seal.
	Stages *stages.Set
}

// Replica is one ledger on one node. It is the raftnode.Machine of its group.
type Replica struct {
	ledger *ledger.Ledger
	log    *wal.Group
	shell  Shell
	clocks clocks
	raft   Raft // set by Bind
	// principal is this node's, of what it proposes in its own name.
	principal string
	state     atomic.Pointer[raftnode.State]
	mail      mailbox
	stages    *stages.Set
	unsealed  unsealed

	worker worker

	// handingOver: the end of a hand-over is on its way through Raft.
	handingOver atomic.Bool

	policy *tlog.Policy
	self   uint64 // Raft id
	filler filler
	// rebuilding: the ledger has not reached the log's mark (Rebuilding).
	rebuilding atomic.Bool
	configured configured
	// applying is held while the ledger applies: for Raft, or for the filler.
	applying sync.Mutex
	// passed is the newest Raft index that the Raft log has brought to the ledger. The filler may have
	// brought the ledger further. Everything up to it was synced in the log.
	passed atomic.Uint64

	// contradicted is the newest anchor of which the sealer was told, and blocks the room for a
	// run. Owned by Apply.
	contradicted *ledger.Anchor
	blocks       []ledger.Committed

	// Owned by KeepMark: the newest mark that was handed to Raft, the newest that is certainly
	// durable, and the one between them that is waited for.
	marked, confirmed uint64
	unconfirmed       unconfirmedMark

	sealing struct {
		sync.Mutex // held while the sealer is stepped
		machine    *seal.Sealer
		open       bool // between Bind and StopSealing, and as long as the replica can go on
	}
}

// New connects a ledger with its log and its sealer. Bind has to follow.
func New(c Config) (*Replica, error) {
	r := &Replica{ledger: c.Ledger, log: c.Log, shell: c.Shell, stages: c.Stages, marked: c.Log.Mark().Index, confirmed: c.Log.Mark().Index}
	r.clocks = clocks{Clocks: c.Clocks, ledgerTime: r.Time, policy: func() *ledger.Policy {
		if in := r.Policy(); in != nil {
			return in.Newest
		}
		return nil
	}}
	_, r.worker.timed = c.Ledger.Program().(ledger.Timed)
	r.principal, r.policy, r.self = c.Principal, c.Policy, c.Seal.Self
	r.passed.Store(c.Log.Mark().Index)
	if r.filler.step = c.FillStep; r.filler.step == 0 {
		r.filler.step = fillStep
	}
	if r.clocks.Samples == nil {
		r.clocks.Samples = func() map[uint64]transport.ClockSample { return nil }
	}
	s := c.Seal
	s.Origin, s.RootAt, s.ConsistencyProof = r.ledger.Origin(), r.ledger.RootAt, r.ledger.ConsistencyProof
	s.PolicyAt = r.ledger.PolicyAt
	s.State, s.Newest = r.log.Note(sealNote), r.ledger.Sealed()
	var err error
	if r.sealing.machine, err = seal.New(s); err != nil {
		return nil, err
	}
	r.mail.init(r.ledger.Head())
	if err := r.beginRebuild(); err != nil {
		return nil, err
	}
	return r, r.initMembers()
}

// Bind tells the replica its group, which may have begun to call it, and begins to seal. Submit may
// be called from then on.
func (r *Replica) Bind(raft Raft) {
	r.sealing.Lock()
	r.raft, r.sealing.open = raft, true
	r.sealing.Unlock()
	r.shell.WakeSealer()
	if r.rebuilding.Load() {
		r.shell.WakeFiller()
	}
	r.worker.step.Lock()
	r.worker.open = true
	r.worker.step.Unlock()
	if r.worker.wanted() {
		r.shell.WakeWorker()
	}
}

// Ledger is the replica's ledger, for reads.
func (r *Replica) Ledger() *ledger.Ledger { return r.ledger }

// State is the newest state of the group.
func (r *Replica) State() raftnode.State {
	if s := r.state.Load(); s != nil {
		return *s
	}
	return raftnode.State{}
}

// Time is the time of the newest entry, µs since the Unix epoch.
func (r *Replica) Time() int64 { return r.ledger.Head().Time }

// request is one caller's batch on its way through Raft.
type request struct {
	batch ledger.Batch
	size  int
	// done is called exactly once, and must not block.
	done func(ledger.Result, error)
}

// Size is what the batch adds to a block, in bytes.
func (q *request) Size() int { return q.size }

// Submit queues a batch. done gets its result, or one of the errors of raftnode, exactly once; it
// must not block.
func (r *Replica) Submit(b ledger.Batch, done func(ledger.Result, error)) {
	if err := r.raft.Submit(&request{batch: b, size: b.Size(), done: done}); err != nil {
		done(ledger.Result{}, err)
	}
}

// BuildBlock encodes the waiting batches as one block, with a record of the map root behind them
// where the ledger has a map. The ledger time that it stamps never goes back: this leader has
// applied everything that was committed before its term, and remembers what it has stamped.
func (r *Replica) BuildBlock(reqs []raftnode.Request) ([]byte, error) {
	batches := make([]ledger.Batch, len(reqs), len(reqs)+1)
	for i, q := range reqs {
		batches[i] = q.(*request).batch
	}
	batches = ledger.WithMapRoot(r.ledger.Program(), r.principal, batches)
	return ledger.EncodeBlock(r.ledger.Anchor(), r.clocks.stamp(), batches)
}

// Apply applies committed blocks and answers the callers whose batches they carry. On an error
// nobody is answered: Raft gives the requests to Fail.
func (r *Replica) Apply(run []raftnode.Committed) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	if passed := r.passed.Load(); len(run) > 0 && run[0].Index <= passed {
		return errors.Newf("apply: the Raft log brings index %d after %d", run[0].Index, passed)
	}
	// The filler may have brought the first ones. They are the same: both are committed.
	ahead := 0
	for at := r.ledger.Head().RaftIndex; ahead < len(run) && run[ahead].Index <= at; {
		ahead++
	}
	filled, run := run[:ahead], run[ahead:]
	if err := r.apply(run); err != nil {
		return err
	}
	if err := r.membersApplied(); err != nil {
		return err
	}
	for i := range filled {
		r.passed.Store(filled[i].Index)
		for _, q := range filled[i].Requests { // of a former leader, whose blocks another one had committed
			q.(*request).done(ledger.Result{}, raftnode.ErrIndefinite)
		}
	}
	if len(run) > 0 {
		r.passed.Store(run[len(run)-1].Index)
	}
	if r.worker.wanted() {
		r.shell.WakeWorker()
	}
	return nil
}

func (r *Replica) apply(run []raftnode.Committed) error {
	if len(run) == 0 {
		return nil
	}
	r.blocks = r.blocks[:0]
	for i := range run {
		r.blocks = append(r.blocks, ledger.Committed{RaftIndex: run[i].Index, RaftTerm: run[i].Term, Block: run[i].Data})
	}
	results, err := r.ledger.ApplyMany(r.blocks)
	clear(r.blocks)
	if err != nil {
		return errors.Wrapf(err, "apply raft entries %d to %d", run[0].Index, run[len(run)-1].Index)
	}
	applied := r.stages.Now()
	r.measureApplied(run, applied)
	if c := r.ledger.Contradicted(); c != nil && c != r.contradicted {
		r.contradicted = c
		r.post(seal.Contradicted{})
	}
	// Before the answers: whoever asks for a seal then gets one that covers the answer.
	if r.mail.applied(r.ledger.Head()) {
		r.shell.WakeSealer()
	}
	answered := false
	for i := range run {
		answer(&run[i], results[i])
		answered = answered || len(run[i].Requests) > 0
	}
	if answered {
		r.stages.Since(stages.Answer, applied)
	}
	return nil
}

// answer tells the callers of one block.
func answer(e *raftnode.Committed, results []ledger.Result) {
	for i, q := range e.Requests {
		a := q.(*request)
		if i < len(results) {
			a.done(results[i], nil)
			continue
		}
		// Raft gives back the block that was proposed here, so it parses. A record of the map root is
		// behind the callers' batches.
		a.done(ledger.Result{}, errors.AssertionFailedf("the block at raft index %d has %d results for %d batches", e.Index, len(results), len(e.Requests)))
	}
}

// Fail answers the callers of batches that will not come back through Apply.
func (r *Replica) Fail(reqs []raftnode.Request, err error) {
	for _, q := range reqs {
		q.(*request).done(ledger.Result{}, err)
	}
}

// HandleApp takes a sealing message of another replica.
func (r *Replica) HandleApp(from uint64, payload []byte) {
	if r.mail.received(from, payload) {
		r.shell.WakeSealer()
	}
}

// StateChanged learns who leads.
func (r *Replica) StateChanged(s raftnode.State) {
	old := r.State()
	r.state.Store(&s)
	if old.Serving == s.Serving && old.Term == s.Term {
		return
	}
	if s.Serving {
		r.clocks.lead()
	}
	if r.worker.leads(s.Serving); r.worker.wanted() {
		r.shell.WakeWorker()
	}
	r.post(seal.Leader{Is: s.Serving})
	r.endHandover()
}

// PeerUp says that a member has connected, perhaps after a restart.
func (r *Replica) PeerUp(id uint64) { r.post(seal.PeerUp{ID: id}) }

// RequestSeal says that a caller waits for a receipt.
func (r *Replica) RequestSeal() {
	r.mail.want()
	r.shell.WakeSealer()
}

// Unfit says why this replica is not to lead: raftnode.Config.Unfit.
func (r *Replica) Unfit() error {
	if r.rebuilding.Load() {
		return ErrRebuilding
	}
	return r.clocks.unfit()
}

// ErrRestores says that a leader wants to restore a ledger while it runs.
var ErrRestores = errors.New("a record that restores the ledger comes through Raft")

// Vet judges a block that another leader wants to have stored here: raftnode.Config.Vet. A feature
// level that this program does not know is not stored: once it were committed this replica could
// not go on. Neither is a record that restores the ledger: it would take another policy over without
// the signatures of the present one.
//
// An entry at which Raft changes its members carries a change of members, and no other entry does:
// Raft has to see the change coming.
func (r *Replica) Vet(block []byte, change bool) error {
	if ledger.Restores(block) {
		return ErrRestores
	}
	if is := ledger.MemberChangeIn(block) != nil; is != change {
		return errors.Newf("the leader's entry is a change of members for Raft: %t, and for the ledger: %t", change, is)
	}
	if level := ledger.NewestLevel(block); level > r.ledger.KnownLevel() {
		return errors.Wrapf(ledger.ErrNewerLevel, "the leader raises the ledger to level %d, this program knows %d", level, r.ledger.KnownLevel())
	}
	return r.clocks.vet(block)
}

// RaiseLevel proposes a feature level that the programs of all members know, in the name of this
// node. done hears what came of it.
func (r *Replica) RaiseLevel(level uint32, done func(ledger.Result, error)) {
	r.Submit(ledger.LevelBatch(r.principal, level), done)
}

// ClockAhead is how far this node's clock is ahead of the median of those that are known.
func (r *Replica) ClockAhead() time.Duration { return r.clocks.ahead() }
