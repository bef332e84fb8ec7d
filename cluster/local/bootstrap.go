package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/cluster/backup"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/cluster/founding"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/internal/wholefile"
	ledgerseal "github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/pqcrypto"
	"github.com/cairnledger/cairn/pqcrypto/lpa"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

const (
	// TrustDomain is the SPIFFE trust domain of every local cluster. Each has a
	// root of its own, so one cluster's certificates mean nothing to another.
	TrustDomain = "cairn.local"

	rootValidity = 10 * 365 * 24 * time.Hour

	// LeafValidity is for how long the certificates of nodes and clients are issued. It is the
	// default of `cairn pki issue`, too: a renewal as documented changes nothing.
	LeafValidity = 365 * 24 * time.Hour

	// creatingMarker is there while Create works. A directory that has it holds the
	// rest of an interrupted Create, in which no node was ever started: it is no
	// cluster, and Create makes it anew.
	creatingMarker = ".creating"
)

// Options describes a cluster to create.
type Options struct {
	Dir   string // absent, empty, or the rest of an interrupted Create
	Nodes int    // 1 to MaxNodes
	// Origin is the name of the ledger that the cluster is created with; "" means cairn.local/ and a
	// random name. The directory is named after it.
	Origin     string
	Suite      string // LPA/1 suite: "" and "default", or "cat5"
	Executable string // the cairn binary; it is copied into Dir
	// SealQuorum is how many cosignatures seal a checkpoint; 0 is a majority.
	SealQuorum int
	// Restore, if set, is a verified backup that the cluster continues. Origin is then "".
	Restore *backup.Backup
	// LogLevel of the nodes; "" is info.
	LogLevel string
	// Lifeline, if set, is every node's standard input: the nodes end when its
	// other end closes, so that they never outlive the process that made them.
	// It is not part of the directory: Open knows nothing of it.
	Lifeline *os.File
}

// Directory is the origin of the cluster's directory.
func (o Options) Directory() string { return node.DirectoryOf(o.Origin) }

// Check says whether a cluster can be as the options describe it. Create checks them before it
// writes anything.
func (o Options) Check() error {
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return errors.Newf("a local cluster has 1 to %d nodes, not %d", MaxNodes, o.Nodes)
	}
	least, most := ledgerseal.QuorumRange(o.Nodes)
	if o.SealQuorum != 0 && (o.SealQuorum < least || o.SealQuorum > most) {
		return errors.Newf("%d cosignatures cannot seal in a cluster of %d: want %d to %d", o.SealQuorum, o.Nodes, least, most)
	}
	if o.Restore != nil {
		if suffix := node.DirectoryOf(""); !strings.HasSuffix(o.Restore.Manifest.Directory, suffix) {
			return errors.Newf("the directory of the backup is %s: that of a local cluster ends in %s", o.Restore.Manifest.Directory, suffix)
		}
	}
	if o.Origin != "" {
		if err := directory.CheckOrigin(o.Directory()); err != nil {
			return err
		}
	}
	_, err := suiteOf(o.Suite)
	return err
}

// suiteOf returns an LPA/1 suite by its name; "" is default.
func suiteOf(name string) (*lpa.Suite, error) {
	if name == "" {
		name = "default"
	}
	return lpa.ParseSuite(name)
}

// Create makes the directory of a new cluster and starts nothing.
func Create(o Options) (*Cluster, error) {
	if node.Platform != nil {
		return nil, node.Platform
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.SealQuorum == 0 {
		o.SealQuorum, _ = ledgerseal.QuorumRange(o.Nodes)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, errors.Wrap(err, "find cluster directory")
	}
	if err := claim(dir); err != nil {
		return nil, err
	}
	b := &bootstrap{opts: o, dir: dir}
	for _, step := range b.steps() {
		if err := step(); err != nil {
			return nil, err
		}
	}
	c, err := Open(dir)
	if err != nil {
		return nil, err
	}
	c.lifeline = o.Lifeline
	return c, nil
}

// claim makes sure that the directory is ours to fill. The binary may be there
// already: local.sh builds it before anything else.
func claim(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return errors.Wrap(err, "create cluster directory")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errors.Wrap(err, "read cluster directory")
	}
	if creating(dir) {
		// The marker stays to the end: clearing may be interrupted, too.
		for _, e := range entries {
			if path := filepath.Join(dir, e.Name()); e.Name() != "bin" && e.Name() != creatingMarker && ownName(e.Name()) {
				if err := os.RemoveAll(path); err != nil {
					return errors.Wrap(err, "clear the rest of an interrupted start")
				}
			}
		}
	} else {
		for _, e := range entries {
			if e.Name() != "bin" && e.Name() != creatingMarker+wholefile.Suffix {
				return errors.Newf("%s is neither empty nor a cluster (it holds %s): choose another directory", dir, e.Name())
			}
		}
	}
	return writeFile(filepath.Join(dir, creatingMarker), nil, 0o644)
}

// bootstrap is one Create in progress.
type bootstrap struct {
	opts  Options
	dir   string
	state state

	cluster   pki.ClusterID
	authority *pki.Authority
	sig       pqcrypto.SigParams
	requests  []*enrolment.Request // of the nodes
	founded   *founding.Founded
}

// steps make the directory complete, one after the other. An interruption after any of them leaves
// the marker, which the last step removes.
func (b *bootstrap) steps() []func() error {
	steps := []func() error{
		b.identify,
		func() error {
			_, err := installExecutable(b.opts.Executable, filepath.Join(b.dir, "bin"))
			return err
		},
		func() error { return errors.Wrap(b.root(), "make root authority") },
	}
	for i := range b.opts.Nodes {
		steps = append(steps, func() error {
			n := b.state.Nodes[i]
			return errors.Wrapf(b.nodeKeys(n), "make keys of %s", n.Name)
		})
	}
	steps = append(steps, func() error { return errors.Wrap(b.found(), "sign the nodes' requests") })
	for i := range b.opts.Nodes {
		steps = append(steps, func() error {
			n := b.state.Nodes[i]
			return errors.Wrapf(b.node(n, b.founded.Nodes[i]), "make the files of %s", n.Name)
		})
	}
	for _, p := range profiles {
		steps = append(steps, func() error { return errors.Wrapf(b.profile(p.name, p.roles), "make %s's profile", p.name) })
	}
	return append(steps, b.description, b.environment, func() error {
		return errors.Wrap(os.Remove(filepath.Join(b.dir, creatingMarker)), "finish cluster directory")
	})
}

// description writes cluster.json.
func (b *bootstrap) description() error { return b.state.write(b.dir) }

// environment writes the file that a shell sources.
func (b *bootstrap) environment() error {
	c, err := open(b.dir)
	if err != nil {
		return err
	}
	return writeFile(c.EnvPath(), []byte(c.Environment().Shell()), 0o644)
}

// identify chooses names, numbers and ports.
func (b *bootstrap) identify() error {
	b.cluster = founding.NewClusterID()
	b.state = state{Version: 1, ClusterID: b.cluster.String(), Origin: b.opts.Origin, SealQuorum: b.opts.SealQuorum}
	first := uint64(1)
	if r := b.opts.Restore; r != nil {
		b.state.Origin = strings.TrimSuffix(r.Manifest.Directory, node.DirectoryOf(""))
		first = r.HighestID() + 1
		// The directory remembers the names of nodes, and none had a higher number than its id.
		b.state.Named = int(r.HighestID()) + b.opts.Nodes
		b.state.Founded = slices.ContainsFunc(r.Ledgers, func(l *backup.Ledger) bool { return l.Origin == b.state.Origin })
	}
	if b.state.Origin == "" {
		var name [4]byte
		_, _ = rand.Read(name[:])
		b.state.Origin = TrustDomain + "/" + hex.EncodeToString(name[:])
	}
	suite, err := suiteOf(b.opts.Suite)
	if err != nil {
		return err
	}
	b.state.Suite, b.sig = suite.String(), suite.Signature()
	addrs, err := freePorts(3 * b.opts.Nodes)
	if err != nil {
		return err
	}
	for i := range b.opts.Nodes {
		b.state.Nodes = append(b.state.Nodes, NodeInfo{
			Name: nodeName(i), ID: first + uint64(i), API: addrs[3*i], Peer: addrs[3*i+1], HTTP: addrs[3*i+2],
		})
	}
	return nil
}

func (b *bootstrap) rootsPath() string { return filepath.Join(b.dir, "pki", "root.crt") }

// root makes the authority that all certificates of the cluster lead to.
func (b *bootstrap) root() error {
	var err error
	if b.authority, err = pki.NewRoot("Cairn local cluster "+b.state.ClusterID, TrustDomain, b.sig, rootValidity); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(b.dir, "pki"), 0o700); err != nil {
		return errors.Wrap(err, "create directory")
	}
	if err := writeFile(b.rootsPath(), pki.MarshalPEM(b.authority.Certificate()), 0o644); err != nil {
		return err
	}
	return pqcrypto.WriteKeyFile(filepath.Join(b.dir, "pki", "root.key"), b.authority.Key())
}

// nodeKeys makes the keys of one node and the request for its certificates, as `cairn node keys`
// does on a machine of its own.
func (b *bootstrap) nodeKeys(n NodeInfo) error {
	dir := filepath.Join(b.dir, n.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errors.Wrap(err, "create directory")
	}
	r, err := makeKeys(dir, enrolment.Wanted{Kind: enrolment.Node, Name: n.Name, Suite: b.state.Suite, Peer: n.Peer, API: n.API, HTTP: n.HTTP})
	b.requests = append(b.requests, r)
	return err
}

// makeKeys writes fresh private keys, and returns the request for their certificates.
func makeKeys(dir string, w enrolment.Wanted) (*enrolment.Request, error) {
	made, err := enrolment.Make(w)
	if err != nil {
		return nil, err
	}
	for _, k := range made.Keys {
		if err := pqcrypto.WriteKeyFile(filepath.Join(dir, k.Name), k.Key); err != nil {
			return nil, err
		}
	}
	return enrolment.Parse(made.Request)
}

// found signs the nodes' requests, and writes what verifiers of the first ledger need.
func (b *bootstrap) found() error {
	var err error
	b.founded, err = founding.Found(b.authority, b.requests, founding.Founding{
		Cluster: b.cluster, Origin: b.state.Origin, SealQuorum: b.state.SealQuorum, Validity: LeafValidity, FirstID: b.state.Nodes[0].ID,
	})
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(b.dir, "policy"), b.founded.Policy, 0o644); err != nil {
		return err
	}
	return writeFile(filepath.Join(b.dir, "log.vkey"), []byte(b.founded.LogKey.String()+"\n"), 0o644)
}

// shared are the files of a node's answer that a local cluster has once.
var shared = map[string]string{"root.crt": "../pki/root.crt", "policy": "../policy"}

// node writes what a node was answered, and makes its data directory. The paths of node.yaml are
// relative, so that the directory can be moved while no node runs.
func (b *bootstrap) node(n NodeInfo, f founding.Founder) error {
	dir := filepath.Join(b.dir, n.Name)
	for _, file := range f.Answer.Files {
		if shared[file.Name] != "" || file.Name == "node.yaml" {
			continue
		}
		if err := writeFile(filepath.Join(dir, file.Name), file.Data, 0o644); err != nil {
			return err
		}
	}
	c := f.Config
	c.Keys.Roots, c.Policy = shared["root.crt"], shared["policy"]
	c.LogLevel, c.LogFile = b.opts.LogLevel, "log"
	file := filepath.Join(dir, "node.yaml")
	if err := c.Write(file); err != nil {
		return err
	}
	written, err := node.LoadConfig(file)
	if err != nil {
		return err
	}
	if b.opts.Restore != nil {
		return node.Restore(context.Background(), written, b.opts.Restore)
	}
	return node.Init(context.Background(), written)
}

// profiles are the clients that a cluster is made with. The writer is who the environment means: it
// is an operator, too, so that it can be used with every ledger of the cluster.
var profiles = []struct {
	name  string
	roles pki.Role
}{
	{"writer", pki.RoleWriter | pki.RoleOperator},
	{"reader", pki.RoleReader},
	{"admin", pki.RoleAdmin},
	{"participant", pki.RoleParticipant},
}

// profile makes a client's certificate, key and profile.
func (b *bootstrap) profile(name string, roles pki.Role) error {
	dir := filepath.Join(b.dir, "profiles")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errors.Wrap(err, "create directory")
	}
	r, err := makeKeys(dir, enrolment.Wanted{Kind: enrolment.Client, Name: name, Suite: b.state.Suite})
	if err != nil {
		return err
	}
	answer, err := enrolment.Sign(b.authority, r, enrolment.Grant{Roles: roles, Validity: LeafValidity})
	if err != nil {
		return err
	}
	for _, file := range answer.Files {
		if shared[file.Name] != "" {
			continue
		}
		if err := writeFile(filepath.Join(dir, file.Name), file.Data, 0o644); err != nil {
			return err
		}
	}
	p := client.Profile{
		Origin: b.state.Origin, TrustDomain: TrustDomain, ClusterID: b.state.ClusterID, Suite: b.state.Suite,
		Roots: "../pki/root.crt", Certificate: name + ".crt", Key: name + ".key",
		Policy: "../policy", State: name + ".state",
	}
	for _, n := range b.state.Nodes {
		p.Endpoints = append(p.Endpoints, client.Endpoint{Name: n.Name, Address: n.API})
	}
	return p.Write(filepath.Join(dir, name+".yaml"))
}
