package seal

import (
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// leaderState is the leader's part.
type leaderState struct {
	is      bool
	callers int // wait for growth that no seal covers yet
	// round is the one seal in progress, nil when there is none.
	round *round
	last  lastRound
	// floor is, for a voter that refused, the size below which it signs nothing.
	floor map[uint64]uint64
	// acked is the newest sealed size that a node has; offered when it was last sent to it.
	acked   map[uint64]uint64
	offered map[uint64]time.Time
}

// lastRound is what is remembered of the round that began last.
type lastRound struct {
	start   time.Time     // zero before the first
	took    time.Duration // zero while it is in progress
	callers int           // that waited for it
}

type round struct {
	size    uint64
	root    merkle.Hash
	asked   time.Time // when its voters were asked last
	rule    *rule
	sigs    map[uint64]lines // verified, by voter
	refused map[uint64]bool
	against map[uint64]bool // voters that computed another root
}

func (l *leaderState) init() {
	l.floor = make(map[uint64]uint64)
	l.acked = make(map[uint64]uint64)
	l.offered = make(map[uint64]time.Time)
}

func (s *Sealer) leaderChanged(is bool) {
	if s.leader.is == is {
		return
	}
	// A new leader starts its own round: what an earlier leader had in progress is lost with it.
	callers := 0
	if is {
		callers = s.leader.callers
	}
	s.leader = leaderState{is: is, callers: callers}
	s.leader.init()
	delete(s.replica.requests, s.cfg.Self)
}

// lead does what is due after every event.
func (s *Sealer) lead() {
	if !s.leader.is {
		return
	}
	if r := s.leader.round; r != nil && s.since(r.asked) >= s.cfg.Timeout {
		s.request(r)
	}
	if s.leader.round == nil && s.startDue() {
		s.start()
	}
	s.offer()
}

// since returns the time that passed; a clock that was set back counts as a long time, not as none.
func (s *Sealer) since(t time.Time) time.Duration {
	d := s.now.Sub(t)
	if d < 0 {
		return 1 << 62
	}
	return d
}

func (s *Sealer) canStart() bool {
	if s.applied <= s.newestSize() || s.cfg.Voters[s.cfg.Self] == nil {
		return false
	}
	able := func(id uint64, _ *tlog.VerifierKey) bool {
		return s.leader.floor[id] <= s.applied && !s.seen.distrusts(id)
	}
	return s.rule.reached(able) && s.leader.floor[s.cfg.Self] <= s.applied
}

// interval is how long after the start of the last round the next one may start.
func (s *Sealer) interval() time.Duration {
	last, sharers := &s.leader.last, time.Duration(max(1, s.cfg.Sharers()))
	rested := last.took + min(last.took/2, s.cfg.Gather)*sharers
	switch {
	case s.leader.callers == 0:
		return max(rested, s.cfg.Cadence*sharers)
	case 2*s.leader.callers < last.callers:
		return max(rested, s.cfg.Gather*sharers)
	}
	return rested
}

func (s *Sealer) startDue() bool {
	return s.canStart() && (s.leader.last.start.IsZero() || s.since(s.leader.last.start) >= s.interval())
}

// start begins a round for the applied size.
func (s *Sealer) start() {
	root, err := s.cfg.RootAt(s.applied)
	if err != nil {
		s.problem(errors.Wrapf(err, "seal size %d", s.applied))
		s.leader.last = lastRound{start: s.now, took: s.cfg.Gather}
		return
	}
	rule, _ := s.ruleAt(s.applied)
	s.leader.round = &round{size: s.applied, root: root, rule: rule, sigs: make(map[uint64]lines), refused: make(map[uint64]bool), against: make(map[uint64]bool)}
	s.leader.last, s.leader.callers = lastRound{start: s.now, callers: s.leader.callers}, 0
	s.request(s.leader.round)
}

// end ends the round in progress.
func (s *Sealer) end() {
	s.leader.round = nil
	s.leader.last.took = s.now.Sub(s.leader.last.start)
}

// request asks every voter whose cosignature is missing. The size of a round stays: a voter whose
// disk is slow is still making its promise for it.
func (s *Sealer) request(r *round) {
	r.asked = s.now
	for _, id := range s.otherVoters() {
		if !r.complete(id) {
			s.send(id, message{kind: kindRequest, size: r.size, root: r.root})
		}
	}
	if own, ok := r.sigs[s.cfg.Self]; ok {
		s.back(r, own)
	} else {
		s.replica.requests[s.cfg.Self] = &request{from: s.cfg.Self, size: r.size, root: r.root}
		s.answerRequests()
	}
}

// complete reports whether a voter has signed with every key that it has for the round.
func (r *round) complete(id uint64) bool { return len(r.sigs[id]) >= len(r.rule.keys[id]) }

// countOwn counts this node's own cosignatures, and sends them to the voters that were asked for
// theirs.
func (s *Sealer) countOwn(req *request, own lines) {
	if r := s.leader.round; r != nil && r.size == req.size && r.root == req.root {
		s.back(r, own)
		s.count(r, s.cfg.Self, own...)
	}
}

// back sends this node's own cosignature to the voters of a round. They sign only what the
// requester has signed.
func (s *Sealer) back(r *round, own lines) {
	for _, id := range s.otherVoters() {
		if !r.complete(id) {
			for _, sig := range own {
				s.send(id, cosignatureMessage(s.checkpoint(r.size, r.root), sig))
			}
		}
	}
}

// count adds verified cosignatures and seals with a quorum, of every side of the rule, of which this
// node is part.
func (s *Sealer) count(r *round, id uint64, sigs ...tlog.Signature) {
	r.sigs[id] = append(r.sigs[id], sigs...)
	if _, own := r.sigs[s.cfg.Self]; !own || !r.rule.cosigned(r.sigs) {
		return
	}
	cp := s.checkpoint(r.size, r.root)
	log, err := s.logLines(r.rule, cp)
	if err != nil {
		s.problem(errors.Wrapf(err, "sign size %d as the log", r.size))
		return
	}
	note := tlog.Note{Text: cp.Text(), Signatures: log}
	for _, voter := range slices.Sorted(maps.Keys(r.sigs)) {
		note.Signatures = append(note.Signatures, r.sigs[voter]...)
	}
	s.end()
	if r.size <= s.newestSize() {
		return
	}
	s.newest = &ledger.Sealed{Size: r.size, Root: r.root, Note: note.Marshal()}
	s.emit(Sealed{s.newest})
}

func (s *Sealer) receiveRefusal(from uint64, m message) {
	if s.cfg.Voters[from] == nil || from == s.cfg.Self {
		return
	}
	s.leader.floor[from] = m.last
	s.refused(from, m.size)
}

// receiveObjection counts a voter that computed another root than the round's. A majority of
// objections says that this leader's root is the wrong one.
func (s *Sealer) receiveObjection(from uint64, m message) {
	r := s.leader.round
	if r == nil || s.cfg.Voters[from] == nil || from == s.cfg.Self || m.size != r.size || m.root == r.root {
		return
	}
	if r.against[from] = true; len(r.against) >= s.majority() {
		s.end()
		s.halt(Outvoted{Size: r.size, Ours: r.root, Theirs: m.root})
	}
}

// refused gives up a round that cannot reach the quorum any more.
func (s *Sealer) refused(id, size uint64) {
	r := s.leader.round
	if r == nil || r.size != size {
		return
	}
	if r.complete(id) {
		return
	}
	r.refused[id] = true
	able := func(id uint64, key *tlog.VerifierKey) bool { return !r.refused[id] || r.sigs[id].by(key) }
	if r.refused[s.cfg.Self] || !r.rule.reached(able) {
		s.end()
		s.leader.callers += max(1, s.leader.last.callers)
	}
}

// offer sends the newest sealed checkpoint to every node that has not acknowledged it.
func (s *Sealer) offer() {
	if s.newest == nil {
		return
	}
	var payload []byte
	for _, id := range s.others() {
		last, offered := s.leader.offered[id]
		if s.leader.acked[id] >= s.newest.Size || offered && s.since(last) < s.cfg.Resend && !s.justSealed() {
			continue
		}
		if payload == nil {
			payload = message{kind: kindSealed, data: s.newest.Note}.marshal()
		}
		s.leader.offered[id] = s.now
		s.emit(Send{To: id, Payload: payload})
	}
}

// justSealed reports whether this step made the newest checkpoint.
func (s *Sealer) justSealed() bool {
	for _, e := range s.effects {
		if sealed, ok := e.(Sealed); ok && sealed.Checkpoint == s.newest {
			return true
		}
	}
	return false
}

// others returns every other node, in order.
func (s *Sealer) others() []uint64 {
	var ids []uint64
	for id := range s.cfg.Voters {
		ids = append(ids, id)
	}
	ids = append(ids, s.cfg.Learners...)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return slices.DeleteFunc(ids, func(id uint64) bool { return id == s.cfg.Self })
}

// otherVoters returns every voter except this node, in order.
func (s *Sealer) otherVoters() []uint64 {
	ids := slices.Sorted(maps.Keys(s.cfg.Voters))
	return slices.DeleteFunc(ids, func(id uint64) bool { return id == s.cfg.Self })
}

// leaderDeadlines reports to earlier when a leader has something to do.
func (s *Sealer) leaderDeadlines(earlier func(time.Time)) {
	if !s.leader.is {
		return
	}
	if r := s.leader.round; r != nil {
		earlier(r.asked.Add(s.cfg.Timeout))
	} else if s.canStart() {
		earlier(s.leader.last.start.Add(s.interval()))
	}
	if s.newest != nil {
		for _, id := range s.others() {
			if s.leader.acked[id] < s.newest.Size {
				earlier(s.leader.offered[id].Add(s.cfg.Resend))
			}
		}
	}
}
