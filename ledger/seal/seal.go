// Package seal turns a growing ledger into sealed checkpoints: the leader asks the voters to cosign
// (size, root), each voter signs what it computed itself, and with a quorum of cosignatures the
// checkpoint is sealed and sent to all.
//
// A Sealer is a pure state machine: no goroutines, no I/O, no clock, no locks. The node's shell and
// the simulator step it with events and carry out the effects. Signing happens inside Step and
// costs about 0.25 ms; a Step that has nothing else to do makes the signature that will be needed
// next, and keeps it.
//
// # What it guarantees
//
//   - A voter signs only a root that Config.RootAt computed, from committed blocks that it applied.
//   - A voter never signs two roots for one size, nor a smaller size after a larger one, across
//     restarts too: what it is about to sign is durable before the signature leaves Step (Persist,
//     then Persisted).
//   - Every signature from elsewhere is verified before it counts. A forged, late or repeated one
//     changes nothing.
//   - A voter signs only what the requester has signed itself. So a voter can always show whose key
//     collected its signature.
//   - A replica with another root than a majority learns it, whether it leads or not: Outvoted. So
//     does one whose ledger has stopped growing because it gives no effect to the others' blocks.
//   - Voters show each other the newest checkpoint that they sealed and the newest that they
//     cosigned. A replica whose tree contradicts cosignatures of a majority stops with evidence
//     (Outvoted), as on both sides of two sealed trees. Cosignatures of fewer keys are reported
//     with evidence (Contradiction) and do not count any more.
//   - A replica that is shown its own signature above its promise, or on another tree, stops:
//     Restored.
//   - Whose signatures seal a size is said by the entries below it (rule). A checkpoint of a size that
//     this replica has not applied counts as sealed only when it has.
//   - The log's own line leaves Step only in a checkpoint that a quorum has cosigned, this voter
//     among them.
//   - A leader runs one seal at a time. While the ledger grows it starts one at the latest Cadence
//     after the one before, and at the latest Gather after it when a caller waits (Wanted). It
//     starts one at once when half as many callers wait as the one before had. So a lone caller
//     waits for nobody, and thousands share one.
//   - Between two seals there is a pause of half the time that the first one took, up to Gather. So
//     a machine that has other work to do seals less often.
//
// # What it assumes
//
// Payloads come from authenticated peers (package transport). Persisted data come back as
// Config.State. A voter that lost its state is another voter and needs another key.
package seal

import (
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Defaults of Config.
const (
	DefaultCadence = 50 * time.Millisecond
	DefaultGather  = 10 * time.Millisecond
	DefaultTimeout = 250 * time.Millisecond
	DefaultResend  = time.Second
	DefaultShow    = time.Second
)

// A Cosigner signs checkpoints: a *tlog.Cosigner, or whatever holds the key elsewhere. It may refuse,
// and it may take its time, in which the Sealer does nothing else.
type Cosigner interface {
	// Key verifies the signatures. It never changes.
	Key() *tlog.VerifierKey
	// Cosign signs a checkpoint; the timestamp is in seconds since the Unix epoch. An error leaves
	// nothing behind that another call could contradict.
	Cosign(cp tlog.Checkpoint, timestamp uint64) (tlog.Signature, error)
}

// Config of New. The keys, RootAt and ConsistencyProof are required.
type Config struct {
	Origin string
	Self   uint64
	// Voters are the nodes' cosigner keys by node id, as the genesis says them; a node that is not
	// among them only receives.
	Voters map[uint64]*tlog.VerifierKey
	// Learners are other nodes that get sealed checkpoints.
	Learners []uint64
	// LogCosigner has the log's key; its name is Origin.
	LogCosigner Cosigner
	// NodeCosigner has this node's key.
	NodeCosigner Cosigner
	// More has further keys of this node and of the log, for sizes whose policy demands them.
	More []Cosigner
	// PolicyAt returns whose signatures a size needs: ledger.Ledger.PolicyAt. Voters, Quorum and the
	// log's key count as long as the ledger has no genesis, and where it is nil.
	PolicyAt func(size uint64) (*ledger.PolicyInForce, error)
	// RootAt returns the root that this replica computed; ledger.Ledger.RootAt.
	RootAt func(size uint64) (merkle.Hash, error)
	// ConsistencyProof proves that this replica's tree of newSize begins with that of oldSize;
	// ledger.Ledger.ConsistencyProof.
	ConsistencyProof func(oldSize, newSize uint64) ([]merkle.Hash, error)

	// Quorum is how many cosignatures seal: at least a majority of the voters, which is the
	// default, and at most all.
	Quorum int
	// Cadence is how long after the start of a seal the next one starts without anybody waiting for
	// it.
	Cadence time.Duration
	// Gather is how long after the start of a seal the callers of the next one wait for others, at
	// the most.
	Gather time.Duration
	// Sharers returns among how many ledgers this node's time for signing is shared: Cadence, Gather
	// and the pauses are multiplied by it. Nil means one.
	Sharers func() int
	// Timeout is when the voters that have not answered are asked again for the same seal. A slow
	// disk therefore delays a seal and does not keep it from ending.
	Timeout time.Duration
	// Resend is how often the newest sealed checkpoint is offered again to a node that has not
	// acknowledged it.
	Resend time.Duration
	// Show is how often a voter shows another one what it sealed and cosigned, while there is
	// something new, and how often a replica that doubts its ledger asks the others.
	Show time.Duration

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
	// Applied says that the ledger has this size after this raft index, readable through RootAt.
	Applied struct{ Size, Index uint64 }
	// Wanted says that so many more callers wait for the next growth to be sealed.
	Wanted struct{ Callers int }
	// Received is a payload of Send from an authenticated node.
	Received struct {
		From    uint64
		Payload []byte
	}
	// Persisted says that the data of Persist are durable.
	Persisted struct{ Token uint64 }
	// PeerUp says that a node has connected, perhaps after a restart.
	PeerUp struct{ ID uint64 }
	// Contradicted says that a committed block names a checkpoint as sealed that this replica's
	// ledger does not have, so the block had no effect here.
	Contradicted struct{}
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
	// Persist makes Data durable in place of the data before, then reports Persisted. If that fails
	// the node stops.
	Persist struct {
		Token uint64
		Data  []byte
	}
	// Sealed is a new sealed checkpoint, verified and equal to this replica's own root:
	// ledger.SetSealed.
	Sealed struct{ Checkpoint *ledger.Sealed }
	// Outvoted says that a majority of the voters has another root (Theirs) for a size than this
	// replica (Ours): the node must stop. Either this replica has diverged, or two trees were
	// cosigned with stolen keys. Evidence proves the latter; it is nil when this replica has signed
	// nothing that the majority contradicts.
	Outvoted struct {
		Size         uint64
		Ours, Theirs merkle.Hash
		Evidence     *tlog.Contradiction
	}
	// Contradiction says that keys of fewer voters than a majority, named in By, cosigned another
	// root (Theirs) than this replica computed, or than they cosigned before (Ours). The Sealer
	// goes on without them. To be logged, counted and kept, Evidence above all, which is nil as in
	// Outvoted.
	Contradiction struct {
		By           []string
		Size         uint64
		Ours, Theirs merkle.Hash
		Evidence     *tlog.Contradiction
	}
	// Restored says that this node's own valid cosignature exists on a checkpoint that it does not
	// know: above what it has promised (Promised), or with another root. The node must stop.
	Restored struct {
		Size     uint64
		Root     merkle.Hash
		Promised uint64
	}
	// Problem is something to log and count; the Sealer goes on.
	Problem struct{ Err error }
)

// Err is why the node stops; at is the newest raft index that it has applied.
func (o Outvoted) Err(at uint64) error {
	err := error(&ledger.DivergenceError{RaftIndex: at, Size: o.Size, Want: o.Theirs, Got: o.Ours, Reason: "a majority of the replicas has another root"})
	if o.Evidence != nil {
		err = errors.Wrap(errors.Mark(err, ErrContradiction), "two histories of this ledger were cosigned")
	}
	return err
}

// Err is why the node stops.
func (r Restored) Err() error {
	return errors.Wrapf(ErrRestored, "there is a cosignature by this node's key on size %d with root %s, and this node has promised no more than size %d: "+
		"its data directory was lost or restored from an older copy, or its cosigner key is in other hands; "+
		"do not start this node again with this directory, it has forgotten votes and entries", r.Size, r.Root, r.Promised)
}

func (Send) effect()          {}
func (Persist) effect()       {}
func (Sealed) effect()        {}
func (Outvoted) effect()      {}
func (Contradiction) effect() {}
func (Restored) effect()      {}
func (Problem) effect()       {}

// Errors in Problem, to be matched with errors.Is.
var (
	// ErrForged: a signature or message does not verify.
	ErrForged = errors.New("message does not verify")
	// ErrRootMismatch: another node has another root for a size. One of the two replicas has
	// diverged: Outvoted says so to the one that is alone with its root.
	ErrRootMismatch = errors.New("root mismatch")
	// ErrContradiction: checkpoints of two histories were cosigned.
	ErrContradiction = errors.New("contradicting cosignatures")
	// ErrRestored: this node has forgotten what it signed. Also an error of New.
	ErrRestored = errors.New("this node's data are older than its signatures")
)

// Sealer is one node's part in sealing one ledger. Not safe for concurrent use.
type Sealer struct {
	cfg Config
	// rule is that of the applied size, rules some of others. Invariant: cfg.Voters are its voters.
	rule      *rule
	rules     map[*ledger.PolicyInForce]*rule
	cosigners []Cosigner // all that this node has, of its own and of the log
	early     map[early]earlyMessage

	now     time.Time
	applied uint64 // size
	index   uint64 // raft index after which the ledger has that size
	newest  *ledger.Sealed
	halted  bool // the node has to stop; nothing is done any more

	replica replicaState
	leader  leaderState
	ready   readySignatures
	seen    seenState
	doubts  doubtState
	effects []Effect
}

// New returns a Sealer that starts as a follower.
func New(cfg Config) (*Sealer, error) {
	if cfg.LogCosigner == nil || cfg.NodeCosigner == nil || cfg.RootAt == nil || cfg.ConsistencyProof == nil {
		return nil, errors.New("make sealer: log cosigner, node cosigner, RootAt and ConsistencyProof are required")
	}
	if name := cfg.LogCosigner.Key().Name(); name != cfg.Origin {
		return nil, errors.Newf("make sealer: the log's key is named %q, want the origin %q", name, cfg.Origin)
	}
	setDefault(&cfg.Cadence, DefaultCadence)
	setDefault(&cfg.Gather, DefaultGather)
	if cfg.Sharers == nil {
		cfg.Sharers = func() int { return 1 }
	}
	setDefault(&cfg.Timeout, DefaultTimeout)
	setDefault(&cfg.Resend, DefaultResend)
	setDefault(&cfg.Show, DefaultShow)
	s := &Sealer{cfg: cfg, newest: cfg.Newest, rules: map[*ledger.PolicyInForce]*rule{}, early: map[early]earlyMessage{}}
	s.cosigners = append([]Cosigner{cfg.NodeCosigner, cfg.LogCosigner}, cfg.More...)
	if err := s.setMembers(cfg.Voters, cfg.Learners); err != nil {
		return nil, errors.Wrap(err, "make sealer")
	}
	// Where the ledger says the policies, Voters are those of its genesis, and the key may be a later one.
	if own := cfg.Voters[cfg.Self]; cfg.PolicyAt == nil && own != nil && !own.Equal(cfg.NodeCosigner.Key()) {
		return nil, errors.Newf("make sealer: voter %d has key %s, this node has %s", cfg.Self, own, cfg.NodeCosigner.Key())
	}
	var err error
	if s.replica.durable, err = parseState(cfg.State); err != nil {
		return nil, errors.Wrap(err, "make sealer")
	}
	s.replica.promised = s.replica.durable
	s.replica.backing = map[uint64]*signedNote{}
	s.replica.requests, s.replica.unbacked = map[uint64]*request{}, map[uint64]*request{}
	s.ready = readySignatures{}
	s.leader.init()
	s.seen.init()
	if err := s.recall(); err != nil {
		return nil, errors.Wrap(err, "make sealer")
	}
	return s, nil
}

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// QuorumRange returns the smallest and the largest number of cosignatures that may be demanded of
// so many voters: fewer than a majority could seal two trees without any stolen key.
func QuorumRange(voters int) (least, most int) { return voters/2 + 1, voters }

func (s *Sealer) setMembers(voters map[uint64]*tlog.VerifierKey, learners []uint64) error {
	least, most := QuorumRange(len(voters))
	quorum := s.cfg.Quorum
	if quorum == 0 {
		quorum = least
	}
	if len(voters) > 0 && (quorum < least || quorum > most) {
		return errors.Newf("a quorum of %d out of %d voters, want %d to %d", quorum, len(voters), least, most)
	}
	s.cfg.Voters, s.cfg.Learners = voters, learners
	s.rule = newRule(side{voters, quorum, []*tlog.VerifierKey{s.cfg.LogCosigner.Key()}})
	return nil
}

// majority is how many voters outvote a replica. It does not depend on the quorum.
func (s *Sealer) majority() int { return len(s.cfg.Voters)/2 + 1 }

// Step takes one event at a moment of the node's clock, and returns what to do. The clock may stand
// still or jump: that costs at most a delay. The effects are valid until the next Step.
func (s *Sealer) Step(now time.Time, ev Event) []Effect {
	s.now = now
	clear(s.effects)
	s.effects = s.effects[:0]
	if s.halted {
		return nil
	}
	switch e := ev.(type) {
	case Tick:
	case Leader:
		s.leaderChanged(e.Is)
	case Applied:
		s.applied, s.index = max(s.applied, e.Size), max(s.index, e.Index)
		s.follow()
		s.judgeEarly()
		s.answerRequests()
		s.applyPending()
		if !s.halted && s.doubts.answers != nil {
			s.resolve()
		}
	case Wanted:
		s.leader.callers += e.Callers
	case Received:
		s.receive(e.From, e.Payload)
	case Persisted:
		s.persisted(e.Token)
	case PeerUp:
		s.peerUp(e.ID)
	case Contradicted:
		s.doubt()
	case Members:
		s.membersChanged(e)
	}
	if !s.halted {
		s.lead()
		s.show()
		s.ask()
		if len(s.effects) == 0 {
			s.prepare()
		}
	}
	return s.effects
}

// Deadline returns when the next Tick is due; false when none is before another event.
func (s *Sealer) Deadline() (time.Time, bool) {
	var due time.Time
	if !s.halted {
		earlier := func(t time.Time) {
			if due.IsZero() || t.Before(due) {
				due = t
			}
		}
		s.leaderDeadlines(earlier)
		s.showDeadlines(earlier)
		s.doubtDeadlines(earlier)
	}
	return due, !due.IsZero()
}

// AwaitsGrowth reports whether a larger ledger would give this Sealer something to do, or an earlier
// Deadline. If not, Applied can wait until there is another event, or until the Deadline.
func (s *Sealer) AwaitsGrowth() bool {
	return !s.halted && (len(s.early) > 0 || s.handsOver() || len(s.replica.requests) > 0 || len(s.seen.pending) > 0 || s.doubts.answers != nil ||
		s.leader.is && s.leader.round == nil && !s.canStart())
}

func (s *Sealer) membersChanged(e Members) {
	if err := s.setMembers(e.Voters, e.Learners); err != nil {
		s.problem(errors.Wrap(err, "change the sealer's members"))
		return
	}
	if s.leader.round != nil {
		s.end()
	}
}

// Newest returns the newest sealed checkpoint that this node knows and has verified against its own
// root, or nil.
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
	s.dispatch(from, m)
}

func (s *Sealer) dispatch(from uint64, m message) {
	switch m.kind {
	case kindRequest:
		if s.cfg.Voters[from] != nil {
			s.replica.requests[from] = &request{from: from, size: m.size, root: m.root}
		}
		s.answerRequests()
	case kindCosignature:
		s.receiveCosignature(from, m)
	case kindRefusal:
		s.receiveRefusal(from, m)
	case kindSealed, kindShown:
		s.receiveNote(from, m)
	case kindObjection:
		s.receiveObjection(from, m)
	case kindAck:
		s.leader.acked[from] = max(s.leader.acked[from], m.size)
	case kindAsk:
		s.tell(from)
	case kindPosition:
		s.receivePosition(from, m)
	}
}

func (s *Sealer) newestSize() uint64 {
	if s.newest == nil {
		return 0
	}
	return s.newest.Size
}
