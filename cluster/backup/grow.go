package backup

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/policychain"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// growth is the copy of one ledger while it grows. One goroutine uses it.
type growth struct {
	root  string // the directory of the backup
	dir   string // the folder of the ledger
	row   Row    // as far as tree is
	tree  *merkle.Tree
	files *writer
	// former are the sizes of which there may be partial files: of the last backup, and of what an
	// interrupted one has left.
	former []uint64
	bundle [][]byte // leaves of the bundle that is not full yet
	open   blocksFile
	raft   uint64 // index of the newest block
	// listed are the ledgers that the new entries created, in the folder of the directory alone.
	listed []directory.Ledger
	isRoot bool
	// note is the checkpoint of the size of row, with chain of the policies that seal it. They are set by
	// judge, when there is more than the last backup has.
	note, chain []byte
}

// begin continues the copy that a row describes: an empty one has size 0.
func begin(root string, row Row, files *writer) (*growth, error) {
	g := &growth{root: root, dir: folderOf(root, row.Group), row: row, files: files, former: []uint64{row.Size}, isRoot: row.Group == directory.Group}
	g.row.Policies = append([]uint64(nil), row.Policies...)
	f := &folder{dir: g.dir, size: row.Size}
	var err error
	if g.tree, err = merkle.RestoreTree(row.Size, f); err != nil {
		return nil, g.damaged(err)
	}
	if row.Size > 0 && g.tree.Root() != row.Root {
		return nil, g.damaged(errors.Newf("the tiles of size %d have the root %s, MANIFEST says %s", row.Size, g.tree.Root(), row.Root))
	}
	if row.Size%merkle.EntryBundleWidth > 0 {
		leaves, path, err := f.bundle(row.Size / merkle.EntryBundleWidth)
		if err == nil && !equal(merkle.LeafHashes(leaves), g.tree.Partial(0)) {
			err = errors.New("its entries are not those of the tree")
		}
		if err != nil {
			return nil, g.damaged(errors.Wrap(err, path))
		}
		g.bundle = leaves
	}
	return g, nil
}

func (g *growth) damaged(err error) error {
	return errors.Mark(errors.Wrapf(err, "the backup of %s, in %s, is damaged; nothing was changed", g.row.Origin, g.dir), ErrDamaged)
}

func equal(a, b []merkle.Hash) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// leftovers takes the files of blocks that an interrupted Take has left, as far as they continue the
// copy. Whether they belong to the ledger is proved by what comes next.
func (g *growth) leftovers() error {
	firsts, err := listBlocks(g.dir)
	if err != nil {
		return errors.Wrap(err, "list blocks")
	}
	for _, first := range firsts {
		if first < g.row.Size {
			continue
		}
		records, err := readBlocks(g.dir, first)
		if err != nil || first != g.row.Size {
			break // it is written again
		}
		if err := g.grow(records); err != nil {
			return err
		}
	}
	g.former = append(g.former, g.row.Size)
	return nil
}

// dropLeftovers removes the files of blocks behind a size.
func (g *growth) dropLeftovers(size uint64) error {
	firsts, err := listBlocks(g.dir)
	for _, first := range firsts {
		if first >= size {
			err = errors.CombineErrors(err, os.Remove(filepath.Join(g.dir, blocksPath(first))))
		}
	}
	return err
}

// add adds records that are proved to be the ledger's.
func (g *growth) add(records []*ledger.BlockRecord) error {
	for _, r := range records {
		g.open.add(r)
		if len(g.open.body) >= blocksBytes {
			g.closeBlocks()
		}
	}
	return g.grow(records)
}

func (g *growth) closeBlocks() {
	if len(g.open.body) > 0 {
		g.files.put(filepath.Join(g.dir, blocksPath(g.open.first)), g.open.finish())
	}
	g.open = blocksFile{}
}

// grow appends the entries of records to the tree, and writes tiles and bundles that became full.
func (g *growth) grow(records []*ledger.BlockRecord) error {
	for _, r := range records {
		leaves, err := r.Leaves()
		if err != nil {
			return err
		}
		for i, leaf := range leaves {
			if err := g.notice(r.First+uint64(i), leaf); err != nil {
				return err
			}
			if g.bundle = append(g.bundle, leaf); len(g.bundle) == merkle.EntryBundleWidth {
				g.putBundle((r.First + uint64(i)) / merkle.EntryBundleWidth)
				g.bundle = nil
			}
		}
		for _, t := range g.tree.Append(merkle.LeafHashes(leaves)) {
			g.put(t.Path(), merkle.AppendTile(nil, t.Hashes))
		}
		g.row.Size, g.row.Root, g.raft = g.tree.Size(), g.tree.Root(), r.RaftIndex
	}
	return nil
}

// notice finds policy changes, and ledgers that the directory creates.
func (g *growth) notice(index uint64, leaf []byte) error {
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return errors.Wrapf(err, "entry %d", index)
	}
	if e.Kind == ledger.KindRecord {
		_, change := ledger.ParsePolicyChange(e.Body)
		_, handover := ledger.ParseHandover(e.Body)
		if change == nil || handover == nil {
			g.row.Policies = append(g.row.Policies, index)
		}
	}
	if g.isRoot {
		created, err := directory.CreatedBy(index, leaf)
		if err != nil {
			return err
		}
		if created != nil {
			g.listed = append(g.listed, *created)
		}
	}
	return nil
}

func (g *growth) put(path string, raw []byte) {
	g.files.put(filepath.Join(g.dir, filepath.FromSlash(path)), raw)
}

func (g *growth) putBundle(index uint64) {
	var raw []byte
	for _, leaf := range g.bundle {
		raw = merkle.AppendEntryBundle(raw, leaf)
	}
	g.put(merkle.EntriesPath(index, len(g.bundle)), raw)
}

// judge writes what is missing of the new size beside the old files, and verifies the checkpoint of
// that size for who trusts a policy of the ledger. The chain of policies comes from the entries.
func (g *growth) judge(note []byte, trusted ...*tlog.Policy) error {
	g.closeBlocks()
	if len(g.bundle) > 0 {
		g.putBundle(g.row.Size / merkle.EntryBundleWidth)
	}
	for level := uint8(0); level < 8; level++ {
		if hashes := g.tree.Partial(level); len(hashes) > 0 {
			g.put(merkle.TilePath(level, g.row.Size>>(merkle.TileHeight*(uint(level)+1)), len(hashes)), merkle.AppendTile(nil, hashes))
		}
	}
	if err := g.files.settle(g.root); err != nil {
		return err
	}
	c, err := policychain.Of(&folder{dir: g.dir, size: g.row.Size, policies: g.row.Policies, note: note})
	if err == nil {
		_, err = verifyUnder(c, note, trusted)
	}
	if err != nil {
		return errors.Mark(errors.Wrapf(err, "the checkpoint of %s, size %d", g.row.Origin, g.row.Size), ErrRefused)
	}
	g.note, g.chain = note, c.Marshal()
	return nil
}

// verifyUnder verifies a checkpoint for who trusts a policy of the chain.
func verifyUnder(c *policychain.Chain, note []byte, trusted []*tlog.Policy) (*tlog.VerifiedCheckpoint, error) {
	v, err := c.Verify(trusted[0])
	if err != nil {
		return nil, err
	}
	return v.Verify(note)
}

// commit replaces the checkpoint.
func (g *growth) commit() error {
	path := filepath.Join(g.dir, chainFile)
	if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, g.chain) {
		if err := g.files.replace(g.root, path, g.chain); err != nil {
			return err
		}
	}
	return g.files.replace(g.root, filepath.Join(g.dir, checkpointFile), g.note)
}

// tidy removes the partial files of former sizes.
func (g *growth) tidy() {
	for _, size := range g.former {
		for level := uint8(0); level < 8; level++ {
			index := size >> (merkle.TileHeight * (uint(level) + 1))
			was := merkle.WidthAt(level, index, size)
			if was == 0 || was == merkle.WidthAt(level, index, g.row.Size) {
				continue
			}
			paths := []string{merkle.TilePath(level, index, was)}
			if level == 0 {
				paths = append(paths, merkle.EntriesPath(index, was))
			}
			for _, path := range paths {
				path = filepath.Join(g.dir, filepath.FromSlash(path))
				_ = os.Remove(path)
				_ = os.Remove(filepath.Dir(path)) // it stays when it has a wider tile
			}
		}
	}
}
