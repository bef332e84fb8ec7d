package client

import (
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Entry is what a caller appends.
type Entry struct {
	Key     []byte // idempotency key, 0 to 128 bytes; empty means none
	Payload []byte // may be empty
}

// Appended says where an entry is.
type Appended struct {
	Index     uint64
	Duplicate bool      // the entry had been appended before under its key; Index is the original one
	Time      time.Time // ledger time of the entry; without a receipt the node's word, and zero for a duplicate
	Receipt   *Receipt  // verified; nil unless the append waited for the seal
}

// StoredEntry is an entry as the ledger holds it.
type StoredEntry struct {
	Index     uint64
	Time      time.Time // ledger time
	Principal string    // who appended it
	Key       []byte
	Kind      ledger.Kind
	Payload   []byte // the entry's body; of a command, the command
	Outcome   []byte // what came of a command; empty for payloads
	Leaf      []byte // the encoded entry and its outcome, as they are hashed into the tree
}

// parseStored decodes a leaf. The result shares memory with leaf.
func parseStored(index uint64, leaf []byte) (StoredEntry, error) {
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return StoredEntry{}, &VerificationError{What: "leaf", Err: err}
	}
	return StoredEntry{
		Index: index, Time: time.UnixMicro(e.Time), Principal: e.Principal, Key: e.Key,
		Kind: e.Kind, Payload: e.Body, Outcome: e.Outcome, Leaf: leaf,
	}, nil
}

// Head is the state of the ledger at one moment. It is what one node says: only a checkpoint proves
// anything.
type Head struct {
	Size   uint64
	Root   merkle.Hash
	Time   time.Time // of the newest block; zero if the ledger is empty
	Node   string    // that answered
	Leader string    // that it knows, "" if none
}

// Checkpoint is a sealed checkpoint that satisfies the policy.
type Checkpoint struct {
	*tlog.VerifiedCheckpoint
	Note []byte // the signed note
}

// InclusionProof is a proof that a leaf is in the tree of a size. The client has checked the hashes
// against Root; whether Root is the ledger's is said by a checkpoint of that size only.
type InclusionProof struct {
	Index, Size uint64
	LeafHash    merkle.Hash
	Hashes      []merkle.Hash
	Root        merkle.Hash
}

// ConsistencyProof is a proof that the tree of OldSize is a prefix of the tree of NewSize. The
// client has checked the hashes against the roots, which are the node's word.
type ConsistencyProof struct {
	OldSize, NewSize uint64
	Hashes           []merkle.Hash
	OldRoot, NewRoot merkle.Hash
}

// Verdict is a node's opinion of a receipt.
type Verdict struct {
	Valid     bool
	Verdict   string // OK, MALFORMED, POLICY, INCLUSION, FORK, AHEAD
	Reason    string // for a human
	Index     uint64
	Size      uint64
	Root      merkle.Hash
	Cosigners []tlog.CosignedBy
}

// AppendOption changes one append.
type AppendOption func(*appendOptions)

type appendOptions struct {
	sealed       bool
	expectedSize *uint64
}

// Sealed makes an append wait until a sealed checkpoint covers the entry, and return its receipt.
func Sealed() AppendOption { return func(o *appendOptions) { o.sealed = true } }

// ExpectedSize makes an append fail, definitely, unless the ledger has exactly n entries. Such an
// append is a request of its own.
func ExpectedSize(n uint64) AppendOption { return func(o *appendOptions) { o.expectedSize = &n } }

// ReadOption changes one read.
type ReadOption func(*readOptions)

type readOptions struct{ local bool }

// Local reads from any node without asking a quorum. The answer may be old, but never older than
// what this client saw before.
func Local() ReadOption { return func(o *readOptions) { o.local = true } }
