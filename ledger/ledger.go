package ledger

import (
	"context"

	"github.com/cairnledger/cairn/merkle"
)

// Config says which ledger Open opens.
type Config struct {
	Group  uint64  // the ledger's group id: prefix of all of its keys
	Origin string  // the ledger's name
	Start  Summary // of the Raft log's mark: replay begins behind it
}

// Head is one consistent state of the ledger.
type Head struct {
	Size                uint64
	Root                merkle.Hash
	RaftIndex, RaftTerm uint64
	Time                int64 // of the newest entry, µs since the Unix epoch
}

// Result is the outcome of one batch, in the order of the block's batches.
type Result struct {
	Err       error    // nil, *ConflictError or *SizeMismatchError: definite, nothing was appended
	Indexes   []uint64 // of each entry, when Err is nil
	Duplicate []bool   // whether the entry had been stored before and Indexes names the original
	Size      uint64   // of the ledger right after the batch
	Time      int64    // ledger time of the entries that were appended (not of duplicates)
}

// Committed is one committed Raft entry, for ApplyMany. Block is empty for Raft's own entries.
type Committed struct {
	RaftIndex, RaftTerm uint64
	Block               []byte
}

// Sealed is a sealed checkpoint.
type Sealed struct {
	Size uint64
	Root merkle.Hash
	Note []byte // signed note: log line and node lines
}

type Ledger struct{}

func Open(store Store, cfg Config) (*Ledger, error)                                { panic("") }
func (l *Ledger) Apply(raftIndex, raftTerm uint64, block []byte) ([]Result, error) { panic("") }
func (l *Ledger) ApplyMany(entries []Committed) ([][]Result, error)                { panic("") }
func (l *Ledger) Head() Head                                                       { panic("") }
func (l *Ledger) Leaf(index uint64) ([]byte, error)                                { panic("") }
func (l *Ledger) Leaves(first uint64, maxLeaves, maxBytes int) ([][]byte, error)   { panic("") }
func (l *Ledger) InclusionProof(index, size uint64) ([]merkle.Hash, error)         { panic("") }
func (l *Ledger) ConsistencyProof(oldSize, newSize uint64) ([]merkle.Hash, error)  { panic("") }
func (l *Ledger) RootAt(size uint64) (merkle.Hash, error)                          { panic("") }
func (l *Ledger) Tile(level uint8, index uint64, width int) ([]byte, error)        { panic("") }
func (l *Ledger) EntryBundle(index uint64, width int) ([]byte, error)              { panic("") }
func (l *Ledger) WaitSize(ctx context.Context, size uint64) error                  { panic("") }
func (l *Ledger) Sealed() *Sealed                                                  { panic("") }
func (l *Ledger) SetSealed(s *Sealed) error                                        { panic("") }
func (l *Ledger) WaitSealed(ctx context.Context, size uint64) (*Sealed, error)     { panic("") }
func (l *Ledger) Durable() (Summary, bool)                                         { panic("") }
func (l *Ledger) Close() error                                                     { panic("") }
