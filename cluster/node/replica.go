package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// replica is this node's copy of the ledger. It connects Raft, which orders
// opaque blocks, with the ledger, which applies them, and with the sealer, which
// has the result cosigned. It is the raftnode.Machine of its group.
//
// Who calls what: BuildBlock and the clocks' unfit and vet on Raft's loop, Apply on Raft's apply goroutine, the
// rest from anywhere.
type replica struct {
	node   *node
	ledger *ledger.Ledger
	raft   *raftnode.Node // set once, before the node starts to call
	sealer *sealer
	names  map[uint64]Member

	state atomic.Pointer[raftnode.State]
	// contradicted is the newest anchor of which the sealer was told. Owned by Raft's apply goroutine.
	contradicted *ledger.Anchor
	clocks       *clocks
	metrics      *metrics
	// storeBytes is what the ledger's directory occupies, measured now and then.
	storeBytes atomic.Int64
}

// newReplica connects ledger and sealer; raft is set by the caller.
func newReplica(n *node) (*replica, error) {
	r := &replica{node: n, ledger: n.ledger, names: map[uint64]Member{}, metrics: n.metrics}
	r.clocks = &clocks{
		voters: len(n.cfg.Members), maxOffset: n.cfg.Clock.MaxOffset, now: n.cfg.wallClock(),
		samples:    func() map[uint64]transport.ClockSample { return n.transport.Clocks() },
		ledgerTime: func() int64 { return n.ledger.Head().Time },
	}
	for _, m := range n.cfg.Members {
		r.names[m.ID] = m
	}
	r.state.Store(&raftnode.State{})
	quorum, err := n.cfg.sealQuorum()
	if err != nil {
		return nil, err
	}
	machine, err := seal.New(seal.Config{
		Origin: n.cfg.Origin, Self: n.cfg.Self().ID, Voters: n.keys.voters,
		LogCosigner: n.keys.log, NodeCosigner: n.keys.cosigner, RootAt: n.ledger.RootAt, ConsistencyProof: n.ledger.ConsistencyProof,
		Cadence: n.cfg.Seal.Cadence, Quorum: quorum,
		State: n.wal.Group(group).Note(sealNote), Newest: n.ledger.Sealed(),
	})
	if err != nil {
		return nil, err
	}
	r.sealer = &sealer{
		machine: machine, ledger: n.ledger, fatal: n.fail, now: n.cfg.wallClock(), log: n.log.With("part", "seal"), metrics: n.metrics,
		dir: n.dir.path, name: n.cfg.Name,
		send:    func(to uint64, payload []byte) { r.raft.SendApp(to, payload) },
		persist: func(data []byte, done func(error)) { r.raft.AppendNote(sealNote, data, done) },
		wake:    make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	return r, nil
}

// appendRequest is one caller's batch on its way through Raft.
type appendRequest struct {
	batch ledger.Batch
	size  int
	// done is called exactly once, and must not block.
	done func(ledger.Result, error)
	at   time.Time
}

// Size is what the batch adds to a block, in bytes.
func (r *appendRequest) Size() int { return r.size }

// BuildBlock encodes the waiting batches as one block. The ledger time that it stamps
// never goes back: this leader has applied everything that was committed before its
// term, and remembers what it has stamped.
func (r *replica) BuildBlock(reqs []raftnode.Request) ([]byte, error) {
	batches := make([]ledger.Batch, len(reqs))
	for i, q := range reqs {
		batches[i] = q.(*appendRequest).batch
	}
	return ledger.EncodeBlock(r.ledger.Anchor(), r.clocks.stamp(), batches)
}

// markInterval is how often the Raft log learns how far the ledger is durable.
const markInterval = 250 * time.Millisecond

// Apply applies a committed block and answers the callers whose batches it carries. On an error they are not answered:
// Raft gives them to Fail.
func (r *replica) Apply(e *raftnode.Committed) error {
	results, err := r.ledger.Apply(e.Index, e.Term, e.Data)
	if err != nil {
		return errors.Wrapf(err, "apply raft entry %d", e.Index)
	}
	if c := r.ledger.Contradicted(); c != nil && c != r.contradicted {
		r.contradicted = c
		r.sealer.post(seal.Contradicted{Size: c.Size, Root: c.Root})
	}
	for i, q := range e.Requests {
		a := q.(*appendRequest)
		if i >= len(results) {
			// Raft gives back the block that was proposed here, so it parses.
			a.done(ledger.Result{}, errors.AssertionFailedf("the block at raft index %d has %d results for %d batches", e.Index, len(results), len(e.Requests)))
			continue
		}
		var ignored *ledger.IgnoredError
		if errors.As(results[i].Err, &ignored) {
			a.done(ledger.Result{}, errors.Wrapf(r.notLeader(0), "raft index %d: %v", e.Index, ignored))
			continue
		}
		a.done(results[i], nil)
		r.metrics.appendSeconds.Observe(time.Since(a.at).Seconds())
	}
	if len(results) > 0 {
		r.sealer.applied(r.ledger.Head().Size)
	}
	return nil
}

// keepMark tells the Raft log now and then how far the ledger is durable, so that
// it need not reach back further. It waits for the disk: a goroutine of its own.
func (r *replica) keepMark(quit <-chan struct{}) {
	marked := r.node.wal.Group(group).Mark().Index
	behind, troubled := map[uint64]bool{}, false
	for {
		select {
		case <-quit:
			return
		case <-time.After(markInterval):
		}
		if s, ok := r.ledger.Durable(); ok && s.RaftIndex > marked {
			if r.raft.SetMark(wal.Mark{Index: s.RaftIndex, Term: s.RaftTerm, Meta: s.Marshal()}) {
				marked = s.RaftIndex
			}
		}
		problem := r.ledger.DurabilityProblem()
		if problem != nil && !troubled {
			r.node.log.Error("it is not known what the ledger's disk holds; the Raft log grows meanwhile", "problem", problem.Error())
		}
		troubled = problem != nil
		r.reportBehind(behind)
	}
}

// membersBehind returns the members, known only to the leader, that need entries
// from before the retained Raft log. They do not catch up by themselves.
func (r *replica) membersBehind() (ids []uint64, first uint64) {
	first, err := r.node.wal.Group(group).FirstIndex()
	if err != nil {
		return nil, 0
	}
	for _, p := range r.raft.Status().Progress {
		if p.Next < first {
			ids = append(ids, p.ID)
		}
	}
	return ids, first
}

// reportBehind logs each member once when it falls behind the log. told is what has
// been logged.
func (r *replica) reportBehind(told map[uint64]bool) {
	ids, first := r.membersBehind()
	if len(ids) == 0 {
		clear(told)
	}
	for _, id := range ids {
		if !told[id] {
			told[id] = true
			r.node.log.Error("a member needs entries that the Raft log holds no more; it will not catch up",
				"member", r.names[id].Name, "log_begins_at", first)
		}
	}
}

// Fail answers the callers of batches that will not come back through Apply.
func (r *replica) Fail(reqs []raftnode.Request, err error) {
	err = r.translate(err)
	for _, q := range reqs {
		q.(*appendRequest).done(ledger.Result{}, err)
	}
}

// translate turns Raft's errors into those that the API knows. Definite stays
// definite and indefinite stays indefinite.
func (r *replica) translate(err error) error {
	var notLeader *raftnode.NotLeaderError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raftnode.ErrIndefinite):
		return errors.Mark(err, server.ErrIndefinite)
	case errors.As(err, &notLeader):
		return r.notLeader(notLeader.Leader)
	case errors.Is(err, raftnode.ErrNotLeader), errors.Is(err, raftnode.ErrDropped), errors.Is(err, raftnode.ErrNotServing):
		return r.notLeader(r.state.Load().Leader)
	case errors.Is(err, raftnode.ErrQueueFull):
		return &server.OverloadedError{RetryAfter: 20 * time.Millisecond}
	case errors.Is(err, raftnode.ErrStopped):
		return server.ErrStopped
	case errors.Is(err, raftnode.ErrNoSuccessor):
		return server.ErrNoSuccessor
	case errors.Is(err, raftnode.ErrNotTransferred):
		return errors.Mark(err, server.ErrNotTransferred)
	}
	return err
}

func (r *replica) notLeader(id uint64) *server.NotLeaderError {
	m := r.names[id]
	return &server.NotLeaderError{LeaderName: m.Name, LeaderAddr: m.API}
}

// HandleApp takes a sealing message of another replica.
func (r *replica) HandleApp(from uint64, payload []byte) { r.sealer.received(from, payload) }

// StateChanged learns who leads.
func (r *replica) StateChanged(s raftnode.State) {
	old := r.state.Swap(&s)
	if s.Serving && (old == nil || !old.Serving || old.Term != s.Term) {
		r.clocks.lead()
	}
	if old == nil || old.Serving != s.Serving || old.Term != s.Term {
		r.sealer.leading(s.Serving)
	}
}

// Submit queues a batch; see server.Backend.
func (r *replica) Submit(ctx context.Context, b ledger.Batch, done func(ledger.Result, error)) {
	if err := ctx.Err(); err != nil {
		done(ledger.Result{}, err)
		return
	}
	if err := r.raft.Submit(&appendRequest{batch: b, size: b.Size(), done: done, at: time.Now()}); err != nil {
		done(ledger.Result{}, r.translate(err))
	}
}

// Append queues a batch and waits for its fate; see server.Backend.
func (r *replica) Append(ctx context.Context, b ledger.Batch) (ledger.Result, error) {
	type outcome struct {
		result ledger.Result
		err    error
	}
	fate := make(chan outcome, 1)
	r.Submit(ctx, b, func(res ledger.Result, err error) { fate <- outcome{res, err} })
	select {
	case o := <-fate:
		return o.result, o.err
	case <-ctx.Done():
		// It may have been decided in the same instant.
		select {
		case o := <-fate:
			return o.result, o.err
		default:
			return ledger.Result{}, errors.Mark(errors.Wrap(ctx.Err(), "wait for the append"), server.ErrIndefinite)
		}
	}
}

// ReadBarrier waits until this replica has applied everything that was
// acknowledged before the call.
func (r *replica) ReadBarrier(ctx context.Context) error {
	index, err := r.raft.ReadIndex(ctx)
	if err != nil {
		if errors.Is(err, raftnode.ErrReadTimeout) {
			return r.notLeader(0)
		}
		return r.translate(err)
	}
	return r.translate(r.raft.WaitApplied(ctx, index))
}

// RequestSeal says that a caller waits for a receipt.
func (r *replica) RequestSeal() { r.sealer.wanted() }

// Ledger is the replica itself, for reads.
func (r *replica) Ledger() server.Ledger { return r.ledger }

// TransferLeadership hands leadership over and returns once somebody else leads; at
// once if the named node leads already.
func (r *replica) TransferLeadership(ctx context.Context, to string) error {
	var id uint64
	for i, m := range r.names {
		if m.Name == to {
			id = i
		}
	}
	if to != "" && id == 0 {
		return errors.Wrapf(server.ErrUnknownNode, "%q", to)
	}
	return r.translate(r.raft.TransferLeadership(ctx, id))
}
