package raftnode

import (
	"fmt"

	"github.com/cockroachdb/errors"
)

// Errors of Submit, Core.Propose and Machine.Fail. All but ErrIndefinite are
// definite: the request has no effect and never will have.
var (
	// ErrNotLeader: this node does not lead its group.
	ErrNotLeader = errors.New("not the leader")
	// ErrNotServing: this node leads, but has not yet applied an entry of its own
	// term, or is handing leadership over. The Node keeps requests queued meanwhile.
	ErrNotServing = errors.New("leader is not taking proposals at the moment")
	// ErrInflight: MaxInflightBlocks proposals are not applied yet.
	ErrInflight = errors.New("too many blocks in flight")
	// ErrDropped: the proposal never entered the log, or another leader's entry
	// was committed in its place.
	ErrDropped = errors.New("proposal dropped")
	// ErrQueueFull: the proposal queue is at its limit of bytes or requests.
	ErrQueueFull = errors.New("proposal queue is full")
	// ErrTooLarge: the request alone exceeds what one block can carry.
	ErrTooLarge = errors.New("request is too large for a block")
	// ErrChanging: another change of the members is under way.
	ErrChanging = errors.New("another change of the members is under way")
	// ErrStopped: the node is stopping, has stopped or has failed.
	ErrStopped = errors.New("node is stopped")
	// ErrIndefinite: leadership was lost (or the node stopped) while the request
	// was in flight; it may or may not be committed.
	ErrIndefinite = errors.New("outcome unknown: leadership was lost while the request was in flight")
	// ErrReadTimeout: no quorum confirmed a linearizable read in time.
	ErrReadTimeout = errors.New("linearizable read timed out: no confirmation from a quorum")
)

// Errors of TransferLeadership.
var (
	// ErrNoSuccessor: there is no voter but the leader, or none was heard lately. Nobody was asked.
	ErrNoSuccessor = errors.New("no other voter can take leadership over")
	// ErrNotTransferred: nobody took leadership over in time. Somebody still may.
	ErrNotTransferred = errors.New("leadership was not handed over")
)

// NotLeaderError says who leads, as far as this node knows. It is definite and
// matches errors.Is(err, ErrNotLeader).
type NotLeaderError struct {
	// Leader is the node to ask; 0 when unknown.
	Leader uint64
}

func (e *NotLeaderError) Error() string {
	if e.Leader == 0 {
		return "not the leader; no leader known"
	}
	return fmt.Sprintf("not the leader; node %d leads", e.Leader)
}

// Is makes errors.Is(err, ErrNotLeader) true.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }
