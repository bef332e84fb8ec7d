package backup

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/ledger"
)

const (
	blocksMagic   = "CRNK"
	blocksVersion = 1
	blocksHeader  = 4 + 4 + 8 + 8
	// blocksBytes closes a file of blocks. What an interrupted Take has received of the newest file is
	// lost.
	blocksBytes = 16 << 20
	// maxBlocks bounds a file: a last record may be large.
	maxBlocks = blocksBytes + ledger.MaxRecordSize + ledger.MaxBlockDetails + 1<<20
)

// blocksPath returns the path of the blocks from an entry on, within the folder of the ledger.
func blocksPath(first uint64) string { return filepath.Join("blocks", fmt.Sprintf("%020d", first)) }

// blocksFile is a file of blocks that takes shape.
type blocksFile struct {
	first, end uint64
	body       []byte // with the header
}

// add appends a record; the first one sets where the file begins.
func (f *blocksFile) add(r *ledger.BlockRecord) {
	if len(f.body) == 0 {
		f.first = r.First
		f.body = append(append(f.body, blocksMagic...), blocksVersion, 0, 0, 0)
		f.body = append(f.body, make([]byte, 16)...)
	}
	f.end = r.End()
	f.body = binary.BigEndian.AppendUint32(f.body, uint32(len(r.Encoded)))
	f.body = append(f.body, r.Encoded...)
}

// finish returns the file.
func (f *blocksFile) finish() []byte {
	binary.BigEndian.PutUint64(f.body[8:], f.first)
	binary.BigEndian.PutUint64(f.body[16:], f.end)
	return binary.BigEndian.AppendUint32(f.body, crc32.Checksum(f.body, castagnoli))
}

// parseBlocks returns the records of a file, which continue each other without a gap.
func parseBlocks(raw []byte) (records []*ledger.BlockRecord, err error) {
	if len(raw) < blocksHeader+4 || string(raw[:4]) != blocksMagic || raw[4] != blocksVersion {
		return nil, errors.Newf("%d bytes that do not start with %s and version %d", len(raw), blocksMagic, blocksVersion)
	}
	sum := len(raw) - 4
	if crc32.Checksum(raw[:sum], castagnoli) != binary.BigEndian.Uint32(raw[sum:]) {
		return nil, errors.New("the checksum does not match: the file is damaged")
	}
	next, end, raft := binary.BigEndian.Uint64(raw[8:]), binary.BigEndian.Uint64(raw[16:]), uint64(0)
	for rest := raw[blocksHeader:sum]; len(rest) > 0; {
		if len(rest) < 4 || uint64(binary.BigEndian.Uint32(rest)) > uint64(len(rest)-4) {
			return nil, errors.Newf("the record of entry %d is cut off", next)
		}
		n := 4 + int(binary.BigEndian.Uint32(rest))
		r, err := ledger.ParseBlockRecord(rest[4:n:n])
		if err != nil {
			return nil, errors.Wrapf(err, "entry %d", next)
		}
		if r.First != next || r.RaftIndex <= raft {
			return nil, errors.Newf("entry %d: the record is of entries %d to %d at raft index %d, behind raft index %d", next, r.First, r.End()-1, r.RaftIndex, raft)
		}
		records, next, raft, rest = append(records, r), r.End(), r.RaftIndex, rest[n:]
	}
	if next != end || len(records) == 0 {
		return nil, errors.Newf("the records end with size %d, the header says %d", next, end)
	}
	return records, nil
}

// readBlocks reads the file whose first entry this is.
func readBlocks(dir string, first uint64) ([]*ledger.BlockRecord, error) {
	raw, err := wholefile.Read(filepath.Join(dir, blocksPath(first)), maxBlocks)
	if err != nil {
		return nil, err
	}
	records, err := parseBlocks(raw)
	if err == nil && records[0].First != first {
		err = errors.Newf("it begins with entry %d", records[0].First)
	}
	return records, err
}

// listBlocks returns where the files of blocks begin, ascending.
func listBlocks(dir string) (firsts []uint64, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, "blocks"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if first, err := strconv.ParseUint(e.Name(), 10, 63); err == nil && filepath.Join("blocks", e.Name()) == blocksPath(first) {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, err
}
