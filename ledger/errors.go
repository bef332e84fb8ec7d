package ledger

import (
	"fmt"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

var (
	// ErrNotSealed says that no sealed checkpoint covers the entry yet.
	ErrNotSealed = errors.New("not sealed yet")
	// ErrReadOnly says that the ledger was opened for inspection (Config.ReadOnly).
	ErrReadOnly = errors.New("ledger is open for inspection only")
	// ErrClosed says that the ledger was closed.
	ErrClosed = errors.New("ledger is closed")
)

// ConflictError refuses a whole batch, definitely: one of its keys is stored with another body.
type ConflictError struct {
	Key   []byte
	Index uint64 // where the key is stored; with InBatch, where the batch would have put it
	// InBatch is set when the two bodies stand in the same batch.
	InBatch bool
	// StoredKind and OfferedKind say what the bodies are, StoredDigest and OfferedDigest are their
	// SHA-256.
	StoredKind, OfferedKind     Kind
	StoredDigest, OfferedDigest [32]byte
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("key %q is stored at index %d with %s %x, offered %s %x",
		e.Key, e.Index, e.StoredKind, e.StoredDigest[:8], e.OfferedKind, e.OfferedDigest[:8])
}

// SizeMismatchError refuses a whole batch, definitely: the ledger's size was not the expected one.
type SizeMismatchError struct{ Expected, Actual uint64 }

func (e *SizeMismatchError) Error() string {
	return fmt.Sprintf("ledger has size %d, expected %d", e.Actual, e.Expected)
}

// IgnoredError says that a committed block had no effect on any replica, so that none of its
// batches was appended.
type IgnoredError struct{ Reason IgnoreReason }

func (e *IgnoredError) Error() string {
	return fmt.Sprintf("the block of this batch had no effect (%s)", e.Reason)
}

// NotFoundError says that the index or size lies beyond the ledger's size. It is not an error of
// the store: below Size every index is present.
type NotFoundError struct{ Index, Size uint64 }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("index %d is beyond the ledger's size %d", e.Index, e.Size)
}

// CorruptError says that what the store returned does not prove against the ledger's tree, or is
// missing where the dense index space says that it must be. The data are not served.
type CorruptError struct {
	What  string // "leaf", "block", "tile 0", "identity", ...
	Index uint64 // index of the leaf or tile, or a raft index; What says which
	Err   error  // optional cause
	// Part says what Repair can write again; Index is then of an entry (PartBlock, PartKey), of a
	// tile at Level (PartTile) or a size (PartCheckpoint).
	Part  Part
	Level uint8
}

// Part is a part of the store that Repair can write again.
type Part uint8

// The parts of the store. PartOther cannot be repaired in place.
const (
	PartOther      Part = iota
	PartBlock           // the record of a block
	PartTile            // a full hash tile
	PartKey             // the record of an idempotency key
	PartCheckpoint      // a stored sealed checkpoint
)

// Parts are those that Repair can write again.
var Parts = []Part{PartBlock, PartTile, PartKey, PartCheckpoint}

// String returns the word that logs and metrics have for the part.
func (p Part) String() string {
	switch p {
	case PartBlock:
		return "block"
	case PartTile:
		return "tile"
	case PartKey:
		return "key"
	case PartCheckpoint:
		return "checkpoint"
	}
	return "other"
}

// damagedEntry says that the entry, or the record of the block that holds it, is damaged; what is
// "leaf", "detail" or "block".
func damagedEntry(what string, index uint64, err error) *CorruptError {
	return &CorruptError{What: what, Index: index, Err: err, Part: PartBlock}
}

func damagedTile(level uint8, index uint64, err error) *CorruptError {
	return &CorruptError{What: tileName(level), Index: index, Err: err, Part: PartTile, Level: level}
}

func damagedKey(index uint64, err error) *CorruptError {
	return &CorruptError{What: "idempotency record", Index: index, Err: err, Part: PartKey}
}

func damagedCheckpoint(size uint64, err error) *CorruptError {
	return &CorruptError{What: "sealed checkpoint", Index: size, Err: err, Part: PartCheckpoint}
}

func (e *CorruptError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("corrupt %s at %d: %v", e.What, e.Index, e.Err)
	}
	return fmt.Sprintf("corrupt %s at %d", e.What, e.Index)
}

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// DivergenceError says that this replica's ledger is not that of the majority, or not the one that
// it had before. The node must stop: a diverged replica must not sign, serve or vote.
type DivergenceError struct {
	RaftIndex uint64
	Reason    string
	Size      uint64      // of the anchor or of this replica
	Want, Got merkle.Hash // roots, when the reason is about roots: that of the others and ours
	// Replay says that Want is what this replica's own store held before: the store or the program's
	// state in it is damaged, or the program is not deterministic.
	Replay bool
}

func (e *DivergenceError) Error() string {
	if e.Want != e.Got {
		return fmt.Sprintf("ledger diverged at raft index %d: %s: size %d has root %s there, %s here", e.RaftIndex, e.Reason, e.Size, e.Want, e.Got)
	}
	return fmt.Sprintf("ledger diverged at raft index %d: %s (size %d)", e.RaftIndex, e.Reason, e.Size)
}

// BusyError says that a past state cannot be read now, because another one is being computed.
type BusyError struct{ RetryAfter time.Duration }

func (e *BusyError) Error() string {
	return fmt.Sprintf("another past state of the ledger is being computed; ask again in %s", e.RetryAfter.Round(time.Millisecond))
}

// IdentityError says that the store belongs to another ledger or to an unknown format version.
type IdentityError struct{ Field, Stored, Want string }

func (e *IdentityError) Error() string {
	return fmt.Sprintf("store has %s %s, want %s", e.Field, e.Stored, e.Want)
}
