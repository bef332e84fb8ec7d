package wal

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// removals is a file system on which the removal of a segment is certain only once the directory
// was synced. A power failure before that keeps any subset of the removals. (The crashable file
// system below it loses all of them.)
type removals struct {
	*vfs.MemFS
	pending []string // removed since the last sync of the directory, oldest first
	removed func()   // called after each removal, before anything else happens
}

func (r *removals) Remove(name string) error {
	if err := r.MemFS.Remove(name); err != nil || !strings.HasSuffix(name, segmentSuffix) {
		return err
	}
	r.pending = append(r.pending, name)
	r.removed()
	return nil
}

func (r *removals) OpenDir(name string) (vfs.File, error) {
	f, err := r.MemFS.OpenDir(name)
	return &syncedDir{f, r}, err
}

// syncedDir is an open directory of removals.
type syncedDir struct {
	vfs.File
	fs *removals
}

func (d *syncedDir) Sync() error {
	d.fs.pending = nil
	return d.File.Sync()
}

// TestCrashKeepsAnySubsetOfRemovals: one mark makes many segments unnecessary at once. The power
// fails after each removal, and any subset of the removals that are not synced survives. The
// segments left must be consecutive: the log opens and holds everything.
func TestCrashKeepsAnySubsetOfRemovals(t *testing.T) {
	t.Parallel()
	const end = 40
	fs := &removals{MemFS: vfs.NewCrashableMem()}
	o := testOptions(fs)
	o.RetainBytes = -1
	count := 0
	fs.removed = func() {
		count++
		for subset := range 1 << len(fs.pending) {
			after := fs.CrashClone(vfs.CrashCloneCfg{}) // still has all that are pending
			kept := ""
			for i, name := range fs.pending {
				if subset>>i&1 != 0 {
					kept += " " + fs.PathBase(name)
					if err := after.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
			}
			where := fmt.Sprintf("a crash after the removals of %v keeps those of [%s ]", fs.pending, kept)
			r, err := Verify(after, o.Dir)
			if err != nil {
				t.Fatalf("%s: verify: %v", where, err)
			}
			if g := r.Groups[0]; g.Last != end || g.Mark.Index != end {
				t.Errorf("%s: the last entry is %d and the mark %d, want %d", where, g.Last, g.Mark.Index, end)
			}
			l, err := Open(testOptions(after))
			if err != nil {
				t.Fatalf("%s: open: %v", where, err)
			}
			if err := l.Close(); err != nil {
				t.Errorf("%s: close: %v", where, err)
			}
		}
	}
	l := mustOpen(t, o)
	defer l.Close()
	for i := uint64(1); i <= end; i++ {
		if err := l.Append([]Record{{Group: 1, Entries: entries(i, 1, strings.Repeat("x", 1000))}}, true); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.Stats().Segments; n < 5 || count != 0 {
		t.Fatalf("%d segments, %d removals before the mark: the test shows nothing", n, count)
	}
	if err := l.Append([]Record{{Group: 1, Mark: &Mark{Index: end, Term: 1}}}, true); err != nil {
		t.Fatal(err)
	}
	for count == 0 { // the next rotation removes what the mark covers
		if err := l.Append([]Record{{Group: 1, Note: &Note{Data: make([]byte, 1000)}}}, true); err != nil {
			t.Fatal(err)
		}
	}
	if s := l.Stats(); count < 5 || s.Segments != 1 {
		t.Errorf("%d removals leave %d segments, want all but the active one removed", count, s.Segments)
	}
}
