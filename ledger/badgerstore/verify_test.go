package badgerstore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"
	badger "github.com/dgraph-io/badger/v4"

	"github.com/cairnledger/cairn/ledger"
)

// TestDamagedKeyRegistry: the error names the file and says what helps, and that does help.
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
		_, err = open()
		var damaged *DamagedError
		if !errors.As(err, &damaged) || damaged.File != file || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: got %v, want an error that names the file and what to do", name, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if s, err = open(); err != nil {
			t.Fatalf("%s: after removal: %v", name, err)
		}
		if v, err := s.Get([]byte("group-1-key")); err != nil || string(v) != "v" {
			t.Errorf("%s: got %q, %v", name, v, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
