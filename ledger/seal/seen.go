package seal

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// seenState is what this replica knows of the other voters' cosignatures, and what it has shown
// them.
//
// Why the newest checkpoints suffice. A replica only appends, so everything that it ever cosigned
// is a prefix of its newest cosigned checkpoint. When two replicas show each other their newest
// ones, the replica with the larger tree computes its own root for the smaller checkpoint. Equal
// roots: the one tree is a prefix of the other, and so is every earlier checkpoint. Other roots:
// the two contradict.
type seenState struct {
	// newest is the largest checkpoint with a valid cosignature, by voter.
	newest map[uint64]*signedNote
	// against are the voters that cosigned a root that this replica's tree does not have. A
	// majority of them stops this replica.
	against map[uint64]bool
	// twofaced are the voters that cosigned two roots for one size.
	twofaced map[uint64]bool
	// pending are checkpoints of sizes that are not applied yet, the largest for each sender.
	pending map[pendingKey]pendingNote
	// shown is what each voter was shown last.
	shown map[uint64]exhibit
}

// A sealed note has a slot of its own: an unsealed one that is larger must not displace it.
type pendingKey struct {
	from   uint64
	sealed bool
}

type pendingNote struct {
	note *signedNote
	ack  bool // the sender waits for an acknowledgement
}

// exhibit is what a voter was shown: the sizes of a sealed and of a cosigned checkpoint, and when.
type exhibit struct {
	sealed, cosigned *signedNote
	at               time.Time
}

func (s *seenState) init() {
	s.newest = map[uint64]*signedNote{}
	s.against = map[uint64]bool{}
	s.twofaced = map[uint64]bool{}
	s.pending = map[pendingKey]pendingNote{}
	s.shown = map[uint64]exhibit{}
}

// distrusts reports whether a voter's key has signed two histories, or another one than this
// replica's. Its later signatures do not count here.
func (s *seenState) distrusts(id uint64) bool { return s.against[id] || s.twofaced[id] }

// signedNote is a checkpoint with cosignatures that verified, by voter.
type signedNote struct {
	cp     tlog.Checkpoint
	sigs   map[uint64]lines
	sealed bool   // the log's line and a quorum of cosignatures are there
	raw    []byte // as it came; nil for what was put together here
}

// note returns the signed note.
func (n *signedNote) note() []byte {
	if n.raw != nil {
		return n.raw
	}
	note := tlog.Note{Text: n.cp.Text()}
	for _, id := range slices.Sorted(maps.Keys(n.sigs)) {
		note.Signatures = append(note.Signatures, n.sigs[id]...)
	}
	return note.Marshal()
}

// verifyNote verifies every line of a note by a voter's key or the log's. One line that does not
// verify makes the note worthless.
func (s *Sealer) verifyNote(raw []byte) (*signedNote, error) {
	cp, parsed, err := tlog.ParseCheckpoint(raw)
	if err != nil {
		return nil, err
	}
	if cp.Origin != s.cfg.Origin || cp.Size == 0 {
		return nil, errors.Newf("a checkpoint of size %d of %q", cp.Size, cp.Origin)
	}
	n := &signedNote{cp: cp, sigs: map[uint64]lines{}, raw: raw}
	rule, known := s.ruleAt(cp.Size)
	verify := func(to *lines, key *tlog.VerifierKey, sig tlog.Signature) error {
		if !key.Signed(sig) {
			return nil
		}
		_, err := key.VerifyCheckpoint(cp, sig)
		if err == nil && !to.by(key) {
			*to = append(*to, sig)
		}
		return err
	}
	var log lines
	for _, sig := range parsed.Signatures {
		for _, side := range rule.sides {
			for _, key := range side.logs {
				if err := verify(&log, key, sig); err != nil {
					return nil, err
				}
			}
		}
		for id, keys := range rule.keys {
			for _, key := range keys {
				own := n.sigs[id]
				if err := verify(&own, key, sig); err != nil {
					return nil, err
				}
				if len(own) > 0 {
					n.sigs[id] = own
				}
			}
		}
	}
	n.sealed = rule.logged(log) && rule.cosigned(n.sigs)
	switch {
	case !known:
		return n, errEarly
	case len(n.sigs) == 0:
		return nil, errors.New("no voter's cosignature")
	}
	return n, nil
}

// errEarly says that entries which are not applied yet may say that other keys count for a note than
// those that are known.
var errEarly = errors.New("whose keys count for this size is not known yet")

// receiveNote takes a checkpoint that another node sealed (kindSealed, which wants an
// acknowledgement) or cosigned (kindShown).
func (s *Sealer) receiveNote(from uint64, m message) {
	ack := m.kind == kindSealed
	if s.newest != nil && bytes.Equal(m.data, s.newest.Note) {
		if ack {
			s.send(from, message{kind: kindAck, size: s.newest.Size})
		}
		return
	}
	n, err := s.verifyNote(m.data)
	early := errors.Is(err, errEarly)
	switch {
	case early:
		// What is certain of it, valid cosignatures, is observed now, and whether it is sealed is
		// judged when its size is applied.
		if s.later(from, n.cp.Size, n.sealed, m); len(n.sigs) == 0 {
			return
		}
		err, n.sealed = nil, false
	case err == nil && ack && !n.sealed:
		err = errors.Newf("cosignatures of %d voters and the log's lines do not reach the quorum", len(n.sigs))
	}
	if err != nil {
		s.problem(errors.Wrapf(ErrForged, "checkpoint from node %d: %v", from, err))
		return
	}
	var proof *message
	if m.size > 0 {
		proof = &m
	}
	if !s.observe(from, n, proof) || early {
		return
	}
	if n.cp.Size > s.applied {
		key := pendingKey{from, n.sealed}
		if p, ok := s.seen.pending[key]; !ok || p.note.cp.Size < n.cp.Size {
			s.seen.pending[key] = pendingNote{n, ack}
		}
		return
	}
	s.adopt(from, n, ack)
}

// applyPending judges the checkpoints whose size is applied by now, smaller ones first.
func (s *Sealer) applyPending() {
	keys := slices.Collect(maps.Keys(s.seen.pending))
	slices.SortFunc(keys, func(a, b pendingKey) int {
		if d := int64(s.seen.pending[a].note.cp.Size) - int64(s.seen.pending[b].note.cp.Size); d != 0 {
			return int(min(max(d, -1), 1))
		}
		return int(int64(a.from) - int64(b.from))
	})
	for _, key := range keys {
		if p := s.seen.pending[key]; p.note.cp.Size <= s.applied {
			delete(s.seen.pending, key)
			if s.compare(key.from, p.note, nil) {
				s.adopt(key.from, p.note, p.ack)
			}
		}
	}
}

// adopt takes over a sealed checkpoint that agrees with this replica's tree.
func (s *Sealer) adopt(from uint64, n *signedNote, ack bool) {
	if !n.sealed {
		return
	}
	if n.cp.Size > s.newestSize() {
		s.newest = &ledger.Sealed{Size: n.cp.Size, Root: n.cp.Root, Note: n.note()}
		s.emit(Sealed{s.newest})
	}
	if ack {
		s.send(from, message{kind: kindAck, size: n.cp.Size})
	}
}

// observe takes note of verified cosignatures, wherever they come from. It returns false when the
// checkpoint contradicts what this replica knows, or the replica has to stop.
func (s *Sealer) observe(from uint64, n *signedNote, proof *message) bool {
	if _, own := n.sigs[s.cfg.Self]; own && s.forgot(n.cp) {
		s.halt(Restored{Size: n.cp.Size, Root: n.cp.Root, Promised: s.replica.durable.size})
		return false
	}
	for _, id := range slices.Sorted(maps.Keys(n.sigs)) {
		prior := s.seen.newest[id]
		if prior != nil && prior.cp.Size == n.cp.Size && prior.cp.Root != n.cp.Root && id != s.cfg.Self {
			s.equivocated(id, prior, n)
		}
		if prior == nil || prior.cp.Size < n.cp.Size {
			s.seen.newest[id] = n
		}
	}
	return s.compare(from, n, proof)
}

// forgot reports whether this node's own valid signature on a checkpoint is one that it has no
// memory of.
func (s *Sealer) forgot(cp tlog.Checkpoint) bool {
	d := s.replica.durable
	return cp.Size > d.size || cp.Size == d.size && cp.Root != d.root
}

// compare compares a checkpoint with this replica's tree, as far as this replica has applied it. A
// larger checkpoint can come with a proof of the root that its tree has at an applied size.
func (s *Sealer) compare(from uint64, n *signedNote, proof *message) bool {
	size, theirs := n.cp.Size, n.cp.Root
	if size > s.applied {
		if proof == nil || proof.size > s.applied || proof.size > size {
			return true // judged when it is applied
		}
		if err := merkle.VerifyConsistency(proof.size, size, proof.proof, proof.root, theirs); err != nil {
			s.problem(errors.Wrapf(ErrForged, "checkpoint from node %d: %v", from, err))
			return false
		}
		size, theirs = proof.size, proof.root
	}
	ours, err := s.rootAt(size)
	if err != nil {
		s.problem(errors.Wrapf(err, "check size %d", size))
		return false
	}
	if ours == theirs {
		return true
	}
	s.contradicted(from, n, Contradiction{Size: size, Ours: ours, Theirs: theirs}, proof)
	return false
}

// rootAt returns the root that this replica computed.
func (s *Sealer) rootAt(size uint64) (merkle.Hash, error) {
	if r := s.leader.round; r != nil && r.size == size {
		return r.root, nil
	}
	return s.cfg.RootAt(size)
}

// contradicted counts the voters whose cosignatures are on another tree than this replica's. One
// voter, or fewer than a majority, stops nobody: a stolen key must not end the cluster. A majority
// of keys, as on every sealed checkpoint, does.
func (s *Sealer) contradicted(from uint64, n *signedNote, c Contradiction, proof *message) {
	for _, id := range slices.Sorted(maps.Keys(n.sigs)) {
		if !s.seen.against[id] {
			s.seen.against[id] = true
			c.By = append(c.By, n.sigs[id][0].Name)
		}
	}
	if len(c.By) == 0 {
		return // these keys are known, and so is the evidence
	}
	c.Evidence = s.evidence(from, n, proof)
	_, own := n.sigs[s.cfg.Self]
	switch {
	case len(s.seen.against) >= s.majority():
		s.halt(Outvoted{Size: c.Size, Ours: c.Ours, Theirs: c.Theirs, Evidence: c.Evidence})
	case own:
		s.halt(Restored{Size: n.cp.Size, Root: n.cp.Root, Promised: s.replica.durable.size})
	default:
		s.emit(c)
	}
}

// evidence puts the other side's note and one of this replica's together, and shows the latter to
// the sender, who may be too small to see the contradiction without the proof in it. It returns nil
// when this replica has signed and sealed nothing that is large enough.
func (s *Sealer) evidence(from uint64, n *signedNote, proof *message) *tlog.Contradiction {
	if n.cp.Size > s.applied { // the sender proves the root at the size of what it was shown
		shown := s.seen.shown[from]
		for _, mine := range []*signedNote{shown.sealed, shown.cosigned, s.sealedNote(), s.replica.cosigned} {
			if mine != nil && mine.cp.Size == proof.size {
				return &tlog.Contradiction{Smaller: mine.note(), Larger: n.note(), Root: proof.root, Proof: proof.proof}
			}
		}
		return nil
	}
	for _, mine := range []*signedNote{s.sealedNote(), s.replica.cosigned} {
		if mine == nil || mine.cp.Size < n.cp.Size {
			continue
		}
		root, err := s.rootAt(n.cp.Size)
		var hashes []merkle.Hash
		if err == nil {
			hashes, err = s.cfg.ConsistencyProof(n.cp.Size, mine.cp.Size)
		}
		if err != nil {
			s.problem(errors.Wrapf(err, "prove size %d in size %d", n.cp.Size, mine.cp.Size))
			return nil
		}
		reply, to := message{kind: kindShown, size: n.cp.Size, root: root, proof: hashes, data: mine.note()}, []uint64{from}
		if len(s.seen.against) >= s.majority() {
			to = s.otherVoters() // this replica stops and shows nothing later
		}
		for _, id := range to {
			s.send(id, reply)
		}
		return &tlog.Contradiction{Smaller: n.note(), Larger: mine.note(), Root: root, Proof: hashes}
	}
	return nil
}

// equivocated records that a voter's key signed two roots for one size.
func (s *Sealer) equivocated(id uint64, a, b *signedNote) {
	if s.seen.distrusts(id) {
		return
	}
	s.seen.twofaced[id] = true
	s.emit(Contradiction{
		By: []string{a.sigs[id][0].Name}, Size: a.cp.Size, Ours: a.cp.Root, Theirs: b.cp.Root,
		Evidence: &tlog.Contradiction{Smaller: a.note(), Larger: b.note(), Root: b.cp.Root},
	})
}

// sealedNote returns the newest sealed checkpoint, nil when there is none.
func (s *Sealer) sealedNote() *signedNote {
	if s.newest == nil {
		return nil
	}
	return &signedNote{cp: s.checkpoint(s.newest.Size, s.newest.Root), sealed: true, raw: s.newest.Note}
}

// show shows the other voters what this one has sealed and cosigned: whenever something is new, at
// most once in Config.Show to each, and at once when a voter connects.
func (s *Sealer) show() {
	if s.cfg.Voters[s.cfg.Self] == nil {
		return
	}
	for _, id := range s.otherVoters() {
		last := s.seen.shown[id]
		if !s.hasNews(last) || !last.at.IsZero() && s.since(last.at) < s.cfg.Show {
			continue
		}
		sealed, cosigned := s.sealedNote(), s.replica.cosigned
		if sealed != nil && sealed.cp.Size > size(last.sealed) && !s.leader.is { // a leader offers it
			s.send(id, message{kind: kindShown, data: sealed.note()})
		}
		if cosigned != nil && cosigned.cp.Size > max(size(last.cosigned), size(sealed)) {
			s.send(id, message{kind: kindShown, data: cosigned.note()})
		}
		s.seen.shown[id] = exhibit{sealed, cosigned, s.now}
	}
}

// hasNews reports whether there is something larger than what was shown.
func (s *Sealer) hasNews(last exhibit) bool {
	return s.newestSize() > size(last.sealed) && !s.leader.is ||
		size(s.replica.cosigned) > max(size(last.cosigned), s.newestSize())
}

func size(n *signedNote) uint64 {
	if n == nil {
		return 0
	}
	return n.cp.Size
}

// peerUp shows a voter that has connected everything anew, its own newest cosignature included: a
// voter that was restored from an older copy does not know that one.
func (s *Sealer) peerUp(id uint64) {
	delete(s.leader.acked, id)
	delete(s.leader.offered, id)
	delete(s.seen.shown, id)
	if n := s.seen.newest[id]; n != nil && s.cfg.Voters[id] != nil && id != s.cfg.Self {
		s.send(id, message{kind: kindShown, data: n.note()})
	}
}

// showDeadlines reports to earlier when something is to be shown.
func (s *Sealer) showDeadlines(earlier func(time.Time)) {
	if s.cfg.Voters[s.cfg.Self] == nil {
		return
	}
	for _, id := range s.otherVoters() {
		if last := s.seen.shown[id]; s.hasNews(last) {
			earlier(last.at.Add(s.cfg.Show))
		}
	}
}

// recall takes what the newest stored checkpoint says about the voters, and checks it against the
// promise of this node: the Raft log, which has the promise, and the ledger must be equally old.
func (s *Sealer) recall() error {
	if s.newest == nil {
		return nil
	}
	n, err := s.verifyNote(s.newest.Note)
	if err != nil {
		return nil // sealed by earlier members
	}
	for id := range n.sigs {
		s.seen.newest[id] = n
	}
	if _, own := n.sigs[s.cfg.Self]; own && s.forgot(n.cp) {
		return Restored{Size: n.cp.Size, Root: n.cp.Root, Promised: s.replica.durable.size}.Err()
	}
	return nil
}

// halt emits the last effect: the node stops, and this Sealer signs nothing any more.
func (s *Sealer) halt(e Effect) {
	s.emit(e)
	s.halted = true
}

// Err describes the contradiction.
func (c Contradiction) Err() error {
	return errors.Wrapf(ErrContradiction, "%s cosigned root %s for size %d, against root %s",
		fmt.Sprint(c.By), c.Theirs, c.Size, c.Ours)
}
