package ledger

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

const (
	// MaxBlockSize is the largest encoded block, in bytes.
	MaxBlockSize = 2 << 20
	// MaxBlockEntries is the largest number of entries in a block. With MaxBlockSize it bounds what
	// one commit writes to the store.
	MaxBlockEntries = 1 << 14
	// MaxBlockOutcomes is the largest sum of the outcomes in a block, in bytes.
	MaxBlockOutcomes = 2 << 20

	blockMagic      = "CRNB"
	blockVersion    = 1
	blockHeaderSize = 64
	blockCRCSize    = 4

	batchHasExpectedSize = 1 << 0

	// blockHasRecords says that an entry of the block is a record that every node has to look at
	// before it stores the block: any but one of the map root.
	blockHasRecords = 1 << 0
)

var (
	// ErrBadBlock is the cause of every error of ParseBlock but ErrNewerBlock.
	ErrBadBlock = errors.New("bad block")
	// ErrNewerBlock is the cause of ParseBlock's error for a block of a version that this program
	// does not know. Every version keeps magic, version, time and checksum where they are.
	ErrNewerBlock = errors.New("block of a newer version: upgrade this node")
	// ErrBlockTooLarge says that the batches do not fit into one block.
	ErrBlockTooLarge = errors.New("block too large")
)

// Anchor is the newest sealed (size, root) that a block's proposer knew when it built the block: a
// root that a majority had computed. With the anchors the blocks form a chain of roots. A block
// whose anchor a replica contradicts has no effect there: either its proposer lies, or the replica
// has diverged, and then a sealed checkpoint with that root proves it (package seal, Contradicted).
type Anchor struct {
	Size uint64
	Root merkle.Hash
}

// Block is a parsed block. It aliases the bytes that it was parsed from.
type Block struct {
	Anchor  Anchor
	Time    int64 // of every entry in it, µs since the Unix epoch
	Batches []BlockBatch
	raw     []byte
}

// BlockBatch is one Batch inside a Block.
type BlockBatch struct {
	ExpectedSize *uint64
	Entries      []BlockEntry
}

// BlockEntry is one encoded entry inside a Block. Every slice aliases the block.
type BlockEntry struct {
	Encoded              []byte // the leaf without its outcome
	Principal, Key, Body []byte
	offset               uint32 // of Encoded in the block
	Kind                 Kind
}

// Raw returns the bytes of the block.
func (b *Block) Raw() []byte { return b.raw }

// EncodeBlock encodes batches into a block whose entries all carry time (µs since the Unix epoch).
// The batches must be valid. The error, if any, has the cause ErrBlockTooLarge. Batches whose Size
// adds up to at most 1 MiB always fit.
func EncodeBlock(anchor Anchor, time int64, batches []Batch) ([]byte, error) {
	size, entries := blockHeaderSize+blockCRCSize, 0
	for i := range batches {
		b := &batches[i]
		size += batchHeaderSize
		entries += len(b.Entries)
		for j := range b.Entries {
			size += b.entrySize(j)
		}
	}
	if size > MaxBlockSize || entries > MaxBlockEntries {
		return nil, errors.Wrapf(ErrBlockTooLarge, "%d bytes and %d entries, at most %d and %d", size, entries, MaxBlockSize, MaxBlockEntries)
	}

	raw := make([]byte, 0, size)
	raw = append(raw, blockMagic...)
	raw = append(raw, blockVersion, recordsFlag(batches), 0, 0)
	raw = binary.BigEndian.AppendUint64(raw, uint64(time))
	raw = binary.BigEndian.AppendUint64(raw, anchor.Size)
	raw = append(raw, anchor.Root[:]...)
	raw = binary.BigEndian.AppendUint32(raw, uint32(len(batches)))
	raw = binary.BigEndian.AppendUint32(raw, uint32(entries))
	for i := range batches {
		b := &batches[i]
		var flags byte
		var expected uint64
		if b.ExpectedSize != nil {
			flags, expected = batchHasExpectedSize, *b.ExpectedSize
		}
		raw = append(raw, flags)
		raw = binary.BigEndian.AppendUint64(raw, expected)
		raw = binary.BigEndian.AppendUint32(raw, uint32(len(b.Entries)))
		for j := range b.Entries {
			e := &b.Entries[j]
			raw = appendEntry(raw, e.Kind, time, b.Principal, e.Key, e.Body)
		}
	}
	return binary.BigEndian.AppendUint32(raw, crc32.Checksum(raw, castagnoli)), nil
}

func recordsFlag(batches []Batch) byte {
	for i := range batches {
		for j := range batches[i].Entries {
			if e := &batches[i].Entries[j]; e.Kind == KindRecord && !isMapRoot(e.Body) {
				return blockHasRecords
			}
		}
	}
	return 0
}

// soundBlock reports whether a block has the checksum that it ends with.
func soundBlock(raw []byte) bool {
	end := len(raw) - blockCRCSize
	return end >= 0 && crc32.Checksum(raw[:end], castagnoli) == binary.BigEndian.Uint32(raw[end:])
}

// ParseBlock decodes and checks a block: lengths, checksum, every entry, one principal for each
// batch, one time for all. It allocates in proportion to the number of entries, not of bytes. Its
// errors have the cause ErrBadBlock or ErrNewerBlock. The result is a function of the bytes alone.
func ParseBlock(raw []byte) (*Block, error) {
	if _, err := PeekBlock(raw); err != nil {
		return nil, err
	}
	if len(raw) < blockHeaderSize+blockCRCSize || len(raw) > MaxBlockSize {
		return nil, errors.Wrapf(ErrBadBlock, "%d bytes", len(raw))
	}
	if raw[5]&^blockHasRecords|raw[6]|raw[7] != 0 {
		return nil, errors.Wrapf(ErrBadBlock, "magic and version %x", raw[:8])
	}
	if !soundBlock(raw) {
		return nil, errors.Wrap(ErrBadBlock, "checksum mismatch")
	}
	end := len(raw) - blockCRCSize
	b := &Block{Time: int64(binary.BigEndian.Uint64(raw[8:])), raw: raw[:len(raw):len(raw)]}
	b.Anchor.Size = binary.BigEndian.Uint64(raw[16:])
	copy(b.Anchor.Root[:], raw[24:56])
	batches := int(binary.BigEndian.Uint32(raw[56:]))
	entries := int(binary.BigEndian.Uint32(raw[60:]))
	if batches > entries || entries > MaxBlockEntries || entries*entryHeaderSize+batches*batchHeaderSize > end-blockHeaderSize {
		return nil, errors.Wrapf(ErrBadBlock, "%d batches with %d entries in %d bytes", batches, entries, len(raw))
	}
	b.Batches = make([]BlockBatch, batches)
	all := make([]BlockEntry, entries)
	at := blockHeaderSize
	for i := range b.Batches {
		if end-at < batchHeaderSize {
			return nil, errors.Wrapf(ErrBadBlock, "batch %d: header exceeds the block", i)
		}
		flags, expected := raw[at], binary.BigEndian.Uint64(raw[at+1:])
		n := int(binary.BigEndian.Uint32(raw[at+9:]))
		at += batchHeaderSize
		switch {
		case flags == batchHasExpectedSize:
			b.Batches[i].ExpectedSize = &expected
		case flags != 0 || expected != 0:
			return nil, errors.Wrapf(ErrBadBlock, "batch %d: flags %#x with expected size %d", i, flags, expected)
		}
		if n == 0 || n > len(all) {
			return nil, errors.Wrapf(ErrBadBlock, "batch %d: %d entries, %d left", i, n, len(all))
		}
		b.Batches[i].Entries, all = all[:n:n], all[n:]
		next, err := parseEntries(b.Batches[i].Entries, raw[:end], at, b.Time)
		if err != nil {
			return nil, errors.Wrapf(err, "batch %d", i)
		}
		at = next
	}
	if len(all) != 0 || at != end {
		return nil, errors.Wrapf(ErrBadBlock, "%d entries and %d bytes left over", len(all), end-at)
	}
	if records := b.hasRecords(); records != (raw[5] == blockHasRecords) {
		return nil, errors.Wrapf(ErrBadBlock, "flags %#x, records: %t", raw[5], records)
	}
	return b, nil
}

// flagged reports whether the block says that it has records.
func (b *Block) flagged() bool { return b.raw[5]&blockHasRecords != 0 }

func (b *Block) hasRecords() bool {
	for i := range b.Batches {
		for j := range b.Batches[i].Entries {
			if e := &b.Batches[i].Entries[j]; e.Kind == KindRecord && !isMapRoot(e.Body) {
				return true
			}
		}
	}
	return false
}

// blockPrefixSize is magic, version, flags, two bytes of zero, and time.
const blockPrefixSize = 16

// PeekBlock returns the time of a block, µs since the Unix epoch, from its first 16 bytes. Errors
// have the cause ErrBadBlock or ErrNewerBlock. It computes a checksum only for a newer version.
func PeekBlock(raw []byte) (time int64, err error) {
	if len(raw) < blockPrefixSize+blockCRCSize || string(raw[:4]) != blockMagic || raw[4] == 0 {
		return 0, errors.Wrapf(ErrBadBlock, "%d bytes that begin with %x", len(raw), raw[:min(len(raw), 8)])
	}
	if version := raw[4]; version > blockVersion {
		end := len(raw) - blockCRCSize
		if crc32.Checksum(raw[:end], castagnoli) != binary.BigEndian.Uint32(raw[end:]) {
			return 0, errors.Wrapf(ErrBadBlock, "checksum mismatch in a block of version %d", version)
		}
		return 0, errors.Wrapf(ErrNewerBlock, "version %d, this program knows %d", version, blockVersion)
	}
	return int64(binary.BigEndian.Uint64(raw[8:])), nil
}

// parseEntries fills entries from raw[at:] and returns the offset behind the last one.
func parseEntries(entries []BlockEntry, raw []byte, at int, time int64) (int, error) {
	for j := range entries {
		e := &entries[j]
		t, err := e.parse(raw[at:])
		if err != nil {
			return 0, errors.Wrapf(ErrBadBlock, "entry %d: %v", j, err)
		}
		if t != time {
			return 0, errors.Wrapf(ErrBadBlock, "entry %d: time %d differs from the block's %d", j, t, time)
		}
		if j > 0 && string(e.Principal) != string(entries[0].Principal) {
			return 0, errors.Wrapf(ErrBadBlock, "entry %d: another principal than the batch's first", j)
		}
		e.offset = uint32(at)
		at += len(e.Encoded)
	}
	return at, nil
}
