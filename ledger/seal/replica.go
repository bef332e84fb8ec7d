package seal

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// signed is the largest size that this node has promised to sign, with its root.
type signed struct {
	size uint64
	root merkle.Hash
}

// replicaState is a voter's part.
type replicaState struct {
	// durable is on disk: signatures for it may leave. Invariant: durable.size <= promised.size.
	durable signed
	// promised is what is being written. Nothing smaller is signed any more, and no other root for its size.
	promised signed
	token    uint64 // of the newest Persist
	// waiting is answered when promised becomes durable; nil when nothing is being written.
	waiting *request
	// request is the newest one that could not be answered yet: the size is not applied, or something is being written.
	request *request
}

// request is somebody's wish for a cosignature, possibly our own.
type request struct {
	from uint64
	size uint64
	root merkle.Hash
}

// answerRequest answers the newest request when that is possible by now.
func (s *Sealer) answerRequest() {
	r := s.replica.request
	if r == nil || r.size > s.applied || s.replica.waiting != nil {
		return
	}
	s.replica.request = nil
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
		s.replica.waiting = r
		s.replica.token++
		s.emit(Persist{Token: s.replica.token, Data: s.replica.promised.marshal()})
	case root != p.root:
		// We signed another root for this size in an earlier life: our own past is wrong, or the disk is.
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
	s.answerRequest()
}

// cosign signs what is durable and hands it to whoever asked.
func (s *Sealer) cosign(r *request) {
	if d := s.replica.durable; d.size != r.size || d.root != r.root {
		panic("seal: about to sign what is not durable")
	}
	sig, err := s.cfg.NodeCosigner.Cosign(s.checkpoint(r.size, r.root), s.timestamp())
	if err != nil {
		s.problem(errors.Wrapf(err, "cosign size %d", r.size))
		return
	}
	if r.from == s.cfg.Self {
		s.countOwn(r, sig)
		return
	}
	s.send(r.from, message{kind: kindCosignature, size: r.size, root: r.root, keyID: sig.KeyID, data: sig.Data})
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

// receiveSealed verifies a sealed checkpoint from the leader.
func (s *Sealer) receiveSealed(from uint64, m message) {
	cp, _, err := tlog.ParseCheckpoint(m.data)
	if err != nil {
		s.problem(errors.Wrapf(ErrForged, "sealed checkpoint from node %d: %v", from, err))
		return
	}
	if cp.Size <= s.newestSize() {
		s.send(from, message{kind: kindAck, size: cp.Size})
		return
	}
	if p := s.pending; p != nil && cp.Size <= p.checkpoint.Size {
		return
	}
	if s.policy == nil {
		return
	}
	if _, err := s.policy.Verify(m.data); err != nil {
		s.problem(errors.Wrapf(ErrForged, "sealed checkpoint from node %d: %v", from, err))
		return
	}
	s.pending = &pendingSealed{from, &ledger.Sealed{Size: cp.Size, Root: cp.Root, Note: m.data}}
	if cp.Size > s.applied {
		if len(s.verified) == maxVerified {
			s.verified = slices.Delete(s.verified, 0, 1)
		}
		s.verified = append(s.verified, signed{cp.Size, cp.Root})
		s.checkContradicted()
	}
	s.adoptPending()
}

// maxVerified bounds the checkpoints that are kept for checkContradicted: enough that the one which a block names is
// still there when the block has been committed.
const maxVerified = 64

// checkContradicted stops a replica that contradicts a checkpoint which a majority has signed. The blocks that name the
// checkpoint have no effect on this replica, so it would never reach the checkpoint's size and compare roots there. A
// false anchor of a lying proposer stops nobody: no majority has signed it.
func (s *Sealer) checkContradicted() {
	c := s.contradicted
	if c.size == 0 || !slices.Contains(s.verified, c) {
		return
	}
	ours, err := s.cfg.RootAt(c.size)
	if err != nil {
		ours = merkle.Hash{} // the size is beyond this replica's ledger
	}
	s.contradicted = signed{}
	s.emit(Outvoted{Size: c.size, Ours: ours, Theirs: c.root})
}

// adoptPending takes over a verified checkpoint once its size is applied.
func (s *Sealer) adoptPending() {
	p := s.pending
	if p == nil || p.checkpoint.Size > s.applied {
		return
	}
	s.pending = nil
	if p.checkpoint.Size <= s.newestSize() {
		return
	}
	root, err := s.cfg.RootAt(p.checkpoint.Size)
	if err != nil {
		s.problem(errors.Wrapf(err, "check sealed size %d", p.checkpoint.Size))
		return
	}
	if root != p.checkpoint.Root {
		s.emit(Outvoted{Size: p.checkpoint.Size, Ours: root, Theirs: p.checkpoint.Root})
		return
	}
	s.newest = p.checkpoint
	s.emit(Sealed{p.checkpoint})
	s.send(p.from, message{kind: kindAck, size: p.checkpoint.Size})
}

const (
	stateVersion = 1
	stateSize    = 1 + 8 + merkle.HashSize + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// marshal returns the durable state: version, size, root, CRC-32C.
func (p signed) marshal() []byte {
	b := append(make([]byte, 0, stateSize), stateVersion)
	b = binary.BigEndian.AppendUint64(b, p.size)
	b = append(b, p.root[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseState(b []byte) (signed, error) {
	if len(b) == 0 {
		return signed{}, nil
	}
	if len(b) != stateSize || b[0] != stateVersion {
		return signed{}, errors.Newf("parse sealing state: %d bytes of version %d, want %d of version %d", len(b), b[0], stateSize, stateVersion)
	}
	if crc32.Checksum(b[:stateSize-4], castagnoli) != binary.BigEndian.Uint32(b[stateSize-4:]) {
		return signed{}, errors.New("parse sealing state: checksum mismatch")
	}
	p := signed{size: binary.BigEndian.Uint64(b[1:])}
	copy(p.root[:], b[9:])
	return p, nil
}
