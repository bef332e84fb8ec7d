package ledger

import (
	"bytes"
	"fmt"

	"github.com/cockroachdb/errors"
)

const (
	// MaxBatchSize is the largest Batch.Size, in bytes.
	MaxBatchSize = 1 << 20
	// minEntryCharge is what an entry counts at least in Batch.Size: its index and idempotency
	// records cost the store that much whatever the payload, so a byte limit on a block also bounds
	// its entries.
	minEntryCharge = 64

	batchHeaderSize = 1 + 8 + 4 // flags, expected size, entry count
)

// ErrBadBatch is the cause of every error of Batch.Validate: the caller's mistake, a definite
// refusal.
var ErrBadBatch = errors.New("bad batch")

// EntryError says what is wrong with one entry of a batch. Its cause is ErrBadBatch.
type EntryError struct {
	Entry   int // position in the batch
	Problem EntryProblem
	// Bytes and Limit are of the key or of the body, for EntryKeyTooLong and EntryTooLarge. A body
	// has to leave room for the largest outcome.
	Bytes, Limit int
	Err          error
}

// EntryProblem is a kind of EntryError.
type EntryProblem int

// The problems of entries.
const (
	EntryOfUnknownKind EntryProblem = iota
	EntryKeyTooLong
	EntryTooLarge
	EntryNotUnderstood // by the ledger's program; Err is its error
	EntryKeyTwice      // with different bodies
)

func (e *EntryError) Error() string { return fmt.Sprintf("entry %d: %v", e.Entry, e.Err) }

// Unwrap returns the cause.
func (e *EntryError) Unwrap() error { return ErrBadBatch }

// NewEntry is what a caller hands over; the leader adds time and principal.
type NewEntry struct {
	Kind Kind
	Key  []byte // idempotency key, 0 to MaxKeySize bytes; empty means none
	Body []byte
}

// Batch is one caller's atomic append: all of its entries get consecutive places among the new
// ones, or none does.
type Batch struct {
	Principal string
	Entries   []NewEntry
	// ExpectedSize, when not nil, lets the batch append only to a ledger of exactly this size. A
	// retry that finds all of its entries stored, one of them at index ExpectedSize, succeeds as a
	// duplicate.
	ExpectedSize *uint64
	outcomes     int // bytes that the outcomes may take; set by Validate
}

// Size returns the bytes that the batch adds to a block and, after Validate, to its outcomes: what
// queues and block limits count. Each entry counts at least 64 bytes.
func (b *Batch) Size() int {
	n := batchHeaderSize + b.outcomes
	for i := range b.Entries {
		n += max(minEntryCharge, b.entrySize(i))
	}
	return n
}

func (b *Batch) entrySize(i int) int {
	return entryHeaderSize + len(b.Principal) + len(b.Entries[i].Key) + len(b.Entries[i].Body)
}

// Validate reports whether the batch can be put into a block of a ledger with this program (nil is
// Log): kinds, lengths, bodies that the program understands, room in each leaf for the largest
// outcome, and no key twice with different bodies. Its errors have the cause ErrBadBatch; the first
// bad entry is named by an *EntryError.
func (b *Batch) Validate(p Program) error {
	if p == nil {
		p = Log{}
	}
	b.outcomes = 0
	if len(b.Principal) == 0 || len(b.Principal) > MaxPrincipalSize {
		return errors.Wrapf(ErrBadBatch, "principal of %d bytes, want 1 to %d", len(b.Principal), MaxPrincipalSize)
	}
	if len(b.Entries) == 0 {
		return errors.Wrap(ErrBadBatch, "no entries")
	}
	var byKey map[string]*NewEntry
	for i := range b.Entries {
		e := &b.Entries[i]
		bad := func(p EntryProblem, n, limit int, err error) error {
			return &EntryError{Entry: i, Problem: p, Bytes: n, Limit: limit, Err: err}
		}
		if !e.Kind.valid() {
			return bad(EntryOfUnknownKind, 0, 0, errors.Newf("kind %d", e.Kind))
		}
		if n := len(e.Key); n > MaxKeySize {
			return bad(EntryKeyTooLong, n, MaxKeySize, errors.Newf("a key of %d bytes, at most %d", n, MaxKeySize))
		}
		n, limit, most := len(e.Body), MaxBody(b.Principal, len(e.Key)), 0
		if n <= limit {
			var err error
			if most, err = maxOutcome(p, e.Kind, e.Body); err != nil {
				return bad(EntryNotUnderstood, 0, 0, err)
			}
			limit -= most
		}
		if n > limit {
			return bad(EntryTooLarge, n, max(limit, 0), errors.Newf("a %s of %d bytes, at most %d with this key and principal and an outcome of up to %d", e.Kind, n, max(limit, 0), most))
		}
		b.outcomes += most
		if len(e.Key) == 0 || len(b.Entries) == 1 {
			continue
		}
		if byKey == nil {
			byKey = make(map[string]*NewEntry, len(b.Entries))
		}
		if other, ok := byKey[string(e.Key)]; ok && (other.Kind != e.Kind || !bytes.Equal(other.Body, e.Body)) {
			return bad(EntryKeyTwice, 0, 0, errors.Newf("key %q stands twice with different bodies", e.Key))
		}
		byKey[string(e.Key)] = e
	}
	if n := b.Size(); n > MaxBatchSize {
		return errors.Wrapf(ErrBadBatch, "batch of %d bytes, at most %d", n, MaxBatchSize)
	}
	return nil
}
