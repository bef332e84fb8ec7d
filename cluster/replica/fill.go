package replica

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/raftnode"
)

// fillNote is the slot of the Raft log that says how far a replica may be ahead of it.
const fillNote = 2

// fillStep is how many bytes of blocks a replica takes from its peers between two notes, by default.
const fillStep = 64 << 20

// filler brings a replica to the position of a raftnode.Snapshot with blocks of its peers, when the
// Raft log will not bring them any more. Its shell does what NextFill asks for and hands in what
// came of it, one thing at a time.
//
// # Order of what becomes durable
//
//  1. The note: the ledger may now hold blocks up to the target that the Raft log has no trace of. A
//     start without the note would take that for a Raft log that was cut (ErrRaftLogLost).
//  2. The blocks, in the order of the ledger. Every batch is proved before it is applied: it leads to
//     the root that the snapshot says the ledger has at the target, and that root is the one of a
//     checkpoint that a quorum has cosigned, as far as there is one.
//  3. Now and then the store, and then the note again, with the position that is durable: a start
//     opens the ledger there, and the filler goes on there.
//  4. The store, at the target. Only then the Raft log drops what it holds (raftnode.Snapshot).
//
// A crash at any point leaves the Raft log, with its term, vote and entries, as it was. What the
// ledger holds beyond the log is committed. The replica acknowledges none of it before the fourth
// step: what it says to a leader is what Raft's own log holds.
type filler struct {
	// target is set by Fill and cleared by the shell's calls.
	target atomic.Pointer[fillTarget]

	// The rest belongs to the shell's calls.
	step  int // bytes of blocks between two notes
	turn  int // whose turn it is, in fillTarget.peers
	bytes int // applied since the newest note
	// received counts the bytes of blocks that were applied, for metrics.
	received atomic.Uint64
}

// fillTarget is a position on the way to which the replica is.
type fillTarget struct {
	raftnode.Snapshot
	at    ledger.Summary
	peers []uint64

	// noted: the note is durable. asked: NextFill has asked for it.
	noted atomic.Bool
	asked bool
	// own: the target is the mark of the own log, in a rebuild. done: it is reached, and the note that
	// says so is on its way.
	own, done bool
	// endorsed: a sealed checkpoint was compared, or every peer has said that there is none.
	endorsed bool
	// checkpoint is the newest one that was verified.
	checkpoint *ledger.Sealed
	// later are checkpoints that go with the target and that the policies which the ledger knows do
	// not accept: those in force at their sizes judge them at the end.
	later []*ledger.Sealed
	// heard and tried count the peers that have answered about their checkpoint, and those that were
	// asked; failures those that were asked in vain since the last block.
	heard, tried, failures int
}

// FillAsk is what the filler wants of a peer: its sealed checkpoint and the proof between Size and
// the checkpoint's size; or records of blocks from entry First on, with proofs to Size.
//
// With Log it is none of a peer: the shell calls FillFromLog.
type FillAsk struct {
	Peer   uint64
	Sealed bool
	First  uint64
	Size   uint64
	Log    bool
}

// Filling says how far the filler is; the zero value when the replica is not being filled.
type Filling struct {
	Index    uint64 // Raft index of the target
	Size     uint64 // size of the ledger there
	Have     uint64 // size of the ledger now
	Received uint64 // bytes of blocks since the start of the process
}

// Filling says how far the filler is.
func (r *Replica) Filling() Filling {
	f := Filling{Received: r.filler.received.Load()}
	if t := r.filler.target.Load(); t != nil {
		f.Index, f.Size, f.Have = t.Index, t.at.Size, r.ledger.Head().Size
	}
	return f
}

// Fill implements raftnode.Machine.
func (r *Replica) Fill(s raftnode.Snapshot) {
	if r.rebuilding.Load() { // one thing at a time; the leader sends it again
		r.raft.Filled(s.Index, false)
		return
	}
	at, err := ledger.ParseSummary(s.Data)
	if err == nil && (at.RaftIndex != s.Index || at.RaftTerm != s.Term || at.Size == 0) {
		err = errors.Newf("it is that of raft index %d of term %d and size %d", at.RaftIndex, at.RaftTerm, at.Size)
	}
	if err != nil {
		r.shell.FillProblem(s.From, errors.Wrapf(err, "the leader's position at raft index %d of term %d", s.Index, s.Term))
		r.raft.Filled(s.Index, false)
		return
	}
	t := &fillTarget{Snapshot: s, at: at}
	for _, id := range s.Members {
		if id != r.self {
			t.peers = append(t.peers, id)
		}
	}
	r.filler.target.Store(t)
	r.shell.WakeFiller()
}

// NextFill says what to ask of which peer now; false when there is nothing to ask until the next
// wake. It may wait for the disk.
func (r *Replica) NextFill() (ask FillAsk, ok bool) {
	f := &r.filler
	t := f.target.Load()
	switch {
	case t == nil:
		return ask, false
	case t.own:
		return r.nextRebuild(t)
	case !t.noted.Load():
		if !t.asked {
			t.asked = true
			start, _ := r.startOf()
			r.note(t, start, func(err error) {
				if err == nil {
					t.noted.Store(true)
				}
				r.shell.WakeFiller() // after an error the group has ended
			})
		}
		return ask, false
	}
	peer := t.peers[f.turn%len(t.peers)]
	head := r.ledger.Head()
	switch {
	case !t.endorsed:
		return FillAsk{Peer: peer, Sealed: true, Size: t.at.Size}, true
	case head.Size < t.at.Size:
		return FillAsk{Peer: peer, First: head.Size, Size: t.at.Size}, true
	}
	r.arrive(t)
	return ask, false
}

// targetOf returns the target that an ask was about, nil when it is not that any more.
func (r *Replica) targetOf(ask FillAsk) *fillTarget {
	if t := r.filler.target.Load(); t != nil && t.at.Size == ask.Size {
		return t
	}
	return nil
}

// FillSealed hands in a peer's answer about its checkpoint: a note, nil when it has none, and the
// consistency proof between the size that was asked about and that of the note.
func (r *Replica) FillSealed(ask FillAsk, note []byte, proof []merkle.Hash, err error) {
	t := r.targetOf(ask)
	if t == nil {
		return
	}
	if err == nil && note != nil {
		err = r.endorse(t, note, proof)
	}
	r.filler.turn++
	t.tried++
	if err != nil {
		r.shell.FillProblem(ask.Peer, err)
	} else {
		t.heard++
	}
	if t.checkpoint != nil && t.checkpoint.Size >= t.at.Size {
		t.endorsed = true
		return
	}
	if t.tried < len(t.peers) {
		return
	}
	if t.own { // its root is this replica's own
		t.endorsed = true
		return
	}
	// All were asked. The ledger has no checkpoint, or none that reaches the target yet: what lies
	// behind the checkpoint is the leader's word, as every entry of its log is.
	t.endorsed = t.checkpoint != nil || len(t.later) > 0 || t.heard > 0 && r.ledger.Sealed() == nil
	if !t.endorsed {
		r.giveUp(t)
	}
}

// endorse compares the target with a sealed checkpoint.
func (r *Replica) endorse(t *fillTarget, note []byte, proof []merkle.Hash) error {
	v, _, err := tlog.ParseCheckpoint(note)
	if err != nil {
		return err
	}
	if v.Origin != r.ledger.Origin() {
		return errors.Newf("a checkpoint of the ledger %q", v.Origin)
	}
	have := r.ledger.Head().Size
	unverified := r.verify(min(v.Size, have), note)
	if unverified != nil && v.Size <= have {
		return unverified
	}
	if v.Size <= t.at.Size {
		err = merkle.VerifyConsistency(v.Size, t.at.Size, proof, v.Root, t.at.Root)
	} else {
		err = merkle.VerifyConsistency(t.at.Size, v.Size, proof, t.at.Root, v.Root)
	}
	if err != nil {
		return errors.Wrapf(err, "the leader's position of size %d does not go with the sealed checkpoint of size %d", t.at.Size, v.Size)
	}
	c := &ledger.Sealed{Size: v.Size, Root: v.Root, Note: note}
	switch {
	case unverified != nil: // perhaps by keys that the missing entries name
		t.later = append(t.later, c)
	case t.checkpoint == nil || v.Size > t.checkpoint.Size:
		t.checkpoint = c
	}
	return nil
}

// verify verifies the signatures of a checkpoint with the policies in force at a size that the ledger
// has, or with those of the genesis.
func (r *Replica) verify(size uint64, note []byte) error {
	in, err := r.ledger.PolicyAt(size)
	if err == nil {
		return in.Verify(r.ledger.Origin(), note)
	}
	if size > 0 || r.policy == nil {
		return err
	}
	_, err = r.policy.Verify(note)
	return err
}

// FillBlocks hands in a part of a peer's answer: consecutive records and the consistency proof from
// the size after them to that of the ask. After an error the rest of the answer is of no use.
func (r *Replica) FillBlocks(ask FillAsk, records []*ledger.BlockRecord, proof []merkle.Hash) error {
	f := &r.filler
	t := r.targetOf(ask)
	if t == nil {
		return errors.New("the position was reached, or given up")
	}
	r.applying.Lock()
	defer r.applying.Unlock()
	head := r.ledger.Head()
	for len(records) > 0 && records[0].End() <= head.Size {
		records = records[1:] // the Raft log has brought it meanwhile
	}
	if len(records) == 0 {
		return nil
	}
	if err := r.ledger.ApplyRecords(records, proof, ledger.Anchor{Size: t.at.Size, Root: t.at.Root}, t.Index); err != nil {
		if !errors.Is(err, ledger.ErrUnproved) {
			r.shell.Halt(errors.Wrap(err, "apply blocks of another replica"), nil)
		}
		return err
	}
	if err := r.membersApplied(); err != nil {
		r.shell.Halt(err, nil)
		return err
	}
	t.failures = 0
	for _, rec := range records {
		f.bytes += len(rec.Encoded)
		f.received.Add(uint64(len(rec.Encoded)))
	}
	if r.mail.applied(r.ledger.Head()) {
		r.shell.WakeSealer()
	}
	if f.bytes >= f.step {
		s, err := r.ledger.MakeDurable()
		if err != nil {
			r.shell.Halt(err, nil)
			return err
		}
		f.bytes = 0
		// The former note is as good, only older.
		if t.own {
			r.raft.AppendNote(rebuildNote, rebuildAt(s), func(error) {})
		} else {
			r.note(t, s, func(error) {})
		}
	}
	return nil
}

// FillEnd says that an answer about blocks has ended, with an error if there was one.
func (r *Replica) FillEnd(ask FillAsk, err error) {
	f := &r.filler
	t := r.targetOf(ask)
	if t == nil {
		return
	}
	if err == nil && r.ledger.Head().Size > ask.First {
		return // as far as the peer goes, and its turn again
	}
	if err != nil {
		r.shell.FillProblem(ask.Peer, err)
	}
	f.turn++
	if t.failures++; t.failures >= 2*len(t.peers) {
		r.giveUp(t)
	}
}

// giveUp waits for the leader's next snapshot.
func (r *Replica) giveUp(t *fillTarget) {
	if t.own { // there is no other way: the peers are asked for ever
		t.failures = 0
		return
	}
	r.filler.target.Store(nil)
	r.raft.Filled(t.Index, false)
}

// arrive ends the filling: the ledger has the size of the target, or more.
func (r *Replica) arrive(t *fillTarget) {
	if err := r.settle(t); err != nil {
		r.shell.Halt(err, nil)
		return
	}
	r.filler.target.Store(nil)
	r.raft.Filled(t.Index, true)
}

// settle makes the ledger be at the target, durably.
func (r *Replica) settle(t *fillTarget) error {
	r.applying.Lock()
	defer r.applying.Unlock()
	// Blocks without effect behind the last record have left no trace.
	if r.ledger.Head().RaftIndex < t.Index {
		if _, err := r.ledger.ApplyMany([]ledger.Committed{{RaftIndex: t.Index, RaftTerm: t.Term}}); err != nil {
			return errors.Wrapf(err, "move to raft index %d", t.Index)
		}
	}
	head := r.ledger.Head()
	root, err := r.ledger.RootAt(t.at.Size)
	if err != nil {
		return errors.Wrap(err, "compare the position with the leader's")
	}
	if root != t.at.Root || head.RaftIndex == t.Index && (head.Size != t.at.Size || head.Time != t.at.Time) {
		reason := "the leader has another ledger at this position"
		if t.own {
			reason = "the rebuilt store ends with another state than the Raft log's mark says"
		}
		return &ledger.DivergenceError{RaftIndex: t.Index, Size: t.at.Size, Want: t.at.Root, Got: root, Reason: reason}
	}
	for _, c := range append(t.later, t.checkpoint) {
		if c == nil || c.Size > head.Size || r.verify(c.Size, c.Note) != nil {
			continue
		}
		if err := r.ledger.SetSealed(c); err != nil {
			return errors.Wrapf(err, "store sealed checkpoint of size %d", c.Size)
		}
	}
	_, err = r.ledger.MakeDurable()
	r.filler.bytes = 0
	return err
}

// note writes that the ledger may be ahead of the Raft log up to the target, and that a start may
// open it at a position.
func (r *Replica) note(t *fillTarget, start ledger.Summary, done func(error)) {
	b := binary.BigEndian.AppendUint64([]byte{fillVersion}, t.Index)
	if start != (ledger.Summary{}) {
		b = append(b, start.Marshal()...)
	}
	r.raft.AppendNote(fillNote, b, done)
}

const fillVersion = 1

// parseFillNote returns up to which raft index a ledger may be ahead of its log, and where it may be
// opened. No bytes are the zero values.
func parseFillNote(b []byte) (upTo uint64, start ledger.Summary, err error) {
	if len(b) == 0 {
		return 0, start, nil
	}
	if len(b) < 9 || b[0] != fillVersion {
		return 0, start, errors.Newf("the note of a filling has %d bytes and version %d", len(b), b[0])
	}
	start, err = ledger.ParseSummary(b[9:])
	return binary.BigEndian.Uint64(b[1:]), start, err
}

// startOf returns where a start would open the ledger now.
func (r *Replica) startOf() (ledger.Summary, error) { return startOf(r.log) }
