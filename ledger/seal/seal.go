// Package seal turns a growing ledger into sealed checkpoints: the leader asks the voters to cosign (size, root), each
// voter signs what it computed itself, and with a majority the checkpoint is sealed and sent to everybody.
//
// A Sealer is a pure state machine: no goroutines, no I/O, no clock, no locks. The node's shell and the simulator step
// it with events and carry out the effects. Signing happens inside Step and costs about 0.25 ms.
//
// # What it guarantees
//
//   - A voter signs only a root that Config.RootAt computed, from committed blocks that it applied.
//   - A voter never signs two roots for one size, nor a smaller size after a larger one, across restarts too: what it is
//     about to sign is durable before the signature leaves Step (Persist, then Persisted).
//   - Every signature from elsewhere is verified before it counts. A forged, late or repeated one changes nothing.
//   - A replica with another root than a majority learns it, whether it leads or not: Outvoted.
//   - The log's own line is made only for a checkpoint that a majority has cosigned, this voter among them.
//   - A leader runs one seal at a time. It starts one at once when somebody waits (Wanted), at the latest Cadence after
//     the previous one while the ledger grows, and never sooner than MinInterval after the previous one.
//
// # What it assumes
//
// Payloads come from authenticated peers (package transport): a voter can withhold its signature, not borrow another's.
// Persisted data come back as Config.State. A voter that lost its state is another voter and needs another key.
package seal

import (
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Defaults of Config.
const (
	DefaultCadence     = 50 * time.Millisecond
	DefaultMinInterval = 10 * time.Millisecond
	DefaultTimeout     = 250 * time.Millisecond
	DefaultResend      = time.Second
)

// Config of New. The keys and RootAt are required.
type Config struct {
	Origin string
	Self   uint64
	// Voters are the nodes' cosigner keys by node id; a node that is not among them only receives.
	Voters map[uint64]*tlog.VerifierKey
	// Learners are other nodes that get sealed checkpoints.
	Learners []uint64
	// LogCosigner has the log's key; its name is Origin.
	LogCosigner *tlog.Cosigner
	// NodeCosigner has this node's key.
	NodeCosigner *tlog.Cosigner
	// RootAt returns the root that this replica computed; ledger.Ledger.RootAt.
	RootAt func(size uint64) (merkle.Hash, error)

	// Cadence is how long after the start of a seal the next one starts without anybody waiting for it.
	Cadence time.Duration
	// MinInterval is how long after the start of a seal the next one starts at the earliest: it bounds the share of
	// the machine that signing takes.
	MinInterval time.Duration
	// Timeout is when an unfinished seal is started again, with whatever size the ledger has then.
	Timeout time.Duration
	// Resend is how often the newest sealed checkpoint is offered again to a node that has not acknowledged it.
	Resend time.Duration

	// State is the data of the last Persist that became durable, nil when there was none.
	State []byte
	// Newest is the newest sealed checkpoint that the ledger holds, nil when there is none.
	Newest *ledger.Sealed
}

// Event is what happens to a Sealer.
type Event interface{ event() }

type (
	// Tick says that time passed. Deadline says when one is due.
	Tick struct{}
	// Leader says whether this node leads now (and has applied an entry of its own term).
	Leader struct{ Is bool }
	// Applied says that the ledger has this size now, readable through RootAt.
	Applied struct{ Size uint64 }
	// Wanted says that somebody waits for the next growth to be sealed.
	Wanted struct{}
	// Received is a payload of Send from an authenticated node.
	Received struct {
		From    uint64
		Payload []byte
	}
	// Persisted says that the data of Persist are durable.
	Persisted struct{ Token uint64 }
	// PeerUp says that a node has connected, perhaps after a restart.
	PeerUp struct{ ID uint64 }
	// Contradicted says that a committed block names this checkpoint as sealed and that this replica does not have that
	// root for that size, so the block had no effect here.
	Contradicted struct {
		Size uint64
		Root merkle.Hash
	}
	// Members says that voters and learners changed.
	Members struct {
		Voters   map[uint64]*tlog.VerifierKey
		Learners []uint64
	}
)

func (Tick) event()      {}
func (Leader) event()    {}
func (Applied) event()   {}
func (Wanted) event()    {}
func (Received) event()  {}
func (Persisted) event() {}
func (PeerUp) event()    {}
func (Members) event()   {}

func (Contradicted) event() {}

// Effect is what the shell has to do, in order.
type Effect interface{ effect() }

type (
	// Send sends a payload to a node. It may get lost.
	Send struct {
		To      uint64
		Payload []byte
	}
	// Persist makes Data durable in place of the data before, then reports Persisted. If that fails the node stops.
	Persist struct {
		Token uint64
		Data  []byte
	}
	// Sealed is a new sealed checkpoint, verified and equal to this replica's own root: ledger.SetSealed.
	Sealed struct{ Checkpoint *ledger.Sealed }
	// Outvoted says that a majority of the voters computed another root (Theirs) for a size than this replica (Ours):
	// it has diverged, and the node must stop.
	Outvoted struct {
		Size         uint64
		Ours, Theirs merkle.Hash
	}
	// Problem is something to log and count; the Sealer goes on.
	Problem struct{ Err error }
)

// Err is why the node stops; at is the newest raft index that it has applied.
func (o Outvoted) Err(at uint64) error {
	return &ledger.DivergenceError{RaftIndex: at, Size: o.Size, Want: o.Theirs, Got: o.Ours, Reason: "a majority of the replicas has another root"}
}

func (Send) effect()     {}
func (Persist) effect()  {}
func (Sealed) effect()   {}
func (Outvoted) effect() {}
func (Problem) effect()  {}

// Errors in Problem, to be matched with errors.Is.
var (
	// ErrForged: a signature or message does not verify.
	ErrForged = errors.New("message does not verify")
	// ErrRootMismatch: another node has another root for a size. One of the two replicas has diverged: Outvoted says
	// so to the one that is alone with its root.
	ErrRootMismatch = errors.New("root mismatch")
)

// Sealer is one node's part in sealing one ledger. Not safe for concurrent use.
type Sealer struct {
	cfg    Config
	quorum int
	policy *tlog.Policy // what a sealed checkpoint from elsewhere must satisfy

	now     time.Time
	applied uint64
	newest  *ledger.Sealed
	pending *pendingSealed // verified, for a size that is not applied yet
	// contradicted is the newest (size, root) of Contradicted; verified are the newest checkpoints that a majority has
	// signed and that this replica could not adopt at once, at most maxVerified.
	contradicted signed
	verified     []signed

	replica replicaState
	leader  leaderState
	effects []Effect
}

type pendingSealed struct {
	from       uint64
	checkpoint *ledger.Sealed
}

// New returns a Sealer that starts as a follower.
func New(cfg Config) (*Sealer, error) {
	if cfg.LogCosigner == nil || cfg.NodeCosigner == nil || cfg.RootAt == nil {
		return nil, errors.New("make sealer: log cosigner, node cosigner and RootAt are required")
	}
	if name := cfg.LogCosigner.Key().Name(); name != cfg.Origin {
		return nil, errors.Newf("make sealer: the log's key is named %q, want the origin %q", name, cfg.Origin)
	}
	setDefault(&cfg.Cadence, DefaultCadence)
	setDefault(&cfg.MinInterval, DefaultMinInterval)
	setDefault(&cfg.Timeout, DefaultTimeout)
	setDefault(&cfg.Resend, DefaultResend)
	s := &Sealer{cfg: cfg, newest: cfg.Newest}
	if err := s.setMembers(cfg.Voters, cfg.Learners); err != nil {
		return nil, errors.Wrap(err, "make sealer")
	}
	if own := cfg.Voters[cfg.Self]; own != nil && own.String() != cfg.NodeCosigner.Key().String() {
		return nil, errors.Newf("make sealer: voter %d has key %s, this node has %s", cfg.Self, own, cfg.NodeCosigner.Key())
	}
	var err error
	if s.replica.durable, err = parseState(cfg.State); err != nil {
		return nil, errors.Wrap(err, "make sealer")
	}
	s.replica.promised = s.replica.durable
	s.leader.init()
	return s, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

func (s *Sealer) setMembers(voters map[uint64]*tlog.VerifierKey, learners []uint64) error {
	quorum := len(voters)/2 + 1
	var policy *tlog.Policy
	if len(voters) > 0 {
		keys := make([]*tlog.VerifierKey, 0, len(voters))
		for _, id := range slices.Sorted(maps.Keys(voters)) {
			keys = append(keys, voters[id])
		}
		var err error
		if policy, err = tlog.NewPolicy([]*tlog.VerifierKey{s.cfg.LogCosigner.Key()}, keys, quorum); err != nil {
			return err
		}
	}
	s.cfg.Voters, s.cfg.Learners = voters, learners
	s.quorum, s.policy = quorum, policy
	return nil
}

// Step takes one event at a moment of the node's clock, and returns what to do. The clock may stand still or jump:
// that costs at most a delay. The effects are valid until the next Step.
func (s *Sealer) Step(now time.Time, ev Event) []Effect {
	s.now = now
	clear(s.effects)
	s.effects = s.effects[:0]
	switch e := ev.(type) {
	case Tick:
	case Leader:
		s.leaderChanged(e.Is)
	case Applied:
		s.applied = max(s.applied, e.Size)
		s.answerRequest()
		s.adoptPending()
	case Wanted:
		s.leader.wanted = true
	case Received:
		s.receive(e.From, e.Payload)
	case Persisted:
		s.persisted(e.Token)
	case PeerUp:
		delete(s.leader.acked, e.ID)
		delete(s.leader.offered, e.ID)
	case Contradicted:
		s.contradicted = signed{e.Size, e.Root}
		s.checkContradicted()
	case Members:
		s.membersChanged(e)
	}
	s.lead()
	return s.effects
}

func (s *Sealer) membersChanged(e Members) {
	if err := s.setMembers(e.Voters, e.Learners); err != nil {
		s.problem(errors.Wrap(err, "change the sealer's members"))
		return
	}
	s.leader.round = nil
}

// Newest returns the newest sealed checkpoint that this node knows and has verified against its own root, or nil.
func (s *Sealer) Newest() *ledger.Sealed { return s.newest }

func (s *Sealer) emit(e Effect) { s.effects = append(s.effects, e) }

func (s *Sealer) send(to uint64, m message) { s.emit(Send{To: to, Payload: m.marshal()}) }

func (s *Sealer) problem(err error) { s.emit(Problem{Err: err}) }

func (s *Sealer) receive(from uint64, payload []byte) {
	m, err := parseMessage(payload)
	if err != nil {
		s.problem(errors.Wrapf(ErrForged, "from node %d: %v", from, err))
		return
	}
	switch m.kind {
	case kindRequest:
		s.replica.request = &request{from: from, size: m.size, root: m.root}
		s.answerRequest()
	case kindCosignature:
		s.receiveCosignature(from, m)
	case kindRefusal:
		s.receiveRefusal(from, m)
	case kindSealed:
		s.receiveSealed(from, m)
	case kindObjection:
		s.receiveObjection(from, m)
	case kindAck:
		s.leader.acked[from] = max(s.leader.acked[from], m.size)
	}
}

func (s *Sealer) newestSize() uint64 {
	if s.newest == nil {
		return 0
	}
	return s.newest.Size
}
