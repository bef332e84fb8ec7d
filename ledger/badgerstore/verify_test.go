package badgerstore

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"

	"github.com/cairnledger/cairn/ledger"
)

// TestDamagedKeyRegistry: the check names the file and says what helps, and an opening does that.
func TestDamagedKeyRegistry(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut": func(b []byte) []byte { return b[:16] }, "empty": func([]byte) []byte { return nil },
		"flipped": func(b []byte) []byte { b[20] ^= 1; return b }, "longer": func(b []byte) []byte { return append(b, 0) },
	} {
		dir := t.TempDir()
		open := func() (*Store, error) { return Open(Options{Dir: dir}) }
		s, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(1, []ledger.Pair{{Key: []byte("group-1-key"), Value: []byte("v")}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, badger.KeyRegistryFileName)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, damage(b), 0o600); err != nil {
			t.Fatal(err)
		}
		err = verifyKeyRegistry(dir)
		var damaged *DamagedError
		if !errors.As(err, &damaged) || damaged.File != file || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: got %v, want an error that names the file and what to do", name, err)
		}
		if s, err = open(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := verifyKeyRegistry(dir); err != nil {
			t.Errorf("%s: after an opening: %v", name, err)
		}
		// A store that is in use is no damaged one.
		var refused *DamagedError
		if _, err := open(); err == nil || errors.As(err, &refused) {
			t.Errorf("%s: opened twice: %v", name, err)
		}
		if v, err := s.Get([]byte("group-1-key")); err != nil || string(v) != "v" {
			t.Errorf("%s: got %q, %v", name, v, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestForeignTablesInTheManifest: Badger would end the process over a table with a key, a
// compression or a level that this store never uses.
func TestForeignTablesInTheManifest(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]*pb.ManifestChange{
		"key":         {Id: 77, KeyId: 5},
		"compression": {Id: 77, Compression: 1},
		"level":       {Id: 77, Level: 7},
		"id":          {Id: 1<<31 + 1},
	} {
		o := Options{Dir: t.TempDir(), MemTableSize: 256 << 10, ValueLogSize: 1 << 20}
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(o.Dir, badger.ManifestFilename)
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		changes, err := proto.Marshal(&pb.ManifestChangeSet{Changes: []*pb.ManifestChange{change}})
		if err != nil {
			t.Fatal(err)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(changes)))
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(changes, y.CastagnoliCrcTable))
		if err := os.WriteFile(name, append(b, changes...), 0o600); err != nil {
			t.Fatal(err)
		}
		var damaged *DamagedError
		if _, err := Open(o); !errors.As(err, &damaged) || damaged.File != name {
			t.Errorf("a table with a foreign %s: %v, want a *DamagedError that names the MANIFEST", what, err)
		}
	}
}

// TestLostValue: a key whose value the value log has lost reads as ledger.ErrValueLost, not as an
// empty value and not as absent.
func TestLostValue(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), MemTableSize: 256 << 10, ValueThreshold: 1000, ValueLogSize: 1 << 20}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("group-1-large")
	if err := s.Commit(1, []ledger.Pair{{Key: key, Value: bytes.Repeat([]byte("v"), 5000)}, {Key: []byte("group-1-small"), Value: []byte("v")}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(o.Dir, "000001.vlog")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, left := range map[string][]byte{"zeroed": append(b[:logHeader:logHeader], make([]byte, len(b)-logHeader)...), "cut": b[:logHeader]} {
		if err := os.WriteFile(name, left, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Get(key); !errors.Is(err, ledger.ErrValueLost) {
			t.Errorf("%s: get %d bytes, %v, want ledger.ErrValueLost", what, len(v), err)
		}
		if p, err := s.Seek(key, key[:9]); !errors.Is(err, ledger.ErrValueLost) {
			t.Errorf("%s: seek %d bytes, %v, want ledger.ErrValueLost", what, len(p.Value), err)
		}
		if v, err := s.Get([]byte("group-1-small")); err != nil || string(v) != "v" {
			t.Errorf("%s: a small value beside it: %q, %v", what, v, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
