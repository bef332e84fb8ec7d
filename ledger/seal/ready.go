package seal

import "github.com/cairnledger/cairn/merkle/tlog"

// readySignatures are made ahead, while a disk or another voter is waited for. Nothing of them leaves
// Step before the conditions hold that are checked where they are used.
type readySignatures struct {
	own, line readySignature
}

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
	if next != nil {
		if cp := s.checkpoint(next.size, next.root); s.ready.own.cp != cp {
			s.ready.own.make(s.cfg.NodeCosigner, cp, s.timestamp())
			return
		}
	}
	if r := s.leader.round; r != nil {
		if cp := s.checkpoint(r.size, r.root); s.ready.line.cp != cp {
			s.ready.line.make(s.cfg.LogCosigner, cp, s.timestamp())
		}
	}
}

// make leaves nothing if it fails: whoever needs the signature tries once more, and reports it.
func (r *readySignature) make(by Cosigner, cp tlog.Checkpoint, timestamp uint64) {
	*r = readySignature{}
	if sig, err := by.Cosign(cp, timestamp); err == nil {
		*r = readySignature{cp, sig}
	}
}

// take returns the signature on a checkpoint, which is made now if it is not ready.
func (r *readySignature) take(by Cosigner, cp tlog.Checkpoint, timestamp uint64) (tlog.Signature, error) {
	if r.cp == cp {
		return r.sig, nil
	}
	return by.Cosign(cp, timestamp)
}

// cosignature is this node's.
func (s *Sealer) cosignature(cp tlog.Checkpoint) (tlog.Signature, error) {
	return s.ready.own.take(s.cfg.NodeCosigner, cp, s.timestamp())
}

// logLine is the log's own.
func (s *Sealer) logLine(cp tlog.Checkpoint) (tlog.Signature, error) {
	return s.ready.line.take(s.cfg.LogCosigner, cp, s.timestamp())
}
