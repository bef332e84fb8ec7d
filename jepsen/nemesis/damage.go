package nemesis

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"

	"github.com/cairnledger/cairn/jepsen/testbed"
)

// damage changes files of a minority while their nodes are down. A node must not
// serve what it cannot prove: it refuses to start and names the file, or it runs and
// everything that it says is true. It does not repair itself yet, so these faults are
// marked as awaiting repair and are no part of the swarm.
//
// The damaged nodes are cut off from the others, not from clients, and get their
// directories back when it is over: as nobody has heard from them meanwhile, they are
// as good as new.
type damage struct {
	a    *Arena
	what damaging

	nodes  []int
	ours   bool // the network is
	before []int
	wounds []wound
	back   []int
}

// damaging changes a file of a data directory.
type damaging struct {
	// choose picks the file.
	choose func(a *Arena, data string) (string, error)
	// change changes it, and says how.
	change func(a *Arena, path string) (what string, err error)
	// mustRefuse: the node cannot go on with such a file.
	mustRefuse bool
}

// wound is what was done to one node.
type wound struct {
	node    int
	copy    string // of the data directory, before
	path    string // of the damaged file
	what    string
	changed bool
	refused bool   // the node did not start
	named   bool   // and said what is damaged
	said    string // the end of its log
}

// names says whether the node has named what is damaged: the file, its directory, or
// the place in the ledger.
func (w *wound) names() bool {
	return strings.Contains(w.said, filepath.Base(w.path)) || strings.Contains(w.said, filepath.Dir(w.path)) || placed.MatchString(w.said)
}

var placed = regexp.MustCompile(`corrupt [a-z0-9 ]+ at \d+|diverged at raft index \d+`)

// refusalTime is how long a node is watched that may go on with what was damaged.
const refusalTime = 15 * time.Second

func (d *damage) Inject(ctx context.Context) (err error) {
	if !d.a.network.TryLock() {
		return errors.Wrap(ErrBusy, "the network is taken")
	}
	d.ours = true
	if d.nodes, err = d.a.choose("damage", Minority); err != nil {
		return err
	}
	d.before = d.a.pids(d.nodes)
	if err := d.a.Kill(d.nodes...); err != nil {
		return err
	}
	for _, i := range d.nodes {
		w := wound{node: i}
		err := d.strike(&w)
		d.wounds = append(d.wounds, w)
		if err != nil {
			return errors.Wrapf(err, "damage %s of %s", w.path, d.a.Name(i))
		}
	}
	d.a.Net.Shape(cutWhere(func(from, to int) bool { return slices.Contains(d.nodes, from) || slices.Contains(d.nodes, to) }))
	for _, i := range d.nodes {
		if err := d.a.Spawn(ctx, i); err != nil && ctx.Err() != nil {
			return err // Spawn's own error may be the refusal that we wait for
		}
	}
	within := refusalTime
	if d.what.mustRefuse {
		within = stopTimeout
	}
	for k := range d.wounds {
		w := &d.wounds[k]
		if w.refused = d.a.ends(ctx, w.node, within); !w.refused && ctx.Err() != nil {
			return ctx.Err()
		}
		w.said = d.a.LogTail(w.node, 2048)
		w.named = w.names()
	}
	return nil
}

// strike damages a file, after it has put a copy of everything aside.
func (d *damage) strike(w *wound) (err error) {
	data := d.a.DataDir(w.node)
	saved := data + ".before"
	if err := os.RemoveAll(saved); err != nil {
		return err
	}
	if err := testbed.CopyTree(data, saved); err != nil {
		return err
	}
	w.copy = saved
	d.a.Harm(w.node, testbed.Damaged)
	if w.path, err = d.what.choose(d.a, data); err != nil {
		return err
	}
	if w.what, err = d.what.change(d.a, w.path); err != nil {
		return err
	}
	w.changed = true
	return nil
}

func (d *damage) Target() string {
	var parts []string
	for _, w := range d.wounds {
		parts = append(parts, fmt.Sprintf("%s: %s of %s", d.a.Name(w.node), w.what, filepath.Base(w.path)))
	}
	return strings.Join(parts, "; ")
}

// Heal gives the nodes their directories back, and then their links.
func (d *damage) Heal(ctx context.Context) (err error) {
	if !d.ours {
		return nil
	}
	defer func() {
		d.a.Net.Heal()
		d.a.network.Unlock()
		d.ours = false
		d.a.Release(d.nodes...)
	}()
	for _, w := range d.wounds {
		if d.a.Running(w.node) {
			err = errors.CombineErrors(err, d.a.Kill(w.node))
		}
		if w.copy == "" {
			continue
		}
		err = errors.CombineErrors(err, d.giveBack(&w))
	}
	if err != nil {
		return errors.Wrap(err, "give a data directory back")
	}
	err = d.a.Spawn(ctx, d.nodes...)
	d.back = d.a.pids(d.nodes)
	return err
}

// giveBack makes a node's files again what it has written.
func (d *damage) giveBack(w *wound) error {
	data := d.a.DataDir(w.node)
	if err := errors.CombineErrors(os.RemoveAll(data), os.Rename(w.copy, data)); err != nil {
		return err
	}
	d.a.Mend(w.node, testbed.Damaged)
	return nil
}

func (d *damage) Observed(context.Context) (string, error) {
	var parts []string
	for _, w := range d.wounds {
		name := d.a.Name(w.node)
		switch {
		case !w.changed:
			return "", errors.Newf("no file of %s was changed", name)
		case w.refused && !w.named:
			return "", broken("%s refused to start without naming %s: %s", name, w.path, w.said)
		case !w.refused && d.what.mustRefuse:
			return "", broken("%s started with a damaged %s (%s): %s", name, w.path, w.what, w.said)
		case w.refused:
			parts = append(parts, name+" refused to start and named it")
		default:
			parts = append(parts, name+" ran with it")
		}
	}
	if len(parts) < len(d.nodes) {
		return "", errors.Newf("%d of %d nodes were damaged", len(parts), len(d.nodes))
	}
	how, err := changed(d.a, d.nodes, d.before, d.back)
	return strings.Join(parts, "; ") + "; " + how, err
}

// newestSegment is the segment of the Raft log that is written to.
func newestSegment(_ *Arena, data string) (string, error) {
	files, err := filesIn(filepath.Join(data, "wal"))
	if err != nil {
		return "", err
	}
	return files[len(files)-1], nil // names are numbers of one length
}

// someStoreFile is a file of the ledger's store.
func someStoreFile(a *Arena, data string) (string, error) {
	files, err := filesIn(filepath.Join(data, "ledger"))
	if err != nil {
		return "", err
	}
	return files[a.intN(len(files))], nil
}

// filesIn returns the files in a directory that hold something, in order of their names.
func filesIn(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.Type().IsRegular() || e.Name() == "LOCK" {
			continue
		}
		if n, err := used(path); err == nil && n > 8 {
			files = append(files, path)
		}
	}
	if len(files) == 0 {
		return nil, errors.Newf("there is no file in %s", dir)
	}
	return files, nil
}

// used is how many bytes of a file hold something: behind them there are only
// zeros, or nothing was ever written, as in files that are mapped before they are filled.
func used(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	end, err := f.Seek(0, unix.SEEK_HOLE)
	if err != nil {
		if end, err = f.Seek(0, io.SeekEnd); err != nil {
			return 0, err
		}
	}
	buf := make([]byte, 64<<10)
	for end > 0 {
		from := max(0, end-int64(len(buf)))
		chunk := buf[:end-from]
		if _, err := f.ReadAt(chunk, from); err != nil {
			return 0, err
		}
		if rest := bytes.TrimRight(chunk, "\x00"); len(rest) > 0 {
			return from + int64(len(rest)), nil
		}
		end = from
	}
	return 0, nil
}

// flipEarly flips a bit in the first half of what a file holds: in a log, far below
// what can be a torn tail.
func flipEarly(a *Arena, path string) (string, error) {
	n, err := used(path)
	if err != nil {
		return "", err
	}
	at, bit := int64(a.intN(int(n/2))), a.intN(8)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	b := make([]byte, 1)
	if _, err = f.ReadAt(b, at); err == nil {
		b[0] ^= 1 << bit
		_, err = f.WriteAt(b, at)
	}
	err = errors.CombineErrors(err, f.Sync())
	return fmt.Sprintf("bit %d of byte %d", bit, at), errors.CombineErrors(err, f.Close())
}

// cutEarly shortens a file to less than half of what it holds.
func cutEarly(a *Arena, path string) (string, error) {
	n, err := used(path)
	if err != nil {
		return "", err
	}
	at := n/4 + int64(a.intN(int(n/4)))
	return fmt.Sprintf("everything from byte %d on", at), os.Truncate(path, at)
}
