package ledger

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/cockroachdb/errors"
)

const (
	recordVersion    = 1
	recordHeaderSize = 1 + 8 + 8 + 8 + 4 + 4 // version, raft index, raft term, first index, count, block length
	maxRecordSize    = recordHeaderSize + 4*MaxBlockEntries + 4 + MaxBlockSize

	// partSize is where a record is cut into several values: Badger moves larger ones out of its tree.
	partSize = 512 << 10
)

// record is a block as the store holds it: where Raft committed it, which of its entries were accepted and the
// block's own bytes. It is a view of the encoded form; accepted leaves are found by offset, without parsing the block.
type record struct {
	raftIndex, raftTerm uint64
	first               uint64 // index of the first accepted entry
	count               int    // of accepted entries; invariant: at least 1
	offsets             []byte // count × u32, of each accepted leaf in raw
	raw                 []byte // the block
	encoded             []byte
}

// end returns the ledger's size after the block.
func (r *record) end() uint64 { return r.first + uint64(r.count) }

// holds reports whether the entry is in the record.
func (r *record) holds(index uint64) bool { return index >= r.first && index-r.first < uint64(r.count) }

// leaf returns the leaf of an index that the record holds.
func (r *record) leaf(index uint64) ([]byte, error) {
	at := int(binary.BigEndian.Uint32(r.offsets[4*(index-r.first):]))
	if at < blockHeaderSize+2 || at > len(r.raw) {
		return nil, errors.Newf("leaf at offset %d of a block of %d bytes", at, len(r.raw))
	}
	n := int(binary.BigEndian.Uint16(r.raw[at-2:]))
	if n > len(r.raw)-at {
		return nil, errors.Newf("leaf of %d bytes at offset %d of a block of %d bytes", n, at, len(r.raw))
	}
	return r.raw[at : at+n : at+n], nil
}

// encodeRecord encodes the record of a block of which the leaves at offsets were accepted.
func encodeRecord(raftIndex, raftTerm, first uint64, offsets []uint32, raw []byte) *record {
	b := make([]byte, 0, recordHeaderSize+4*len(offsets)+4+len(raw))
	b = append(b, recordVersion)
	b = binary.BigEndian.AppendUint64(b, raftIndex)
	b = binary.BigEndian.AppendUint64(b, raftTerm)
	b = binary.BigEndian.AppendUint64(b, first)
	b = binary.BigEndian.AppendUint32(b, uint32(len(offsets)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(raw)))
	for _, o := range offsets {
		b = binary.BigEndian.AppendUint32(b, o)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = append(b, raw...)
	rawAt := len(b) - len(raw)
	return &record{
		raftIndex: raftIndex, raftTerm: raftTerm, first: first, count: len(offsets),
		offsets: b[recordHeaderSize : rawAt-4], raw: b[rawAt:], encoded: b,
	}
}

// recordSize returns the size of the whole record whose encoding begins with b.
func recordSize(b []byte) (int, error) {
	if len(b) < recordHeaderSize || b[0] != recordVersion {
		return 0, errors.Newf("block record: %d bytes without a header of version %d", len(b), recordVersion)
	}
	count := binary.BigEndian.Uint32(b[25:])
	length := binary.BigEndian.Uint32(b[29:])
	if count == 0 || count > MaxBlockEntries || length > MaxBlockSize {
		return 0, errors.Newf("block record: %d entries in %d bytes", count, length)
	}
	return recordHeaderSize + 4*int(count) + 4 + int(length), nil
}

// parseRecord checks the header and the offsets, not the block: its leaves are checked against the tree.
func parseRecord(b []byte) (*record, error) {
	size, err := recordSize(b)
	if err != nil {
		return nil, err
	}
	if len(b) != size {
		return nil, errors.Newf("block record: %d bytes, want %d", len(b), size)
	}
	r := &record{
		raftIndex: binary.BigEndian.Uint64(b[1:]),
		raftTerm:  binary.BigEndian.Uint64(b[9:]),
		first:     binary.BigEndian.Uint64(b[17:]),
		count:     int(binary.BigEndian.Uint32(b[25:])),
		encoded:   b,
	}
	crcAt := recordHeaderSize + 4*r.count
	if crc32.Checksum(b[:crcAt], castagnoli) != binary.BigEndian.Uint32(b[crcAt:]) {
		return nil, errors.New("block record: checksum mismatch")
	}
	if r.first+uint64(r.count) < r.first {
		return nil, errors.New("block record: index overflow")
	}
	r.offsets, r.raw = b[recordHeaderSize:crcAt], b[crcAt+4:]
	return r, nil
}

// appendPairs appends what the store has to hold for the record.
func (r *record) appendPairs(pairs []Pair, keys keyspace) []Pair {
	rest := r.encoded
	n := min(len(rest), partSize)
	pairs = append(pairs, Pair{Key: keys.block(r.end()), Value: rest[:n:n]})
	rest = rest[n:]
	for part := 1; len(rest) > 0; part++ {
		n = min(len(rest), partSize)
		pairs = append(pairs, Pair{Key: keys.part(r.end(), part), Value: rest[:n:n]})
		rest = rest[n:]
	}
	return pairs
}

// readRecord finds the record that holds the index. Every failure, absence included, is a *CorruptError: the caller
// knows that index < size.
func readRecord(store Store, keys keyspace, index uint64) (*record, error) {
	corrupt := func(err error) error { return &CorruptError{What: "block", Index: index, Err: err} }
	head, err := store.Seek(keys.block(index+1), keys.prefix(kindBlock, 0))
	if err != nil {
		return nil, corrupt(err)
	}
	encoded := head.Value
	size, err := recordSize(encoded)
	if err != nil {
		return nil, corrupt(err)
	}
	end := binary.BigEndian.Uint64(head.Key[len(head.Key)-8:])
	for part := 1; len(encoded) < size; part++ {
		more, err := store.Get(keys.part(end, part))
		if err != nil {
			return nil, corrupt(errors.Wrapf(err, "part %d", part))
		}
		if len(more) == 0 {
			return nil, corrupt(errors.Newf("part %d is empty", part))
		}
		encoded = append(encoded, more...)
	}
	r, err := parseRecord(encoded)
	if err != nil {
		return nil, corrupt(err)
	}
	if !r.holds(index) || r.end() != end {
		return nil, corrupt(errors.Newf("found entries %d to %d under end %d", r.first, r.end(), end))
	}
	return r, nil
}
