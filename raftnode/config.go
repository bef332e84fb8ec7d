package raftnode

import (
	"time"

	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/raftnode/gather"
	"github.com/cairnledger/cairn/raftnode/transport"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// MaxRequestSize bounds Request.Size, in bytes, and MaxBlockSize what BuildBlock
// returns; a block travels in one frame.
const (
	MaxRequestSize = transport.MaxPayload / 2
	MaxBlockSize   = transport.MaxPayload - 4096
)

// DefaultTick is the length of a tick.
const DefaultTick = 10 * time.Millisecond

// Request is what a caller wants to have in a block. The node never looks inside.
type Request interface {
	// Size is how many bytes it will add to a block; constant.
	Size() int
}

// Machine is the replicated state machine and the caller of requests.
type Machine interface {
	// BuildBlock encodes requests into one block, at most MaxBlockSize bytes, not
	// empty. It is called from a turn of a leader that has applied everything before
	// its term, and must be quick. The result must not be changed afterwards. On an
	// error all of reqs are given to Fail with it: it must be definite.
	BuildBlock(reqs []Request) ([]byte, error)
	// Apply gets the committed entries in order, a run at a time, from whoever runs
	// TaskApply. The machine answers their requests. The data of Raft's own entries
	// are empty; others keep the data too: read only. On an error the node stops with
	// it, and Fail gets the requests of the whole run, with ErrIndefinite: the machine
	// has answered none of them.
	Apply(run []Committed) error
	// Fail answers requests that will not be given to Apply. The error is definite
	// unless errors.Is(err, ErrIndefinite). Called from every task, and by Stop;
	// must be quick.
	Fail(reqs []Request, err error)
	// HandleApp gets what a peer gave to SendApp, on a transport goroutine; must
	// be quick.
	HandleApp(from uint64, payload []byte)
	// Fill asks the machine to reach a position without the log, from a turn; must be quick and must not
	// wait. Driver.Filled answers, later. Apply goes on meanwhile, and may bring entries that the machine
	// has got in another way by then: the same ones, because they are committed. One Fill is asked for
	// at a time. Before the next one the machine has answered, or the member was started again.
	Fill(Snapshot)
	// StateChanged hears about role, leader, term and Serving, in order, from a
	// turn; must be quick and must not wait for the node.
	StateChanged(State)
}

// Transport is what a node needs of package transport.
type Transport interface {
	Register(group uint64, h transport.Handler)
	Unregister(group uint64)
	SendRaft(group uint64, m *raftpb.Message)
	// SendBeat is SendRaft for a heartbeat without a context, or an answer to one, that may wait for a
	// Flush of a round.
	SendBeat(group uint64, to uint64, b transport.Beat)
	SendApp(group uint64, to uint64, payload []byte)
	// Flush lets the heartbeats and answers leave that SendRaft may have gathered, and with a round
	// those of SendBeat.
	Flush(round bool)
}

// Config configures a Node or a Driver. Zero values mean the defaults given.
type Config struct {
	// ID of this node, not 0, and the group that it is a member of. The group must
	// have been bootstrapped in the log.
	ID, Group uint64
	Log       *wal.Log  // set by the Host
	Transport Transport // set by the Host
	Machine   Machine

	TickInterval   time.Duration // DefaultTick; set by the Host
	HeartbeatTicks int           // 5
	ElectionTicks  int           // 30; the timeout is random in [1,2) times this

	// MaxBlockBytes closes a block; a larger single request travels alone. 1 MiB.
	MaxBlockBytes int
	// MaxInflightBlocks bounds the blocks proposed here and not yet applied. 8.
	MaxInflightBlocks int
	// QueueRequests bounds the requests that wait for a block, in number; HostConfig.QueueBytes in
	// bytes. 1 Mi.
	QueueRequests int
	// StallTimeout is how long the oldest write to the log, or the machine with one
	// run, may take before this node gives leadership away. 2 * ElectionTicks * TickInterval.
	StallTimeout time.Duration

	// Behind says that the machine has not reached the group's mark. Nothing is applied, and nobody who
	// waits for an applied index is answered, until Driver.Reached. The member votes and stores entries
	// meanwhile. The caller sees to it that Unfit keeps it from leading.
	Behind bool
	// New says that the group has just begun, on all members at about the same time: Core.Begin.
	New bool
	// PeerUp, when not nil, hears that another member has connected, perhaps after a restart. It is
	// called on a transport goroutine; must be quick.
	PeerUp func(id uint64)
	// Unfit, when not nil, says why this member should not lead, nil when it may. While there is a
	// reason the member does not stand for election, and a leader hands over. It is called from a
	// turn, once in HeartbeatTicks ticks, or from Tick, once in ElectionTicks ticks, of a member that
	// has nothing to do. It must be quick. The reason is logged when it begins.
	Unfit func() error
	// Vet, when not nil, judges the data of another leader's entry; see CoreConfig.Vet. It is
	// called from a turn.
	Vet func(data []byte, change bool) error
	// Members, when not nil, says who belongs to the group after what the machine has applied, nil
	// when that is as the log's mark had it at the start. It is called by whoever runs TaskApply,
	// after Apply. Without it the members stay.
	Members func() *Members
	// Refused, when not nil, is called from a turn for every message of a peer that was refused;
	// must be quick.
	Refused func(*RefusedError)

	// Stages, when not nil, measures the stages from the queue until an entry is committed.
	Stages *stages.Set

	// Incarnation must differ between any two starts of one node: CoreConfig.Incarnation.
	// Host.Start draws it when it is 0.
	Incarnation uint64

	// budgets and crowd are those of the Host; a Driver without them has its own.
	budgets *budgets
	crowd   *gather.Crowd

	// Fatal, when not nil, is called by a Node once, on a goroutine of its own, when the node
	// has stopped because the log or the machine failed.
	Fatal func(error)
	// Logf, when not nil, is called with a line about each election, stall and the like.
	Logf func(format string, args ...any)
	// Observe, when not nil, sees everything that the core asks for, before it is done. It is
	// called from a turn and changes nothing.
	Observe func(*Effects)
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.ID == 0:
		return c, errors.New("raftnode: Config.ID is 0")
	case c.Log == nil || c.Transport == nil || c.Machine == nil:
		return c, errors.New("raftnode: Config needs Log, Transport and Machine")
	}
	setDefault(&c.TickInterval, DefaultTick)
	setDefault(&c.HeartbeatTicks, 5)
	setDefault(&c.ElectionTicks, 30)
	setDefault(&c.MaxBlockBytes, 1<<20)
	setDefault(&c.MaxInflightBlocks, 8)
	if c.budgets == nil {
		c.budgets = newBudgets(Limits{})
	}
	if c.crowd == nil {
		c.crowd = new(gather.Crowd)
	}
	setDefault(&c.QueueRequests, 1<<20)
	setDefault(&c.StallTimeout, 2*time.Duration(c.ElectionTicks)*c.TickInterval)
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if c.Unfit == nil {
		c.Unfit = func() error { return nil }
	}
	if c.PeerUp == nil {
		c.PeerUp = func(uint64) {}
	}
	if c.Refused == nil {
		c.Refused = func(*RefusedError) {}
	}
	if c.ElectionTicks <= c.HeartbeatTicks {
		return c, errors.Newf("raftnode: election timeout of %d ticks must exceed heartbeat interval of %d", c.ElectionTicks, c.HeartbeatTicks)
	}
	if c.MaxBlockBytes > MaxRequestSize {
		return c, errors.Newf("raftnode: MaxBlockBytes %d exceeds %d", c.MaxBlockBytes, MaxRequestSize)
	}
	return c, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
