package backup

import (
	"context"
	"path/filepath"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/policychain"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// Verify checks the copy of one ledger, every file of it, for who trusts a policy of the ledger. Each
// entry is there three times: in a block, in a bundle, and as a hash in a tile. So the one that
// differs is named, and the signed root judges what all of them say. The error is a *BadError, or
// that of the context. progress, if set, is called with how many more entries were checked.
func (l *Ledger) Verify(ctx context.Context, trusted *tlog.Policy, progress func(entries int)) error {
	raw, err := wholefile.Read(filepath.Join(l.dir, chainFile), policychain.MaxSize)
	var chain *policychain.Chain
	if err == nil {
		chain, err = policychain.Parse(raw)
	}
	if err != nil {
		return l.bad(chainFile, nil, err)
	}
	if _, err := verifyUnder(chain, l.Note, []*tlog.Policy{trusted}); err != nil {
		return l.bad(checkpointFile, nil, err)
	}
	v := &verification{l: l, tree: merkle.NewTree(), files: &folder{dir: l.dir, size: l.Size}, progress: progress}
	err = l.Records(func(r *ledger.BlockRecord) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		leaves, err := r.Leaves()
		if err != nil {
			return l.bad(v.blocksOf(r.First), &r.First, err)
		}
		for i, leaf := range leaves {
			if v.leaves = append(v.leaves, leaf); len(leaf) > 1 && ledger.Kind(leaf[1]) == ledger.KindRecord {
				l.highest = max(l.highest, highestID(leaf))
			}
			if len(v.leaves) == merkle.EntryBundleWidth || r.First+uint64(i)+1 == l.Size {
				if err := v.group(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.edge()
}

// highestID returns the highest id of a member that a genesis or a policy change names.
func highestID(leaf []byte) (highest uint64) {
	if g, err := ledger.GenesisOf(leaf); err == nil {
		for _, m := range g.Members {
			highest = max(highest, m.ID)
		}
	}
	if c, err := ledger.PolicyChangeOf(leaf); err == nil {
		for _, m := range c.Policy.Members {
			highest = max(highest, m.ID)
		}
	}
	return highest
}

// verification is one Verify.
type verification struct {
	l        *Ledger
	tree     *merkle.Tree
	files    *folder
	leaves   [][]byte // of the bundle that is not full yet
	progress func(int)
}

// group compares the leaves of one bundle, from the blocks, with the bundle and its tile.
func (v *verification) group() error {
	l, start := v.l, v.tree.Size()
	index := start / merkle.EntryBundleWidth
	hashes := merkle.LeafHashes(v.leaves)
	bundle, bundlePath, err := v.files.bundle(index)
	if err != nil {
		return l.bad(bundlePath, &start, err)
	}
	tile, tilePath, err := v.files.tile(0, index)
	if err != nil {
		return l.bad(tilePath, &start, err)
	}
	for i := range hashes {
		at := start + uint64(i)
		inBlock, inBundle, inTile := hashes[i], merkle.LeafHash(bundle[i]), tile[i]
		switch {
		case inBlock == inBundle && inBlock == inTile:
		case inBundle == inTile:
			return l.bad(v.blocksOf(at), &at, errors.New("bundle and tile have another entry"))
		case inBlock == inTile:
			return l.bad(bundlePath, &at, errors.New("blocks and tile have another entry"))
		case inBlock == inBundle:
			return l.bad(tilePath, &at, errors.Newf("the hash %s is not that of the entry", inTile))
		default:
			return l.bad(tilePath, &at, errors.New("blocks, bundle and tile differ"))
		}
	}
	n := len(hashes)
	if was := v.l.row.Size; start < was && was <= start+uint64(n) {
		full := v.tree.Append(hashes[:was-start])
		if root := v.tree.Root(); root != v.l.row.Root {
			return &BadError{Origin: l.Origin, Path: manifestFile, Err: errors.Newf("size %d has the root %s, not %s", was, root, v.l.row.Root)}
		}
		if err := v.compare(full); err != nil {
			return err
		}
		hashes = hashes[was-start:]
	}
	if err := v.compare(v.tree.Append(hashes)); err != nil {
		return err
	}
	if v.leaves = nil; v.progress != nil {
		v.progress(n)
	}
	return nil
}

// blocksOf returns the file of blocks that has an entry.
func (v *verification) blocksOf(index uint64) string {
	firsts, _ := listBlocks(v.l.dir)
	path := blocksPath(0)
	for _, first := range firsts {
		if first <= index {
			path = blocksPath(first)
		}
	}
	return path
}

// compare compares tiles above the lowest level.
func (v *verification) compare(full []merkle.Tile) error {
	for _, t := range full {
		if t.Level > 0 {
			if err := v.compareTile(t.Level, t.Index, t.Hashes); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verification) compareTile(level uint8, index uint64, want []merkle.Hash) error {
	got, path, err := v.files.tile(level, index)
	if err == nil && !equal(got, want) {
		err = errors.New("its hashes are not those of the tiles below")
	}
	if err != nil {
		return v.l.bad(path, nil, err)
	}
	return nil
}

// edge compares the partial tiles above the lowest level, and the root.
func (v *verification) edge() error {
	for level := uint8(1); level < 8; level++ {
		if hashes := v.tree.Partial(level); len(hashes) > 0 {
			if err := v.compareTile(level, v.l.Size>>(merkle.TileHeight*(uint(level)+1)), hashes); err != nil {
				return err
			}
		}
	}
	if root := v.tree.Root(); root != v.l.Root {
		return v.l.bad(checkpointFile, nil, errors.Newf("the %d entries give the root %s, the checkpoint is for %s: entries were replaced as a whole", v.l.Size, root, v.l.Root))
	}
	return nil
}

// Verify checks all of a backup: Ledger.Verify. trusted returns a policy of a ledger that the caller
// trusts. All ledgers are looked at; the error joins what is wrong with each.
func (b *Backup) Verify(ctx context.Context, trusted func(origin string) (*tlog.Policy, error), progress func(int)) error {
	var all error
	for _, l := range b.Ledgers {
		policy, err := trusted(l.Origin)
		if err == nil {
			err = l.Verify(ctx, policy, progress)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && all == nil {
			all = err
		} else if err != nil {
			all = errors.Join(all, err)
		}
	}
	return all
}
