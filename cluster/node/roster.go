package node

import (
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/pqcrypto/pki"
)

// nodeList is who the nodes of the cluster are, as this node's replica of the directory says. Immutable.
type nodeList struct {
	all []clusterNode // ascending by id, those included that are gone
	// ids are the SPIFFE IDs of the nodes that are not gone, this node included. Each names the cluster.
	ids map[pki.ID]uint64
	// gone are those of the nodes that are gone.
	gone map[pki.ID]bool
}

// clusterNode is a node as the directory names it, with the addresses of the configuration where the
// directory has none.
type clusterNode struct {
	directory.Node
	// gone: the directory has removed the node, and no ledger has it as a member. Nobody talks to it.
	gone bool
}

func (n *clusterNode) member() Member {
	return Member{ID: n.ID, Name: n.Name, Peer: n.Peer, API: n.API, Cosigner: n.Cosigner}
}

// nodes returns the newest list. Before the directory was read that is what the configuration says.
func (n *node) nodes() *nodeList {
	if list := n.nodesKnown.Load(); list != nil {
		return list
	}
	return n.listNodes(founderNodes(&n.cfg), nil)
}

// founders are the nodes that the directory's genesis names.
func (c *Config) founders() (founders []ledger.Member) {
	for _, m := range c.Members {
		founders = append(founders, ledger.Member{ID: m.ID, Name: m.Name, Cosigner: m.Cosigner})
	}
	return founders
}

func founderNodes(c *Config) (nodes []directory.Node) {
	for _, m := range c.founders() {
		nodes = append(nodes, directory.Node{ID: m.ID, Name: m.Name, Cosigner: m.Cosigner, Role: directory.Voter})
	}
	return nodes
}

// listNodes completes what the directory says by the configuration. member says whether a ledger has a
// node as its member.
func (n *node) listNodes(nodes []directory.Node, member func(id uint64) bool) *nodeList {
	find := func(id uint64) int {
		return slices.IndexFunc(nodes, func(d directory.Node) bool { return d.ID == id })
	}
	if j := n.cfg.Joined; n.cfg.joined() && find(j.Self.ID) < 0 {
		// The directory here is older than this node. The nodes of that time lead to the newest one.
		for i := range nodes {
			if !slices.ContainsFunc(j.Nodes, func(m Member) bool { return m.ID == nodes[i].ID }) {
				nodes[i].Role = directory.Removed
			}
		}
		for _, m := range append(slices.Clone(j.Nodes), j.Self) {
			d := directory.Node{ID: m.ID, Name: m.Name, Cosigner: m.Cosigner, Role: directory.Learner, Peer: m.Peer, API: m.API}
			if i := find(m.ID); i >= 0 {
				nodes[i] = d
			} else {
				nodes = append(nodes, d)
			}
		}
	}
	cluster, _ := n.cfg.clusterID() // was checked
	list := &nodeList{ids: map[pki.ID]uint64{}, gone: map[pki.ID]bool{}}
	for _, d := range nodes {
		for _, m := range n.cfg.Members {
			if m.ID == d.ID && d.Peer == "" {
				d.Peer, d.API = m.Peer, m.API
			}
		}
		x := clusterNode{Node: d, gone: d.Role == directory.Removed && (member == nil || !member(d.ID))}
		list.all = append(list.all, x)
		if id := pki.NodeID(n.cfg.TrustDomain, cluster, d.Name); x.gone {
			list.gone[id] = true
		} else {
			list.ids[id] = d.ID
		}
	}
	// A restored cluster may name a node as the cluster before did.
	for id := range list.ids {
		delete(list.gone, id)
	}
	return list
}

// find returns a node by its id, nil when there is none.
func (l *nodeList) find(id uint64) *clusterNode {
	for i := range l.all {
		if l.all[i].ID == id {
			return &l.all[i]
		}
	}
	return nil
}

// present are the nodes that are not gone.
func (l *nodeList) present() (all []clusterNode) {
	for _, x := range l.all {
		if !x.gone {
			all = append(all, x)
		}
	}
	return all
}

// addresses are where the nodes that are not gone accept peers.
func (l *nodeList) addresses() map[uint64]string {
	peers := map[uint64]string{}
	for _, x := range l.present() {
		peers[x.ID] = x.Peer
	}
	return peers
}

// member returns a node of the cluster by its id, the zero value for a stranger.
func (n *node) member(id uint64) Member {
	if x := n.nodes().find(id); x != nil {
		return x.member()
	}
	return Member{}
}

// memberName names a node by its id; what is none has one name.
func (n *node) memberName(id uint64) string {
	if name := n.member(id).Name; name != "" {
		return name
	}
	return "unknown"
}

// learnNodes reads the directory, and from then on the node talks to those that it names, and to nobody
// else. It is called for every entry of the directory that changes a node, and when a ledger has other
// members.
func (n *node) learnNodes() error {
	n.learning.Lock()
	defer n.learning.Unlock()
	h := n.hosting
	nodes, err := directory.Nodes(h.directory.Replica.Ledger().State(), n.cfg.founders())
	if err != nil {
		return errors.Wrap(err, "read the nodes of the directory")
	}
	restored, at, err := h.directory.Replica.Ledger().Restored()
	if err != nil {
		return errors.Wrap(err, "read how the directory was restored")
	}
	if restored != nil {
		directory.LeaveBehind(nodes, at, n.cfg.founders())
	}
	members := map[uint64]bool{}
	for _, l := range append(slices.Clone(h.all()), h.directory) {
		for _, m := range l.policyMembers() {
			members[m.ID] = true
		}
	}
	before := n.nodes()
	list := n.listNodes(nodes, func(id uint64) bool { return members[id] })
	n.nodesKnown.Store(list)
	for _, x := range list.all {
		switch was := before.find(x.ID); {
		case was == nil:
			n.log.Info("the cluster has another node", "member", x.Name, "id", x.ID, "role", x.Role.String(), "by", x.By)
		case was.Role != x.Role:
			n.log.Info("a node is to have another role in every ledger", "member", x.Name, "id", x.ID, "role", x.Role.String(), "by", x.By)
		}
		if was := before.find(x.ID); was != nil && !was.gone && x.gone {
			n.log.Info("a node is none of the cluster any more; its connections are closed", "member", x.Name, "id", x.ID)
		}
	}
	if n.transport != nil {
		n.transport.SetPeers(list.addresses())
		n.channel.Recheck()
	}
	return nil
}

// policyMembers are the members of a ledger, as far as this node has applied it.
func (h *hosted) policyMembers() []ledger.PolicyMember {
	if h == nil || h.Replica == nil {
		return nil // it is not open yet
	}
	l := h.Replica.Ledger()
	in, err := l.PolicyAt(l.Head().Size)
	if err != nil {
		return nil // nothing is applied yet: the genesis names founders or nodes that are not removed
	}
	return in.Newest.Members
}

// wakeMembers has followMembers look soon.
func (n *node) wakeMembers() {
	select {
	case n.membersChanged <- struct{}{}:
	default:
	}
}
