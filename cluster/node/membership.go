package node

import (
	"os"
	"sync"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/formation"
	"github.com/cairnledger/cairn/raftnode/transport"
)

// remindInterval is how often a lasting problem with a member is logged again.
const remindInterval = time.Minute

// membership is what the node remembers of the members, and what it says about that to operators.
type membership struct {
	*formation.Memory
	node *node

	mu struct {
		sync.Mutex
		waiting string
		refused map[uint64]*refusal
	}
}

// refusal is the standing refusal of one member.
type refusal struct {
	err   error
	told  time.Time // when it was logged
	times int       // since then
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
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.Wrap(err, "read what the node remembers of the members: restore that file")
	}
	state, err := formation.Parse(raw)
	if err != nil {
		return nil, errors.Wrapf(err, "read %s", path)
	}
	id, err := n.cfg.identity()
	if err != nil {
		return nil, err
	}
	if err := state.Check(id.cluster, id.node, n.dir.incarnation, n.cfg.formationMembers()); err != nil {
		return nil, errors.Wrapf(err, "%s", path)
	}
	return newMembership(n, state, func(content []byte) error { return writeFileSync(path, content, 0o600) }), nil
}

func newMembership(n *node, state formation.State, persist func([]byte) error) *membership {
	s := &membership{node: n}
	s.mu.refused = map[uint64]*refusal{}
	s.Memory = formation.NewMemory(formation.Options{State: state, Persist: persist, Fatal: n.fail, Met: s.met})
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
	name := s.node.cfg.memberName(peer)
	if errors.Is(err, formation.ErrIncarnation) {
		s.node.metrics.incarnationRefused.WithLabelValues(name).Inc()
	}
	r := s.mu.refused[peer]
	if r == nil {
		r = &refusal{}
		s.mu.refused[peer] = r
	}
	r.times++
	if changed := r.err == nil || r.err.Error() != err.Error(); changed || time.Since(r.told) >= remindInterval {
		s.node.log.Error("a member is refused", "part", "membership", "member", name, "reason", err.Error(), "times", r.times)
		r.told, r.times = time.Now(), 0
	}
	r.err = err
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
	for _, r := range s.mu.refused {
		return r.err
	}
	return errors.New(s.mu.waiting)
}

// problem says why this node exchanges no Raft message with a member; "" if it does.
func (s *membership) problem(member uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.mu.refused[member]; r != nil {
		return r.err.Error()
	}
	if s.State().Knows(member) == (transport.Incarnation{}) {
		return "never met: a cluster begins when all members have met"
	}
	return ""
}
