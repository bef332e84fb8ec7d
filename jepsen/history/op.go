// Package history records what clients of a ledger asked for, what they were
// told, and when: the input of every checker.
//
// An operation has one of three outcomes. OK: the answer is in the record. Fail:
// it had no effect and never will. Info: nobody knows; it may take effect at any
// later time. A process that got Info never issues another operation under the
// same number, so that each process is sequential.
package history

import (
	"crypto/sha256"
	"math"

	"github.com/cairnledger/cairn/merkle"
)

// Digest identifies an idempotency key or a payload: SHA-256, cut to 16 bytes.
type Digest [16]byte

// DigestOf hashes b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(sum[:16])
}

// Kind is what an operation asks for.
type Kind uint8

// The operations of a ledger.
const (
	// Append asks to append Entries atomically; with Conditional only at size Size.
	Append Kind = iota + 1
	// Get asks for the entry at First.
	Get
	// Head asks for the current size (and root), linearizably.
	Head
	// Range asks for up to Limit entries from First on, linearizably.
	Range
	// Watch is one delivery of a subscription: Entries from First on, seen at Return.
	Watch
	// Checkpoint asks for a sealed checkpoint: some earlier Size with its Root.
	Checkpoint
	// LocalHead asks one node for what it has applied: a possibly old size.
	LocalHead
)

var kindNames = [...]string{Append: "append", Get: "get", Head: "head", Range: "range", Watch: "watch", Checkpoint: "checkpoint", LocalHead: "local-head"}

// Kinds returns all of them.
func Kinds() (all []Kind) {
	for k := range kindNames {
		if kindNames[k] != "" {
			all = append(all, Kind(k))
		}
	}
	return all
}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

// Outcome says what is known about an operation.
type Outcome uint8

// The outcomes.
const (
	// Info is the zero value on purpose: what was never completed is unknown.
	Info Outcome = iota
	OK
	Fail
)

var outcomeNames = [...]string{Info: "info", OK: "ok", Fail: "fail"}

func (o Outcome) String() string { return outcomeNames[o] }

// Reason refines Fail, and OK reads that found nothing.
type Reason uint8

// The reasons.
const (
	None Reason = iota
	// NotFound: Get of an index at or beyond the size, Range from one beyond it.
	NotFound
	// Conflict: a key of the append is stored with another payload, at Index0.
	Conflict
	// SizeMismatch: a conditional append met the size Seen.
	SizeMismatch
	// Refused: any other definite refusal.
	Refused
)

var reasonNames = [...]string{None: "", NotFound: "not-found", Conflict: "conflict", SizeMismatch: "size-mismatch", Refused: "refused"}

func (r Reason) String() string { return reasonNames[r] }

// Entry is one entry of an operation: asked for (Append) or seen (reads; of a Range
// that failed those that it showed before it broke).
type Entry struct {
	// Key identifies the entry: the digest of principal and idempotency key, or
	// of the payload for an entry without key.
	Key Digest
	// Body is the digest of the payload.
	Body Digest
	// Index is where the entry is, once that is known.
	Index uint64
	// Duplicate: the append found the entry stored already.
	Duplicate bool
}

// Never is the Return of an operation that was not completed.
const Never = math.MaxInt64

// Op is one operation. Times are nanoseconds on one monotonic clock.
type Op struct {
	Process uint32
	Kind    Kind
	Outcome Outcome
	Reason  Reason

	// Keyless: the entries of this append have no idempotency key; a retry of it would append
	// again.
	Keyless bool
	// Retried: the client sent this append more than once, so that its entries may be duplicates of
	// its own.
	Retried bool
	// Conditional: Append only if the ledger has exactly Size entries.
	Conditional bool

	Call   int64
	Return int64 // Never unless OK or Fail

	// First and Limit are what a read asks for.
	First, Limit uint64
	// Size is the expected size of a conditional append, or the size that Head,
	// LocalHead or Checkpoint answered.
	Size uint64
	// Seen is the size that bounded a Range, or that a SizeMismatch reported; of
	// a Conflict the index that holds the key.
	Seen uint64
	// Root is the root that came with Size; nil when none did.
	Root *merkle.Hash

	Entries []Entry
	// Node is where a local read was answered, for session guarantees; 0 unknown.
	Node uint16
}
