package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/node"
)

// MaxNodes is how many nodes a local cluster may have.
const MaxNodes = 9

// ErrNoCluster says that a directory holds no cluster.
var ErrNoCluster = errors.New("no cluster in this directory")

// NodeInfo is one node as cluster.json keeps it.
type NodeInfo struct {
	Name string `json:"name"` // n1, n2, ...
	ID   uint64 `json:"id"`   // Raft ID, from 1
	API  string `json:"api"`  // gRPC, host:port
	Peer string `json:"peer"` // Raft, host:port
	HTTP string `json:"http"` // read path, health and metrics, host:port
}

// HTTPURL returns the URL of the node's HTTP side: health, metrics, the list of its ledgers.
func (n NodeInfo) HTTPURL() string { return "http://" + n.HTTP }

// state is cluster.json. A directory that has it and no creatingMarker is complete.
type state struct {
	Version   int    `json:"version"` // 1
	ClusterID string `json:"cluster_id"`
	Origin    string `json:"origin"`
	Suite     string `json:"suite"`
	// SealQuorum is how many cosignatures seal a checkpoint.
	SealQuorum int        `json:"seal_quorum"`
	Nodes      []NodeInfo `json:"nodes"`
	// Named is the highest number that a node's name ever had; 0: as many as there are nodes.
	Named int `json:"named,omitempty"`
	// Founded: the directory lists the ledger Origin.
	Founded bool `json:"founded"`
}

func (s state) write(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return errors.Wrap(err, "encode cluster.json")
	}
	return writeFile(filepath.Join(dir, "cluster.json"), append(raw, '\n'), 0o644)
}

// Cluster is a local cluster's directory. Its methods may be called from
// several goroutines, and several processes may have the same directory open.
type Cluster struct {
	dir      string
	state    state
	lifeline *os.File // see Options.Lifeline

	mu struct {
		sync.Mutex
		// children are the processes that this Cluster started, by node: only
		// their parent can reap them.
		children map[string]<-chan struct{}
		founded  bool // state.Founded, which has other owners
	}
}

// Open returns the cluster in dir, or ErrNoCluster. The rest of an interrupted Create is no
// cluster.
func Open(dir string) (*Cluster, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, errors.Wrap(err, "find cluster directory")
	}
	if creating(abs) {
		return nil, errors.Wrapf(ErrNoCluster, "open %s, which an interrupted 'up' left unfinished", abs)
	}
	return open(abs)
}

// creating says whether the directory holds the rest of an interrupted Create.
func creating(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, creatingMarker))
	return err == nil
}

func open(abs string) (*Cluster, error) {
	raw, err := os.ReadFile(filepath.Join(abs, "cluster.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.Wrapf(ErrNoCluster, "open %s", abs)
	}
	if err != nil {
		return nil, errors.Wrap(err, "read cluster.json")
	}
	var s state
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, errors.Wrapf(err, "parse %s", filepath.Join(abs, "cluster.json"))
	}
	if s.Version != 1 || len(s.Nodes) == 0 || len(s.Nodes) > MaxNodes {
		return nil, errors.Newf("%s is of another version or damaged", filepath.Join(abs, "cluster.json"))
	}
	c := &Cluster{dir: abs, state: s}
	c.mu.children, c.mu.founded = map[string]<-chan struct{}{}, s.Founded
	return c, nil
}

// Dir returns the cluster's directory, absolute.
func (c *Cluster) Dir() string { return c.dir }

// LedgerURL returns the base URL under which a node serves the ledger's files.
func (c *Cluster) LedgerURL(n NodeInfo) string { return n.HTTPURL() + "/" + c.state.Origin }

// Origin returns the origin of the ledger that the cluster is created with.
func (c *Cluster) Origin() string { return c.state.Origin }

// Directory returns the origin of the cluster's directory.
func (c *Cluster) Directory() string { return node.DirectoryOf(c.state.Origin) }

// Suite returns the LPA/1 suite, default or cat5.
func (c *Cluster) Suite() string { return c.state.Suite }

// SealQuorum returns how many cosignatures seal a checkpoint.
func (c *Cluster) SealQuorum() int { return c.state.SealQuorum }

// Nodes returns the nodes in order of their names.
func (c *Cluster) Nodes() []NodeInfo { return slices.Clone(c.state.Nodes) }

// Names returns the nodes' names in order.
func (c *Cluster) Names() []string {
	var names []string
	for _, n := range c.state.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// Node returns a node by its name.
func (c *Cluster) Node(name string) (NodeInfo, error) {
	for _, n := range c.state.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return NodeInfo{}, errors.Newf("no node %q in this cluster: it has %s", name, strings.Join(c.Names(), ", "))
}

// Profile returns the path of a client profile: writer, reader, admin or participant.
func (c *Cluster) Profile(name string) string {
	return filepath.Join(c.dir, "profiles", name+".yaml")
}

// PolicyPath returns the path of the tlog-policy file.
func (c *Cluster) PolicyPath() string { return filepath.Join(c.dir, "policy") }

// EnvPath returns the path of the file that a shell sources.
func (c *Cluster) EnvPath() string { return filepath.Join(c.dir, "env") }

// NodeDir returns the directory of a node: keys, data and log.
func (c *Cluster) NodeDir(name string) string { return filepath.Join(c.dir, name) }

// DataDir returns a node's data directory.
func (c *Cluster) DataDir(name string) string { return filepath.Join(c.dir, name, "data") }

// LogPath returns the file with a node's output.
func (c *Cluster) LogPath(name string) string { return filepath.Join(c.dir, name, "log") }

func (c *Cluster) configPath(name string) string { return filepath.Join(c.dir, name, "node.yaml") }

func (c *Cluster) process(name string) process {
	return process{pidPath: filepath.Join(c.dir, name, "pid"), logPath: c.LogPath(name)}
}

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }
