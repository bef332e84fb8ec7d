package seal

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// rule says whose signatures seal the checkpoints of a size: those that every side demands. There
// are two sides while one policy hands over to the next (ledger.PolicyInForce). Immutable.
//
// Why no two trees of one size are sealed. The rule of a size is a function of the entries below it,
// and so it is the same for every replica that has these entries. Two sets of signers that meet it
// both hold a quorum of one side, more than half of its voters, so they share a voter, and a voter
// signs one root for a size, with whatever keys.
//
// Why the chain of policies has no gap. From the size on that includes a change, nothing is sealed
// without the policy before, until the ledger itself has a checkpoint by both.
type rule struct {
	sides []side
	// keys are those of each voter, of all sides. A voter that has another key on the other side
	// signs with both.
	keys map[uint64][]*tlog.VerifierKey
	// learners get what is sealed. Their signatures do not count.
	learners []uint64
}

// side is one policy.
type side struct {
	voters map[uint64]*tlog.VerifierKey
	quorum int
	logs   []*tlog.VerifierKey
}

func newRule(sides ...side) *rule {
	r := &rule{sides: sides, keys: map[uint64][]*tlog.VerifierKey{}}
	for _, s := range sides {
		for id, key := range s.voters {
			if !slices.ContainsFunc(r.keys[id], func(k *tlog.VerifierKey) bool { return k.Equal(key) }) {
				r.keys[id] = append(r.keys[id], key)
			}
		}
	}
	return r
}

// reached reports whether the voters that have what is asked for, with the key of a side, are a
// quorum of every side.
func (r *rule) reached(has func(id uint64, key *tlog.VerifierKey) bool) bool {
	for _, s := range r.sides {
		n := 0
		for id, key := range s.voters {
			if has(id, key) {
				n++
			}
		}
		if n < s.quorum || n == 0 {
			return false
		}
	}
	return true
}

// lines are signatures of one voter on one checkpoint, each by another key.
type lines []tlog.Signature

func (l lines) by(key *tlog.VerifierKey) bool { return slices.ContainsFunc(l, key.Signed) }

// cosigned reports whether the cosignatures, by voter, are enough.
func (r *rule) cosigned(sigs map[uint64]lines) bool {
	return r.reached(func(id uint64, key *tlog.VerifierKey) bool { return sigs[id].by(key) })
}

// logged reports whether the log's own lines are there that every side demands.
func (r *rule) logged(log lines) bool {
	for _, s := range r.sides {
		if !slices.ContainsFunc(s.logs, log.by) {
			return false
		}
	}
	return true
}

// ruleOf makes the rule of the policies in force.
func ruleOf(in *ledger.PolicyInForce) (*rule, error) {
	var sides []side
	for _, p := range in.All() {
		s := side{voters: map[uint64]*tlog.VerifierKey{}, quorum: int(p.Quorum)}
		for _, m := range p.Voters() {
			key, err := tlog.ParseVerifierKey(m.Cosigner)
			if err != nil {
				return nil, errors.Wrapf(err, "cosigner key of %s", m.Name)
			}
			s.voters[m.ID] = key
		}
		for _, vkey := range p.LogKeys {
			key, err := tlog.ParseVerifierKey(vkey)
			if err != nil {
				return nil, errors.Wrap(err, "log key")
			}
			s.logs = append(s.logs, key)
		}
		sides = append(sides, s)
	}
	r := newRule(sides...)
	for _, m := range in.Newest.Members {
		if m.Learner {
			r.learners = append(r.learners, m.ID)
		}
	}
	return r, nil
}

// ruleAt returns the rule of a size. known is false when the ledger has not reached the size: then
// it is the newest rule, and the right one unless the ledger changes it on the way.
func (s *Sealer) ruleAt(size uint64) (r *rule, known bool) {
	if s.cfg.PolicyAt == nil {
		return s.rule, true
	}
	in, err := s.cfg.PolicyAt(size)
	switch {
	case errors.Is(err, ledger.ErrNoGenesis):
		return s.rule, true
	case errors.As(err, new(*ledger.NotFoundError)):
		return s.rule, false
	case err != nil:
		s.problem(errors.Wrapf(err, "read the policy of size %d", size))
		return s.rule, false
	}
	if r = s.rules[in]; r != nil {
		return r, true
	}
	if r, err = ruleOf(in); err != nil {
		s.problem(errors.Wrapf(err, "the policy of size %d", size))
		return s.rule, false
	}
	if len(s.rules) >= 4 {
		clear(s.rules)
	}
	s.rules[in] = r
	return r, true
}

// follow takes the rule of the applied size over.
func (s *Sealer) follow() {
	if s.cfg.PolicyAt == nil || s.applied == 0 {
		return
	}
	r, known := s.ruleAt(s.applied)
	if !known || r == s.rule {
		return
	}
	s.rule, s.cfg.Learners, s.cfg.Voters = r, r.learners, map[uint64]*tlog.VerifierKey{}
	for id, keys := range r.keys {
		s.cfg.Voters[id] = keys[len(keys)-1]
	}
	// A seal in a hand-over may never come to its end: the new keys that it waits for may be dead, and
	// the change that made this rule may take their place.
	if s.handsOver() {
		s.end()
		s.leader.callers += s.leader.last.callers
	}
}

// handsOver reports whether a seal in a hand-over is in progress.
func (s *Sealer) handsOver() bool { return s.leader.round != nil && len(s.leader.round.rule.sides) > 1 }

// early is what came before this replica had the entries that say whose keys count for it: the
// newest one of each kind of each sender. A note that looks sealed has a slot of its own: a larger
// one that does not must not displace it.
type early struct {
	from   uint64
	kind   kind
	sealed bool
}

type earlyMessage struct {
	size uint64
	m    message
}

func (s *Sealer) later(from, size uint64, sealed bool, m message) {
	key := early{from, m.kind, sealed}
	if have, ok := s.early[key]; !ok || have.size <= size {
		s.early[key] = earlyMessage{size, m}
	}
}

// judgeEarly takes messages again whose size is applied by now.
func (s *Sealer) judgeEarly() {
	if len(s.early) == 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(s.early), func(a, b early) int {
		if a.from != b.from {
			return int(int64(a.from) - int64(b.from))
		}
		if a.kind != b.kind {
			return int(a.kind) - int(b.kind)
		}
		return cmp.Compare(s.early[a].size, s.early[b].size)
	})
	for _, key := range keys {
		if e := s.early[key]; e.size <= s.applied && !s.halted {
			delete(s.early, key)
			s.dispatch(key.from, e.m)
		}
	}
}

// own returns this node's cosigners whose keys count for a size.
func (s *Sealer) own(size uint64) (own []Cosigner) {
	r, _ := s.ruleAt(size)
	for _, c := range s.cosigners {
		if slices.ContainsFunc(r.keys[s.cfg.Self], func(k *tlog.VerifierKey) bool { return k.Equal(c.Key()) }) {
			own = append(own, c)
		}
	}
	return own
}

// logs returns the cosigners of the log that sign a size: one for each side, the same one where it
// is of both.
func (s *Sealer) logs(r *rule) (logs []Cosigner) {
	for _, side := range r.sides {
		i := slices.IndexFunc(s.cosigners, func(c Cosigner) bool {
			return slices.ContainsFunc(side.logs, func(k *tlog.VerifierKey) bool { return k.Equal(c.Key()) })
		})
		if i >= 0 && !slices.Contains(logs, s.cosigners[i]) {
			logs = append(logs, s.cosigners[i])
		}
	}
	return logs
}
