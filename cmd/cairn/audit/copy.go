package audit

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// ErrNotCopy says that a directory is not one in which Save may keep a copy. Nothing in it was
// changed.
var ErrNotCopy = errors.New("not a copy of this ledger")

// ErrNotSaved says that a file of the copy could not be written. Nothing is known about the source.
var ErrNotSaved = errors.New("the copy could not be written")

// incoming begins the names of directories in which copies arrive.
const incoming = ".incoming-"

// Copy is a source that passes on what another source serves and keeps it for a directory, in the
// layout that Dir reads. Run adds the tiles that the source does not serve, and reads everything,
// so that a copy is always whole.
//
// Everything arrives in a directory of its own below the copy's. The copy itself is touched only by
// Commit, after the audit: files of a ledger never change, so Commit adds or repairs files, and
// replaces the checkpoint last. An interruption at any time leaves the old copy or the new one.
type Copy struct {
	Source
	dir     string
	staging string
	made    []string // directories that Save made, the outermost first
	old     *Head    // of the copy that is there; nil if there is none
}

// Save prepares to keep a copy in dir, which is absent, empty or holds an older copy of the same
// ledger. Close removes what was not committed.
func Save(src Source, dir string, policy tlog.Verifier) (_ *Copy, err error) {
	c := &Copy{Source: src, dir: dir, made: missingDirs(dir)}
	defer func() {
		if err != nil {
			c.removeMade()
		}
	}()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, errors.Wrap(err, "make the directory of the copy")
	}
	if c.old, err = readHead(dir, policy); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.Wrap(err, "read the directory of the copy")
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, incoming):
			// The rest of an audit that was interrupted.
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return nil, errors.Wrap(err, "clear the rest of an interrupted copy")
			}
		case c.old == nil && name != "tile": // tiles without a checkpoint: an interrupted Commit
			return nil, errors.Wrapf(ErrNotCopy, "%s holds %s and no checkpoint", dir, name)
		}
	}
	if c.staging, err = os.MkdirTemp(dir, incoming); err != nil {
		return nil, errors.Wrap(err, "make a directory for what arrives")
	}
	return c, nil
}

// readHead returns the head of the copy in dir, nil if there is no checkpoint.
func readHead(dir string, policy tlog.Verifier) (*Head, error) {
	note, err := Dir(dir).Checkpoint(context.Background())
	if errors.Is(err, ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, errors.Wrap(err, "read the checkpoint of the copy")
	}
	v, err := policy.Verify(note)
	if err != nil {
		return nil, errors.Wrapf(ErrNotCopy, "the policy refuses the checkpoint of %s: %v", dir, err)
	}
	return &Head{Origin: v.Origin, Size: v.Size, Root: v.Root, Note: note}, nil
}

// Head returns the head of the copy that is there, nil if there is none. An audit that is to be
// committed should be one since Head.
func (c *Copy) Head() *Head { return c.old }

// Close removes what arrived and was not committed, and the directory if Save made it and it is
// empty.
func (c *Copy) Close() error {
	err := os.RemoveAll(c.staging)
	c.removeMade()
	return errors.Wrap(err, "clear what arrived")
}

// missingDirs lists the directories that are missing on the way to dir, the outermost first.
func missingDirs(dir string) []string {
	var missing []string
	for {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			slices.Reverse(missing)
			return missing
		}
		missing = append(missing, dir)
		dir = filepath.Dir(dir)
	}
}

// removeMade removes the directories that Save made. Remove fails for one that is not empty.
func (c *Copy) removeMade() {
	for _, dir := range slices.Backward(c.made) {
		_ = os.Remove(dir)
	}
}

// Commit makes what arrived the copy. The report must be that of the audit that read it, without
// findings. A smaller checkpoint never replaces a larger one, and neither does another history.
func (c *Copy) Commit(ctx context.Context, r *Report) error {
	if !r.OK() || r.Behind || r.Note == nil {
		return errors.AssertionFailedf("a copy that was not verified is not kept")
	}
	if err := c.extends(ctx, r); err != nil {
		return err
	}
	paths, err := c.arrived()
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := c.move(path); err != nil {
			return errors.Wrap(err, "keep the copy")
		}
	}
	return nil
}

// arrived lists the files that arrived, the checkpoint last.
func (c *Copy) arrived() ([]string, error) {
	var paths []string
	err := filepath.WalkDir(c.staging, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(c.staging, path)
		if rel != checkpointPath {
			paths = append(paths, rel)
		}
		return err
	})
	return append(paths, checkpointPath), errors.Wrap(err, "list what arrived")
}

// extends makes sure that what arrived begins with what is there.
func (c *Copy) extends(ctx context.Context, r *Report) error {
	if c.old == nil || c.old.Size == 0 {
		return nil
	}
	switch {
	case c.old.Origin != r.Origin:
		return errors.Wrapf(ErrOtherLedger, "the copy in %s is of %s, this is %s", c.dir, c.old.Origin, r.Origin)
	case c.old.Size > r.Size:
		return errors.Newf("the copy in %s has %d entries, what arrived has %d", c.dir, c.old.Size, r.Size)
	}
	tree, err := merkle.RestoreTree(c.old.Size, newTileCache(Dir(c.staging), r.Size).reader(ctx))
	if err != nil {
		return errors.Wrap(err, "read what arrived")
	}
	if root := tree.Root(); root != c.old.Root {
		return errors.Wrapf(ErrNotCopy, "the copy in %s has the root %s for %d entries, what arrived has %s: both are signed, and one of them was rewritten",
			c.dir, c.old.Root, c.old.Size, root)
	}
	return nil
}

// move puts one file of the staging directory in place. The checkpoint follows when every
// directory that got a file is durable.
func (c *Copy) move(path string) error {
	from, to := filepath.Join(c.staging, path), filepath.Join(c.dir, path)
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	if path == checkpointPath {
		if err := syncDirs(filepath.Join(c.dir, "tile")); err != nil {
			return err
		}
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if path == checkpointPath {
		return syncDirs(c.dir)
	}
	return nil
}

// syncDirs makes the names in a directory and everything below it durable.
func syncDirs(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an empty ledger has no tiles
	}
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		_ = d.Sync() // a file system that cannot sync a directory has nothing to sync
		if err := d.Close(); err != nil {
			return err
		}
	}
	return nil
}

// keep writes a tile that was computed because the source serves none.
func (c *Copy) keep(level uint8, index uint64, hashes []merkle.Hash) error {
	return c.write(merkle.TilePath(level, index, len(hashes)), merkle.AppendTile(nil, hashes))
}

// Checkpoint implements Source.
func (c *Copy) Checkpoint(ctx context.Context) ([]byte, error) {
	raw, err := c.Source.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	return raw, c.write(checkpointPath, raw)
}

// Tile implements Source.
func (c *Copy) Tile(ctx context.Context, level uint8, index uint64, width int) ([]byte, bool, error) {
	raw, ok, err := c.Source.Tile(ctx, level, index, width)
	if err != nil || !ok {
		return raw, ok, err
	}
	if want := width * merkle.HashSize; len(raw) > want {
		raw = raw[:want]
	}
	return raw, true, c.write(merkle.TilePath(level, index, width), raw)
}

// Entries implements Source.
func (c *Copy) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	raw, err := c.Source.Entries(ctx, index, width)
	if err != nil {
		return nil, err
	}
	return raw, c.write(merkle.EntriesPath(index, width), raw)
}

// write writes a file of the staging directory, durably. Its error is ErrNotSaved and names the
// file of the copy.
func (c *Copy) write(path string, raw []byte) error {
	err := writeDurably(filepath.Join(c.staging, filepath.FromSlash(path)), raw)
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err // without the path in the staging directory, which Close removes
	}
	return errors.Mark(errors.Wrapf(err, "save %s", filepath.Join(c.dir, filepath.FromSlash(path))), ErrNotSaved)
}

func writeDurably(path string, raw []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	return errors.CombineErrors(err, f.Close())
}
