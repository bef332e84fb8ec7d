package backup

import (
	"path/filepath"
	"strconv"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/policychain"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

const (
	ledgersDir     = "ledgers"
	checkpointFile = "checkpoint"
	chainFile      = "policychain"
	maxBundle      = merkle.EntryBundleWidth * (2 + merkle.MaxEntrySize)
)

func folderOf(dir string, group uint64) string {
	return filepath.Join(dir, ledgersDir, strconv.FormatUint(group, 10))
}

// folder is the folder of one ledger as it is on the disk, up to a size.
type folder struct {
	dir      string
	size     uint64
	policies []uint64
	note     []byte // of the checkpoint of this size
}

// read reads a file of the folder.
func (f *folder) read(path string, limit int64) ([]byte, error) {
	return wholefile.Read(filepath.Join(f.dir, filepath.FromSlash(path)), limit)
}

// ReadTile implements merkle.TileReader.
func (f *folder) ReadTile(level uint8, index uint64, _ int) ([]merkle.Hash, error) {
	hashes, path, err := f.tile(level, index)
	return hashes, errors.Wrap(err, path)
}

// tile returns the hashes of a tile at the folder's size, and the path of the file.
func (f *folder) tile(level uint8, index uint64) (hashes []merkle.Hash, path string, err error) {
	width := merkle.WidthAt(level, index, f.size)
	path = merkle.TilePath(level, index, width)
	raw, err := f.read(path, merkle.TileWidth*merkle.HashSize)
	if err == nil {
		hashes, err = merkle.ParseTile(raw, width)
	}
	return hashes, path, err
}

// bundle returns the leaves of a bundle at the folder's size.
func (f *folder) bundle(index uint64) (leaves [][]byte, path string, err error) {
	width := merkle.WidthAt(0, index, f.size)
	path = merkle.EntriesPath(index, width)
	raw, err := f.read(path, maxBundle)
	if err != nil {
		return nil, path, err
	}
	leaves, err = merkle.ParseEntryBundle(raw, width)
	return leaves, path, err
}

// folder is a policychain.Source: the entries and proofs that the chain of policies needs.
var _ policychain.Source = (*folder)(nil)

// Head implements policychain.Source.
func (f *folder) Head() ledger.Head { return ledger.Head{Size: f.size} }

// Leaf implements policychain.Source.
func (f *folder) Leaf(index uint64) ([]byte, error) {
	leaves, path, err := f.bundle(index / merkle.EntryBundleWidth)
	if err != nil {
		return nil, errors.Wrap(err, path)
	}
	return leaves[index%merkle.EntryBundleWidth], nil
}

// InclusionProof implements policychain.Source.
func (f *folder) InclusionProof(index, size uint64) ([]merkle.Hash, error) {
	return merkle.InclusionProof(f, index, size)
}

// PolicyRecords implements policychain.Source.
func (f *folder) PolicyRecords(uint64) ([]uint64, error) { return f.policies, nil }

// Receipt implements policychain.Source.
func (f *folder) Receipt(index uint64) (*tlog.Receipt, error) {
	leaf, err := f.Leaf(index)
	if err != nil {
		return nil, err
	}
	proof, err := f.InclusionProof(index, f.size)
	return &tlog.Receipt{Extra: leaf, Index: index, Proof: proof, Checkpoint: f.note}, err
}
