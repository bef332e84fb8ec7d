// Package fakecluster is a cluster without Raft for the tests of the API: real ledgers in memory,
// real servers on loopback, real signatures; replication is a mutex. Tests decide who leads, who
// lags, who is gone and what fails.
package fakecluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// Origin is the name of the first ledger of every fake cluster.
const Origin = "fake.example/ledger"

// Principal is who clients are unless they say otherwise.
const Principal = "spiffe://fake.example/svc/writer"

// nodePrincipal is whose records of the map root are.
const nodePrincipal = "spiffe://fake.example/cluster/00000000000000c1/node/n1"

// Keys sign checkpoints. Two clusters with the same keys are how a fork looks.
type Keys struct {
	secret *pqcrypto.SigningKey // of log
	log    *tlog.Cosigner
	nodes  []*tlog.Cosigner
	Policy *tlog.Policy
}

// forLedger returns the keys of another ledger of the cluster: the log key has another name, and
// the nodes' keys are the same.
func (k *Keys) forLedger(origin string) (*Keys, error) {
	log, err := tlog.NewCosigner(origin, k.secret)
	return &Keys{secret: k.secret, log: log, nodes: k.nodes, Policy: k.Policy}, err
}

// NewKeys makes the keys of a ledger on n nodes and the policy that demands a majority.
func NewKeys(t testing.TB, n int) *Keys {
	t.Helper()
	k := newKeys(t, Origin, n)
	k.Policy = policy(t, n/2+1, k)
	return k
}

// TwoLedgers makes the keys of the fake ledger and of another one, both on one node, and one policy
// that accepts both.
func TwoLedgers(t testing.TB, other string) (ours, others *Keys) {
	t.Helper()
	ours, others = newKeys(t, Origin, 1), newKeys(t, other, 1)
	ours.Policy = policy(t, 1, ours, others)
	others.Policy = ours.Policy
	return ours, others
}

func newKeys(t testing.TB, origin string, n int) *Keys {
	t.Helper()
	cosigner := func(name string) (*tlog.Cosigner, *pqcrypto.SigningKey) {
		key, err := pqcrypto.GenerateSigningKey(pqcrypto.MLDSA44)
		check(t, err)
		c, err := tlog.NewCosigner(name, key)
		check(t, err)
		return c, key
	}
	k := &Keys{}
	k.log, k.secret = cosigner(origin)
	for i := range n {
		node, _ := cosigner(fmt.Sprintf("%s/n%d", origin, i+1))
		k.nodes = append(k.nodes, node)
	}
	return k
}

func policy(t testing.TB, quorum int, of ...*Keys) *tlog.Policy {
	t.Helper()
	var logs, nodes []*tlog.VerifierKey
	for _, k := range of {
		logs = append(logs, k.log.Key())
		for _, n := range k.nodes {
			nodes = append(nodes, n.Key())
		}
	}
	p, err := tlog.NewPolicy(logs, nodes, quorum)
	check(t, err)
	return p
}

// Seal returns a sealed checkpoint of the head.
func (k *Keys) Seal(t testing.TB, head ledger.Head) *ledger.Sealed {
	t.Helper()
	cp := tlog.Checkpoint{Origin: k.log.Key().Name(), Size: head.Size, Root: head.Root}
	note := tlog.Note{Text: cp.Text()}
	for _, c := range append([]*tlog.Cosigner{k.log}, k.nodes[:len(k.nodes)/2+1]...) {
		sig, err := c.Cosign(cp, uint64(time.Now().Unix()))
		check(t, err)
		note.Signatures = append(note.Signatures, sig)
	}
	return &ledger.Sealed{Size: head.Size, Root: head.Root, Note: note.Marshal()}
}

// Cluster is one ledger on a set of nodes: one history. Further ledgers on the same nodes are
// clusters of their own; see Host.
type Cluster struct {
	t       testing.TB
	Origin  string
	Keys    *Keys
	Nodes   []*Node
	program ledger.Program

	mu     sync.Mutex
	leader *Node    // nil: nobody leads
	blocks [][]byte // blocks[i] has Raft index i+1
	manual bool     // RequestSeal does nothing

	created []server.LedgerInfo // by the directory, which the first ledger of the nodes is
}

// Options of a cluster; the zero value is a cluster of writers on insecure connections.
type Options struct {
	Keys        *Keys
	Limits      server.Limits
	Credentials func(node string) credentials.TransportCredentials // nil: insecure
	Peer        func(context.Context) (server.Peer, bool)          // nil: by metadata, see PeerFromMetadata
	Logf        func(string, ...any)
}

// New starts n nodes; the first leads. Everything ends with the test.
func New(t testing.TB, n int, o Options) *Cluster {
	t.Helper()
	if o.Keys == nil {
		o.Keys = NewKeys(t, n)
	}
	if o.Peer == nil && o.Credentials == nil {
		o.Peer = PeerFromMetadata
	}
	c := &Cluster{t: t, Origin: Origin, Keys: o.Keys, program: ledger.Log{}}
	for i := range n {
		node, err := c.add(&Node{Name: fmt.Sprintf("n%d", i+1), id: uint64(i + 1), options: o})
		check(t, err)
		node.ledgers.Store(Origin, node)
		node.Start()
	}
	c.leader = c.Nodes[0]
	return c
}

// Host creates another ledger on the nodes of c, which begins with its genesis, and has a history
// and a leader of its own, the first node. The nodes of the result answer at the addresses of those
// of c, which start and stop them. edit may change the genesis, also to one of another program;
// nil: it is that of a log.
func (c *Cluster) Host(origin string, edit func(*ledger.Genesis)) *Cluster {
	c.t.Helper()
	g, err := c.genesis(server.NewLedger{Origin: origin, Program: "log"})
	check(c.t, err)
	if edit != nil {
		edit(g)
	}
	hosted, err := c.host(origin, g, creator, time.Now().UnixMicro())
	check(c.t, err)
	return hosted
}

// creator is who creates the ledgers of Host.
const creator = "spiffe://fake.example/svc/admin"

func (c *Cluster) host(origin string, g *ledger.Genesis, creator string, at int64) (*Cluster, error) {
	keys, err := c.Keys.forLedger(origin)
	if err != nil {
		return nil, err
	}
	block, err := ledger.EncodeGenesis(g, creator, at)
	if err != nil {
		return nil, err
	}
	hosted := &Cluster{t: c.t, Origin: origin, Keys: keys, program: programs[g.Program], blocks: [][]byte{block}}
	for _, on := range c.Nodes {
		n, err := hosted.add(&Node{Name: on.Name, Address: on.Address, id: on.id, on: on})
		if err != nil {
			return nil, err
		}
		results, err := n.catchUp()
		if err == nil {
			err = results[0].Err
		}
		if err != nil {
			return nil, errors.Wrap(err, "apply the genesis")
		}
	}
	hosted.leader = hosted.Nodes[0]
	for _, n := range hosted.Nodes {
		n.on.ledgers.Store(origin, n)
	}
	return hosted, nil
}

// add gives a node its replica of the ledger.
func (c *Cluster) add(n *Node) (*Node, error) {
	l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: c.Origin, Program: c.program})
	if err != nil {
		return nil, err
	}
	n.c, n.ledger = c, l
	c.Nodes = append(c.Nodes, n)
	server := n
	if n.on != nil {
		server = n.on
	}
	c.t.Cleanup(func() { server.Kill(); _ = l.Close() })
	return n, nil
}

// PeerFromMetadata takes principal and roles from the headers x-principal and x-roles; a caller who
// says nothing is a writer.
func PeerFromMetadata(ctx context.Context) (server.Peer, bool) {
	md, _ := metadata.FromIncomingContext(ctx)
	p := server.Peer{Principal: Principal, Roles: pki.RoleWriter}
	if v := md.Get("x-principal"); len(v) == 1 {
		p.Principal = v[0]
	}
	if v := md.Get("x-roles"); len(v) == 1 {
		if v[0] == "none" {
			return p, false
		}
		p.Roles, _ = pki.ParseRoles(v[0])
	}
	return p, true
}

// Admin is a peer who may do everything, whatever it says; for Options.Peer.
func Admin(context.Context) (server.Peer, bool) {
	return server.Peer{Principal: Principal, Roles: pki.RoleAdmin}, true
}

// Lead makes a node the leader; nil: nobody leads.
func (c *Cluster) Lead(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = n
}

// SealByHand makes RequestSeal do nothing, so that the test decides when SealNow seals.
func (c *Cluster) SealByHand() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.manual = true
}

// SealNow seals what the leader has and gives it to every node that has the entries.
func (c *Cluster) SealNow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seal()
}

func (c *Cluster) seal() {
	if c.leader == nil {
		return
	}
	sealed := c.Keys.Seal(c.t, c.leader.ledger.Head())
	for _, n := range c.Nodes {
		if n.ledger.Head().Size >= sealed.Size {
			if err := n.ledger.SetSealed(sealed); !errors.Is(err, ledger.ErrClosed) { // somebody asked when the test was over
				check(c.t, err)
			}
		}
	}
}

// apply makes a block of one batch and applies it on every node that does not lag.
func (c *Cluster) apply(leader *Node, b ledger.Batch) (ledger.Result, error) {
	batches := ledger.WithMapRoot(leader.ledger.Program(), nodePrincipal, []ledger.Batch{b})
	block, err := ledger.EncodeBlock(leader.ledger.Anchor(), time.Now().UnixMicro(), batches)
	if err != nil {
		return ledger.Result{}, err
	}
	c.blocks = append(c.blocks, block)
	var result ledger.Result
	for _, n := range c.Nodes {
		if n.lags {
			continue
		}
		results, err := n.catchUp()
		if err != nil {
			return ledger.Result{}, err
		}
		if n == leader {
			result = results[0]
		}
	}
	return result, nil
}

// Decide has the leader's ledger decide a batch, as if it came from a node.
func (c *Cluster) Decide(b ledger.Batch) ledger.Result {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	result, err := c.apply(c.leader, b)
	check(c.t, err)
	return result
}

// WritePolicy writes the policy file and returns its path.
func (c *Cluster) WritePolicy() string {
	path := filepath.Join(c.t.TempDir(), "policy")
	check(c.t, os.WriteFile(path, c.Keys.Policy.Marshal(), 0o600))
	return path
}

func listen(address string) (net.Listener, error) {
	// The port of a killed node may take a moment to be free again.
	for try := 0; ; try++ {
		ln, err := net.Listen("tcp", address)
		if err == nil || try == 100 {
			return ln, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Insecure is a channel without authentication.
func Insecure(string) credentials.TransportCredentials { return insecure.NewCredentials() }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
