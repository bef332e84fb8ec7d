package replica

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/raftnode/wal"
)

// ErrRaftLogLost says that the ledger holds blocks that the Raft log has no trace of any more,
// although it is synced before a block is applied: the log was cut, deleted or replaced. The node
// may have forgotten votes and acknowledged entries, so it must not take part in Raft again.
var ErrRaftLogLost = errors.New("the Raft log has lost entries")

// Open opens the ledger that belongs to a group of the Raft log, at the group's newest mark. An
// error that is ErrRaftLogLost leaves the store open, as every other one does.
func Open(store ledger.Store, log *wal.Group, c ledger.Config) (*ledger.Ledger, error) {
	_, conf, err := log.InitialState()
	if err != nil {
		return nil, errors.Wrap(err, "read the Raft log's state")
	}
	if len(conf.GetVoters()) == 0 { // initialisation gave it some
		return nil, errors.Wrap(ErrRaftLogLost, "it is empty")
	}
	if c.Start, err = startOf(log); err != nil {
		return nil, err
	}
	filledTo, _, err := parseFillNote(log.Note(fillNote))
	if err != nil {
		return nil, err
	}
	l, err := ledger.Open(store, c)
	if err != nil {
		return nil, errors.Wrap(err, "open the ledger")
	}
	last, err := log.LastIndex()
	if err != nil {
		return nil, errors.Wrap(err, "read the Raft log's end")
	}
	if stored := l.StoredApplied(); stored > max(last, filledTo) {
		return nil, errors.Wrapf(ErrRaftLogLost, "it ends at raft index %d, the ledger holds %d", last, stored)
	}
	return l, nil
}

// startOf returns the newest position at which the ledger can be opened: the log's mark, or what the
// filler has made durable behind it. In a rebuild it is where the rebuilt ledger is durable.
func startOf(log *wal.Group) (ledger.Summary, error) {
	if at, rebuilding, err := parseRebuildNote(log.Note(rebuildNote)); rebuilding || err != nil {
		return at, err
	}
	marked, err := ledger.ParseSummary(log.Mark().Meta)
	if err != nil {
		return marked, errors.Wrap(err, "read the Raft log's mark")
	}
	_, filled, err := parseFillNote(log.Note(fillNote))
	if err != nil {
		return marked, err
	}
	if filled.RaftIndex > marked.RaftIndex {
		return filled, nil
	}
	return marked, nil
}

// KeepMark tells the Raft log how far the ledger is durable, so that it need not reach back
// further. To be called now and then, by one caller at a time: it may wait for the disk.
func (r *Replica) KeepMark() {
	r.confirmMark()
	s, ok := r.ledger.Durable()
	if r.configured.unmarked.Swap(false) {
		// A leader whose log begins behind what a new member needs sends its mark, which has to name
		// that member.
		var err error
		if s, err = r.ledger.MakeDurable(); err != nil {
			r.shell.Problem(err)
			return
		}
		ok = true
	}
	if !ok || s.RaftIndex <= r.marked {
		return
	}
	conf, err := r.confState(s.Size)
	if err != nil {
		r.shell.Problem(err) // the log only grows meanwhile
		return
	}
	if r.raft.SetMark(wal.Mark{Index: s.RaftIndex, Term: s.RaftTerm, ConfState: conf, Meta: s.Marshal()}) {
		r.marked = s.RaftIndex
	}
}

// unconfirmedMark is a mark that the Raft log shows and may still lose in a power failure. last was
// the log's last index when the mark was there.
type unconfirmedMark struct {
	mark ledger.Summary
	last uint64
}

// confirmMark tells the ledger from where a replay begins at the earliest. A mark is written
// without a sync of its own. Whatever is applied was synced before, and a sync covers all that was
// written before: once the ledger has applied an entry that was appended behind the mark, the mark
// is durable.
func (r *Replica) confirmMark() {
	u := &r.unconfirmed
	if u.mark.RaftIndex > 0 {
		if r.passed.Load() > u.last { // the filler brings blocks that no log has synced
			r.ledger.Marked(u.mark)
			r.confirmed, *u = u.mark.RaftIndex, unconfirmedMark{}
		}
		return
	}
	m := r.log.Mark()
	if m.Index <= r.confirmed {
		return
	}
	// An error here means only that rows are kept for longer.
	s, err := ledger.ParseSummary(m.Meta)
	last, err2 := r.log.LastIndex()
	if err == nil && err2 == nil {
		*u = unconfirmedMark{s, last}
	}
}

// FinalMark returns the mark that spares the next start the replay, nil when the log has it: a
// ledger that was closed cleanly holds everything that it has applied. Group and ledger must have
// ended.
func (r *Replica) FinalMark() (*wal.Mark, error) {
	h := r.ledger.Head()
	// A ledger that the filler has brought ahead of the log says where it is with the filler's note.
	if h.RaftIndex <= r.log.Mark().Index || h.RaftIndex > r.passed.Load() {
		return nil, nil
	}
	_, conf, err := r.log.InitialState()
	if err != nil {
		return nil, errors.Wrap(err, "read the Raft log's state")
	}
	if m := r.Members(); m != nil {
		conf = m.ConfState()
	}
	s := ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
	return &wal.Mark{Index: h.RaftIndex, Term: h.RaftTerm, ConfState: conf, Meta: s.Marshal()}, nil
}
