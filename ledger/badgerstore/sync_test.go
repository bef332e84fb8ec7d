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
	disk := map[string][]byte{} // what a power failure leaves of each value log file
	names := map[string]bool{}  // what a power failure leaves of the directory
	s.syncFile = func(name string) error {
		b, err := os.ReadFile(name)
		disk[filepath.Base(name)] = b
		return err
	}
	s.syncDir = func(dir string) error {
		named, err := os.ReadDir(dir)
		clear(names)
		for _, e := range named {
			names[e.Name()] = true
		}
		return err
	}
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
		if flushed == previous || ends[flushed] == 0 {
			continue
		}
		if previous != 0 {
			growths++
		}
		previous = flushed
		end := ends[flushed]
		after := powerLoss(t, o, s.dir, disk, names)
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

// powerLoss opens a copy of an open store's directory after a power failure. Of each value log file
// the copy has what was synced, of the memtable files nothing.
func powerLoss(t *testing.T, o Options, dir string, synced map[string][]byte, names map[string]bool) *Store {
	t.Helper()
	for o.Dir = ""; o.Dir == ""; { // again if a compaction replaced a table meanwhile
		o.Dir = tryCopy(t, dir, func(name string) ([]byte, bool, error) {
			switch filepath.Ext(name) {
			case ".mem":
				return nil, false, nil
			case ".vlog":
				return synced[name], names[name] && synced[name] != nil, nil
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
