package seal

import (
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// doubtState is how a replica finds out whether it is alone with its ledger.
//
// A block has no effect on a replica that does not have the root that the block's anchor names.
// Then either the proposer lied or this replica has diverged, and neither the block nor a
// checkpoint that a majority has signed decides which: a proposer can name the root that the ledger
// will have after its next block. So the replica asks the other voters for their positions, and
// stops when a majority had another ledger at a raft index that this replica has applied.
type doubtState struct {
	// since is the raft index at which the doubt arose. Positions before it say nothing about it.
	since uint64
	asked time.Time // zero: nobody yet
	// answers are the newest positions of the voters. Invariant: nil when there is no doubt.
	answers map[uint64]position
}

// position is what a replica has applied: after the raft index it has this size and root.
type position struct {
	index, size uint64
	root        merkle.Hash
}

// doubt begins a doubt, unless there is one.
func (s *Sealer) doubt() {
	if s.doubts.answers == nil {
		s.doubts = doubtState{since: s.index, answers: map[uint64]position{}}
	}
}

// ask asks every voter for its position, again after Config.Show.
func (s *Sealer) ask() {
	d := &s.doubts
	if d.answers == nil || !d.asked.IsZero() && s.since(d.asked) < s.cfg.Show {
		return
	}
	d.asked = s.now
	for _, id := range s.otherVoters() {
		s.send(id, message{kind: kindAsk})
	}
}

// tell answers a node that doubts.
func (s *Sealer) tell(to uint64) {
	root, err := s.cfg.RootAt(s.applied)
	if err != nil {
		s.problem(errors.Wrapf(err, "tell node %d this node's position", to))
		return
	}
	s.send(to, message{kind: kindPosition, last: s.index, size: s.applied, root: root})
}

func (s *Sealer) receivePosition(from uint64, m message) {
	if s.doubts.answers == nil || s.cfg.Voters[from] == nil || from == s.cfg.Self || m.last < s.doubts.since {
		return
	}
	s.doubts.answers[from] = position{m.last, m.size, m.root}
	s.resolve()
}

// resolve ends the doubt once a majority has spoken, this replica's own voice among those who
// agree.
func (s *Sealer) resolve() {
	agree, against := 1, 0
	for _, id := range slices.Sorted(maps.Keys(s.doubts.answers)) {
		p := s.doubts.answers[id]
		if p.index > s.index {
			continue // judged when it is applied
		}
		var ours merkle.Hash // stays zero when this ledger is too small
		enough := p.size <= s.applied
		if enough {
			var err error
			if ours, err = s.cfg.RootAt(p.size); err != nil {
				s.problem(errors.Wrapf(err, "compare size %d with node %d", p.size, id))
				return
			}
		}
		if enough && ours == p.root {
			agree++
		} else if against++; against >= s.majority() {
			s.halt(Outvoted{Size: p.size, Ours: ours, Theirs: p.root})
			return
		}
	}
	if agree >= s.majority() {
		s.doubts = doubtState{}
	}
}

// doubtDeadlines reports to earlier when the voters are to be asked again.
func (s *Sealer) doubtDeadlines(earlier func(time.Time)) {
	if s.doubts.answers != nil {
		earlier(s.doubts.asked.Add(s.cfg.Show))
	}
}
