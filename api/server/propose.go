package server

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"
	"google.golang.org/grpc/codes"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/internal/stages"
	"github.com/cairnledger/cairn/ledger"
)

// This file is the ground for services of programs with commands. A service makes a batch of
// commands for the ledger of its call, as CommandBatch does, has it checked by admissible, hands it
// to the backend, and reads with Decisions what came of each command. Append and AppendStream do
// the same with payloads.

// CommandBatch returns the batch in which a principal hands commands to a ledger: each is an entry
// of its own, next to one another, without idempotency keys.
func CommandBatch(principal string, commands ...[]byte) ledger.Batch {
	b := ledger.Batch{Principal: principal, Entries: make([]ledger.NewEntry, len(commands))}
	for i, c := range commands {
		b.Entries[i] = ledger.NewEntry{Kind: ledger.KindCommand, Body: c}
	}
	return b
}

// Decision is what became of an entry that was proposed.
type Decision struct {
	Index     uint64
	Duplicate bool         // the entry had been stored before under its key; Index is the original one
	Entry     ledger.Entry // as the ledger has it, with its time and its outcome
}

// Propose has a ledger decide a batch, and returns what became of each entry. It waits until the
// batch is applied here, or until that will never be known.
//
// Errors: those of Batch.Validate and of Backend.Append; those of Result.Err. They are definite or
// not, as there. An error that matches ErrIndefinite also stands for a batch that is in the ledger
// and whose entries cannot be read here.
func Propose(ctx context.Context, b Backend, batch ledger.Batch) ([]Decision, error) {
	l := b.Ledger()
	if err := batch.Validate(l.Program()); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err // nothing has happened yet
	}
	result, err := b.Append(ctx, batch)
	if err != nil {
		return nil, err
	}
	return Decisions(ctx, l, result)
}

// Decisions reads what became of the entries of a batch that was decided. It may read the disk. Its
// errors are Result.Err, and ErrIndefinite for entries that cannot be read.
func Decisions(ctx context.Context, l Ledger, result ledger.Result) ([]Decision, error) {
	if result.Err != nil {
		return nil, result.Err
	}
	leaves, err := leavesOf(ctx, l, result.Indexes)
	all := make([]Decision, len(leaves))
	for i := 0; i < len(leaves) && err == nil; i++ {
		all[i] = Decision{Index: result.Indexes[i], Duplicate: result.Duplicate[i]}
		all[i].Entry, err = ledger.ParseLeaf(leaves[i])
	}
	if err != nil {
		return nil, errors.Mark(errors.Wrapf(err, "the entries are in the ledger, from index %d on, and cannot be read here", result.Indexes[0]), ErrIndefinite)
	}
	return all, nil
}

// Newest returns the newest state of the program of a ledger: it includes whatever was acknowledged
// by any node before the call. Its errors are those of Backend.ReadBarrier.
func Newest(ctx context.Context, b Backend) (ledger.State, error) {
	if err := b.ReadBarrier(ctx); err != nil {
		return ledger.State{}, err
	}
	return b.Ledger().State(), nil
}

// admissible says what is wrong with a batch for the ledger of a call, before anything is proposed.
// The first entry that is too large, or that the ledger's program does not take, is named.
func (s *Server) admissible(b Backend, batch *ledger.Batch) error {
	if len(batch.Entries) == 0 {
		return refuse(codes.InvalidArgument, ReasonInvalidArgument, "a batch needs at least one entry")
	}
	if n := len(batch.Entries); n > s.limits.BatchEntries {
		return refuse(codes.InvalidArgument, ReasonBatchTooLarge, fmt.Sprintf("a batch has at most %d entries", s.limits.BatchEntries)).
			limit("batch entries", uint64(s.limits.BatchEntries), uint64(n), 0)
	}
	if err := s.fits(batch); err != nil {
		return err
	}
	err := batch.Validate(b.Ledger().Program())
	var entry *ledger.EntryError
	if errors.As(err, &entry) {
		return badEntry(b.Origin(), batch, entry)
	}
	if err != nil {
		return err
	}
	return s.fits(batch) // now with room for the outcomes
}

// badEntry refuses a batch on account of one entry.
func badEntry(origin string, batch *ledger.Batch, e *ledger.EntryError) error {
	switch e.Problem {
	case ledger.EntryKeyTooLong:
		return refuse(codes.InvalidArgument, ReasonKeyTooLong, e.Error()).limit("key bytes", uint64(e.Limit), uint64(e.Bytes), e.Entry)
	case ledger.EntryTooLarge:
		return refuse(codes.InvalidArgument, ReasonEntryTooLarge, e.Error()).limit("entry bytes", uint64(e.Limit), uint64(e.Bytes), e.Entry)
	case ledger.EntryNotUnderstood:
		return refuse(codes.InvalidArgument, ReasonRefused, fmt.Sprintf("entry %d: the ledger %s takes no such %s: %v", e.Entry, origin, batch.Entries[e.Entry].Kind, e.Err))
	}
	return e
}

// fits says whether the batch is within the limit of its bytes.
func (s *Server) fits(b *ledger.Batch) error {
	size := b.Size()
	if size <= s.limits.BatchBytes {
		return nil
	}
	return refuse(codes.InvalidArgument, ReasonBatchTooLarge, fmt.Sprintf("a batch of %d bytes, at most %d", size, s.limits.BatchBytes)).
		limit("batch bytes", uint64(s.limits.BatchBytes), uint64(size), 0)
}

func checkWait(w cairnv1.Wait) error {
	switch w {
	case cairnv1.Wait_WAIT_UNSPECIFIED, cairnv1.Wait_WAIT_COMMITTED, cairnv1.Wait_WAIT_SEALED:
		return nil
	}
	return refuse(codes.InvalidArgument, ReasonInvalidArgument, fmt.Sprintf("wait has no value %d", w))
}

// receipts waits for a sealed checkpoint that covers the indexes, and returns their leaves with
// their proofs under it. known is the size of the newest checkpoint that the client has verified.
// The entries are committed whatever fails here: a failure is logged, and nothing is returned.
func (s *Server) receipts(ctx context.Context, b Backend, indexes []uint64, known uint64) ([]*cairnv1.ProvedLeaf, *cairnv1.SealedCheckpoint) {
	sealed, err := s.waitSealed(ctx, b, indexes)
	if err == nil {
		var leaves []*cairnv1.ProvedLeaf
		var shown *cairnv1.SealedCheckpoint
		if leaves, shown, err = prove(ctx, s.cfg.Stages, b.Ledger(), indexes, known, sealed); err == nil {
			return leaves, shown
		}
	}
	s.cfg.Logf("entries are committed, but there is no receipt: %v", err)
	return nil, nil
}

// waitSealed returns a sealed checkpoint that covers the indexes.
func (s *Server) waitSealed(ctx context.Context, b Backend, indexes []uint64) (*ledger.Sealed, error) {
	size := uint64(0)
	for _, index := range indexes {
		size = max(size, index+1)
	}
	l := b.Ledger()
	if sealed := l.Sealed(); sealed != nil && sealed.Size >= size {
		return sealed, nil // duplicates, most likely
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.SealWait)
	defer cancel()
	b.RequestSeal()
	return l.WaitSealed(ctx, size)
}

// prove returns leaves with their proofs under a sealed checkpoint.
func prove(ctx context.Context, measured *stages.Set, l Ledger, indexes []uint64, known uint64, sealed *ledger.Sealed) ([]*cairnv1.ProvedLeaf, *cairnv1.SealedCheckpoint, error) {
	leaves, err := leavesOf(ctx, l, indexes)
	if err != nil {
		return nil, nil, errors.Wrap(err, "read leaves")
	}
	defer measured.Since(stages.Proof, measured.Now())
	prover := newBatchProver(l, sealed.Size)
	flat := make([]cairnv1.ProvedLeaf, len(leaves))
	proved := make([]*cairnv1.ProvedLeaf, len(leaves))
	for i, index := range indexes {
		proof, err := prover.inclusion(index)
		if err != nil {
			return nil, nil, errors.Wrap(err, "prove inclusion")
		}
		flat[i].Leaf, flat[i].Proof = leaves[i], proof
		proved[i] = &flat[i]
	}
	shown, err := sealedCheckpoint(l, sealed, known)
	return proved, shown, err
}
