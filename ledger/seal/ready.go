package seal

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle/tlog"
)

// readySignatures are made ahead, while a disk or another voter is waited for: the newest of each
// cosigner. Nothing of them leaves Step before the conditions hold that are checked where they are
// used.
type readySignatures map[Cosigner]readySignature

type readySignature struct {
	cp  tlog.Checkpoint
	sig tlog.Signature
}

// prepare makes at most one signature that is going to be needed.
func (s *Sealer) prepare() {
	next := s.replica.waiting
	for _, r := range s.replica.unbacked {
		next = r // all of them are for the durable promise
	}
	if next != nil && s.makeOne(s.own(next.size), s.checkpoint(next.size, next.root)) {
		return
	}
	if r := s.leader.round; r != nil {
		s.makeOne(s.logs(r.rule), s.checkpoint(r.size, r.root))
	}
}

// makeOne makes the first signature that is missing, and reports whether there was one. It leaves
// nothing if it fails: whoever needs the signature tries once more, and reports it.
func (s *Sealer) makeOne(by []Cosigner, cp tlog.Checkpoint) bool {
	for _, c := range by {
		if s.ready[c].cp == cp {
			continue
		}
		delete(s.ready, c)
		if sig, err := c.Cosign(cp, s.timestamp()); err == nil {
			s.ready[c] = readySignature{cp, sig}
		}
		return true
	}
	return false
}

// sign returns the signatures of these cosigners, which are made now if they are not ready.
func (s *Sealer) sign(by []Cosigner, cp tlog.Checkpoint) (signed lines, err error) {
	for _, c := range by {
		sig := s.ready[c].sig
		if s.ready[c].cp != cp {
			if sig, err = c.Cosign(cp, s.timestamp()); err != nil {
				return nil, err
			}
		}
		signed = append(signed, sig)
	}
	return signed, nil
}

// cosignatures are this node's.
func (s *Sealer) cosignatures(cp tlog.Checkpoint) (lines, error) {
	own := s.own(cp.Size)
	if len(own) == 0 {
		return nil, errors.Newf("this node has no key that counts for size %d", cp.Size)
	}
	return s.sign(own, cp)
}

// logLines are the log's own.
func (s *Sealer) logLines(r *rule, cp tlog.Checkpoint) (lines, error) {
	log, err := s.sign(s.logs(r), cp)
	if err == nil && !r.logged(log) {
		err = errors.Newf("this node has no log key that counts for size %d", cp.Size)
	}
	return log, err
}
