package seal

import (
	"slices"

	"github.com/cairnledger/cairn/merkle"
)

// anchorState is what this replica knows of anchors that contradict its tree.
type anchorState struct {
	// contradicted is the newest (size, root) of Contradicted.
	contradicted signed
	// verified are the newest sealed checkpoints that this replica could not adopt at once, at most
	// maxVerified.
	verified []signed
}

// maxVerified bounds the checkpoints that are kept for checkContradicted: enough that the one which a block names is
// still there when the block has been committed.
const maxVerified = 64

// verifiedAhead remembers a sealed checkpoint of a size that is not applied yet.
func (s *Sealer) verifiedAhead(n *signedNote) {
	v := signed{n.cp.Size, n.cp.Root}
	if slices.Contains(s.anchors.verified, v) {
		return
	}
	if len(s.anchors.verified) == maxVerified {
		s.anchors.verified = slices.Delete(s.anchors.verified, 0, 1)
	}
	s.anchors.verified = append(s.anchors.verified, v)
	s.checkContradicted()
}

// checkContradicted stops a replica that contradicts a checkpoint which a majority has signed. The blocks that name the
// checkpoint have no effect on this replica, so it would never reach the checkpoint's size and compare roots there. A
// false anchor of a lying proposer stops nobody: no majority has signed it.
func (s *Sealer) checkContradicted() {
	c := s.anchors.contradicted
	if c.size == 0 || !slices.Contains(s.anchors.verified, c) {
		return
	}
	ours, err := s.cfg.RootAt(c.size)
	if err != nil {
		ours = merkle.Hash{} // the size is beyond this replica's ledger
	}
	s.halt(Outvoted{Size: c.size, Ours: ours, Theirs: c.root})
}
