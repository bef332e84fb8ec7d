package ledger

import (
	"bytes"

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
// outcome, and no key twice with different bodies. Its errors have the cause ErrBadBatch.
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
		if !e.Kind.valid() {
			return errors.Wrapf(ErrBadBatch, "entry %d: kind %d", i, e.Kind)
		}
		if len(e.Key) > MaxKeySize {
			return errors.Wrapf(ErrBadBatch, "entry %d: key of %d bytes, at most %d", i, len(e.Key), MaxKeySize)
		}
		if limit := MaxBody(b.Principal, len(e.Key)); len(e.Body) > limit {
			return errors.Wrapf(ErrBadBatch, "entry %d: %s of %d bytes, at most %d", i, e.Kind, len(e.Body), limit)
		}
		most, err := maxOutcome(p, e.Kind, e.Body)
		if err != nil {
			return errors.Wrapf(ErrBadBatch, "entry %d: %v", i, err)
		}
		if n := b.entrySize(i); n+most > MaxLeafSize {
			return errors.Wrapf(ErrBadBatch, "entry %d: %d bytes and an outcome of up to %d, together at most %d", i, n, most, MaxLeafSize)
		}
		b.outcomes += most
		if len(e.Key) == 0 || len(b.Entries) == 1 {
			continue
		}
		if byKey == nil {
			byKey = make(map[string]*NewEntry, len(b.Entries))
		}
		if other, ok := byKey[string(e.Key)]; ok && (other.Kind != e.Kind || !bytes.Equal(other.Body, e.Body)) {
			return errors.Wrapf(ErrBadBatch, "entry %d: key %q stands twice with different bodies", i, e.Key)
		}
		byKey[string(e.Key)] = e
	}
	if n := b.Size(); n > MaxBatchSize {
		return errors.Wrapf(ErrBadBatch, "batch of %d bytes, at most %d", n, MaxBatchSize)
	}
	return nil
}
