package audit

import (
	"context"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
)

// window is how many bundles are fetched ahead of the one being checked.
const window = 16

// fetched is one entry bundle and the tile of its leaf hashes.
type fetched struct {
	index     uint64
	width     int
	bundle    []byte
	bundleErr error
	tile      []byte
	tileOK    bool
	tileErr   error
}

// bundles reads and checks all entries from the tree's size on.
func (a *auditor) bundles(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, end := a.tree.Size()/merkle.EntryBundleWidth, (a.report.Size+merkle.EntryBundleWidth-1)/merkle.EntryBundleWidth
	pending := make(chan chan fetched, window)
	go func() {
		defer close(pending)
		for i := first; i < end; i++ {
			result := make(chan fetched, 1)
			select {
			case pending <- result:
			case <-ctx.Done():
				return
			}
			go func() { result <- a.fetch(ctx, i) }()
		}
	}()
	// All fetchers have ended when this returns: their results are buffered,
	// and the context is cancelled before they are collected.
	defer func() {
		cancel()
		for result := range pending {
			<-result
		}
	}()
	for result := range pending {
		if err := a.bundle(ctx, <-result); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (a *auditor) fetch(ctx context.Context, index uint64) fetched {
	f := fetched{index: index, width: merkle.WidthAt(0, index, a.report.Size)}
	f.bundle, f.bundleErr = a.src.Entries(ctx, index, f.width)
	if a.report.Tiled {
		f.tile, f.tileOK, f.tileErr = a.src.Tile(ctx, 0, index, f.width)
	}
	return f
}

// bundle checks one bundle: its entries, its tile, and which of them is wrong
// where they disagree.
func (a *auditor) bundle(ctx context.Context, f fetched) error {
	start := f.index * merkle.EntryBundleWidth
	path := merkle.EntriesPath(f.index, f.width)
	if f.bundleErr != nil && !errors.Is(f.bundleErr, ErrMissing) {
		return errors.Wrapf(f.bundleErr, "read %s", path)
	}
	var served []merkle.Hash
	tilePath := merkle.TilePath(0, f.index, f.width)
	if f.tileOK || f.tileErr != nil {
		var damaged *tileError
		var err error
		served, err = parseServed(f.tile, f.tileErr, 0, f.index, f.width)
		switch {
		case errors.As(err, &damaged):
			if err := a.found(damaged.path, nil, "%s", damaged.problem); err != nil {
				return err
			}
		case err != nil:
			return errors.Wrapf(err, "read %s", tilePath)
		default:
			a.report.Tiles++
		}
	}

	leaves, err := [][]byte(nil), f.bundleErr
	if err == nil {
		leaves, err = merkle.ParseEntryBundle(f.bundle, f.width)
	}
	if err != nil {
		problem := err.Error()
		if errors.Is(err, ErrMissing) {
			problem = "missing"
		}
		if err := a.found(path, nil, "%s (entries %d to %d)", problem, start, start+uint64(f.width)-1); err != nil {
			return err
		}
		if served == nil {
			return a.stop(path, "neither its entries nor their hashes can be read: the audit ends here, at entry %d", start)
		}
		return a.grow(ctx, start, served)
	}
	computed := merkle.LeafHashes(leaves)
	hashes := computed
	if served != nil {
		if hashes, err = a.settle(ctx, f, computed, served); err != nil {
			return err
		}
	}
	if err := a.entries(start, path, leaves, func(i int) bool { return computed[i] != hashes[i] }); err != nil {
		return err
	}
	return a.grow(ctx, start, hashes)
}

// entries looks at the entries themselves, except for those that were changed: what those say is
// nobody's word.
func (a *auditor) entries(start uint64, path string, leaves [][]byte, changed func(i int) bool) error {
	for i, leaf := range leaves {
		index := start + uint64(i)
		if index < a.tree.Size() {
			continue // audited earlier, and covered by the root of then
		}
		a.report.Entries++
		a.report.Bytes += uint64(len(leaf))
		if changed(i) {
			continue
		}
		if err := a.entry(index, leaf); err != nil && len(a.leaves) < maxFindings-1 {
			a.leaves = append(a.leaves, len(a.report.Findings))
			if err := a.found(path, &index, "entry %d: %v", index, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle decides, where entries and tile disagree, which of them is wrong, and
// returns the hashes to go on with.
func (a *auditor) settle(ctx context.Context, f fetched, computed, served []merkle.Hash) ([]merkle.Hash, error) {
	var differ []int
	for i := range computed {
		if computed[i] != served[i] {
			differ = append(differ, i)
		}
	}
	if len(differ) == 0 {
		return computed, nil
	}
	servedFits, above, err := a.fits(ctx, f, served)
	if err != nil {
		return nil, err
	}
	computedFits, _, err := a.fits(ctx, f, computed)
	if err != nil {
		return nil, err
	}
	tilePath, entriesPath := merkle.TilePath(0, f.index, f.width), merkle.EntriesPath(f.index, f.width)
	for _, i := range differ {
		index := f.index*merkle.EntryBundleWidth + uint64(i)
		switch {
		case servedFits:
			err = a.found(entriesPath, &index, "entry %d was changed: its leaf hash is %s, tile and %s say %s", index, computed[i], above, served[i])
		case computedFits:
			err = a.found(tilePath, nil, "hash %d of %d (%s) is wrong: %s, but entry %d and %s give %s",
				i, len(served), hashRange(i), served[i], index, above, computed[i])
		default:
			err = a.found(tilePath, &index, "hash %d of %d is %s, but entry %d has the leaf hash %s, and neither fits %s",
				i, len(served), served[i], index, computed[i], above)
		}
		if err != nil {
			return nil, err
		}
	}
	if servedFits {
		return served, nil
	}
	return computed, nil
}

// fits says whether leaf hashes agree with what stands above them: the tile of
// level 1 for a full tile, the checkpoint's root for the last one.
func (a *auditor) fits(ctx context.Context, f fetched, hashes []merkle.Hash) (bool, string, error) {
	var damaged *tileError
	if f.width < merkle.TileWidth {
		root, err := a.tiles.rootWith(ctx, 0, f.index, hashes)
		if errors.As(err, &damaged) {
			return false, "the checkpoint", nil
		}
		return err == nil && root == a.report.Root, "the checkpoint", err
	}
	above, _, err := a.tiles.tile(ctx, 1, f.index/merkle.TileWidth)
	path := merkle.TilePath(1, f.index/merkle.TileWidth, max(len(above), 1))
	if errors.As(err, &damaged) {
		return false, path, nil
	}
	if err != nil {
		return false, path, errors.Wrapf(err, "read %s", path)
	}
	return subtreeRoot(hashes) == above[f.index%merkle.TileWidth], path, nil
}

// grow adds the hashes of a bundle to the tree and compares the tiles that
// became full above level 0.
func (a *auditor) grow(ctx context.Context, start uint64, hashes []merkle.Hash) error {
	skip := a.tree.Size() - start
	var full []merkle.Tile
	if since := a.opts.Since; since != nil && a.report.Since == 0 && since.Size > a.tree.Size() && since.Size <= start+uint64(len(hashes)) {
		// Where everything is read, the old root is compared when the tree reaches its size.
		to := since.Size - start
		full = a.tree.Append(hashes[skip:to])
		skip = to
		if root := a.tree.Root(); root != since.Root {
			a.oldRoot = &root // conclude knows what that means
		}
	}
	for _, tile := range append(full, a.tree.Append(hashes[skip:])...) {
		if tile.Level == 0 && a.report.Tiled {
			continue // compared with its bundle
		}
		if err := a.compareTile(ctx, tile.Level, tile.Index, tile.Hashes); err != nil {
			return err
		}
	}
	if a.opts.Progress != nil {
		a.opts.Progress(len(hashes) - int(skip))
	}
	return nil
}
