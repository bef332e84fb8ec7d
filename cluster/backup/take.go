package backup

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/peers"
	"github.com/cairnledger/cairn/cluster/directory"
	"github.com/cairnledger/cairn/internal/wholefile"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
)

// What is wrong with a backup, or with what arrived for it.
var (
	// ErrDamaged: the files of the backup are not what they were when they were written.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrRefused: what the nodes sent is not proved, or not what was backed up before. The backup is as it
	// was.
	ErrRefused = errors.New("what the cluster sent is refused")
	// ErrNotBackup: the directory holds something else, or the backup of another cluster.
	ErrNotBackup = errors.New("the directory is no backup of this cluster")
	// ErrInUse: another process writes the backup.
	ErrInUse = errors.New("another process writes this backup")
)

const (
	// sealPatience is how long a ledger that is new may take to be sealed, and a node to reach what was
	// backed up before.
	sealPatience = 10 * time.Second
	sealPoll     = 100 * time.Millisecond
	lockFile     = "LOCK"
)

// Node is a node of the cluster: *peers.Client.
type Node interface {
	Blocks(ctx context.Context, origin string, r peers.Request, each func(peers.Batch) error) error
	Sealed(ctx context.Context, origin string, size uint64) (*peers.Position, error)
}

// Options of Take.
type Options struct {
	Cluster   string // id
	Directory string // origin of the directory
	Nodes     []Node // of which any is asked
	// Trusted returns a policy of a ledger that the caller trusts: of its genesis, or a later one.
	Trusted func(origin string) (*tlog.Policy, error)
	// Rate bounds what is received, in bytes of blocks a second; 0 is no bound.
	Rate int
	// Begin and Progress, if set, are called with the number of entries to come of a ledger, and with how
	// many more have come.
	Begin    func(origin string, entries uint64)
	Progress func(entries int)
	Now      time.Time
}

// Result is what a Take has done.
type Result struct {
	Manifest *Manifest
	// Entries and Bytes of blocks are what came.
	Entries, Bytes uint64
	// Failed are the ledgers of which nothing new was taken, and why. What the backup had of them it has.
	Failed map[string]error
}

// Take brings the backup in a directory up to date, which is absent, empty, or a backup of the same
// cluster. With an error of its own the backup is as it was; with Result.Failed it has what could be
// taken.
func Take(ctx context.Context, dir string, o Options) (*Result, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, errors.Wrap(err, "make the backup's directory")
	}
	held, err := lock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	defer held.Close()
	old, err := readManifest(dir)
	if errors.Is(err, os.ErrNotExist) {
		old, err = &Manifest{Directory: o.Directory}, fresh(dir)
	}
	if err != nil {
		return nil, err
	}
	if old.Directory != o.Directory {
		return nil, errors.Wrapf(ErrNotBackup, "%s is a backup of the cluster with the directory %s, this one has %s", dir, old.Directory, o.Directory)
	}
	t := &taking{ctx: ctx, dir: dir, o: o, old: old, files: newWriter(), result: &Result{Failed: map[string]error{}}}
	return t.result, t.run()
}

// fresh says whether a directory without a manifest may become a backup: it holds what an
// interrupted Take leaves, or nothing.
func fresh(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), wholefile.Suffix); name != ledgersDir && name != lockFile && name != manifestFile {
			return errors.Wrapf(ErrNotBackup, "%s holds %s", dir, e.Name())
		}
	}
	return err
}

func readManifest(dir string) (*Manifest, error) {
	raw, err := wholefile.Read(filepath.Join(dir, manifestFile), maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, errors.Mark(errors.Wrap(err, filepath.Join(dir, manifestFile)), ErrDamaged)
	}
	return m, nil
}

// DirectoryOf returns the origin of the directory of the cluster whose backup a directory holds, "" when
// there is none.
func DirectoryOf(dir string) (string, error) {
	m, err := readManifest(dir)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return m.Directory, nil
}

// taking is one Take.
type taking struct {
	ctx    context.Context
	dir    string
	o      Options
	old    *Manifest
	files  *writer
	result *Result
	turn   int       // whose turn it is, in o.Nodes
	due    time.Time // when the rate allows more
	grown  []*growth
}

func (t *taking) run() error {
	root, err := t.grow(Row{Group: directory.Group, Origin: t.o.Directory})
	if err != nil {
		return err
	}
	rows := slices.Clone(t.old.Ledgers)
	for _, l := range root.listed {
		if t.old.row(l.Group) == nil {
			rows = append(rows, Row{Group: l.Group, Origin: l.Genesis.Origin})
		}
	}
	m := &Manifest{Cluster: t.o.Cluster, Directory: t.o.Directory, Taken: t.o.Now}
	whole := true // all ledgers of the new directory are there
	for _, row := range rows {
		if row.Group == directory.Group {
			continue
		}
		g, err := t.grow(row)
		if err == nil {
			err = t.commit(g)
		}
		switch {
		case t.ctx.Err() != nil:
			return t.ctx.Err()
		case err != nil:
			t.result.Failed[row.Origin] = err
			if whole = whole && row.Size > 0; row.Size == 0 {
				continue
			}
		default:
			row = g.row
		}
		m.Ledgers = append(m.Ledgers, row)
	}
	switch was := t.old.row(directory.Group); {
	case whole:
		if err := t.commit(root); err != nil {
			return err
		}
		m.Ledgers = append(m.Ledgers, root.row)
	case was != nil: // the former directory lists what was there before
		m.Ledgers = append(slices.DeleteFunc(m.Ledgers, func(r Row) bool { return t.old.row(r.Group) == nil }), *was)
	default:
		return errors.New("not all ledgers could be taken")
	}
	slices.SortFunc(m.Ledgers, func(a, b Row) int { return cmp.Compare(a.Group, b.Group) })
	if err := t.files.replace(t.dir, filepath.Join(t.dir, manifestFile), m.marshal()); err != nil {
		return err
	}
	for _, g := range t.grown {
		g.tidy()
	}
	t.result.Manifest = m
	return nil
}

// grow receives what a ledger has more than the backup, and judges it. The nodes are asked one after
// the other, until one has sent all that it has sealed, which is at least as much as the copy has.
func (t *taking) grow(row Row) (*growth, error) {
	if old := t.old.row(row.Group); old != nil {
		row = *old
	}
	g, err := begin(t.dir, row, t.files)
	if err == nil {
		err = g.leftovers()
	}
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(sealPatience); ; {
		var first error
		for range t.o.Nodes {
			err := t.from(t.o.Nodes[t.turn%len(t.o.Nodes)], g)
			if err == nil {
				return g, nil
			}
			t.turn++
			if t.ctx.Err() != nil {
				return nil, t.ctx.Err()
			}
			if first == nil || errors.Is(err, ErrRefused) {
				first = err
			}
			if errors.Is(err, ErrRefused) {
				// Who is wrong is not known: this node, or the one that sent what is behind the backup.
				err := errors.CombineErrors(t.files.settle(t.dir), g.dropLeftovers(row.Size))
				if err == nil {
					g, err = begin(t.dir, row, t.files)
				}
				if err != nil {
					return nil, errors.Wrap(err, "remove what was refused")
				}
			}
		}
		if !errors.Is(first, errBehind) || time.Now().After(deadline) {
			return nil, first
		}
		select {
		case <-t.ctx.Done():
			return nil, t.ctx.Err()
		case <-time.After(sealPoll):
		}
	}
}

var errBehind = errors.New("the node has sealed less than the backup has, or nothing yet")

func refused(format string, args ...any) error {
	return errors.Mark(errors.Newf(format, args...), ErrRefused)
}

// from receives what one node has sealed.
func (t *taking) from(node Node, g *growth) error {
	origin, have := g.row.Origin, g.row.Size
	p, err := node.Sealed(t.ctx, origin, have)
	if err != nil {
		return err
	}
	if p.Note == nil {
		return errors.Wrapf(errBehind, "ledger %s", origin)
	}
	cp, _, err := tlog.ParseCheckpoint(p.Note)
	if err != nil {
		return errors.Mark(err, ErrRefused)
	}
	if cp.Origin != origin {
		return refused("the checkpoint is of the ledger %s, not of %s", cp.Origin, origin)
	}
	if cp.Size < have || cp.Size == 0 {
		return errors.Wrapf(errBehind, "ledger %s: size %d, the backup has %d", origin, cp.Size, have)
	}
	if err := merkle.VerifyConsistency(have, cp.Size, p.Proof, g.tree.Root(), cp.Root); err != nil {
		return errors.Mark(errors.Wrapf(err, "the ledger %s of size %d does not continue the %d entries of the backup", origin, cp.Size, have), ErrRefused)
	}
	if cp.Size == g.former[0] {
		return nil // nothing is new
	}
	if t.o.Begin != nil && cp.Size > have {
		t.o.Begin(origin, cp.Size-have)
	}
	for g.row.Size < cp.Size {
		before := g.row.Size
		err := node.Blocks(t.ctx, origin, peers.Request{First: before, ProofSize: cp.Size}, func(b peers.Batch) error {
			return t.batch(g, b, cp.Size, cp.Root)
		})
		if err != nil {
			return err
		}
		if g.row.Size == before {
			return refused("the blocks of %s end at size %d, within which the checkpoint of size %d lies", origin, before, cp.Size)
		}
	}
	trusted, err := t.o.Trusted(origin)
	if err != nil {
		return err
	}
	return g.judge(p.Note, trusted)
}

// batch proves records, and takes them.
func (t *taking) batch(g *growth, b peers.Batch, size uint64, root merkle.Hash) error {
	tree, bytes := g.tree.Clone(), 0
	for _, r := range b.Records {
		if r.First != tree.Size() || r.RaftIndex <= g.raft {
			return refused("ledger %s: a block of entries %d to %d, want one from %d on", g.row.Origin, r.First, r.End()-1, tree.Size())
		}
		leaves, err := r.Leaves()
		if err != nil {
			return errors.Mark(err, ErrRefused)
		}
		tree.Append(merkle.LeafHashes(leaves))
		bytes += len(r.Encoded)
	}
	if err := merkle.VerifyConsistency(tree.Size(), size, b.Proof, tree.Root(), root); err != nil {
		return errors.Mark(errors.Wrapf(err, "entries %d to %d of %s are not in the ledger of size %d", g.tree.Size(), tree.Size()-1, g.row.Origin, size), ErrRefused)
	}
	n := tree.Size() - g.tree.Size()
	if err := g.add(b.Records); err != nil {
		return err
	}
	t.result.Entries, t.result.Bytes = t.result.Entries+n, t.result.Bytes+uint64(bytes)
	if t.o.Progress != nil {
		t.o.Progress(int(n))
	}
	return t.pause(bytes)
}

// pause keeps to the rate.
func (t *taking) pause(bytes int) error {
	if t.o.Rate == 0 {
		return nil
	}
	now := time.Now()
	if t.due.Before(now) {
		t.due = now
	}
	t.due = t.due.Add(time.Duration(float64(bytes) / float64(t.o.Rate) * float64(time.Second)))
	select {
	case <-t.ctx.Done():
		return t.ctx.Err()
	case <-time.After(t.due.Sub(now)):
		return nil
	}
}

// commit makes what was received a part of the backup.
func (t *taking) commit(g *growth) error {
	if g.note == nil {
		return nil
	}
	t.grown = append(t.grown, g)
	return g.commit()
}
