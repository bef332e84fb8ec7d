package fakecluster

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Node is one member, and the replica there of its cluster's ledger. Its fields may be set while no
// call is under way.
type Node struct {
	Name    string
	Address string // of the API; the first Start sets it, later ones do not, since calls to other nodes read it
	Server  *server.Server
	Metrics *prometheus.Registry // of Server

	// Before, if set, runs before an append; its error is the answer.
	Before func(ctx context.Context, b ledger.Batch) error
	// After, if set, runs after the append was applied; its error is the answer.
	After func(ctx context.Context, b ledger.Batch) error
	// Alter, if set, changes the result that the node reports.
	Alter func(*ledger.Result)
	// AfterCreate, if set, runs after the directory has created a ledger; its error is the answer.
	AfterCreate func() error
	// Barrier, if set, replaces ReadBarrier.
	Barrier func(ctx context.Context) error
	// Replica, if set, is what reads see.
	Replica server.Ledger

	id      uint64
	c       *Cluster
	options Options
	ledger  *ledger.Ledger
	on      *Node    // whose server serves this replica; nil: its own
	ledgers sync.Map // what the server serves: *Node, by origin

	lags    bool // guarded by c.mu
	applied int  // blocks; guarded by c.mu

	mu      sync.Mutex
	running bool
	sizes   []int         // entries of each batch that reached the backend
	submits int           // calls of Submit
	queue   chan struct{} // closed when the newest batch of Submit is decided
}

var _ server.Backend = (*Node)(nil)

// Start serves on the node's address, a new one at first.
func (n *Node) Start() {
	t := n.c.t
	t.Helper()
	address := n.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := listen(address)
	check(t, err)
	creds := n.options.Credentials
	if creds == nil {
		creds = Insecure
	}
	metrics := prometheus.NewRegistry()
	s, err := server.New(server.Config{
		Ledger: n.hosts, Directory: directory{n}, Policy: n.c.Keys.Policy, Credentials: creds(n.Name), Peer: n.options.Peer,
		Member: func(principal string) bool { return pki.ID(principal).IsNode() },
		Limits: n.options.Limits, Metrics: metrics, Logf: n.options.Logf,
	})
	check(t, err)
	s.SetServing(true)
	if n.Address == "" {
		n.Address = ln.Addr().String()
	}
	n.mu.Lock()
	n.Server, n.Metrics, n.running = s, metrics, true
	n.mu.Unlock()
	go func() { _ = s.Serve(ln) }()
}

// hosts is the server's way to the ledgers.
func (n *Node) hosts(origin string) (server.Backend, bool) {
	hosted, ok := n.ledgers.Load(origin)
	if !ok {
		return nil, false
	}
	return hosted.(*Node), true
}

// Kill breaks all connections at once and frees the port.
func (n *Node) Kill() {
	n.mu.Lock()
	running, s := n.running, n.Server
	n.running = false
	n.mu.Unlock()
	if running {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Stop(ctx) // waits for calls, which may wait for mu
	}
}

// Lag stops, or resumes, applying what the others append.
func (n *Node) Lag(lags bool) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.lags = lags
	if !lags {
		_, err := n.catchUp()
		check(n.c.t, err)
	}
}

func (n *Node) catchUp() (last []ledger.Result, err error) {
	for ; n.applied < len(n.c.blocks); n.applied++ {
		block := ledger.Committed{RaftIndex: uint64(n.applied + 1), RaftTerm: 1, Block: n.c.blocks[n.applied]}
		results, err := n.ledger.ApplyMany([]ledger.Committed{block})
		if err != nil {
			return nil, err
		}
		last = results[0]
	}
	return last, nil
}

// Requests returns how many entries each batch had that reached the backend, in order.
func (n *Node) Requests() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]int(nil), n.sizes...)
}

// Submitted returns how often Submit was called.
func (n *Node) Submitted() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.submits
}

// Append implements server.Backend.
func (n *Node) Append(ctx context.Context, b ledger.Batch) (ledger.Result, error) {
	n.mu.Lock()
	n.sizes = append(n.sizes, len(b.Entries))
	n.mu.Unlock()
	if n.Before != nil {
		if err := n.Before(ctx, b); err != nil {
			return ledger.Result{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return ledger.Result{}, err // nothing was done yet
	}
	n.c.mu.Lock()
	if err := n.notLeader(); err != nil {
		n.c.mu.Unlock()
		return ledger.Result{}, err
	}
	result, err := n.c.apply(n, b)
	n.c.mu.Unlock()
	if err == nil && n.Alter != nil {
		n.Alter(&result)
	}
	if err == nil && n.After != nil {
		err = n.After(ctx, b)
	}
	return result, err
}

func (n *Node) notLeader() error {
	switch leader := n.c.leader; {
	case leader == n:
		return nil
	case leader == nil:
		return &server.NotLeaderError{}
	default:
		return &server.NotLeaderError{LeaderName: leader.Name, LeaderAddr: leader.Address}
	}
}

// Submit implements server.Backend.
func (n *Node) Submit(ctx context.Context, b ledger.Batch, done func(ledger.Result, error)) {
	decided := make(chan struct{})
	n.mu.Lock()
	before := n.queue
	n.queue = decided
	n.submits++
	n.mu.Unlock()
	go func() {
		if before != nil {
			<-before
		}
		result, err := n.Append(ctx, b)
		close(decided)
		done(result, err)
	}()
}

// ReadBarrier implements server.Backend: the node catches up with everything.
func (n *Node) ReadBarrier(ctx context.Context) error {
	if n.Barrier != nil {
		return n.Barrier(ctx)
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if n.c.leader == nil {
		return &server.NotLeaderError{}
	}
	_, err := n.catchUp()
	return err
}

// RequestSeal implements server.Backend.
func (n *Node) RequestSeal() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if !n.c.manual {
		n.c.seal()
	}
}

// Origin implements server.Backend.
func (n *Node) Origin() string { return n.c.Origin }

// Ledger implements server.Backend.
func (n *Node) Ledger() server.Ledger {
	if n.Replica != nil {
		return n.Replica
	}
	return n.ledger
}

// Brief implements server.Backend.
func (n *Node) Brief() server.Status { return n.Status() }

// Status implements server.Backend.
func (n *Node) Status() server.Status {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	s := server.Status{Node: n.Name, ID: n.id, Role: "follower", Version: "test", Term: 1, Started: time.UnixMicro(1), Applied: uint64(n.applied)}
	if leader := n.c.leader; leader != nil {
		s.LeaderName, s.LeaderAddr = leader.Name, leader.Address
		if leader == n {
			s.Role = "leader"
		}
	}
	for _, p := range n.c.Nodes {
		s.Peers = append(s.Peers, server.PeerStatus{ID: p.id, Name: p.Name, Address: p.Address, Kind: "voter", Connected: true})
	}
	return s
}

// TransferLeadership implements server.Backend.
func (n *Node) TransferLeadership(_ context.Context, to string) error {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	if err := n.notLeader(); err != nil {
		return err
	}
	for _, p := range n.c.Nodes {
		if p != n && (to == "" || p.Name == to) {
			n.c.leader = p
			return nil
		}
	}
	if to == "" {
		return server.ErrNoSuccessor
	}
	return server.ErrUnknownNode
}

// RotateCosigner implements server.Backend: the policy of a fake ledger never changes.
func (n *Node) RotateCosigner(context.Context, string, string, *tlog.VerifierKey) (server.Rotation, error) {
	return server.Rotation{}, &server.PolicyError{Why: "this cluster is a fake"}
}

// Forget makes the node's server not host a ledger, as a node that has not learnt of it yet.
func (n *Node) Forget(origin string) { n.ledgers.Delete(origin) }
