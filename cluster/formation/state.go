package formation

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/raftnode/transport"
)

// Errors of learn. They are matched by what Memory.Meet returns.
var (
	// ErrIncarnation: two nodes remember different data directories of one member.
	ErrIncarnation = errors.New("a member has another data directory than the one that is remembered")
	// ErrOtherCluster: the other node belongs to another cluster.
	ErrOtherCluster = errors.New("the node belongs to another cluster")
	// ErrOtherMembers: the configurations of the two nodes list different members.
	ErrOtherMembers = errors.New("the nodes do not list the same members")
)

// Member is a founder of the cluster.
type Member struct {
	ID   uint64
	Name string
}

// State is what one node remembers. It is a value: learn returns a changed copy.
type State struct {
	cluster uint64
	self    uint64
	own     transport.Incarnation
	rows    []row // of the founders, by ascending id
}

type row struct {
	Member
	incarnation transport.Incarnation // zero: unknown
	// complete: this member remembers the same incarnations as this State, all of them.
	complete bool
}

// New is the state of a node that has met nobody. A node that is not among the members, the founders,
// has joined the cluster later.
func New(cluster, self uint64, own transport.Incarnation, members []Member) State {
	s := State{cluster: cluster, self: self, own: own}
	for _, m := range members {
		r := row{Member: m}
		if m.ID == self {
			r.incarnation = own
		}
		s.rows = append(s.rows, r)
	}
	slices.SortFunc(s.rows, func(a, b row) int { return cmp.Compare(a.ID, b.ID) })
	s.settle()
	return s
}

// Check refuses a state that is not that of the node self with the directory own, or not about
// these members.
func (s State) Check(cluster, self uint64, own transport.Incarnation, members []Member) error {
	want := New(cluster, self, own, members)
	if s.cluster != cluster || s.self != self || s.own != own {
		return errors.New("the file belongs to another data directory: restore the one of this directory")
	}
	if !slices.EqualFunc(s.rows, want.rows, func(a, b row) bool { return a.Member == b.Member }) {
		return errors.Newf("the data directory was made for the members %s, the configuration lists %s: "+
			"members are the founders of the cluster, whoever came or went later; correct the configuration", s.names(), want.names())
	}
	return nil
}

// joined says that the node is no founder.
func (s State) joined() bool { return s.row(s.self) == nil }

// Formed says whether the node may take part in Raft.
func (s State) Formed() bool {
	return s.joined() || !slices.ContainsFunc(s.rows, func(r row) bool { return !r.complete })
}

// Waiting says what the node waits for before it takes part in Raft; "" if it is formed.
func (s State) Waiting() string {
	if s.joined() {
		return ""
	}
	var unmet, incomplete []string
	for _, r := range s.rows {
		switch {
		case r.incarnation == transport.Incarnation{}:
			unmet = append(unmet, r.Name)
		case !r.complete && r.ID != s.self:
			incomplete = append(incomplete, r.Name)
		}
	}
	switch {
	case len(unmet) > 0:
		return fmt.Sprintf("waiting for %s to be met once: a cluster begins when all members have met", strings.Join(unmet, ", "))
	case len(incomplete) > 0:
		return fmt.Sprintf("waiting for %s to confirm that all members have met", strings.Join(incomplete, ", "))
	}
	return ""
}

// Of returns whose memory the state is: a node of a cluster.
func (s State) Of() (cluster, node uint64) { return s.cluster, s.self }

// Knows returns the remembered incarnation of a member; zero if there is none.
func (s State) Knows(id uint64) transport.Incarnation {
	if id == s.self {
		return s.own
	}
	if r := s.row(id); r != nil {
		return r.incarnation
	}
	return transport.Incarnation{}
}

func (s State) row(id uint64) *row {
	for i := range s.rows {
		if s.rows[i].ID == id {
			return &s.rows[i]
		}
	}
	return nil
}

func (s State) introduction() transport.Introduction {
	in := transport.Introduction{Cluster: s.cluster, Incarnation: s.own}
	for _, r := range s.rows {
		in.Members = append(in.Members, transport.Acquaintance{ID: r.ID, Incarnation: r.incarnation, Complete: r.complete})
	}
	return in
}

// learn returns the state after what the authenticated member peer says about itself. An error
// leaves everything as it was.
func (s State) learn(peer uint64, in transport.Introduction) (State, error) {
	if in.Cluster != s.cluster {
		return s, errors.Wrapf(ErrOtherCluster, "%s says that it belongs to cluster %016x, this node belongs to %016x", s.name(peer), in.Cluster, s.cluster)
	}
	if !slices.EqualFunc(in.Members, s.rows, func(a transport.Acquaintance, r row) bool { return a.ID == r.ID }) {
		return s, errors.Wrapf(ErrOtherMembers, "%s lists the members %s, this node lists %s: correct the configuration",
			s.name(peer), idsOf(in.Members), idsOf(s.introduction().Members))
	}
	if err := s.contradiction(peer, in); err != nil {
		return s, err
	}
	next := State{cluster: s.cluster, self: s.self, own: s.own, rows: slices.Clone(s.rows)}
	if s.joined() {
		if r := next.row(peer); r != nil {
			r.incarnation = in.Incarnation
		}
		return next, nil
	}
	full := true
	for i, m := range in.Members {
		if known := (m.Incarnation != transport.Incarnation{}); known {
			next.rows[i].incarnation = m.Incarnation
		} else {
			full = false
		}
	}
	// A sender that remembers everything remembers the same as this node from here on.
	for i, m := range in.Members {
		next.rows[i].complete = next.rows[i].complete || full && m.Complete
	}
	next.settle()
	return next, nil
}

// settle notes that this node is complete as soon as it is.
func (s State) settle() {
	if r := s.row(s.self); r != nil && !slices.ContainsFunc(s.rows, func(r row) bool { return r.incarnation == transport.Incarnation{} }) {
		r.complete = true
	}
}

// contradiction compares what peer remembers with what this node remembers.
func (s State) contradiction(peer uint64, in transport.Introduction) error {
	if s.row(peer) == nil && in.Incarnation == (transport.Incarnation{}) {
		return errors.Newf("%s names no data directory of its own", s.name(peer))
	}
	for i, m := range in.Members {
		ours, theirs := s.rows[i].incarnation, m.Incarnation
		if m.ID == peer && (theirs != in.Incarnation || theirs == transport.Incarnation{}) {
			return errors.Newf("%s contradicts itself about its own data directory", s.name(peer))
		}
		if (ours == transport.Incarnation{}) || (theirs == transport.Incarnation{}) || ours == theirs {
			continue
		}
		switch m.ID {
		case peer:
			return errors.Wrapf(ErrIncarnation, "%s comes with the data directory %s, this node remembers it with %s: "+
				"%[1]s has lost its disk, or its data directory was made a second time. It has forgotten votes and entries that it acknowledged. "+
				"Stop %[1]s and give it the former directory back; if that is gone, leave %[1]s stopped",
				s.name(peer), theirs, ours)
		case s.self:
			return errors.Wrapf(ErrIncarnation, "%s remembers this node with the data directory %s, this one is %s: "+
				"this node has lost its disk, or its data directory was made a second time. It has forgotten votes and entries that it acknowledged. "+
				"Stop this node and give it the former directory back; if that is gone, leave it stopped",
				s.name(peer), theirs, ours)
		default:
			return errors.Wrapf(ErrIncarnation, "%s remembers %s with the data directory %s, this node with %s: "+
				"the data directory of %[2]s was made a second time before all members had met. If the cluster has never served, "+
				"stop all members, delete every data directory and initialise all of them again; otherwise leave %[2]s stopped",
				s.name(peer), s.name(m.ID), theirs, ours)
		}
	}
	return nil
}

func (s State) names() string {
	var names []string
	for _, r := range s.rows {
		names = append(names, fmt.Sprintf("%s (%d)", r.Name, r.ID))
	}
	return strings.Join(names, ", ")
}

func (s State) name(id uint64) string {
	if r := s.row(id); r != nil {
		return r.Name
	}
	return fmt.Sprintf("node %d", id)
}

func idsOf(members []transport.Acquaintance) string {
	var ids []string
	for _, m := range members {
		ids = append(ids, fmt.Sprint(m.ID))
	}
	return strings.Join(ids, ", ")
}
