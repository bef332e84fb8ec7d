package badgerstore_test

import (
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/ledger/storetest"
)

func openStore(t testing.TB, dir string, memTableSize int64) *badgerstore.Store {
	t.Helper()
	s, err := badgerstore.Open(badgerstore.Options{Dir: dir, MemTableSize: memTableSize, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) (ledger.Store, func() ledger.Store) {
		dir := t.TempDir()
		open := func() ledger.Store { return openStore(t, dir, 0) }
		return open(), open
	})
}
