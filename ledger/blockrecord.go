package ledger

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// MaxRecordSize bounds an encoded BlockRecord, in bytes.
const MaxRecordSize = recordHeaderSize + 4 + 8*MaxBlockEntries + 4 + MaxBlockSize + MaxBlockOutcomes

// BlockRecord is a block with what the ledger made of it, for a replica that takes it from another
// one. Blocks that appended nothing are not among them: they changed nothing.
type BlockRecord struct {
	RaftIndex, RaftTerm uint64
	First               uint64 // index of the first entry that it appended
	Count               uint64 // of appended entries, at least 1
	Block               []byte
	// Encoded is the record as the store has it (docs/format-ledger.md): with the block, which of its
	// entries were appended, and their outcomes.
	Encoded []byte

	rec *record
}

// End returns the size of the ledger after the block.
func (r *BlockRecord) End() uint64 { return r.First + r.Count }

// Leaves returns the leaves of the entries that the block appended. A caller that has the record
// from somebody else proves them: a leaf covers the entry and its outcome.
func (r *BlockRecord) Leaves() ([][]byte, error) {
	leaves := make([][]byte, r.Count)
	for i := range leaves {
		var err error
		if leaves[i], err = r.rec.leaf(r.First + uint64(i)); err != nil {
			return nil, err
		}
	}
	return leaves, nil
}

func (r *record) export() *BlockRecord {
	return &BlockRecord{
		RaftIndex: r.raftIndex, RaftTerm: r.raftTerm, First: r.first, Count: uint64(r.count),
		Block: r.raw, Encoded: r.encoded, rec: r,
	}
}

// ParseBlockRecord parses a record that another replica has sent: a record that this function
// returns parses as a whole, and every one of its leaves is an entry of its block with an outcome.
// Whether the ledger has these entries there is for the caller to prove. The result aliases encoded.
func ParseBlockRecord(encoded []byte) (*BlockRecord, error) {
	r, err := parseRecord(encoded)
	if err != nil {
		return nil, err
	}
	if r.raftIndex == 0 || r.raftTerm == 0 || r.end() > merkle.MaxSize {
		return nil, errors.Newf("block record: entries %d to %d at raft index %d of term %d", r.first, r.end(), r.raftIndex, r.raftTerm)
	}
	block, err := ParseBlock(r.raw)
	if err != nil {
		return nil, err
	}
	var entries []uint32 // where those of the block begin
	for i := range block.Batches {
		for j := range block.Batches[i].Entries {
			entries = append(entries, block.Batches[i].Entries[j].offset)
		}
	}
	for i := range r.count {
		at := binary.BigEndian.Uint32(r.offsets[4*i:])
		n, found := slices.BinarySearch(entries, at)
		if !found {
			return nil, errors.Newf("block record: offset %d is no entry of the block, or stands before the last one", at)
		}
		entries = entries[n+1:]
	}
	if n := len(r.ends); n > 0 && int(binary.BigEndian.Uint32(r.ends[n-4:])) != len(r.outcomes) {
		return nil, errors.Newf("block record: %d bytes of outcomes, of which the last ends at %d", len(r.outcomes), binary.BigEndian.Uint32(r.ends[n-4:]))
	}
	out := r.export()
	_, err = out.Leaves()
	return out, err
}

// BlockAt returns the block that appended the entry. The block is checked against the tree. Its
// errors: *NotFoundError, *CorruptError.
func (l *Ledger) BlockAt(index uint64) (*BlockRecord, error) {
	v := l.view.Load()
	if index >= v.head.Size {
		return nil, &NotFoundError{Index: index, Size: v.head.Size}
	}
	r, err := l.record(index)
	if err != nil {
		return nil, err
	}
	// The checksum covers what no leaf hash does: headers and entries that were not appended.
	if _, err := ParseBlock(r.raw); err != nil {
		l.cache.dropBlock(index)
		return nil, damagedEntry("block", index, err)
	}
	if _, err := l.leaves(v, r.first, r.count, MaxBlockSize+MaxBlockOutcomes); err != nil {
		return nil, err
	}
	return r.export(), nil
}
