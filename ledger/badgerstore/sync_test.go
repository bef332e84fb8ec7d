package badgerstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
)

// TestFlushedValueLogIsSynced: whatever Flushed calls durable survives a power failure that keeps
// of each value log file only what the file held when the store last synced it, and only files
// whose names were in the directory when the store last synced that. The newest file grows between
// two calls of Flushed, so one sync for each file is not enough.
func TestFlushedValueLogIsSynced(t *testing.T) {
	o := Options{Dir: t.TempDir(), MemTableSize: 64 << 10, ValueThreshold: 100, ValueLogSize: 4 << 20}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	disk := syncedTo(s)
	key := func(version uint64) []byte { return binary.BigEndian.AppendUint64([]byte("group..1b"), version) }
	value := func(version uint64) []byte { return bytes.Repeat(key(version), 300) }
	var version, checked uint64
	ends := map[ledger.Token]uint64{} // the newest version committed when the token was handed out
	growths := 0
	for previous := ledger.Token(0); growths < 4; {
		version++
		pairs := []ledger.Pair{{Key: key(version), Value: value(version)}}
		for i := range byte(20) { // fills the memtable
			pairs = append(pairs, ledger.Pair{Key: append(key(version), i), Value: make([]byte, 99)})
		}
		if err := s.Commit(version, pairs); err != nil {
			t.Fatal(err)
		}
		token, err := s.Token()
		if err != nil {
			t.Fatal(err)
		}
		ends[token] = version
		flushed, err := s.Flushed()
		if err != nil {
			t.Fatal(err)
		}
		end := durable(ends, flushed)
		if flushed == previous || end == 0 {
			continue
		}
		if previous != 0 {
			growths++
		}
		previous = flushed
		after := disk.powerLoss(t, o, s.dir)
		for v := checked + 1; v <= end; v++ {
			if got, err := after.Get(key(v)); err != nil || !bytes.Equal(got, value(v)) {
				t.Fatalf("flushed up to version %d, but version %d is lost in a power failure: %d bytes, %v", end, v, len(got), err)
			}
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
		checked = end
	}
	if files, _ := filepath.Glob(filepath.Join(s.dir, "*.vlog")); len(files) != 1 {
		t.Errorf("the value log has %d files: no file grew behind a sync, the test shows nothing", len(files))
	}
}

// TestMemtablesAreSynced: with values that leave the memtable almost empty, no memtable is flushed,
// and everything is durable nevertheless once SyncBytes have been committed. A power failure keeps
// of each memtable file and value log file only what it held when the store last synced it.
func TestMemtablesAreSynced(t *testing.T) {
	o := Options{Dir: t.TempDir(), MemTableSize: 1 << 20, ValueThreshold: 100, SyncBytes: 100 << 10}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	disk := syncedTo(s)
	key := func(version uint64) []byte { return binary.BigEndian.AppendUint64([]byte("group..1b"), version) }
	value := func(version uint64) []byte { return bytes.Repeat(key(version), 300) }
	ends := map[ledger.Token]uint64{}
	var checked, syncs, behind uint64
	for version := uint64(1); version <= 200; version++ {
		if err := s.Commit(version, []ledger.Pair{{Key: key(version), Value: value(version)}}); err != nil {
			t.Fatal(err)
		}
		token, err := s.Token()
		if err != nil {
			t.Fatal(err)
		}
		ends[token] = version
		flushed, err := s.Flushed()
		if err != nil {
			t.Fatal(err)
		}
		end := max(checked, durable(ends, flushed))
		behind = max(behind, version-end)
		if end == checked {
			continue
		}
		syncs++
		after := disk.powerLoss(t, o, s.dir)
		for v := checked + 1; v <= end; v++ {
			if got, err := after.Get(key(v)); err != nil || !bytes.Equal(got, value(v)) {
				t.Fatalf("durable up to version %d, but version %d is lost in a power failure: %d bytes, %v", end, v, len(got), err)
			}
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
		checked = end
	}
	if mem, err := memtableFiles(s.dir); err != nil || len(mem) != 1 || syncs < 4 {
		t.Errorf("memtables %v, %v, after %d syncs: the test shows nothing", mem, err, syncs)
	}
	if limit := uint64(100<<10)/uint64(len(value(0))+len(key(0))) + 1; behind > limit {
		t.Errorf("%d commits were not known to be durable, want at most %d", behind, limit)
	}
}

// disk is what a power failure leaves.
type disk struct {
	files map[string][]byte // by name: what a file held when the store synced it
	names map[string]bool   // in the directory when the store synced that
}

// syncedTo puts a disk under a store.
func syncedTo(s *Store) *disk {
	d := &disk{map[string][]byte{}, map[string]bool{}}
	s.syncFile = func(name string) error {
		b, err := os.ReadFile(name)
		d.files[filepath.Base(name)] = b
		return err
	}
	s.syncDir = func(dir string) error {
		named, err := os.ReadDir(dir)
		clear(d.names)
		for _, e := range named {
			d.names[e.Name()] = true
		}
		return err
	}
	return d
}

// durable is the newest version that was committed when a token up to flushed was handed out.
func durable(versions map[ledger.Token]uint64, flushed ledger.Token) (newest uint64) {
	for token, version := range versions {
		if token <= flushed {
			newest = max(newest, version)
		}
	}
	return newest
}

// powerLoss opens a copy of an open store's directory after a power failure. Of each value log file
// and memtable file the copy has what was synced.
func (d *disk) powerLoss(t *testing.T, o Options, dir string) *Store {
	t.Helper()
	for o.Dir = ""; o.Dir == ""; { // again if a compaction replaced a table meanwhile
		o.Dir = tryCopy(t, dir, func(name string) ([]byte, bool, error) {
			switch filepath.Ext(name) {
			case ".mem", ".vlog":
				return d.files[name], d.names[name] && d.files[name] != nil, nil
			}
			b, err := os.ReadFile(filepath.Join(dir, name))
			return b, name != "LOCK", err
		})
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tryCopy copies what read returns for the files of a directory. It returns "" when the files of
// the directory changed while it copied.
func tryCopy(t *testing.T, dir string, read func(name string) (b []byte, ok bool, err error)) string {
	t.Helper()
	list := func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err == nil {
				names = append(names, fmt.Sprint(e.Name(), " ", info.Size()))
			}
		}
		return names
	}
	to, before := t.TempDir(), list()
	for _, line := range before {
		name, _, _ := strings.Cut(line, " ")
		b, ok, err := read(name)
		if os.IsNotExist(err) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			continue
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(before, list()) {
		return ""
	}
	return to
}
