package node

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/enrolment"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
	keyseal "github.com/cairnledger/cairn/pqcrypto/seal"
)

// memberAdmin implements server.Members.
type memberAdmin struct{ node *node }

// The names of a node's files, in one directory, as `cairn node keys` and `cairn pki sign` write them.
func nodeFiles() Keys {
	return Keys{
		Roots: "root.crt", Certificate: "node.crt", Key: "node.key", KEMCertificate: "kem.crt", KEMKey: "kem.key",
		Cosigner: "cosigner.key", Sealing: "sealing.key", LogKey: "log.key.sealed",
	}
}

func refusedMember(format string, args ...any) error {
	return &server.MemberRefusedError{Why: fmt.Sprintf(format, args...)}
}

// Add implements server.Members.
func (a memberAdmin) Add(ctx context.Context, asked string, m server.NewMember) (info server.MemberInfo, added bool, files []server.MemberFile, err error) {
	n := a.node
	fail := func(err error) (server.MemberInfo, bool, []server.MemberFile, error) { return info, false, nil, err }
	r, err := enrolment.Parse(m.Request)
	if err != nil {
		return fail(refusedMember("the request is not accepted: %v", err))
	}
	cluster, err := n.cfg.clusterID()
	switch {
	case err != nil:
		return fail(err)
	case !r.Joining():
		return fail(refusedMember("the request of %s is not one of a new node of a cluster: `cairn node keys --cluster %s` makes one", r.Name, cluster))
	case r.Cluster != cluster:
		return fail(refusedMember("the request of %s is for the cluster %s, this one is %s", r.Name, r.Cluster, cluster))
	case r.Suite != n.cfg.Suite:
		return fail(refusedMember("the request of %s has the suite %s, this cluster has %s", r.Name, r.Suite, n.cfg.Suite))
	}
	cosigner, err := tlog.NewMLDSA44VerifierKey(CosignerName(n.cfg.Directory, r.Name), r.Cosigner)
	if err != nil {
		return fail(refusedMember("cosigner of %s: %v", r.Name, err))
	}
	change := directory.NodeChange{
		Op: directory.AddNode, Name: r.Name, Cosigner: cosigner.String(), Peer: r.Peer, API: r.API, HTTP: r.HTTP, Voter: m.Promote, Force: m.Force,
	}
	if m.Replaces != "" {
		old, err := a.named(m.Replaces)
		if err != nil {
			return fail(err)
		}
		change.Replaces = old.ID
	} else if m.Force {
		return fail(refusedMember("nothing is to be forced: no node is replaced"))
	}
	// A node that joins makes the directory's genesis of the founders that its configuration names, and
	// that of a restored directory names others.
	restored, _, err := n.hosting.directory.Replica.Ledger().Restored()
	if err != nil {
		return fail(err)
	}
	if restored != nil {
		return fail(refusedMember("this cluster was restored from a backup, and no node can join it: back it up, and restore that onto as many nodes as it is to have"))
	}
	// Before the directory has the node: what the new machine cannot be is refused.
	if err := a.fits(&change); err != nil {
		return fail(err)
	}
	outcome, err := a.decide(ctx, asked, &change)
	if err != nil {
		return fail(err)
	}
	x := clusterNode{Node: directory.Node{
		ID: outcome.ID, Name: r.Name, Cosigner: change.Cosigner, Role: directory.Learner, Peer: r.Peer, API: r.API, HTTP: r.HTTP, Replaces: change.Replaces, By: asked,
	}}
	if m.Promote || m.Replaces != "" {
		x.Role = directory.Voter
	}
	files, err = a.filesFor(r, &x)
	if err != nil {
		return info, false, nil, errors.Mark(err, server.ErrIndefinite) // the directory has it
	}
	return infoOfNode(&x), outcome.Status == directory.NodeChanged, files, nil
}

// fits says why a new node cannot be reached at its addresses.
func (a memberAdmin) fits(c *directory.NodeChange) error {
	for _, x := range a.node.nodes().present() {
		if x.Name == c.Name || x.ID == c.Replaces {
			continue
		}
		if x.Peer == c.Peer || x.API == c.API {
			return refusedMember("the addresses of %s are those of %s", c.Name, x.Name)
		}
	}
	return nil
}

// filesFor are what a new node begins with, besides its keys and certificates.
func (a memberAdmin) filesFor(r *enrolment.Request, x *clusterNode) ([]server.MemberFile, error) {
	n := a.node
	c := Config{
		Name: r.Name, ClusterID: n.cfg.ClusterID, Directory: n.cfg.Directory, TrustDomain: n.cfg.TrustDomain, Suite: r.Suite, DataDir: "data",
		Listen: Listen{API: r.API, Peer: r.Peer, HTTP: r.HTTP}, Keys: nodeFiles(), Policy: "policy", Members: n.cfg.Members,
		Joined: Joined{Self: x.member()}, Seal: Seal{Quorum: n.cfg.Seal.Quorum},
	}
	for _, other := range n.nodes().present() {
		if other.ID != x.ID && other.Role != directory.Removed {
			c.Joined.Nodes = append(c.Joined.Nodes, other.member())
		}
	}
	yaml, err := c.Marshal()
	if err != nil {
		return nil, errors.Wrapf(err, "configuration of %s", r.Name)
	}
	sealed, err := keyseal.SealKey(r.Sealing, LogKeyLabel(n.cfg.Directory), n.keys.log)
	if err != nil {
		return nil, errors.Wrapf(err, "seal the log key to %s", r.Name)
	}
	return []server.MemberFile{{Name: "node.yaml", Data: yaml}, {Name: "policy", Data: n.policy.Marshal()}, {Name: "log.key.sealed", Data: sealed}}, nil
}

// named returns a node that was not removed, by its name. One of before a restore may have had it, too.
func (a memberAdmin) named(name string) (*clusterNode, error) {
	list, removed := a.node.nodes(), false
	for i := range list.all {
		switch x := &list.all[i]; {
		case x.Name != name:
		case x.Role == directory.Removed && x.gone:
			removed = true
		default:
			return x, nil
		}
	}
	if removed {
		return nil, refusedMember("%s was removed from the cluster; it never comes back", name)
	}
	return nil, errors.Wrapf(server.ErrUnknownNode, "%q", name)
}

// Promote implements server.Members.
func (a memberAdmin) Promote(ctx context.Context, asked, name string) (changed bool, err error) {
	x, err := a.named(name)
	if err != nil {
		return false, err
	}
	outcome, err := a.decide(ctx, asked, &directory.NodeChange{Op: directory.PromoteNode, ID: x.ID})
	return outcome.Status == directory.NodeChanged, err
}

// Remove implements server.Members.
func (a memberAdmin) Remove(ctx context.Context, asked, name string, force bool) (changed bool, err error) {
	x, err := a.named(name)
	if err != nil {
		return false, err
	}
	if err := a.mayRemove(x, force); err != nil {
		return false, err
	}
	outcome, err := a.decide(ctx, asked, &directory.NodeChange{Op: directory.RemoveNode, ID: x.ID, Force: force})
	return outcome.Status == directory.NodeChanged, err
}

// mayRemove says why a node should not be removed now. Every ledger asks again (replica.ChangeMembers);
// here it is said before the directory has the change, which nothing takes back.
func (a memberAdmin) mayRemove(x *clusterNode, force bool) error {
	d := a.node.hosting.directory
	if x.Role != directory.Voter || !d.State().Serving {
		return nil // it does not count; or whoever leads asks
	}
	voters := 0
	for _, o := range a.node.nodes().all {
		if o.Role == directory.Voter {
			voters++
		}
	}
	if before, after := (voters-1)/2, (voters-2)/2; after < before && !force {
		return refusedMember("without %s the cluster has %d voters and survives %d failures in the place of %d: "+
			"put another node in its place (cairn member replace), or pass --force", x.Name, voters-1, after, before)
	}
	live, left := 0, 0
	for _, v := range d.MemberViews() {
		if v.Learner || v.ID == x.ID {
			continue
		}
		left++
		if v.Heard || v.ID == a.node.cfg.Self().ID {
			live++
		}
	}
	if live < left/2+1 {
		return refusedMember("without %s %d of %d voters are heard, which is no majority: start the others first (cairn status)", x.Name, live, left)
	}
	return nil
}

// decide has the directory decide a command about a node, and explains a refusal.
func (a memberAdmin) decide(ctx context.Context, asked string, c *directory.NodeChange) (o directory.Outcome, err error) {
	command, err := c.Marshal()
	if err != nil {
		return o, refusedMember("%v", err)
	}
	decided, err := server.Propose(ctx, a.node.hosting.directory, server.CommandBatch(asked, command))
	if errors.Is(err, ledger.ErrBadBatch) {
		return o, refusedMember("%v", err)
	}
	if err != nil {
		return o, err
	}
	if o, err = directory.ParseOutcome(decided[0].Entry.Outcome); err != nil {
		return o, errors.Mark(err, server.ErrIndefinite)
	}
	switch o.Status {
	case directory.NodeChanged, directory.NodeSame:
		return o, nil
	case directory.NodeTaken:
		return o, refusedMember("the cluster has or had a node %s with another key: a name is used once; choose another one", c.Name)
	case directory.NodeUnknown:
		return o, errors.Wrapf(server.ErrUnknownNode, "node %d", o.ID)
	case directory.NodeGone:
		return o, refusedMember("%s was removed from the cluster; it never comes back", a.node.memberName(o.ID))
	case directory.NodeMany:
		return o, refusedMember("the cluster has %d nodes, as many as it may have", o.ID)
	case directory.NodeLast:
		return o, refusedMember("%s is the last node that votes", a.node.memberName(o.ID))
	}
	return o, errors.Mark(errors.Newf("the directory decided %s", o.Status), server.ErrIndefinite)
}
