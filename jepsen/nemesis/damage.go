package nemesis

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"golang.org/x/sys/unix"
)

// damage changes files of a minority while their nodes are down. A node must not
// serve what it cannot prove: it refuses to start and names the file, or it runs and
// loses nothing. It does not repair itself yet, so these faults are marked as
// awaiting repair and are no part of the swarm: healing gives the file back.
type damage struct {
	a    *Arena
	what damaging

	nodes  []int
	before []int
	wounds []wound
	back   []int
}

// damaging changes a file of a data directory.
type damaging struct {
	// choose picks the file.
	choose func(a *Arena, data string) (string, error)
	// change changes it, says how, and returns what gives it back.
	change func(a *Arena, path string) (what string, undo func() error, err error)
	// mustRefuse: the node cannot go on with such a file.
	mustRefuse bool
}

// wound is what was done to one node.
type wound struct {
	node    int
	path    string
	what    string
	undo    func() error // nil: nothing was changed
	refused bool         // the node did not start
	named   bool         // and said which file is to blame
	said    string       // the end of its log
}

// refusalTimeout is how long a node may take to find out that it cannot go on.
const refusalTimeout = 15 * time.Second

func (d *damage) Inject(ctx context.Context) (err error) {
	if d.nodes, err = d.a.choose("damage", Minority); err != nil {
		return err
	}
	d.before = d.a.pids(d.nodes)
	if err := d.a.Kill(ctx, d.nodes...); err != nil {
		return err
	}
	for _, i := range d.nodes {
		w, err := d.wound(i)
		d.wounds = append(d.wounds, w)
		if err != nil {
			return errors.Wrapf(err, "damage %s of %s", w.path, d.a.Name(i))
		}
	}
	if err := d.a.Spawn(ctx, d.nodes...); err != nil && ctx.Err() != nil {
		return err // Spawn's own error may be the refusal that we wait for
	}
	waiting, cancel := context.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	for k := range d.wounds {
		w := &d.wounds[k]
		w.refused = d.a.AwaitEnd(waiting, w.node) == nil
		w.said = d.a.LogTail(w.node, 2048)
		w.named = strings.Contains(w.said, filepath.Base(w.path))
	}
	return nil
}

func (d *damage) wound(i int) (w wound, err error) {
	w.node = i
	if w.path, err = d.what.choose(d.a, d.a.DataDir(i)); err != nil {
		return w, err
	}
	w.what, w.undo, err = d.what.change(d.a, w.path)
	return w, err
}

func (d *damage) Target() string {
	var parts []string
	for _, w := range d.wounds {
		parts = append(parts, fmt.Sprintf("%s: %s of %s", d.a.Name(w.node), w.what, filepath.Base(w.path)))
	}
	return strings.Join(parts, "; ")
}

// Heal gives back what a node refused. One that runs has gone on from what it found,
// and its files are its own again.
func (d *damage) Heal(ctx context.Context) (err error) {
	defer d.a.Release(d.nodes...)
	for _, w := range d.wounds {
		if w.undo != nil && !d.a.Running(w.node) {
			err = errors.CombineErrors(err, errors.Wrapf(w.undo(), "give %s back", w.path))
		}
	}
	err = errors.CombineErrors(err, d.a.Spawn(ctx, d.nodes...))
	d.back = d.a.pids(d.nodes)
	return err
}

func (d *damage) Observed(context.Context) (string, error) {
	var parts []string
	for _, w := range d.wounds {
		name := d.a.Name(w.node)
		switch {
		case w.undo == nil:
			return "", errors.Newf("%s of %s was not changed", w.path, name)
		case w.refused && !w.named:
			return "", errors.Newf("%s refused to start without naming %s: %s", name, filepath.Base(w.path), w.said)
		case !w.refused && d.what.mustRefuse:
			return "", errors.Newf("%s started with a damaged %s (%s): %s", name, filepath.Base(w.path), w.what, w.said)
		case w.refused:
			parts = append(parts, name+" refused to start and named the file")
		default:
			parts = append(parts, name+" runs with it")
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
func flipEarly(a *Arena, path string) (what string, undo func() error, err error) {
	n, err := used(path)
	if err != nil {
		return "", nil, err
	}
	at, bit := int64(a.intN(int(n/2))), a.intN(8)
	b := make([]byte, 1)
	if err := access(path, func(f *os.File) error { _, err := f.ReadAt(b, at); return err }); err != nil {
		return "", nil, err
	}
	write := func(b byte) func() error {
		return func() error {
			return access(path, func(f *os.File) error { _, err := f.WriteAt([]byte{b}, at); return err })
		}
	}
	return fmt.Sprintf("bit %d of byte %d", bit, at), write(b[0]), write(b[0] ^ 1<<bit)()
}

// cutEarly shortens a file to less than half of what it holds.
func cutEarly(a *Arena, path string) (what string, undo func() error, err error) {
	n, err := used(path)
	if err != nil {
		return "", nil, err
	}
	if n > maxCut {
		return "", nil, errors.Newf("%d bytes are too many to keep", n)
	}
	at := n/4 + int64(a.intN(int(n/4)))
	tail, size := make([]byte, n-at), int64(0)
	err = access(path, func(f *os.File) error {
		st, err := f.Stat()
		if err != nil {
			return err
		}
		size = st.Size()
		if _, err := f.ReadAt(tail, at); err != nil {
			return err
		}
		return f.Truncate(at)
	})
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("everything from byte %d on", at), func() error {
		return access(path, func(f *os.File) error {
			if err := f.Truncate(at); err != nil { // a refusal may have added to it
				return err
			}
			if _, err := f.WriteAt(tail, at); err != nil {
				return err
			}
			return f.Truncate(size)
		})
	}, nil
}

// maxCut bounds what is kept of a file that is cut.
const maxCut = 1 << 30

// access opens a file to change it, and syncs it.
func access(path string, f func(*os.File) error) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = errors.CombineErrors(f(file), file.Sync())
	return errors.CombineErrors(err, file.Close())
}
