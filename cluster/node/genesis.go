package node

import (
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/programs"
	"github.com/cairnledger/cairn/ledger"
)

// kinds are the programs that this binary can run, by name. Only tests add to them.
var kinds = programs.All()

// errNotHosted says that this node cannot host a ledger that the directory lists. The node goes on:
// whoever gets a ledger listed must not stop anybody with it.
var errNotHosted = errors.New("this node does not host the ledger")

// kindOf returns the program of a ledger that this node can host.
func (n *node) kindOf(g *ledger.Genesis) (programs.Kind, error) {
	k, known := kinds[g.Program]
	refuse := func(format string, args ...any) (programs.Kind, error) {
		return programs.Kind{}, errors.Wrapf(errNotHosted, format, args...)
	}
	switch {
	case !known:
		return refuse("it runs %q, of which this program knows nothing: upgrade this node", g.Program)
	case k.Program.Version() != g.ProgramVersion:
		return refuse("it runs %q in version %d, this program has version %d: upgrade this node", g.Program, g.ProgramVersion, k.Program.Version())
	case g.FeatureLevel > n.cfg.knownLevel():
		return refuse("it has feature level %d, this program knows %d: upgrade this node", g.FeatureLevel, n.cfg.knownLevel())
	}
	if err := k.Check(g.Parameters); err != nil {
		return refuse("this program does not understand its parameters: %v: upgrade this node", err)
	}
	return k, nil
}

// keeps says why this node cannot begin a ledger with this genesis: other members keep it, or other
// keys. Whether it can go on with one that it has is for checkBeginning.
func (n *node) keeps(g *ledger.Genesis, k programs.Kind) error {
	own, err := n.genesisOf(n.keepers(g.Members), g.Origin, g.FeatureLevel, k.Program, g.Parameters)
	if err != nil {
		return errors.Mark(err, errNotHosted)
	}
	if err := n.hosting.keysOf(own, g); err != nil {
		return err
	}
	if diff := g.Diff(own); diff != "" {
		return errors.Wrapf(errNotHosted, "its genesis is not what this node's configuration says: %s", diff)
	}
	return nil
}

// knownLevel is the newest feature level that this node's program knows.
func (c *Config) knownLevel() uint32 {
	if c.featureLevel != 0 {
		return c.featureLevel
	}
	return ledger.FeatureLevel
}

// keepers are those of the members whom the cluster has, or had, as nodes, as this node knows them.
func (n *node) keepers(members []ledger.Member) (keepers []ledger.Member) {
	list := n.nodes()
	for _, m := range members {
		if x := list.find(m.ID); x != nil {
			keepers = append(keepers, ledger.Member{ID: x.ID, Name: x.Name, Cosigner: x.Cosigner})
		}
	}
	return keepers
}

// voters are the nodes that a new ledger begins with: those that vote in the directory and are to vote
// in every ledger. The others become members of it later, as of every ledger.
func (n *node) voters() (voters []ledger.Member) {
	for _, x := range n.nodes().all {
		if x.Role == directory.Voter && (n.hosting == nil || n.hosting.directory.votes(x.ID)) {
			voters = append(voters, ledger.Member{ID: x.ID, Name: x.Name, Cosigner: x.Cosigner})
		}
	}
	return voters
}

// votes says whether a node is a voter of the ledger, as far as this node has applied it.
func (h *hosted) votes(id uint64) bool {
	members := h.policyMembers()
	return members == nil || slices.ContainsFunc(members, func(m ledger.PolicyMember) bool { return m.ID == id && !m.Learner })
}

// genesis is that of a ledger which the voters of the cluster keep.
func (n *node) genesis(origin string, level uint32, program ledger.Program, parameters []ledger.Parameter) (*ledger.Genesis, error) {
	return n.genesisOf(n.voters(), origin, level, program, parameters)
}

func (n *node) genesisOf(members []ledger.Member, origin string, level uint32, program ledger.Program, parameters []ledger.Parameter) (*ledger.Genesis, error) {
	log, err := n.keys.logCosigner(origin)
	if err != nil {
		return nil, err
	}
	quorum, err := n.cfg.sealQuorum(len(members))
	if err != nil {
		return nil, err
	}
	g := &ledger.Genesis{
		FeatureLevel: level, Origin: origin, Program: program.Name(), ProgramVersion: program.Version(),
		Parameters: slices.Clone(parameters), LogKeys: []string{log.Key().String()}, SealQuorum: uint32(quorum),
	}
	g.Members = members
	g.Normalise()
	return g, nil
}

// directoryLevel is the feature level that every directory begins with: nobody has told yet what
// the others know.
const directoryLevel = 1

// directoryGenesis is the block that begins the cluster's directory. Every member makes the same
// one from its configuration, before any of them has met another, so it has no time.
func (n *node) directoryGenesis() ([]byte, error) {
	g, err := n.genesisOf(n.cfg.founders(), n.cfg.Directory, directoryLevel, directory.Program{}, nil)
	if err != nil {
		return nil, err
	}
	return ledger.EncodeGenesis(g, n.clusterPrincipal(), 0)
}

// clusterPrincipal is in whose name the cluster makes what all members make alike.
func (n *node) clusterPrincipal() string {
	return "spiffe://" + n.cfg.TrustDomain + "/cluster/" + n.cfg.ClusterID
}

// idsOf are the Raft ids of members.
func idsOf(members []ledger.Member) (ids []uint64) {
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return ids
}
