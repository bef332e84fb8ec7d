package node

import (
	"context"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/server"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/cluster/replica"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// How a node of the cluster becomes what the directory says.
//
// An admin's call changes the directory alone: one entry, which says what a node is to be in every
// ledger. The leader of each ledger does the rest for that ledger, one step at a time: it compares the
// ledger's policy with the directory and proposes the next change of members, until there is none. So
// the directory's entry is what is to be done, the policies are what has been done, and nobody has to
// remember anything: when a leader is lost in the middle, the next one goes on from what it finds.

const (
	// stepEvery is how often a leader tries the next step while one is left.
	stepEvery = 100 * time.Millisecond
	// lookEvery is how often it looks whether there is one, besides when it is woken.
	lookEvery = time.Second
	// stepTimeout bounds how long the outcome of a step is waited for.
	stepTimeout = 5 * time.Second
)

// memberSteps returns the changes of members that lead from a policy towards what the directory says, the
// most urgent first. Members are added before others are promoted, and removed last: a node that is
// replaced stays until the one in its place votes.
func memberSteps(p *ledger.Policy, nodes []clusterNode) (steps []memberStep) {
	add := func(n *clusterNode, c replica.MemberChange) { steps = append(steps, memberStep{c, n.ID, n.By}) }
	for i := range nodes {
		n := &nodes[i]
		if n.Role != directory.Removed && p.Member(n.ID) == nil && (n.Added == 0 || n.Incarnation != [16]byte{}) {
			add(n, replica.MemberChange{Reason: ledger.PolicyAdd, Comes: ledger.Member{ID: n.ID, Name: n.Name, Cosigner: n.Cosigner}})
		}
	}
	for i := range nodes {
		n := &nodes[i]
		if m := p.Member(n.ID); n.Role == directory.Voter && m != nil && m.Learner {
			add(n, replica.MemberChange{Reason: ledger.PolicyPromote, ID: n.ID})
		}
	}
	for i := range nodes {
		n := &nodes[i]
		if n.Role != directory.Removed || p.Member(n.ID) == nil {
			continue
		}
		replaced := slices.ContainsFunc(nodes, func(o clusterNode) bool {
			m := p.Member(o.ID)
			return o.Replaces == n.ID && o.Role == directory.Voter && (m == nil || m.Learner)
		})
		if !replaced {
			// With the node in its place the ledger has as many voters as before.
			force := n.Force || slices.ContainsFunc(nodes, func(o clusterNode) bool { return o.Replaces == n.ID && o.Role == directory.Voter })
			add(n, replica.MemberChange{Reason: ledger.PolicyRemove, ID: n.ID, Force: force})
		}
	}
	return steps
}

// memberStep is a change of the members of a ledger that leads towards what the directory says of a node.
type memberStep struct {
	replica.MemberChange
	node  uint64
	asked string
}

// followMembers keeps this node's list of the cluster's nodes up to date, and takes the steps in the
// ledgers that this node leads.
func (n *node) followMembers(quit <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	wait := time.Duration(0)
	for {
		select {
		case <-quit:
			return
		case <-n.membersChanged:
		case <-time.After(wait):
		}
		if err := n.learnNodes(); err != nil {
			n.fail(err)
			return
		}
		wait = lookEvery
		n.bindNodes(ctx)
		for _, h := range n.hosting.all() {
			if h.halted.Load() == nil && h.takeStep(ctx) {
				wait = stepEvery
			}
		}
	}
}

// bindNodes has the directory bind nodes that were added to the data directories with which they came.
func (n *node) bindNodes(ctx context.Context) {
	h := n.hosting.directory
	if !h.State().Serving {
		return
	}
	for _, x := range n.nodes().present() {
		incarnation, met := n.members.cameWith(x.ID)
		if x.Added == 0 || x.Incarnation != [16]byte{} || !met {
			continue
		}
		c := directory.NodeChange{Op: directory.JoinNode, ID: x.ID, Incarnation: incarnation}
		command, err := c.Marshal()
		if err == nil {
			err = n.proposeOwn(ctx, command)
		}
		if err != nil {
			n.log.Warn("a new node is not bound to its data directory yet", "member", x.Name, "problem", err.Error())
		}
	}
}

// proposeOwn has the directory decide a command in this node's own name.
func (n *node) proposeOwn(ctx context.Context, command []byte) error {
	principal, err := n.cfg.principal()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	res, err := n.hosting.directory.Append(ctx, server.CommandBatch(string(principal), command))
	return errors.CombineErrors(err, res.Err)
}

// takeStep takes the next step in the ledger if this node leads it, and reports whether one is left.
func (h *hosted) takeStep(ctx context.Context) (left bool) {
	in := h.Policy()
	if !h.State().Serving || in == nil {
		h.steps.Store(nil)
		return false
	}
	steps := memberSteps(in.Newest, h.node.nodes().all)
	waiting := map[uint64]string{}
	defer func() { h.steps.Store(&waiting) }()
	for _, s := range steps {
		if s.Reason == ledger.PolicyRemove && h == h.node.hosting.directory && h.node.hosting.memberElsewhere(s.node) {
			waiting[s.node] = "it leaves the directory last"
			continue
		}
		if in.Before != nil && !h.node.nodes().find(s.node).Force {
			waiting[s.node] = "the change before it is not sealed yet by the voters before and after it"
			continue
		}
		err := h.tryStep(ctx, s)
		if err == nil {
			return true // what is left follows the change
		}
		waiting[s.node] = err.Error()
		var refused *replica.MemberError
		if errors.As(err, &refused) && refused.Reason == replica.MemberLeads {
			_ = h.raft.TransferLeadership(ctx, 0) // whoever leads then goes on
			return true
		}
		if ctx.Err() != nil {
			return true
		}
	}
	return len(steps) > 0
}

// memberElsewhere says whether a node is still a member of another ledger than the directory.
func (h *hosting) memberElsewhere(id uint64) bool {
	return slices.ContainsFunc(h.all(), func(l *hosted) bool {
		return l != h.directory && slices.ContainsFunc(l.policyMembers(), func(m ledger.PolicyMember) bool { return m.ID == id })
	})
}

// tryStep proposes a change and waits for what comes of it.
func (h *hosted) tryStep(ctx context.Context, s memberStep) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	fate := make(chan error, 1)
	h.ChangeMembers(s.asked, s.MemberChange, func(res ledger.Result, err error) { fate <- errors.CombineErrors(err, res.Err) })
	select {
	case err := <-fate:
		if err == nil {
			h.node.log.Info("the members of a ledger are changed", "ledger", h.origin, "change", s.Reason.String(), "member", h.node.memberName(s.node), "by", s.asked)
		}
		return err
	case <-ctx.Done():
		return errors.Wrap(ctx.Err(), "wait for the change of members")
	}
}

// List implements server.Members.
func (a memberAdmin) List() (all []server.MemberInfo) {
	n := a.node
	connected := map[uint64]bool{n.cfg.Self().ID: true}
	for _, c := range n.transport.Stats() {
		if !c.Inbound && c.Class == "control" && c.Connected {
			connected[c.Peer] = true
		}
	}
	for _, x := range n.nodes().all {
		info := infoOfNode(&x)
		info.Connected = connected[x.ID]
		for _, h := range n.hosting.all() {
			if l := h.memberLedger(&x); l.Role != "" || x.Role != directory.Removed {
				info.Ledgers = append(info.Ledgers, l)
			}
		}
		all = append(all, info)
	}
	return all
}

func infoOfNode(x *clusterNode) server.MemberInfo {
	return server.MemberInfo{
		ID: x.ID, Name: x.Name, Role: x.Role.String(), Peer: x.Peer, API: x.API, HTTP: x.HTTP, Replaces: x.Replaces, By: x.By, Time: x.Time,
		Awaited: x.Added > 0 && x.Role != directory.Removed && x.Incarnation == (transport.Incarnation{}),
	}
}

// memberLedger says what a node is in the ledger.
func (h *hosted) memberLedger(x *clusterNode) server.MemberLedger {
	l := server.MemberLedger{Origin: h.origin, Settled: x.Role == directory.Removed}
	for _, v := range h.MemberViews() {
		if v.ID != x.ID {
			continue
		}
		l.Role, l.Leads, l.Settled = "voter", v.Leads, x.Role == directory.Voter
		if v.Learner {
			l.Role, l.Settled = "learner", x.Role == directory.Learner
		}
		l.Match, l.Commit = v.Match, v.Commit
	}
	if steps := h.steps.Load(); steps != nil {
		l.Known, l.Waiting = true, (*steps)[x.ID]
	}
	if !l.Known {
		l.Match, l.Commit = 0, 0
	}
	return l
}
