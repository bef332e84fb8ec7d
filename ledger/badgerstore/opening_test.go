package badgerstore

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/errors"
	badger "github.com/dgraph-io/badger/v4"

	"github.com/cairnledger/cairn/ledger"
)

// TestValueWrittenAgainIsNewer: a power failure takes a value and leaves its key, and the next
// process writes the value again at the same version. To Badger the second one is newer, wherever
// compactions move the two: it gives no promise about two values at one version.
func TestValueWrittenAgainIsNewer(t *testing.T) {
	o := Options{Dir: t.TempDir(), MemTableSize: 1 << 20, ValueThreshold: 100}
	key := binary.BigEndian.AppendUint64([]byte("group..1b"), 7)
	value := bytes.Repeat([]byte("value"), 100)
	const writes = 4
	for i := range writes {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(key); i > 0 && !errors.Is(err, ledger.ErrValueLost) {
			t.Fatalf("the value was not lost: %v", err)
		}
		if err := s.Commit(3, []ledger.Pair{{Key: key, Value: value}}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(key); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("the value written again reads as %d bytes, %v", len(got), err)
		}
		if i == writes-1 {
			if n := versions(t, s, key); n != writes {
				t.Errorf("Badger has the key at %d versions after %d writes, one in each process", n, writes)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			break
		}
		o.Dir = withoutValues(t, s.dir)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// versions counts the versions at which Badger holds a key.
func versions(t *testing.T, s *Store, key []byte) (n int) {
	t.Helper()
	txn := s.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	it := txn.NewKeyIterator(key, badger.IteratorOptions{AllVersions: true})
	defer it.Close()
	last := uint64(math.MaxUint64)
	for it.Rewind(); it.Valid(); it.Next() {
		if v := it.Item().Version(); v < last {
			n, last = n+1, v
		}
	}
	return n
}

// withoutValues copies an open store's directory as a power failure leaves it that took all values
// and kept everything else.
func withoutValues(t *testing.T, dir string) (to string) {
	t.Helper()
	for to == "" {
		to = tryCopy(t, dir, func(name string) ([]byte, bool, error) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if filepath.Ext(name) == ".vlog" {
				b = make([]byte, logHeader)
			}
			return b, name != "LOCK", err
		})
	}
	return to
}

// TestVersionsOfAStore: versions that would reach into the number of the opening are refused.
func TestVersionsOfAStore(t *testing.T) {
	s := &Store{opening: 5}
	for version, ok := range map[uint64]bool{0: false, 1: true, 1<<44 - 1: true, 1 << 44: false, math.MaxUint64: false} {
		at, err := s.versionOf(version)
		if ok != (err == nil) || ok && at != version<<20+5 {
			t.Errorf("version %d: %d, %v", version, at, err)
		}
	}
}

// TestOpeningsAreNumbered: each opening of a store has a larger number than those before, and the
// directory is synced before the number is used.
func TestOpeningsAreNumbered(t *testing.T) {
	dir, last := t.TempDir(), uint64(0)
	for range 4 {
		s, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if s.opening <= last {
			t.Errorf("opening %d after %d", s.opening, last)
		}
		last = s.opening
		synced := false
		if n, err := newOpening(dir, func(d string) error { synced = d == dir; return nil }); n != last || err != nil || !synced {
			t.Errorf("opening %d, want %d: %v; directory synced: %v", n, last, err, synced)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "1048576.vlog"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := newOpening(dir, syncDir); err == nil {
		t.Errorf("opening %d was not refused", n)
	}
}
