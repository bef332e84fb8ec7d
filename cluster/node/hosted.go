package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode"
)

// hosted is a ledger that this node hosts: the goroutines around its replica, and the
// server.Backend that the API calls.
type hosted struct {
	*replica.Replica
	node   *node
	group  uint64
	origin string
	raft   *raftnode.Node // set once, before the node starts to call

	sealer *raftnode.Runner
	// again wakes the sealer when its next deadline has come. Owned by the sealer's runs.
	again *time.Timer
	// filler takes blocks from the other members when the Raft log does not bring them.
	filler *raftnode.Runner
	// worker runs the replica's Work, and workAgain wakes it when work is due. Both are nil when
	// the ledger's program has none. workAgain is owned by the worker's runs.
	worker    *raftnode.Runner
	workAgain *time.Timer
	// sealed is the size that was sealed when hosting.keepMarks looked last, growing until when it
	// counts as busy. Owned by hosting.keepMarks, like told: what the log has said about the
	// ledger.
	sealed  uint64
	growing time.Time
	// halted is why the replica has stopped by itself while the node goes on; nil as a rule.
	halted atomic.Pointer[server.HaltedError]
	// new: nobody has led the ledger yet.
	new bool
	// public: the ledger is on the HTTP read path. Set once, before the node starts to call.
	public bool
	// raising: the leader's record that raises the feature level is under way.
	raising atomic.Bool
	// steps says why the next step of each node towards what it is to be was not taken, when this node
	// leads the ledger. Owned by followMembers; replaced, never changed.
	steps     atomic.Pointer[map[uint64]string]
	scrubbing scrubbing
	repaired  repairCounts
	told      struct {
		behind   map[uint64]bool
		troubled bool
		panicked string
	}
}

// newHosted makes the replica of a ledger. start has to follow.
func newHosted(n *node, l *ledger.Ledger, policy *tlog.Policy) (*hosted, error) {
	h := &hosted{node: n, group: l.Group(), origin: l.Origin()}
	h.sealer = n.workers.Runner(h.seal)
	h.again = time.AfterFunc(time.Hour, h.sealer.Wake)
	h.filler = n.workers.Runner(h.fill)
	if _, timed := l.Program().(ledger.Timed); timed {
		h.worker = n.workers.Runner(h.work)
		h.workAgain = time.AfterFunc(time.Hour, h.worker.Wake)
	}
	quorum, err := n.cfg.sealQuorum(len(n.cfg.Members))
	if err != nil {
		return nil, err
	}
	log, err := n.keys.logCosigner(l.Origin())
	if err != nil {
		return nil, err
	}
	principal, err := n.cfg.principal()
	if err != nil {
		return nil, err
	}
	h.Replica, err = replica.New(replica.Config{
		Ledger: l, Log: n.wal.Group(l.Group()), Shell: h, Principal: string(principal), Policy: policy, Stages: n.stages,
		Clocks: replica.Clocks{
			Voters: len(n.cfg.Members), MaxOffset: n.cfg.Clock.MaxOffset, Now: n.cfg.wallClock(),
			Samples: n.hosting.clockSamples,
		},
		Seal: seal.Config{
			Self: n.cfg.Self().ID, Voters: n.keys.voters, LogCosigner: log, NodeCosigner: n.keys.cosigners[0], More: n.keys.cosigners[1:],
			Cadence: n.cfg.Seal.Cadence, Quorum: quorum, Sharers: n.hosting.sealing,
		},
	})
	if err != nil {
		return nil, err // the node has nothing to stop
	}
	return h, nil
}

// start starts the replica's member of its Raft group, and the sealer.
func (h *hosted) start(host *raftnode.Host) (err error) {
	n := h.node
	h.raft, err = host.Start(raftnode.Config{
		ID: n.cfg.Self().ID, Group: h.group, Machine: h.Replica, New: h.new, Behind: h.Rebuilding(), Stages: n.stages,
		HeartbeatTicks: int(n.cfg.Raft.Heartbeat / n.cfg.Raft.Tick),
		ElectionTicks:  int(n.cfg.Raft.Election / n.cfg.Raft.Tick),
		StallTimeout:   n.cfg.Raft.Stall,
		PeerUp:         h.PeerUp,
		Unfit:          h.Unfit,
		Vet:            h.Vet,
		Members:        h.Members,
		Refused: func(r *raftnode.RefusedError) {
			n.metrics.refused.WithLabelValues(n.memberName(r.From), string(r.Reason)).Inc()
		},
		Fatal: h.ended,
		Logf:  h.logf("raft"),
	})
	if err != nil {
		return errors.Wrap(err, "start raft")
	}
	h.Bind(h.raft)
	if h.Removed() {
		h.Halt(replica.ErrRemoved, nil)
	}
	return nil
}

// Origin is the ledger's name; see server.Backend.
func (h *hosted) Origin() string { return h.origin }

// stop ends the member and the sealer.
func (h *hosted) stop(ctx context.Context) error {
	var err error
	if h.raft != nil {
		err = h.raft.Stop(ctx)
	}
	if h.halted.Load() != nil {
		err = nil // it was told
	}
	h.StopSealing()
	h.again.Stop()
	if h.worker != nil {
		h.StopWorking()
		h.workAgain.Stop()
	}
	return err
}

func (h *hosted) seal() {
	h.again.Stop()
	if due, ok := h.Seal(); ok {
		h.again.Reset(due.Sub(h.node.cfg.wallClock()()))
	}
}

func (h *hosted) work() {
	h.workAgain.Stop()
	if due, ok := h.Work(); ok {
		h.workAgain.Reset(due.Sub(h.node.cfg.wallClock()()))
	}
}

// WakeSealer implements replica.Shell.
func (h *hosted) WakeSealer() { h.sealer.Wake() }

// WakeWorker implements replica.Shell.
func (h *hosted) WakeWorker() { h.worker.Wake() }

// Halt implements replica.Shell. A replica that has another root than a majority halts alone, and so
// does one whose ledger needs a newer program (ended). Everything else is about what the ledgers
// share, such as the store, the Raft log and the keys: the node stops.
func (h *hosted) Halt(reason error, evidence *tlog.Contradiction) {
	if h.halted.Load() != nil {
		return // a consequence: the ledger takes no sealed checkpoints any more
	}
	var diverged *ledger.DivergenceError
	if evidence == nil && (errors.As(reason, &diverged) || errors.Is(reason, replica.ErrRemoved)) && h.halt(reason) {
		return
	}
	path, err := writeEvidence(h.node.dir.path, evidence, "Two checkpoints that contradict each other, kept by node "+h.node.cfg.Name+" when it stopped.")
	h.node.fail(withEvidence(errors.Wrapf(reason, "ledger %s", h.origin), path, err))
}

// ended hears why the member of the Raft group has ended by itself. After halt that is a consequence:
// the ledger takes no more blocks. A failure of the log is one of the other members, too.
func (h *hosted) ended(reason error) {
	if h.halted.Load() != nil || errors.IsAny(reason, ledger.ErrNewerBlock, ledger.ErrNewerLevel) && h.halt(reason) {
		return
	}
	h.node.fail(reason)
}

// haltTimeout bounds how long a replica that halts may take to hand its leadership over.
const haltTimeout = 5 * time.Second

// halt stops the replica and lets the node go on with its other ledgers; false for the directory,
// without which the node does not know what to host.
func (h *hosted) halt(reason error) bool {
	if h == h.node.hosting.directory {
		return false
	}
	why := &server.HaltedError{Origin: h.origin, Why: reason.Error()}
	if !h.halted.CompareAndSwap(nil, why) {
		return true
	}
	h.Replica.Ledger().Halt(why)
	h.node.log.Error("a ledger's replica has stopped on this node; the node goes on with its other ledgers, and its Raft log grows meanwhile",
		"ledger", h.origin, "group", h.group, "reason", reason.Error())
	go func() { // whoever says so may be a part of what is stopped, or be about to start it
		h.node.hosting.adding.Lock()
		defer h.node.hosting.adding.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), haltTimeout)
		defer cancel()
		_ = h.stop(ctx)
	}()
	return true
}

// MembersChanged implements replica.Shell.
func (h *hosted) MembersChanged(in *ledger.PolicyInForce) {
	h.node.wakeMembers()
	h.node.log.Info("the ledger has other members", "ledger", h.origin, "epoch", in.Newest.Epoch, "members", replica.MembersOf(in.Newest).String())
}

// Sealed implements replica.Shell.
func (h *hosted) Sealed(*ledger.Sealed) { h.node.metrics.seals.Inc() }

// Contradicted implements replica.Shell. The node goes on: fewer keys than a majority stop nobody.
func (h *hosted) Contradicted(c seal.Contradiction) {
	n := h.node
	log := n.log.With("part", "seal", "ledger", h.origin)
	n.metrics.sealProblems.Inc()
	path, err := writeEvidence(n.dir.path, c.Evidence, "A checkpoint cosigned with the key "+keyNames(c.By)+" that contradicts another one, kept by node "+n.cfg.Name+".")
	if err != nil {
		log.Error("sealing", "problem", err.Error())
	}
	log.Error("sealing: a cosigner's key signed another history; its cosignatures do not count here any more",
		"problem", c.Err().Error(), "keys", keyNames(c.By), "evidence", path)
}

// Problem implements replica.Shell.
func (h *hosted) Problem(err error) {
	h.node.metrics.sealProblems.Inc()
	h.node.log.With("part", "seal", "ledger", h.origin).Warn("sealing", "problem", err.Error())
}

// WorkProblem implements replica.Shell.
func (h *hosted) WorkProblem(err error) {
	h.node.log.Error("the work of the ledger's program", "ledger", h.origin, "problem", err.Error())
}

// raiseLevel raises the ledger's feature level to one that the programs of all members know, if
// this node leads.
func (h *hosted) raiseLevel(known uint32) {
	level := h.Replica.Ledger().Level()
	if known <= level || !h.State().Serving || !h.raising.CompareAndSwap(false, true) {
		return
	}
	h.RaiseLevel(known, func(res ledger.Result, err error) {
		h.raising.Store(false)
		if err == nil && res.Err == nil {
			h.node.log.Info("the ledger's feature level is raised: all members know it", "ledger", h.origin, "from", level, "to", known)
		}
	})
}

// report logs what an operator should know about the ledger, once.
func (h *hosted) report() {
	l, told := h.Replica.Ledger(), &h.told
	problem := l.DurabilityProblem()
	if problem != nil && !told.troubled {
		h.node.log.Error("it is not known what the ledger's disk holds; the Raft log grows meanwhile", "ledger", h.origin, "problem", problem.Error())
	}
	told.troubled = problem != nil
	if p := l.ProgramPanic(); p != told.panicked {
		told.panicked = p
		h.node.log.Error("the ledger's program panicked; the batch was refused", "ledger", h.origin, "panic", p)
	}
	h.reportBehind()
}

// membersBehind returns the members, known only to the leader, that need entries
// from before the retained Raft log. They take the blocks from the other members.
func (h *hosted) membersBehind() (ids []uint64, first uint64) {
	first, err := h.node.wal.Group(h.group).FirstIndex()
	if err != nil {
		return nil, 0
	}
	for _, p := range h.raft.Status().Progress {
		if p.Next < first {
			ids = append(ids, p.ID)
		}
	}
	return ids, first
}

// reportBehind logs each member once when it falls behind the log.
func (h *hosted) reportBehind() {
	if !h.State().Serving && len(h.told.behind) == 0 {
		return // only the leader knows
	}
	ids, first := h.membersBehind()
	if len(ids) == 0 {
		clear(h.told.behind)
	}
	for _, id := range ids {
		if !h.told.behind[id] {
			if h.told.behind == nil {
				h.told.behind = map[uint64]bool{}
			}
			h.told.behind[id] = true
			h.node.log.Warn("a member needs entries that the Raft log holds no more; once it is there it takes the blocks from the other members",
				"ledger", h.origin, "member", h.node.memberName(id), "log_begins_at", first)
		}
	}
}

// translate turns the errors of Raft and ledger into those that the API knows. Definite stays
// definite and indefinite stays indefinite.
func (h *hosted) translate(err error) error {
	var notLeader *raftnode.NotLeaderError
	var ignored *ledger.IgnoredError
	halted := h.halted.Load()
	switch {
	case err == nil:
		return nil
	case halted != nil && errors.Is(err, raftnode.ErrStopped):
		return halted
	case errors.As(err, &ignored):
		return errors.Wrapf(h.notLeader(0), "%v", ignored)
	case errors.Is(err, raftnode.ErrIndefinite):
		return errors.Mark(err, server.ErrIndefinite)
	case errors.As(err, &notLeader):
		return h.notLeader(notLeader.Leader)
	case errors.Is(err, raftnode.ErrNotLeader), errors.Is(err, raftnode.ErrDropped), errors.Is(err, raftnode.ErrNotServing):
		return h.notLeader(h.State().Leader)
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

func (h *hosted) notLeader(id uint64) *server.NotLeaderError {
	m := h.node.member(id)
	return &server.NotLeaderError{LeaderName: m.Name, LeaderAddr: m.API}
}

// Submit queues a batch; see server.Backend.
func (h *hosted) Submit(ctx context.Context, b ledger.Batch, done func(ledger.Result, error)) {
	if err := ctx.Err(); err != nil {
		done(ledger.Result{}, err)
		return
	}
	at := time.Now()
	h.Replica.Submit(b, func(res ledger.Result, err error) {
		var ignored *ledger.IgnoredError
		if err == nil && errors.As(res.Err, &ignored) {
			err = res.Err
		}
		if err != nil {
			done(ledger.Result{}, h.translate(err))
			return
		}
		done(res, nil)
		h.node.metrics.appendSeconds.Observe(time.Since(at).Seconds())
	})
}

// Append queues a batch and waits for its fate; see server.Backend.
func (h *hosted) Append(ctx context.Context, b ledger.Batch) (ledger.Result, error) {
	type outcome struct {
		result ledger.Result
		err    error
	}
	fate := make(chan outcome, 1)
	h.Submit(ctx, b, func(res ledger.Result, err error) { fate <- outcome{res, err} })
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
func (h *hosted) ReadBarrier(ctx context.Context) error {
	index, err := h.raft.ReadIndex(ctx)
	if err != nil {
		if errors.Is(err, raftnode.ErrReadTimeout) {
			return h.notLeader(0)
		}
		return h.translate(err)
	}
	return h.translate(h.raft.WaitApplied(ctx, index))
}

// Ledger is the replica itself, for reads that repair what they find damaged.
func (h *hosted) Ledger() server.Ledger { return reads{h.Replica.Ledger(), h} }

// TransferLeadership hands leadership over and returns once somebody else leads; at
// once if the named node leads already.
func (h *hosted) TransferLeadership(ctx context.Context, to string) error {
	var id uint64
	for _, m := range h.node.nodes().present() {
		if m.Name == to {
			id = m.ID
		}
	}
	if to != "" && id == 0 {
		return errors.Wrapf(server.ErrUnknownNode, "%q", to)
	}
	return h.translate(h.raft.TransferLeadership(ctx, id))
}
