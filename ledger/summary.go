package ledger

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	summaryVersion = 1
	summarySize    = 1 + 8*4 + merkle.HashSize + 4
)

// Summary is the ledger's state at one applied raft index, in a form that fits into the Raft log's
// mark: enough to rebuild the tree from the store and to see at once when that gives another root.
// The zero Summary is the empty ledger before the first block.
type Summary struct {
	RaftIndex, RaftTerm uint64
	Size                uint64
	Root                merkle.Hash // of the zero Summary: zero, read as the empty root
	Time                int64       // of the newest entry, µs since the Unix epoch
}

// Marshal returns the fixed-size encoding: version, four integers, root, CRC-32C.
func (s Summary) Marshal() []byte {
	b := make([]byte, 0, summarySize)
	b = append(b, summaryVersion)
	b = binary.BigEndian.AppendUint64(b, s.RaftIndex)
	b = binary.BigEndian.AppendUint64(b, s.RaftTerm)
	b = binary.BigEndian.AppendUint64(b, s.Size)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Time))
	b = append(b, s.Root[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// ParseSummary decodes Marshal's result. No bytes at all are the zero Summary.
func ParseSummary(b []byte) (Summary, error) {
	if len(b) == 0 {
		return Summary{}, nil
	}
	if len(b) != summarySize || b[0] != summaryVersion {
		return Summary{}, errors.Newf("parse ledger summary: %d bytes of version %d, want %d of version %d", len(b), b[0], summarySize, summaryVersion)
	}
	body := b[:summarySize-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[summarySize-4:]) {
		return Summary{}, errors.New("parse ledger summary: checksum mismatch")
	}
	s := Summary{
		RaftIndex: binary.BigEndian.Uint64(b[1:]),
		RaftTerm:  binary.BigEndian.Uint64(b[9:]),
		Size:      binary.BigEndian.Uint64(b[17:]),
		Time:      int64(binary.BigEndian.Uint64(b[25:])),
	}
	copy(s.Root[:], b[33:])
	return s, nil
}

// root returns Root with the zero value read as the empty ledger's.
func (s Summary) root() merkle.Hash {
	if s.Size == 0 {
		return merkle.EmptyRoot()
	}
	return s.Root
}
