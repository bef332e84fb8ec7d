package ledger

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"
)

// rawEntry encodes an entry without the checks of AppendLeaf.
func rawEntry(version, kind, flags byte, time int64, principal, key, body string) []byte {
	b := binary.BigEndian.AppendUint64([]byte{version, kind, flags}, uint64(time))
	b = binary.BigEndian.AppendUint16(b, uint16(len(principal)))
	b = append(b, byte(len(key)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, principal+key+body...)
}

// rawPayload encodes a payload without the checks of AppendLeaf.
func rawPayload(time int64, principal, key, payload string) []byte {
	return rawEntry(2, 1, 0, time, principal, key, payload)
}

// rawBlock encodes a block of one batch without the checks of EncodeBlock.
func rawBlock(time int64, flags byte, expected uint64, leaves ...[]byte) []byte {
	b := append([]byte(blockMagic), blockVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(time))
	b = append(b, make([]byte, 8+32)...) // anchor
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(len(leaves)))
	b = binary.BigEndian.AppendUint64(append(b, flags), expected)
	b = binary.BigEndian.AppendUint32(b, uint32(len(leaves)))
	for _, leaf := range leaves {
		b = append(b, leaf...)
	}
	b = append(b, make([]byte, blockCRCSize)...)
	putCRC(b)
	return b
}

// TestLeafLimits: the lengths of docs/format-ledger.md, at the limit and one beyond.
func TestLeafLimits(t *testing.T) {
	t.Parallel()
	of := func(n int) string { return strings.Repeat("x", n) }
	for what, c := range map[string]struct {
		leaf []byte
		ok   bool
	}{
		"principal of 1":     {rawPayload(5, "p", "", ""), true},
		"principal of 0":     {rawPayload(5, "", "k", "payload"), false},
		"principal of 2,048": {rawPayload(5, of(2048), "", ""), true},
		"principal of 2,049": {rawPayload(5, of(2049), "", ""), false},
		"key of 128":         {rawPayload(5, "p", of(128), ""), true},
		"key of 129":         {rawPayload(5, "p", of(129), ""), false},
		"leaf of 65,535":     {rawPayload(5, "p", "", of(65535-17)), true},
		"leaf of 65,536":     {rawPayload(5, "p", "", of(65536-17)), false},
		"version 1":          {rawEntry(1, 1, 0, 5, "p", "", ""), false},
		"version 3":          {rawEntry(3, 1, 0, 5, "p", "", ""), false},
		"kind 0":             {rawEntry(2, 0, 0, 5, "p", "", ""), false},
		"kind 3":             {rawEntry(2, 3, 0, 5, "p", "", ""), true},
		"kind 4":             {rawEntry(2, 4, 0, 5, "p", "", ""), false},
		"flag 1":             {rawEntry(2, 1, 1, 5, "p", "", ""), false},
		"flag 128":           {rawEntry(2, 1, 128, 5, "p", "", ""), false},
		"body cut short":     {rawEntry(2, 1, 0, 5, "p", "", "body")[:20], false},
	} {
		_, err := ParseLeaf(c.leaf)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrBadLeaf) {
			t.Errorf("%s: %v, want accepted: %t", what, err, c.ok)
		}
		block := rawBlock(5, 0, 0, c.leaf)
		if c.leaf[1] == byte(KindRecord) {
			block[5] = blockHasRecords
			putCRC(block)
		}
		_, err = ParseBlock(block)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrBadBlock) {
			t.Errorf("a block with a %s: %v, want accepted: %t", what, err, c.ok)
		}
	}
}

// TestBlocksThatAreRefused: values that docs/format-ledger.md does not allow, under a correct
// checksum.
func TestBlocksThatAreRefused(t *testing.T) {
	t.Parallel()
	leaf := rawPayload(5, "p", "", "")
	many := func(n int) [][]byte {
		leaves := make([][]byte, n)
		for i := range leaves {
			leaves[i] = leaf
		}
		return leaves
	}
	changed := func(at int, value byte) []byte {
		b := rawBlock(5, 0, 0, leaf)
		b[at] = value
		putCRC(b)
		return b
	}
	for what, c := range map[string]struct {
		block []byte
		ok    bool
	}{
		"sound":                             {rawBlock(5, 0, 0, leaf), true},
		"an expected size":                  {rawBlock(5, 1, 7, leaf), true},
		"an expected size without its flag": {rawBlock(5, 0, 7, leaf), false},
		"an unknown flag":                   {rawBlock(5, 2, 0, leaf), false},
		"an unknown flag beside a known":    {rawBlock(5, 3, 7, leaf), false},
		"16,384 entries":                    {rawBlock(5, 0, 0, many(MaxBlockEntries)...), true},
		"16,385 entries":                    {rawBlock(5, 0, 0, many(MaxBlockEntries+1)...), false},
		"another time":                      {rawBlock(6, 0, 0, leaf), false},
		"two principals":                    {rawBlock(5, 0, 0, leaf, rawPayload(5, "q", "", "")), false},
		"reserved byte 5":                   {changed(5, 1), false},
		"reserved byte 6":                   {changed(6, 0x80), false},
		"reserved byte 7":                   {changed(7, 1), false},
	} {
		_, err := ParseBlock(c.block)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrBadBlock) {
			t.Errorf("%s: %v, want accepted: %t", what, err, c.ok)
		}
	}
}

// TestSummaryOfAnotherVersion is refused, although its checksum is right.
func TestSummaryOfAnotherVersion(t *testing.T) {
	t.Parallel()
	b := Summary{RaftIndex: 3, RaftTerm: 1, Size: 2, Time: 5}.Marshal()
	b[0] = summaryVersion + 1
	end := len(b) - 4
	binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[:end], castagnoli))
	if s, err := ParseSummary(b); err == nil {
		t.Errorf("a summary of version %d was read as %+v", b[0], s)
	}
}
