package ledger_test

import (
	"fmt"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
)

// countingStore counts the searches of a store.
type countingStore struct {
	ledger.Store
	seeks *int
}

func (s countingStore) Seek(key, prefix []byte) (ledger.Pair, error) {
	*s.seeks++
	return s.Store.Seek(key, prefix)
}

// TestNewKeysAreNotLookedFor: a key that has no row is as good as never looked for in the store, by
// the program and by readers, and every key that has one is found, also after a restart that has
// not read all keys again.
func TestNewKeysAreNotLookedFor(t *testing.T) {
	const old, fresh = 130_000, 20_000 // more old keys than an Open reads
	seeks := 0
	store := countingStore{memstore.New(memstore.Options{MemtableSize: 64 << 10}), &seeks}
	l := openProgram(t, store, accounts.Program{}, ledger.Summary{})
	open := func(first, n uint64) {
		t.Helper()
		for at := first; at < first+n; at += 5000 {
			var bodies []string
			for a := at; a < min(at+5000, first+n); a++ {
				bodies = append(bodies, string(accounts.Open(a, 1)))
			}
			mustApply(t, l, single(t, l, 1, commands(bodies...)))
		}
	}
	open(0, old)
	if seeks > old/100 {
		t.Errorf("%d searches of the store for %d new keys", seeks, old)
	}
	for pass := range 2 {
		for _, a := range []uint64{0, 1, old / 2, old - 1} {
			if _, found, err := l.State().Get(accounts.Key(a)); err != nil || !found {
				t.Fatalf("pass %d: account %d: found %v, %v", pass, a, found, err)
			}
		}
		seeks = 0
		for a := range uint64(fresh) {
			if _, found, err := l.State().Get(accounts.Key(1<<40 + a)); err != nil || found {
				t.Fatalf("pass %d: account %d is there: %v, %v", pass, 1<<40+a, found, err)
			}
		}
		if seeks > fresh/100 {
			t.Errorf("pass %d: %d searches of the store for %d keys that it does not have", pass, seeks, fresh)
		}
		if pass == 0 {
			start, _ := l.Durable()
			l = openProgram(t, store, accounts.Program{}, start)
			if l.Head().Size < old-10_000 {
				t.Fatalf("opened at size %d", l.Head().Size)
			}
			if _, found, err := l.State().Get(accounts.Key(100_500)); err != nil || !found {
				t.Fatalf("after a restart account %d: found %v, %v", 100_500, found, err)
			}
			open(l.Head().Size, old+10_000-l.Head().Size) // commits read the rest of the keys
		}
	}
	if got := fmt.Sprint(l.Head().Size); got != fmt.Sprint(old+10_000) {
		t.Errorf("size %s", got)
	}
}
