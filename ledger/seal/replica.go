package seal

import (
	"maps"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// replicaState is a voter's part.
type replicaState struct {
	// durable is on disk: signatures for it may leave. Invariant: durable.size <= promised.size.
	durable signed
	// promised is what is being written. Nothing smaller is signed any more, and no other root for
	// its size.
	promised signed
	token    uint64 // of the newest Persist
	// waiting is answered when promised becomes durable; nil when nothing is being written.
	waiting *request
	// requests are the newest ones of each voter that could not be answered yet: the size is not
	// applied, or something is being written. One of each, so that no voter displaces another's.
	requests map[uint64]*request
	// unbacked are the requests, by voter, for the durable promise whose requester's own
	// cosignature is missing.
	unbacked map[uint64]*request
	// backing is the last cosignature that each voter sent, the one on its own request among them.
	backing map[uint64]*signedNote
	// cosigned is the newest checkpoint that this voter signed: with the requester's cosignature,
	// whose key therefore stands beside this voter's. Nil before the first signature of this
	// process.
	cosigned *signedNote
}

// request asks this voter for a cosignature; from is the requester, possibly this node.
type request struct {
	from uint64
	size uint64
	root merkle.Hash
}

// answerRequests answers what can be answered by now, smaller sizes first: after a larger one a
// smaller one is refused.
func (s *Sealer) answerRequests() {
	for s.replica.waiting == nil {
		var next *request
		for _, id := range slices.Sorted(maps.Keys(s.replica.requests)) {
			if r := s.replica.requests[id]; r.size <= s.applied && (next == nil || r.size < next.size) {
				next = r
			}
		}
		if next == nil {
			return
		}
		delete(s.replica.requests, next.from)
		s.answer(next)
	}
}

func (s *Sealer) answer(r *request) {
	if s.cfg.Voters[s.cfg.Self] == nil || s.cfg.Voters[r.from] == nil || r.size == 0 {
		return
	}
	if r.size < s.replica.promised.size {
		s.refuse(r)
		return
	}
	root, err := s.cfg.RootAt(r.size)
	if err != nil {
		s.problem(errors.Wrapf(err, "cosign size %d", r.size))
		return
	}
	if root != r.root {
		s.problem(errors.Wrapf(ErrRootMismatch, "node %d asks to cosign root %s for size %d, this replica has %s", r.from, r.root, r.size, root))
		s.send(r.from, message{kind: kindObjection, size: r.size, root: root})
		return
	}
	switch p := s.replica.promised; {
	case r.size > p.size:
		s.replica.promised = signed{r.size, root}
		clear(s.replica.unbacked)
		s.replica.waiting = r
		s.replica.token++
		s.emit(Persist{Token: s.replica.token, Data: s.replica.promised.marshal()})
	case root != p.root:
		// We signed another root for this size in an earlier life: our own past is wrong, or the
		// disk is.
		s.problem(errors.Wrapf(ErrRootMismatch, "this node has promised root %s for size %d and now computes %s", p.root, p.size, root))
	default:
		s.cosign(r) // once more; waiting is nil, so it is durable
	}
}

func (s *Sealer) persisted(token uint64) {
	if token != s.replica.token || s.replica.waiting == nil {
		return
	}
	r := s.replica.waiting
	s.replica.waiting = nil
	s.replica.durable = s.replica.promised
	s.cosign(r)
	s.answerRequests()
}

// cosign signs what is durable and sends the signature to the requester, provided that the
// requester has signed the same itself. So nobody can collect a cosignature without leaving the
// voter one that names the collector's key.
func (s *Sealer) cosign(r *request) {
	if d := s.replica.durable; d.size != r.size || d.root != r.root {
		panic("seal: about to sign what is not durable")
	}
	cp := s.checkpoint(r.size, r.root)
	sigs := map[uint64]lines{}
	if r.from != s.cfg.Self {
		backing := s.replica.backing[r.from]
		if backing == nil || backing.cp != cp {
			s.replica.unbacked[r.from] = r
			return
		}
		sigs[r.from] = backing.sigs[r.from]
	}
	delete(s.replica.unbacked, r.from)
	own, err := s.cosignatures(cp)
	if err != nil {
		s.problem(errors.Wrapf(err, "cosign size %d", r.size))
		return
	}
	sigs[s.cfg.Self] = own
	s.replica.cosigned = &signedNote{cp: cp, sigs: sigs}
	if r.from == s.cfg.Self {
		s.countOwn(r, own)
		return
	}
	for _, sig := range own {
		s.send(r.from, cosignatureMessage(cp, sig))
	}
}

func cosignatureMessage(cp tlog.Checkpoint, sig tlog.Signature) message {
	return message{kind: kindCosignature, size: cp.Size, root: cp.Root, keyID: sig.KeyID, data: sig.Data}
}

// receiveCosignature takes a voter's cosignature: on the round that this node leads, on a request
// of that voter which this one answers then, or too late for both.
func (s *Sealer) receiveCosignature(from uint64, m message) {
	if from == s.cfg.Self || m.size == 0 {
		return
	}
	rule, known := s.ruleAt(m.size)
	keys := rule.keys[from]
	i := slices.IndexFunc(keys, func(k *tlog.VerifierKey) bool { return k.KeyID() == m.keyID })
	if i < 0 {
		switch {
		case !known:
			s.later(from, m.size, false, m)
			return
		case len(keys) == 0:
			return
		}
		i = 0 // it does not verify, and is reported
	}
	key := keys[i]
	cp := s.checkpoint(m.size, m.root)
	r := s.leader.round
	if r != nil && (m.size != r.size || m.root != r.root) {
		r = nil
	}
	had := s.replica.backing[from]
	if had != nil && had.cp != cp {
		had = nil
	}
	if r != nil {
		if r.sigs[from].by(key) {
			return
		}
	} else if had != nil && had.sigs[from].by(key) {
		return
	}
	sig := tlog.Signature{Name: key.Name(), KeyID: m.keyID, Data: m.data}
	if _, err := key.VerifyCheckpoint(cp, sig); err != nil {
		s.problem(errors.Wrapf(ErrForged, "cosignature from node %d: %v", from, err))
		return
	}
	n := &signedNote{cp: cp, sigs: map[uint64]lines{from: {sig}}}
	if had != nil && !had.sigs[from].by(key) {
		n.sigs[from] = append(slices.Clone(had.sigs[from]), sig)
	}
	if !s.observe(from, n, nil) || s.seen.distrusts(from) {
		return
	}
	s.replica.backing[from] = n
	if r != nil {
		s.count(r, from, sig)
	}
	if u := s.replica.unbacked[from]; u != nil {
		s.cosign(u)
	}
}

func (s *Sealer) refuse(r *request) {
	last := s.replica.promised.size
	if r.from == s.cfg.Self {
		s.leader.floor[s.cfg.Self] = last
		s.refused(s.cfg.Self, r.size)
		return
	}
	s.send(r.from, message{kind: kindRefusal, size: r.size, last: last})
}

func (s *Sealer) checkpoint(size uint64, root merkle.Hash) tlog.Checkpoint {
	return tlog.Checkpoint{Origin: s.cfg.Origin, Size: size, Root: root}
}

// timestamp returns the node's clock in seconds since the Unix epoch.
func (s *Sealer) timestamp() uint64 { return uint64(max(s.now.Unix(), 0)) }
