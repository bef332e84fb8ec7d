package nemesis

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
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
	// change changes it, and says how.
	change func(a *Arena, path string) (what string, err error)
	// mustRefuse: the node cannot go on with such a file.
	mustRefuse bool
}

// wound is what was done to one node.
type wound struct {
	node     int
	path     string
	original []byte
	what     string
	changed  bool   // the file holds something else now
	refused  bool   // the node did not start
	named    bool   // and said which file is to blame
	said     string // the end of its log
}

// refusalTimeout is how long a node may take to find out that it cannot go on.
const refusalTimeout = 15 * time.Second

// maxDamaged bounds the files that are kept in memory.
const maxDamaged = 256 << 20

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
	st, err := os.Stat(w.path)
	if err != nil {
		return w, err
	}
	if st.Size() > maxDamaged {
		return w, errors.Newf("%d bytes are too many to keep", st.Size())
	}
	if w.original, err = os.ReadFile(w.path); err != nil {
		return w, err
	}
	if w.what, err = d.what.change(d.a, w.path); err != nil {
		return w, err
	}
	now, err := os.ReadFile(w.path)
	w.changed = err == nil && !slices.Equal(now, w.original)
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
		if w.original != nil && !d.a.Running(w.node) {
			err = errors.CombineErrors(err, restore(w.path, w.original))
		}
	}
	err = errors.CombineErrors(err, d.a.Spawn(ctx, d.nodes...))
	d.back = d.a.pids(d.nodes)
	return err
}

// restore writes a file's old content over what is there now.
func restore(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return errors.Wrap(err, "give a file back")
	}
	_, err = f.Write(content)
	return errors.Wrap(errors.CombineErrors(err, errors.CombineErrors(f.Sync(), f.Close())), "give a file back")
}

func (d *damage) Observed(context.Context) (string, error) {
	var parts []string
	for _, w := range d.wounds {
		name := d.a.Name(w.node)
		switch {
		case !w.changed:
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
	entries, err := os.ReadDir(filepath.Join(data, "wal"))
	if err != nil {
		return "", err
	}
	for _, e := range slices.Backward(entries) { // names are numbers of one length
		if e.Type().IsRegular() {
			return filepath.Join(data, "wal", e.Name()), nil
		}
	}
	return "", errors.New("there is no segment")
}

// someStoreFile is a file of the ledger's store that holds something.
func someStoreFile(a *Arena, data string) (string, error) {
	var files []string
	err := filepath.WalkDir(filepath.Join(data, "ledger"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == "LOCK" {
			return err
		}
		if b, err := os.ReadFile(path); err == nil && used(b) > 0 {
			files = append(files, path)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		err = errors.New("there is no file")
	}
	if err != nil {
		return "", err
	}
	return files[a.intN(len(files))], nil
}

// used is where the zeros begin with which a file ends: space written ahead.
func used(b []byte) int {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return n
}

// flipEarly flips a bit in the first half of what a file holds: in a log, far below
// what can be a torn tail.
func flipEarly(a *Arena, path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	n := used(b) / 2
	if n == 0 {
		return "", errors.New("the file is empty")
	}
	at, bit := a.intN(n), a.intN(8)
	b[at] ^= 1 << bit
	return fmt.Sprintf("bit %d of byte %d", bit, at), overwrite(path, b[at:at+1], int64(at))
}

// cutEarly shortens a file to less than half of what it holds.
func cutEarly(a *Arena, path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	n := used(b)/4 + a.intN(used(b)/4+1)
	return fmt.Sprintf("everything from byte %d on", n), os.Truncate(path, int64(n))
}

func overwrite(path string, b []byte, at int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.CombineErrors(err, errors.CombineErrors(f.Sync(), f.Close()))
}
