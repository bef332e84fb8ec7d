package badgerstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/errors"
	badger "github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/cairnledger/cairn/ledger"
)

// fingerprint describes everything about the files below dir that a write would change: names,
// modes, owners, inodes, sizes, times of modification and of change, contents. Any write to an
// inode changes its time of change.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d:%d inode %d links %d size %d modified %v changed %v", path, info.Mode(), st.Uid, st.Gid,
			st.Ino, st.Nlink, info.Size(), st.Mtim, st.Ctim)
		if info.Mode().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(raw))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// readOnly makes a directory read-only until the test ends and says by what means: a bind mount
// where the test may mount, otherwise permissions, which do not bind root.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err == nil {
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		t.Log("level: read-only bind mount")
		return
	}
	chmod := func(dirMode, fileMode os.FileMode) {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
			if d.IsDir() {
				return os.Chmod(path, dirMode)
			}
			return os.Chmod(path, fileMode)
		})
	}
	chmod(0o500, 0o400)
	t.Cleanup(func() { chmod(0o700, 0o600) })
	if os.Getuid() == 0 {
		t.Log("level: none, root without the right to mount; only the fingerprint shows writes")
	} else {
		t.Log("level: directories and files without the permission to write")
	}
}

// small keeps the files of a store small.
func small(dir string) Options {
	return Options{Dir: dir, MemTableSize: 256 << 10, ValueThreshold: 1000, ValueLogSize: 1 << 20}
}

// contents reads all keys of a store.
func contents(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	prefix := []byte("group-1-")
	for from := prefix; ; {
		p, err := s.Seek(from, prefix)
		if errors.Is(err, ledger.ErrKeyNotFound) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(p.Key)
		if err != nil || !bytes.Equal(got, p.Value) {
			t.Fatalf("get %q: %d bytes, %v, want %d", p.Key, len(got), err, len(p.Value))
		}
		all[string(p.Key)] = string(p.Value)
		from = append(p.Key, 0)
	}
}

// copyStore copies the files of a store, which may be open.
func copyStore(t *testing.T, from string) (to string) {
	t.Helper()
	for to == "" {
		to = tryCopy(t, from, func(name string) ([]byte, bool, error) {
			b, err := os.ReadFile(filepath.Join(from, name))
			return b, name != "LOCK", err
		})
	}
	return to
}

// inspected are stores in the states in which a stopped node leaves its own.
func inspected(t *testing.T) map[string]string {
	t.Helper()
	o := small(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	version := uint64(0)
	commit := func(n int) {
		for range n {
			version++
			large := binary.BigEndian.AppendUint64([]byte("group-1-large"), version)
			small := binary.BigEndian.AppendUint64([]byte("group-1-small"), version%100) // some are written again
			if err := s.Commit(version, []ledger.Pair{{Key: large, Value: bytes.Repeat(large, 100)}, {Key: small, Value: large}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit(300)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{"closed": copyStore(t, o.Dir), "never opened": t.TempDir()}
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	commit(20) // in the memtable only
	states["killed"] = copyStore(t, o.Dir)
	torn := copyStore(t, o.Dir)
	for _, f := range glob(t, torn, "*.mem") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		clear(b[logEnd(b)-3:])
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	states["torn transaction"] = torn
	empty := copyStore(t, o.Dir)
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(empty, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	states["killed while a log was created"] = empty
	noted := copyStore(t, o.Dir)
	noteFailedSync(noted)
	states["failed sync"] = noted
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return states
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestInspectionWritesNothing: whatever state the store was left in, an inspection changes nothing
// in the directory, needs no permission to write to it, shows exactly what an ordinary opening
// shows, and leaves no temporary files.
func TestInspectionWritesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for state, dir := range inspected(t) {
		t.Run(state, func(t *testing.T) {
			open, err := Open(small(copyStore(t, dir)))
			if err != nil {
				t.Fatal(err)
			}
			want := contents(t, open)
			if err := open.Close(); err != nil {
				t.Fatal(err)
			}
			if n := len(want); (n < 300) != (state == "never opened") {
				t.Fatalf("the store has %d keys", n)
			}
			readOnly(t, dir)
			before := fingerprint(t, dir)
			for range 2 {
				s, err := Inspect(dir, t.Logf)
				if err != nil {
					t.Fatal(err)
				}
				if got := contents(t, s); !maps.Equal(got, want) {
					t.Errorf("the inspection shows %d keys, want %d, or other values", len(got), len(want))
				}
				if err := s.Commit(1<<40, []ledger.Pair{{Key: []byte("group-1-new"), Value: []byte("x")}}); !errors.Is(err, ErrReadOnly) {
					t.Errorf("commit during an inspection: %v, want ErrReadOnly", err)
				}
				if _, err := s.Flushed(); !errors.Is(err, ErrReadOnly) {
					t.Errorf("sync during an inspection: %v, want ErrReadOnly", err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			if after := fingerprint(t, dir); after != before {
				t.Errorf("the inspection changed the directory:\n%s\nwas\n%s", after, before)
			}
			if left := glob(t, temp, "cairn-inspect-*"); len(left) != 0 {
				t.Errorf("the inspection left %v", left)
			}
		})
	}
}

// TestInspectionOfAStoreInUse: an inspection refuses a store that a process has open, without a
// trace, and keeps every process from opening the store meanwhile.
func TestInspectionOfAStoreInUse(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(small(dir))
	if err != nil {
		t.Fatal(err)
	}
	before := fingerprint(t, dir)
	if _, err := Inspect(dir, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("inspect a store that is open: %v, want ErrInUse", err)
	}
	if after := fingerprint(t, dir); after != before {
		t.Errorf("the refused inspection changed the directory:\n%s\nwas\n%s", after, before)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Inspect(dir, nil); err != nil {
		t.Fatal(err)
	}
	if other, err := Open(small(dir)); err == nil {
		_ = other.Close()
		t.Error("a store was opened during its inspection")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if s, err = Open(small(dir)); err != nil {
		t.Fatalf("open after the inspection: %v", err)
	}
	_ = s.Close()
}

// TestInspectionOfAStoreWithoutManifest: data without the MANIFEST that names it is damage and no
// empty store.
func TestInspectionOfAStoreWithoutManifest(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir := inspected(t)["closed"]
	if err := os.Remove(filepath.Join(dir, badger.ManifestFilename)); err != nil {
		t.Fatal(err)
	}
	var damaged *DamagedError
	if _, err := Inspect(dir, nil); !errors.As(err, &damaged) || filepath.Base(damaged.File) != badger.ManifestFilename {
		t.Errorf("inspect a store without its MANIFEST: %v, want a *DamagedError that names the file", err)
	}
	if left := glob(t, temp, "cairn-inspect-*"); len(left) != 0 {
		t.Errorf("the refused inspection left %v", left)
	}
}

// TestDamageInEveryPartOfATable: one flipped bit anywhere in a table, the blocks in its middle
// included, is found when the store is opened or inspected, and the error names the file.
func TestDamageInEveryPartOfATable(t *testing.T) {
	dir := inspected(t)["closed"]
	tables := glob(t, dir, "*.sst")
	if len(tables) == 0 {
		t.Fatal("the store has no tables: the test shows nothing")
	}
	b, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	for part := range 20 {
		damaged := bytes.Clone(b)
		damaged[len(b)*part/20] ^= 1
		if err := os.WriteFile(tables[0], damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		for how, open := range map[string]func() (*Store, error){
			"open":    func() (*Store, error) { return Open(small(dir)) },
			"inspect": func() (*Store, error) { return Inspect(dir, nil) },
		} {
			var found *DamagedError
			if s, err := open(); !errors.As(err, &found) || found.File != tables[0] {
				t.Errorf("%s with a flipped bit at %d of %d: %v, want a *DamagedError that names %s", how, len(b)*part/20, len(b), err, tables[0])
				if s != nil {
					_ = s.Close()
				}
			}
		}
	}
}

// TestLogEnd cuts the log of a memtable at every byte of its last two transactions: what is left
// ends with the last transaction that is complete, as in Badger's own replay.
func TestLogEnd(t *testing.T) {
	t.Parallel()
	o := small(t.TempDir())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	log := glob(t, o.Dir, "*.mem")
	if len(log) != 1 {
		t.Fatalf("memtable files %v, want one", log)
	}
	ends := []int{logHeader}
	for version := uint64(1); version <= 5; version++ {
		var pairs []ledger.Pair
		for i := range version {
			pairs = append(pairs, ledger.Pair{Key: fmt.Appendf(nil, "group-1-%d-%d", version, i), Value: make([]byte, 10*version)})
		}
		if err := s.Commit(version, pairs); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(log[0])
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, logEnd(b))
	}
	if !slices.IsSorted(ends) || len(slices.Compact(slices.Clone(ends))) != len(ends) {
		t.Fatalf("transactions end at %v, want one more after each commit", ends)
	}
	b, err := os.ReadFile(log[0])
	if err != nil {
		t.Fatal(err)
	}
	end := ends[len(ends)-1]
	b = b[:end+1000]
	for cut := ends[len(ends)-3]; cut < end; cut++ {
		want := logHeader
		for _, e := range ends {
			if e <= cut {
				want = e
			}
		}
		zeroed := bytes.Clone(b)
		clear(zeroed[cut:])
		// A log that was cut off and a log that goes on with zeros.
		if got, got0 := logEnd(b[:cut]), logEnd(zeroed); got != want && b[cut] != 0 || got0 != want && b[cut] != 0 {
			t.Errorf("cut at %d: ends at %d and with zeros at %d, want %d", cut, got, got0, want)
		}
		flipped := bytes.Clone(b)
		flipped[cut] ^= 4
		if got := logEnd(flipped); got != want {
			t.Errorf("flipped at %d: ends at %d, want %d", cut, got, want)
		}
	}
	for _, short := range []int{0, 1, logHeader - 1} {
		if got := logEnd(b[:short]); got != 0 {
			t.Errorf("a log of %d bytes ends at %d, want 0", short, got)
		}
	}
}
