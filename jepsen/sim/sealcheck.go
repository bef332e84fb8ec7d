package sim

import (
	"encoding/binary"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/seal"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// sealCheck watches what is signed for one ledger. It knows of the sealers' messages only where
// a cosignature has its size and root.
type sealCheck struct {
	g      *group
	policy *tlog.Policy // of the genesis
	// roots are all roots that anybody signed, by size.
	roots map[uint64]merkle.Hash
	// signed is the largest size that a voter has signed for somebody else.
	signed map[uint64]uint64
	// notes are the checkpoints whose signatures were verified already.
	notes map[string]bool
}

const (
	cosignatureKind = 2
	sizeAt, rootAt  = 2, 10
)

func newSealCheck(g *group, policy *tlog.Policy) *sealCheck {
	return &sealCheck{g: g, policy: policy, roots: map[uint64]merkle.Hash{}, signed: map[uint64]uint64{}, notes: map[string]bool{}}
}

func (s *sealCheck) root(node, size uint64, root merkle.Hash) {
	if have, ok := s.roots[size]; ok && have != root {
		s.g.fail("seal", size, "node %d signs root %s for size %d, which was signed with root %s", node, root, size, have)
		return
	}
	s.roots[size] = root
}

// sent looks at a message between sealers.
func (s *sealCheck) sent(from uint64, payload []byte) {
	if len(payload) < rootAt+merkle.HashSize || payload[1] != cosignatureKind {
		return
	}
	s.g.w.stats.Cosignatures++
	size := binary.BigEndian.Uint64(payload[sizeAt:])
	if size < s.signed[from] {
		s.g.fail("seal", size, "node %d cosigns size %d after size %d", from, size, s.signed[from])
	}
	s.signed[from] = size
	s.root(from, size, merkle.Hash(payload[rootAt:rootAt+merkle.HashSize]))
}

// sealed looks at a checkpoint that a node holds for sealed.
func (s *sealCheck) sealed(m *member, c *ledger.Sealed) {
	node := m.n.id
	s.root(node, c.Size, c.Root)
	if s.notes[string(c.Note)] {
		return
	}
	s.notes[string(c.Note)] = true
	s.g.w.stats.Seals++
	in, err := m.ledger.PolicyAt(c.Size)
	if err == nil {
		err = in.Verify(originOf(s.g.id), c.Note)
	}
	if err != nil {
		s.g.fail("seal", c.Size, "node %d seals size %d, but a verifier says: %v", node, c.Size, err)
	} else if cp, _, _ := tlog.ParseCheckpoint(c.Note); cp.Size != c.Size || cp.Root != c.Root {
		s.g.fail("seal", c.Size, "node %d seals size %d with a note about size %d", node, c.Size, cp.Size)
	}
}

// problem judges what a sealer complains about. On nodes whose store is damaged
// it may miss what it wants to sign.
func (s *sealCheck) problem(n *node, err error) {
	if errors.Is(err, seal.ErrForged) || errors.Is(err, seal.ErrRootMismatch) || errors.Is(err, seal.ErrContradiction) || !n.damaged() {
		s.g.fail("seal", 0, "node %d: %v", n.id, err)
	}
}
