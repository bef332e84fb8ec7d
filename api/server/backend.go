package server

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Backend is one ledger on this node: what the services need of the replica that serves it. All
// methods are safe for concurrent use.
type Backend interface {
	// Origin is the name of the ledger.
	Origin() string

	// Append replicates a batch and returns when it is applied here, or when that will never be
	// known.
	//
	// The error is nil when the batch was decided: Result.Err then says whether it was refused by
	// the ledger itself (*ledger.ConflictError, *ledger.SizeMismatchError, *ledger.RefusedError).
	// Otherwise the error is one of *NotLeaderError, *OverloadedError, ErrStopped (definite: the
	// batch never entered the log) or wraps ErrIndefinite. An error of the context is definite only
	// if the backend returns it before the batch was handed to Raft; after that the backend wraps
	// ErrIndefinite.
	Append(ctx context.Context, b ledger.Batch) (ledger.Result, error)

	// Submit is Append without waiting: batches enter the queue in the order of the calls. It calls
	// done exactly once, with what Append would return, possibly before Submit returns; done must
	// not block. It serves AppendStream, whose promise is that batches of one stream are queued in
	// the order in which they arrived.
	Submit(ctx context.Context, b ledger.Batch, done func(ledger.Result, error))

	// ReadBarrier makes reads linearizable: after it returns nil, Ledger().Head() includes
	// everything that was acknowledged by any node before the call. Works on followers too. Errors:
	// *NotLeaderError (no leader known), ErrStopped, of the context.
	ReadBarrier(ctx context.Context) error

	// RequestSeal says that a caller waits for a receipt: the leader seals at once if no seal is
	// running. A no-op elsewhere.
	RequestSeal()

	// Ledger is this node's replica.
	Ledger() Ledger

	// Status is a snapshot of the node, cheap enough for every request.
	Status() Status
	// Brief is Status without what is the same for all ledgers of a node.
	Brief() Status

	// TransferLeadership hands leadership to the named node, or to the best follower if to is "".
	// It returns when another node leads, at once if that node leads already. Errors:
	// *NotLeaderError, ErrUnknownNode, ErrNoSuccessor, ErrNotTransferred, of the context.
	TransferLeadership(ctx context.Context, to string) error

	// RotateCosigner gives the named member another cosigner key, in the name of who asked for it. A
	// member that has the key already is not an error. Errors: those of Append, ErrUnknownNode,
	// *PolicyError.
	RotateCosigner(ctx context.Context, asked, member string, key *tlog.VerifierKey) (Rotation, error)
}

// Rotation says how far the change of a key is.
type Rotation struct {
	Epoch     uint32 // of the newest policy, which names the key
	TakenOver bool   // by that policy: the key before counts no more
}

// PolicyError refuses to change the policy of a ledger. Definite.
type PolicyError struct{ Why string }

func (e *PolicyError) Error() string { return "the policy of the ledger stays as it is: " + e.Why }

// Ledger is what the services read of a replica; *ledger.Ledger has it.
type Ledger interface {
	Program() ledger.Program
	State() ledger.State
	StateAt(size uint64) (ledger.State, error)
	SizeAt(time int64) (uint64, error)
	KeptSizes(size uint64) (below, above uint64)
	NewestMapProof(account []byte) (*ledger.AccountProof, error)
	MapProof(size uint64, account []byte) (*ledger.AccountProof, error)
	Head() ledger.Head
	Leaf(index uint64) ([]byte, error)
	BlockAt(index uint64) (*ledger.BlockRecord, error)
	Leaves(first uint64, max int, maxBytes int) ([][]byte, error)
	Detail(index uint64) (leaf, detail []byte, err error)
	DetailOf(index uint64, leaf []byte) ([]byte, error)
	InclusionProof(index, size uint64) ([]merkle.Hash, error)
	ConsistencyProof(oldSize, newSize uint64) ([]merkle.Hash, error)
	RootAt(size uint64) (merkle.Hash, error)
	WaitSize(ctx context.Context, size uint64) error
	Sealed() *ledger.Sealed
	WaitSealed(ctx context.Context, size uint64) (*ledger.Sealed, error)
	Tile(level uint8, index uint64, width int) ([]byte, error)
	PolicyAt(size uint64) (*ledger.PolicyInForce, error)
	PolicyRecords(size uint64) ([]uint64, error)
	Receipt(index uint64) (*tlog.Receipt, error)
}

// Directory is the cluster's own ledger, which says what ledgers there are. All methods are safe
// for concurrent use.
type Directory interface {
	// Create creates a ledger on all members of the cluster and returns when it is decided, as a rule
	// once this node hosts the ledger. If there is one with the same origin, program and parameters, Create
	// returns that one, and created is false.
	//
	// The error is a *LedgerExistsError, a *TooManyLedgersError, or matches ErrBadLedger, if the
	// ledger is refused; otherwise it is one of those of Backend.Append.
	Create(ctx context.Context, creator string, l NewLedger) (info LedgerInfo, created bool, err error)

	// List returns all ledgers, in any order, those included whose Create was answered by any node
	// before the call. Errors: as of Backend.ReadBarrier.
	List(ctx context.Context) ([]LedgerInfo, error)

	// Show returns one ledger, or an error that matches ErrUnknownLedger. It is as fresh as List.
	Show(ctx context.Context, origin string) (LedgerInfo, error)
}

// Members are the nodes of the cluster, for those who add and remove them. All methods are safe for
// concurrent use. Errors: a *MemberRefusedError, ErrUnknownNode, those of Backend.Append.
type Members interface {
	// Add adds the node that has made a request (package enrolment) and returns what it begins with.
	Add(ctx context.Context, asked string, n NewMember) (info MemberInfo, added bool, files []MemberFile, err error)
	// Promote and Remove return when the directory has the change. The ledgers follow.
	Promote(ctx context.Context, asked, name string) (changed bool, err error)
	Remove(ctx context.Context, asked, name string, force bool) (changed bool, err error)
	// List returns all nodes that the cluster has or had, by ascending id, as this node knows them.
	List() []MemberInfo
}

// NewMember is a node that is to be added.
type NewMember struct {
	Request        []byte
	Replaces       string // name; "" for none
	Promote, Force bool
}

// MemberFile is a file for a new node. None is a secret.
type MemberFile struct {
	Name string
	Data []byte
}

// MemberInfo is a node of the cluster.
type MemberInfo struct {
	ID              uint64
	Name, Role      string // voter, learner, removed: what it is to be in every ledger
	Peer, API, HTTP string
	Replaces        uint64
	By              string
	Time            int64
	Connected       bool
	Awaited         bool // it was added and has not connected yet
	Ledgers         []MemberLedger
}

// MemberLedger is what a node is in a ledger.
type MemberLedger struct {
	Origin, Role string // voter, learner, "": no member
	Leads        bool
	Settled      bool // it is what it is to be
	// Known: this node leads the ledger, and says the rest. Waiting is why the next step was not taken.
	Known         bool
	Match, Commit uint64
	Waiting       string
}

// MemberRefusedError says why the cluster's nodes were not changed. Definite.
type MemberRefusedError struct{ Why string }

func (e *MemberRefusedError) Error() string { return e.Why }

// NewLedger is what the creator of a ledger chooses.
type NewLedger struct {
	Origin     string
	Program    string
	Parameters []ledger.Parameter // in the order in which the creator named them
}

// LedgerInfo describes a ledger as the directory has it.
type LedgerInfo struct {
	Genesis ledger.Genesis // what its entry 0 says
	Group   uint64         // Raft group
	Creator string         // principal
	Time    int64          // of its creation: ledger time of the directory, µs since the Unix epoch
}

// LedgerExistsError refuses to create a ledger whose origin is taken. Definite.
type LedgerExistsError struct {
	Origin string
	Why    string // what differs, e.g. "it runs the program log"
}

func (e *LedgerExistsError) Error() string {
	return fmt.Sprintf("there is a ledger %q already, and it differs: %s", e.Origin, e.Why)
}

// TooManyLedgersError refuses to create a ledger because the cluster has as many as the node that
// leads the directory allows. Definite.
type TooManyLedgersError struct{ Most int }

func (e *TooManyLedgersError) Error() string {
	return fmt.Sprintf("the cluster has its %d ledgers, or they are being created: more of them need more memory and processor time on every node; "+
		"if the machines have that, raise storage.max_ledgers in node.yaml of all nodes and start them again", e.Most)
}

// Expected errors of a Directory.
var (
	// ErrBadLedger: no ledger can have this origin, or this node knows no such program, or the
	// program no such parameter. Definite.
	ErrBadLedger = errors.New("no such ledger can be created")
	// ErrUnknownLedger: the directory has no ledger of this name.
	ErrUnknownLedger = errors.New("the cluster has no such ledger")
)

// Expected errors of a Backend.
var (
	// ErrIndefinite: the batch was handed to Raft and its fate is not known here. It may be in the
	// ledger now or later.
	ErrIndefinite = errors.New("the outcome of the append is unknown")
	// ErrStopped: the node is stopping; the request had no effect.
	ErrStopped = errors.New("the node is stopping")
	// ErrUnknownNode: no member of the cluster has this name.
	ErrUnknownNode = errors.New("no such node in the cluster")
	// ErrNoSuccessor: no other voter can take leadership over. Nobody was asked.
	ErrNoSuccessor = errors.New("no other node can take leadership over")
	// ErrNotTransferred: nobody took leadership over in time. Somebody still may.
	ErrNotTransferred = errors.New("leadership was not handed over")
)

// NotLeaderError refuses a request that only the leader can serve. Definite.
type NotLeaderError struct {
	LeaderName string // "" if unknown
	LeaderAddr string // host:port of the leader's API, "" if unknown
}

func (e *NotLeaderError) Error() string {
	if e.LeaderName == "" {
		return "this node does not lead, and knows no leader"
	}
	return fmt.Sprintf("this node does not lead; %s does, at %s", e.LeaderName, e.LeaderAddr)
}

// HaltedError says that this node's replica of a ledger has stopped by itself, for good, while the
// node serves its other ledgers. Definite: the request had no effect.
type HaltedError struct {
	Origin string
	Why    string // what happened, and what to do
}

func (e *HaltedError) Error() string {
	return fmt.Sprintf("this node's replica of the ledger %q has stopped, ask another node: %s", e.Origin, e.Why)
}

// OverloadedError refuses a request because a queue is full. Definite.
type OverloadedError struct {
	RetryAfter time.Duration // how long to wait before another attempt
}

func (e *OverloadedError) Error() string {
	return fmt.Sprintf("the append queue is full; try again in %v", e.RetryAfter)
}

// Status describes a node at one moment.
type Status struct {
	Node       string // name, unique in the cluster
	ID         uint64 // Raft id
	Version    string // of the program
	Role       string // "leader", "follower", "candidate", "learner"
	LeaderName string // "" if unknown
	LeaderAddr string // host:port of the leader's API
	Term       uint64
	Commit     uint64 // newest committed Raft index
	Applied    uint64 // newest applied Raft index
	Started    time.Time
	Peers      []PeerStatus // all members, this node included

	WALBytes       uint64 // on disk
	StoreBytes     uint64 // on disk
	DiskFreeBytes  uint64
	QueuedRequests uint64 // waiting in the proposal queue
	QueuedBytes    uint64
	MemoryBytes    uint64 // of the process, without mapped files

	Problems     []string            // what keeps the node from its work now
	Certificates []CertificateStatus // of each kind the one that ends first
	Cosigners    []CosignerKey       // that the node has, the one in use first

	Repairs    uint64    // of this ledger's part of the store, since the start
	Scrubbed   time.Time // when all of it was last read again; zero: not yet since the start
	ScrubShare float64   // of the present pass that is done, 0 to 1
}

// CertificateStatus says when a certificate that a node depends on ends.
type CertificateStatus struct {
	Kind    string // "identity", "kem", "issuer", "root"
	Serial  string // hexadecimal
	Expires time.Time
	Soon    bool // the node warns about it
}

// CosignerKey is a cosigner key of the node, and how many of its ledgers have a policy in force that
// names the key.
type CosignerKey struct {
	Key             string // C2SP vkey
	Needed, Ledgers int
}

// PeerStatus is one member of the cluster as this node sees it.
type PeerStatus struct {
	ID        uint64
	Name      string
	Address   string // host:port of its API
	Kind      string // "voter", "learner", "witness"
	Connected bool
	Match     uint64 // newest Raft index known to be there; 0 unless this node leads
	Problem   string // why this node exchanges no Raft message with it; "" if it does
}
