package ledger

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/cockroachdb/errors"
)

const (
	// The first byte of a record: whether an entry has an outcome, and a detail. A block of payloads
	// needs no room for outcomes.
	recordPlain    = 1
	recordOutcomes = 2
	recordDetails  = 3 // and outcomes

	recordHeaderSize = 1 + 8 + 8 + 8 + 4 + 4 // form, raft index, raft term, first index, count, block length

	// partSize is where a record is cut into several values: Badger moves larger ones out of its
	// tree.
	partSize = 512 << 10
)

// record is a block as the store holds it: where Raft committed it, which of its entries were
// accepted, their outcomes and details and the block's own bytes. It is a view of the encoded form:
// accepted entries, outcomes and details are found by offset, without parsing the block.
type record struct {
	raftIndex, raftTerm uint64
	first               uint64 // index of the first accepted entry
	count               int    // of accepted entries; invariant: at least 1
	offsets             []byte // count × u32, of each accepted entry in raw
	ends                []byte // count × u32, of each outcome in outcomes; empty when there are none
	detailEnds          []byte // count × u32, of each detail in details; empty when there are none
	raw                 []byte // the block
	outcomes, details   []byte
	encoded             []byte
}

// end returns the ledger's size after the block.
func (r *record) end() uint64 { return r.first + uint64(r.count) }

// holds reports whether the entry is in the record.
func (r *record) holds(index uint64) bool { return index >= r.first && index-r.first < uint64(r.count) }

// leaf returns the leaf of an index that the record holds. It aliases the record when the entry has
// no outcome.
func (r *record) leaf(index uint64) ([]byte, error) {
	i := int(index - r.first)
	at := int(binary.BigEndian.Uint32(r.offsets[4*i:]))
	if at < blockHeaderSize || at > len(r.raw) {
		return nil, errors.Newf("entry at offset %d of a block of %d bytes", at, len(r.raw))
	}
	n, err := entrySize(r.raw[at:])
	if err != nil {
		return nil, errors.Wrapf(err, "entry at offset %d of a block", at)
	}
	encoded := r.raw[at : at+n : at+n]
	if len(r.ends) == 0 {
		return encoded, nil
	}
	from, to := span(r.ends, i)
	switch {
	case from > to || to > len(r.outcomes) || n+to-from > MaxLeafSize:
		return nil, errors.Newf("outcome from %d to %d of %d bytes, of an entry of %d bytes", from, to, len(r.outcomes), n)
	case from == to:
		return encoded, nil
	}
	return append(append(make([]byte, 0, n+to-from), encoded...), r.outcomes[from:to]...), nil
}

// span returns where number i of the parts that end at these places begins and ends.
func span(ends []byte, i int) (from, to int) {
	if i > 0 {
		from = int(binary.BigEndian.Uint32(ends[4*i-4:]))
	}
	return from, int(binary.BigEndian.Uint32(ends[4*i:]))
}

// detail returns the detail of an index that the record holds; it is empty when there is none. It
// aliases the record. Nothing has checked it.
func (r *record) detail(index uint64) ([]byte, error) {
	if len(r.detailEnds) == 0 {
		return nil, nil
	}
	from, to := span(r.detailEnds, int(index-r.first))
	if from > to || to > len(r.details) {
		return nil, errors.Newf("detail from %d to %d of %d bytes", from, to, len(r.details))
	}
	return r.details[from:to:to], nil
}

// encodeRecord encodes the record of a block of which the entries at offsets were accepted.
// outcomes has the outcome of each of them, or is nil when none has one. detailEnds has where the
// detail of each of them ends in details, or is nil when none has one.
func encodeRecord(raftIndex, raftTerm, first uint64, offsets []uint32, raw []byte, outcomes [][]byte, detailEnds []uint32, details []byte) *record {
	total := 0
	for _, o := range outcomes {
		total += len(o)
	}
	if len(detailEnds) == 0 || detailEnds[len(detailEnds)-1] == 0 {
		detailEnds, details = nil, nil
	}
	form, room := byte(recordPlain), 0
	switch {
	case len(detailEnds) > 0:
		form, room = recordDetails, 8+8*len(offsets)+total+len(details)
	case total > 0:
		form, room = recordOutcomes, 4+4*len(offsets)+total
	}
	b := make([]byte, 0, recordHeaderSize+4*len(offsets)+4+len(raw)+room)
	b = append(b, form)
	b = binary.BigEndian.AppendUint64(b, raftIndex)
	b = binary.BigEndian.AppendUint64(b, raftTerm)
	b = binary.BigEndian.AppendUint64(b, first)
	b = binary.BigEndian.AppendUint32(b, uint32(len(offsets)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(raw)))
	if form != recordPlain {
		b = binary.BigEndian.AppendUint32(b, uint32(total))
	}
	if form == recordDetails {
		b = binary.BigEndian.AppendUint32(b, uint32(len(details)))
	}
	offsetsAt := len(b)
	for _, o := range offsets {
		b = binary.BigEndian.AppendUint32(b, o)
	}
	endsAt := len(b)
	if form != recordPlain {
		end := 0
		for i := range offsets {
			if i < len(outcomes) {
				end += len(outcomes[i])
			}
			b = binary.BigEndian.AppendUint32(b, uint32(end))
		}
	}
	detailEndsAt := len(b)
	for _, end := range detailEnds {
		b = binary.BigEndian.AppendUint32(b, end)
	}
	sumAt := len(b)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = append(b, raw...)
	outcomesAt := len(b)
	for _, o := range outcomes {
		b = append(b, o...)
	}
	detailsAt := len(b)
	b = append(b, details...)
	return &record{
		raftIndex: raftIndex, raftTerm: raftTerm, first: first, count: len(offsets),
		offsets: b[offsetsAt:endsAt], ends: b[endsAt:detailEndsAt], detailEnds: b[detailEndsAt:sumAt],
		raw: b[sumAt+4 : outcomesAt : outcomesAt], outcomes: b[outcomesAt:detailsAt:detailsAt], details: b[detailsAt:], encoded: b,
	}
}

// recordLayout is where the parts of an encoded record begin.
type recordLayout struct {
	offsets, ends, detailEnds, sum, raw, outcomes, details, size int
}

// layoutOf returns the layout of the record whose encoding begins with b.
func layoutOf(b []byte) (l recordLayout, err error) {
	if len(b) < recordHeaderSize+8 || b[0] < recordPlain || b[0] > recordDetails {
		return l, errors.Newf("block record: %d bytes without a header", len(b))
	}
	count, length, total, details := binary.BigEndian.Uint32(b[25:]), binary.BigEndian.Uint32(b[29:]), uint32(0), uint32(0)
	form := b[0]
	l.offsets = recordHeaderSize
	if form != recordPlain {
		l.offsets, total = l.offsets+4, binary.BigEndian.Uint32(b[l.offsets:])
	}
	if form == recordDetails {
		l.offsets, details = l.offsets+4, binary.BigEndian.Uint32(b[l.offsets:])
	}
	if count == 0 || count > MaxBlockEntries || length > MaxBlockSize || total > MaxBlockOutcomes || details > MaxBlockDetails ||
		form == recordOutcomes && total == 0 || form == recordDetails && details == 0 {
		return l, errors.Newf("block record: %d entries in %d bytes with %d of outcomes and %d of details", count, length, total, details)
	}
	l.ends = l.offsets + 4*int(count)
	if l.detailEnds = l.ends; form != recordPlain {
		l.detailEnds += 4 * int(count)
	}
	if l.sum = l.detailEnds; form == recordDetails {
		l.sum += 4 * int(count)
	}
	l.raw = l.sum + 4
	l.outcomes = l.raw + int(length)
	l.details = l.outcomes + int(total)
	l.size = l.details + int(details)
	return l, nil
}

// parseRecord checks the header, the offsets and the ends, not the block and the outcomes: their
// leaves are checked against the tree.
func parseRecord(b []byte) (*record, error) {
	l, err := layoutOf(b)
	if err != nil {
		return nil, err
	}
	if len(b) != l.size {
		return nil, errors.Newf("block record: %d bytes, want %d", len(b), l.size)
	}
	r := &record{
		raftIndex: binary.BigEndian.Uint64(b[1:]),
		raftTerm:  binary.BigEndian.Uint64(b[9:]),
		first:     binary.BigEndian.Uint64(b[17:]),
		count:     int(binary.BigEndian.Uint32(b[25:])),
		encoded:   b,
	}
	if crc32.Checksum(b[:l.sum], castagnoli) != binary.BigEndian.Uint32(b[l.sum:]) {
		return nil, errors.New("block record: checksum mismatch")
	}
	if r.first+uint64(r.count) < r.first {
		return nil, errors.New("block record: index overflow")
	}
	r.offsets, r.ends, r.detailEnds = b[l.offsets:l.ends], b[l.ends:l.detailEnds], b[l.detailEnds:l.sum]
	r.raw, r.outcomes, r.details = b[l.raw:l.outcomes:l.outcomes], b[l.outcomes:l.details:l.details], b[l.details:]
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

// readRecord finds the record that holds the index. Every failure, absence included, is a
// *CorruptError: the caller knows that index < size.
func readRecord(store Store, keys keyspace, index uint64) (*record, error) {
	corrupt := func(err error) error { return damagedEntry("block", index, err) }
	head, err := store.Seek(keys.block(index+1), keys.prefix(kindBlock, 0))
	if err != nil {
		return nil, corrupt(err)
	}
	encoded := head.Value
	layout, err := layoutOf(encoded)
	if err != nil {
		return nil, corrupt(err)
	}
	end := binary.BigEndian.Uint64(head.Key[len(head.Key)-8:])
	for part := 1; len(encoded) < layout.size; part++ {
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
