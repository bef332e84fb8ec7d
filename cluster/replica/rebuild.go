package replica

import (
	"github.com/cockroachdb/errors"
	"go.etcd.io/raft/v3"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// A node whose store is lost or damaged, and whose Raft log is whole, begins with an empty store. Its
// replicas bring their ledgers to the marks of the log (nextRebuild): from the entries that the log
// still holds, and with blocks of their peers.
//
// # Why such a replica may vote and acknowledge
//
// A member promises three things to Raft: its term, its vote, and that it holds the entries that it
// has acknowledged. All three are in the Raft log, and the log is whole. For the entries up to the
// mark the log itself holds the promise in another form: the mark's index and term. They count when
// the member compares its log with that of a candidate, so no candidate that lacks a committed entry
// gets this member's vote because the store is gone. What the member can not do is to give the blocks
// up to the mark to anybody. So it must not lead: Unfit says so until the rebuild has ended. It
// applies nothing either (raftnode.Config.Behind), so a read that waits for an applied index waits.
//
// The loss of the store is the loss of one copy of the blocks up to the mark, as with any lost disk.
// When all other copies are lost, too, no rebuild ends and nobody can lead who lacks them: the ledger
// stops, and nothing that was acknowledged is replaced by something else.
//
// # Whose word counts
//
// The mark carries size and root that this replica computed itself, under the log's checksum. Every
// block is proved to lead to that root before it is applied, and the root is compared again at the
// end. No peer's root is trusted, cosigned or not.
//
// # Order of what becomes durable
//
//  1. The notes of LoseStore, for all groups, in one commit. From then on a start opens the ledgers
//     where the notes say, and not at the marks.
//  2. The blocks, and now and then the store, and then the note with the position that is durable.
//  3. The store, at the mark. Only then the note goes. The mark stays where it is meanwhile, because
//     the ledger's durable position lies below it, so the log keeps every entry behind it.
const rebuildNote = 3

const rebuildVersion = 1

// ErrRebuilding says that the replica's store was lost and is being rebuilt.
var ErrRebuilding = errors.New("its store is being rebuilt")

// ErrNoSource says that a lost store cannot be rebuilt: the Raft log does not reach back to the
// ledger's beginning, and there is no other member.
var ErrNoSource = errors.New("nobody has the blocks that were lost")

// rebuildStep is how many bytes of the Raft log's entries are applied at once.
const rebuildStep = 4 << 20

func rebuildAt(s ledger.Summary) []byte {
	b := []byte{rebuildVersion}
	if s != (ledger.Summary{}) {
		b = append(b, s.Marshal()...)
	}
	return b
}

// parseRebuildNote returns where the ledger that is being rebuilt is durable.
func parseRebuildNote(b []byte) (at ledger.Summary, rebuilding bool, err error) {
	if len(b) == 0 {
		return at, false, nil
	}
	if b[0] != rebuildVersion {
		return at, false, errors.Newf("the note of a rebuild has version %d", b[0])
	}
	at, err = ledger.ParseSummary(b[1:])
	return at, true, errors.Wrap(err, "read the note of a rebuild")
}

// CanRebuild returns ErrNoSource, wrapped, when LoseStore would lose something for good.
func CanRebuild(log *wal.Log, self uint64) error {
	for _, id := range log.Groups() {
		g := log.Group(id)
		first, err := g.FirstIndex()
		if err != nil {
			return errors.Wrap(err, "read the Raft log's beginning")
		}
		peers, err := peersOf(g, self)
		if err != nil {
			return err
		}
		if mark := g.Mark(); mark.Index > 0 && first > genesisIndex && len(peers) == 0 {
			return errors.Wrapf(ErrNoSource, "the Raft log of group %d begins at index %d", id, first)
		}
	}
	return nil
}

// LoseStore tells the Raft log, durably, that the store of its ledgers is empty: the next Open of
// each begins a rebuild. The store must be empty by then.
func LoseStore(log *wal.Log) error {
	var notes []wal.Record
	for _, id := range log.Groups() {
		notes = append(notes, wal.Record{Group: id, Note: &wal.Note{Slot: fillNote}}) // no ledger is ahead of its log any more
		if log.Group(id).Mark().Index > 0 {
			notes = append(notes, wal.Record{Group: id, Note: &wal.Note{Slot: rebuildNote, Data: rebuildAt(ledger.Summary{})}})
		}
	}
	return errors.Wrap(log.Append(notes, true), "note in the Raft log that the store is empty")
}

// Unfinished says whether a rebuild has begun for a group of the log, and has not ended.
func Unfinished(log *wal.Log) bool {
	for _, id := range log.Groups() {
		if len(log.Group(id).Note(rebuildNote)) > 0 {
			return true
		}
	}
	return false
}

// peersOf returns the other members of a group.
func peersOf(g *wal.Group, self uint64) (peers []uint64, err error) {
	_, conf, err := g.InitialState()
	if err != nil {
		return nil, errors.Wrap(err, "read the Raft log's state")
	}
	for _, id := range append(conf.GetVoters(), conf.GetLearners()...) {
		if id != self {
			peers = append(peers, id)
		}
	}
	return peers, nil
}

// Rebuilding says whether the ledger has yet to reach the Raft log's mark, because the store was lost.
// The group's driver is made with raftnode.Config.Behind then.
func (r *Replica) Rebuilding() bool { return r.rebuilding.Load() }

// beginRebuild sets the filler's target when the log has the note of a rebuild.
func (r *Replica) beginRebuild() error {
	_, rebuilding, err := parseRebuildNote(r.log.Note(rebuildNote))
	if !rebuilding || err != nil {
		return err
	}
	mark := r.log.Mark()
	t := &fillTarget{Snapshot: raftnode.Snapshot{Index: mark.Index, Term: mark.Term}, own: true}
	if t.at, err = ledger.ParseSummary(mark.Meta); err != nil {
		return errors.Wrap(err, "read the Raft log's mark")
	}
	if t.peers, err = peersOf(r.log, r.self); err != nil {
		return err
	}
	r.filler.target.Store(t)
	r.rebuilding.Store(true)
	return nil
}

// nextRebuild is NextFill in a rebuild.
func (r *Replica) nextRebuild(t *fillTarget) (ask FillAsk, ok bool) {
	head := r.ledger.Head()
	first, err := r.log.FirstIndex()
	if err != nil {
		r.shell.Halt(errors.Wrap(err, "read the Raft log's beginning"), nil)
		return ask, false
	}
	switch {
	case t.done || r.ledger.Err() != nil:
		return ask, false
	case head.RaftIndex < t.Index && first <= head.RaftIndex+1:
		return FillAsk{Log: true, Size: t.at.Size}, true
	case head.Size < t.at.Size && len(t.peers) == 0:
		r.shell.Halt(errors.Wrapf(ErrNoSource, "the Raft log begins at index %d", first), nil)
		return ask, false
	case head.Size < t.at.Size:
		return FillAsk{Peer: t.peers[r.filler.turn%len(t.peers)], First: head.Size, Size: t.at.Size}, true
	case !t.endorsed && len(t.peers) > 0: // for the newest checkpoint, which the log has not
		return FillAsk{Peer: t.peers[r.filler.turn%len(t.peers)], Sealed: true, Size: t.at.Size}, true
	}
	if err := r.settle(t); err != nil {
		r.shell.Halt(err, nil)
		return ask, false
	}
	t.done = true
	r.raft.AppendNote(rebuildNote, nil, func(err error) {
		if err != nil {
			return // the group has ended
		}
		r.filler.target.Store(nil)
		r.rebuilding.Store(false)
		if err := r.initMembers(); err != nil {
			r.shell.Halt(err, nil)
			return
		}
		r.raft.Reached()
		if r.mail.applied(r.ledger.Head()) {
			r.shell.WakeSealer()
		}
	})
	return ask, false
}

// FillFromLog applies some of the entries that the own Raft log holds up to its mark.
func (r *Replica) FillFromLog(ask FillAsk) error {
	t := r.targetOf(ask)
	if t == nil || !t.own {
		return errors.New("the position was reached")
	}
	r.applying.Lock()
	defer r.applying.Unlock()
	entries, err := r.log.Entries(r.ledger.Head().RaftIndex+1, t.Index+1, rebuildStep)
	if errors.Is(err, raft.ErrCompacted) {
		return nil // dropped meanwhile: the peers have it
	}
	if err == nil {
		run := make([]ledger.Committed, len(entries))
		for i, e := range entries {
			run[i] = ledger.Committed{RaftIndex: e.GetIndex(), RaftTerm: e.GetTerm(), Block: raftnode.BlockOf(e)}
		}
		_, err = r.ledger.ApplyMany(run)
	}
	if err != nil {
		err = errors.Wrap(err, "apply entries of the Raft log to an empty store")
		r.shell.Halt(err, nil)
	}
	return err
}
