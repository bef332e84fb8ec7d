package ledger

import (
	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// ErrUnproved is matched by the error of ApplyRecords for records that are not what the ledger
// continues with. Whoever sent them is wrong, or lies; nothing of them was applied, or a part that is
// proved.
var ErrUnproved = errors.New("the blocks are not those of the ledger")

func unproved(format string, args ...any) error {
	return errors.Mark(errors.Newf(format, args...), ErrUnproved)
}

// ApplyRecords applies blocks that another replica has sent, as ApplyMany does: the ledger decides
// them again, and takes no outcome from anybody. Before it decides the first one it proves that the
// leaves which the records say the blocks have belong to the ledger under, at the size after the
// last record: proof is the consistency proof from there. The records continue the ledger without a
// gap, and their Raft indexes lie behind the position and do not exceed last.
//
// An error that matches ErrUnproved is the sender's. Every other one is final, as those of ApplyMany
// are. One of these is a *DivergenceError: this replica decides otherwise than those who signed the
// root. No leaf covers the entries of a block that were not appended, so a sender who changes those
// can bring that about.
func (l *Ledger) ApplyRecords(records []*BlockRecord, proof []merkle.Hash, under Anchor, last uint64) error {
	l.applier.Lock()
	defer l.applier.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	a := &l.applier.applierState
	tree, pos := a.tree.Clone(), a.pos
	for _, r := range records {
		if r.First != tree.Size() || r.RaftIndex <= pos.RaftIndex || r.RaftTerm < pos.RaftTerm || r.RaftIndex > last {
			return unproved("entries %d to %d at raft index %d of term %d, behind size %d at raft index %d of term %d, up to raft index %d",
				r.First, r.End(), r.RaftIndex, r.RaftTerm, tree.Size(), pos.RaftIndex, pos.RaftTerm, last)
		}
		pos.RaftIndex, pos.RaftTerm = r.RaftIndex, r.RaftTerm
		leaves, err := r.Leaves()
		if err != nil {
			return errors.Mark(err, ErrUnproved)
		}
		tree.Append(merkle.LeafHashes(leaves))
	}
	if err := merkle.VerifyConsistency(tree.Size(), under.Size, proof, tree.Root(), under.Root); err != nil {
		return errors.Mark(errors.Wrapf(err, "entries up to %d are not in the ledger of size %d", tree.Size(), under.Size), ErrUnproved)
	}
	for _, r := range records {
		if err := l.applyRecord(r); err != nil {
			if errors.Is(err, ErrUnproved) {
				return err
			}
			return l.fail(err)
		}
	}
	if err := l.flush(); err != nil {
		return l.fail(err)
	}
	if a.pos.Root != tree.Root() {
		return l.fail(&DivergenceError{RaftIndex: a.pos.RaftIndex, Size: a.pos.Size, Want: tree.Root(), Got: a.pos.Root,
			Reason: "this replica decides the blocks otherwise than those who signed the root"})
	}
	return nil
}

// applyRecord decides one record.
func (l *Ledger) applyRecord(r *BlockRecord) error {
	a := &l.applier.applierState
	e := Committed{RaftIndex: r.RaftIndex, RaftTerm: r.RaftTerm, Block: r.Block}
	if a.blocks >= groupBlocks || a.blocks > 0 && a.bytes+a.state.bytes+commitSize(e.Block) > groupBytes {
		if err := l.flush(); err != nil {
			return err
		}
	}
	// A block with a record has an effect.
	_, reason, err := l.judge(&e)
	if err == nil && reason != "" {
		if err = l.flush(); err == nil {
			return unproved("the block at raft index %d has no effect (%s)", e.RaftIndex, reason)
		}
	}
	if err != nil {
		return err
	}
	if _, err := l.stage(&e); err != nil {
		return err
	}
	if a.pos.Size != r.End() {
		return &DivergenceError{RaftIndex: a.pos.RaftIndex, Size: a.pos.Size,
			Reason: "this replica appends other entries of a block than the replica that sent it"}
	}
	return nil
}

// MakeDurable makes everything that is applied durable in the store, and returns the position. It
// waits for the disk, and nothing is applied meanwhile.
func (l *Ledger) MakeDurable() (Summary, error) {
	l.applier.Lock()
	defer l.applier.Unlock()
	if err := l.Err(); err != nil {
		return Summary{}, err
	}
	if l.applier.accounts.rows.loaded {
		if err := l.writeBase(); err != nil {
			return Summary{}, l.fail(err)
		}
	}
	if err := l.store.Sync(); err != nil {
		return Summary{}, l.fail(errors.Wrap(err, "make the ledger durable"))
	}
	s := l.summary()
	l.durable.set(s)
	return s, nil
}
