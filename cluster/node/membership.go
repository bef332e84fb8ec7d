package node

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// remindInterval is how often a lasting problem with a member is logged again.
const remindInterval = time.Minute

// membership is what the node remembers of the members, and what it says about that to operators.
type membership struct {
	*formation.Memory
	node *node

	now func() time.Time

	mu struct {
		sync.Mutex
		waiting string
		refused map[uint64]error // why a member is refused now
		told    map[topic]*telling
		// came is with which data directories nodes were met that the directory has not bound to one.
		came map[uint64]transport.Incarnation
	}
}

// topic is what the log says about a member at most once in remindInterval. The text of a refusal
// holds what the member sent, which may differ each time; the kind of a refusal is one of a few
// errors of package formation, or nil. A meeting that succeeds in between does not begin the topic
// anew.
type topic struct {
	member uint64
	kind   error
}

// telling is what the log has said about a topic.
type telling struct {
	last  time.Time
	times int // refusals since then
}

// kindOf finds the kind of a refusal.
func kindOf(refusal error) error {
	for _, kind := range []error{formation.ErrIncarnation, formation.ErrOtherCluster, formation.ErrOtherMembers, errGone} {
		if errors.Is(refusal, kind) {
			return kind
		}
	}
	return nil
}

// formationMembers are the members in the form that package formation uses.
func (c *Config) formationMembers() (members []formation.Member) {
	for _, m := range c.Members {
		members = append(members, formation.Member{ID: m.ID, Name: m.Name})
	}
	return members
}

// openMembership reads the MEMBERS file of the data directory.
func openMembership(n *node) (*membership, error) {
	path := n.dir.sub(membersFile)
	id, err := n.cfg.identity()
	if err != nil {
		return nil, err
	}
	raw, err := wholefile.Read(path, maxConfigBytes)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Wrap(err, "read what the node remembers of the members")
	}
	var state formation.State
	if err == nil {
		state, err = formation.Parse(raw)
	}
	if err != nil {
		// Without its memory the node is as one that has met nobody: it takes no part in Raft until it
		// has heard, from the members themselves or from those that remember them, of all incarnations,
		// and that all members remember the same ones. A member that lost its disk is refused by those.
		state = formation.New(id.cluster, id.node, n.dir.incarnation, n.cfg.formationMembers())
		if e := wholefile.WriteSync(path, state.Marshal(), 0o600); e != nil {
			return nil, errors.Wrap(e, "write what the node remembers of the members")
		}
		n.log.Error("what the node remembers of the members was lost: it takes no part in Raft until they have told it again", "file", path, "problem", err.Error())
	}
	if err := state.Check(id.cluster, id.node, n.dir.incarnation, n.cfg.formationMembers()); err != nil {
		return nil, errors.Wrapf(err, "%s", path)
	}
	return newMembership(n, state, func(content []byte) error { return wholefile.WriteSync(path, content, 0o600) }), nil
}

func newMembership(n *node, state formation.State, persist func([]byte) error) *membership {
	s := &membership{node: n, now: time.Now}
	s.mu.refused, s.mu.told = map[uint64]error{}, map[topic]*telling{}
	s.mu.came = map[uint64]transport.Incarnation{}
	s.Memory = formation.NewMemory(formation.Options{State: state, FeatureLevel: n.cfg.knownLevel(), Persist: persist, Fatal: n.fail, Met: s.met})
	s.note()
	return s
}

// met learns of every introduction.
func (s *membership) met(peer uint64, err error) {
	s.note()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.mu.refused, peer)
		return
	}
	name := s.node.memberName(peer)
	if errors.Is(err, formation.ErrIncarnation) {
		s.node.metrics.incarnationRefused.WithLabelValues(name).Inc()
	}
	s.mu.refused[peer] = err
	about := topic{peer, kindOf(err)}
	said := s.mu.told[about]
	if said == nil {
		said = &telling{}
		s.mu.told[about] = said
	}
	said.times++
	if now := s.now(); said.last.IsZero() || now.Sub(said.last) >= remindInterval {
		s.node.log.Error("a member is refused", "part", "membership", "member", name, "reason", err.Error(), "times", said.times)
		said.last, said.times = now, 0
	}
}

// note logs what the node waits for when that changes.
func (s *membership) note() {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.State().Waiting() // under the lock, so that the newest is logged last
	if waiting == s.mu.waiting {
		return
	}
	s.mu.waiting = waiting
	if waiting == "" {
		s.node.log.Info("all members have met", "part", "membership")
		return
	}
	s.node.log.Info(waiting, "part", "membership")
}

// remind logs again, now and then, what the node still waits for.
func (s *membership) remind(quit <-chan struct{}) {
	tick := time.NewTicker(remindInterval)
	defer tick.Stop()
	for !s.Formed() {
		select {
		case <-quit:
			return
		case <-tick.C:
			if err := s.obstacle(); err != nil {
				s.node.log.Warn(err.Error(), "part", "membership")
			}
		}
	}
}

// obstacle says why the node takes no part in Raft; nil if it does.
func (s *membership) obstacle() error {
	if s.Formed() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, err := range s.mu.refused {
		return err
	}
	return errors.New(s.mu.waiting)
}

// Introduce implements transport.Membership: what package formation says of the founders, and to whom
// the directory has bound the nodes that came later.
func (s *membership) Introduce() transport.Introduction {
	in := s.Memory.Introduce()
	for _, x := range s.node.nodes().present() {
		if x.Added > 0 {
			in.Members = append(in.Members, transport.Acquaintance{ID: x.ID, Incarnation: x.Incarnation})
		}
	}
	return in
}

// errGone says that a node was removed from the cluster.
var errGone = errors.New("the node was removed from the cluster")

// Meet implements transport.Membership. Package formation judges founders. Of a node that came later
// the directory says which data directory it has; until it does the node is met with the one that it
// brings, and this node, when it leads the directory, has the directory bind it to that.
func (s *membership) Meet(peer uint64, in transport.Introduction) (changed bool, err error) {
	if x := s.node.nodes().find(peer); x != nil && x.Added > 0 {
		switch {
		case x.gone:
			err = errors.Wrap(errGone, x.Name)
		case x.Incarnation != [16]byte{} && x.Incarnation != in.Incarnation:
			err = errors.Wrapf(formation.ErrIncarnation, "%s comes with the data directory %s, the cluster's directory names %s: %[1]s has lost its disk, "+
				"or its data directory was made a second time. It has forgotten votes and entries that it acknowledged. Stop %[1]s; "+
				"if the former directory is gone, replace it by a new node", x.Name, in.Incarnation, transport.Incarnation(x.Incarnation))
		case x.Incarnation == [16]byte{}:
			s.mu.Lock()
			s.mu.came[peer] = in.Incarnation
			s.mu.Unlock()
			s.node.wakeMembers()
		}
		if err != nil {
			s.met(peer, err)
			return false, err
		}
	}
	in.Members = slices.DeleteFunc(slices.Clone(in.Members), func(a transport.Acquaintance) bool {
		return !slices.ContainsFunc(s.node.cfg.Members, func(m Member) bool { return m.ID == a.ID })
	})
	return s.Memory.Meet(peer, in)
}

// cameWith is the data directory with which a node was met that the directory has not bound to one.
func (s *membership) cameWith(id uint64) (incarnation transport.Incarnation, met bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	incarnation, met = s.mu.came[id]
	return incarnation, met
}

// featureLevel is the newest one that the programs of all nodes of the cluster know, 0 while one has not
// been met since the start.
func (s *membership) featureLevel() uint32 {
	var others []uint64
	for _, x := range s.node.nodes().present() {
		if x.ID != s.node.cfg.Self().ID {
			others = append(others, x.ID)
		}
	}
	return s.FeatureLevel(others)
}

// problem says why this node exchanges no Raft message with a member; "" if it does.
func (s *membership) problem(member uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mu.refused[member]; err != nil {
		return err.Error()
	}
	switch x := s.node.nodes().find(member); {
	case x != nil && x.Added > 0 && x.Incarnation == [16]byte{}:
		return "never met: the new node has not connected yet"
	case x != nil && x.Added == 0 && !s.node.cfg.joined() && s.State().Knows(member) == (transport.Incarnation{}):
		return "never met: a cluster begins when all members have met"
	}
	return ""
}
