package ledger_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// manyLedgers are ledgers of one store and one cache. Their group ids differ in single bytes, they
// use the same idempotency keys and accounts, and the Raft indexes of the first are far from those
// of the others.
func manyLedgers(t *testing.T) (replicas []*replica) {
	caches := ledger.NewCaches(200 << 10)
	for i, group := range []uint64{1, 2, 256 + 1, 1<<32 + 1, math.MaxUint64} {
		h := newHistory(50 + uint64(i))
		if i%2 == 0 {
			h = newAccounts(50 + uint64(i))
		}
		h.grow(t, 200, 1500)
		for j := range h.entries {
			if i == 0 {
				h.entries[j].RaftIndex += 1_000_000
			}
		}
		replicas = append(replicas, &replica{t: t, h: h, rng: rand.New(rand.NewPCG(1, uint64(i))), group: group, caches: caches})
	}
	return replicas
}

// runMany applies the histories of all ledgers, with crashes of the store between, and returns the
// store in the end.
func runMany(replicas []*replica, store ledger.Store, crash func() ledger.Store) ledger.Store {
	for range 6 {
		for _, r := range replicas {
			r.open(ledger.Shared(store))
		}
		for range 4 {
			for _, r := range replicas {
				r.run(20, 4)
			}
		}
		store = crash()
	}
	for _, r := range replicas {
		r.open(ledger.Shared(store))
		r.finish()
	}
	return store
}

// closeMany closes the ledgers and then the store: closing a ledger alone makes nothing durable,
// and ends no other one.
func closeMany(t *testing.T, replicas []*replica, store ledger.Store) {
	t.Helper()
	for _, r := range replicas {
		before, _ := r.l.Durable()
		if err := r.l.Close(); err != nil {
			t.Fatalf("close group %d: %v", r.group, err)
		}
		if after, _ := r.l.Durable(); after != before {
			t.Errorf("group %d: closing one of several ledgers moved the durable position from %+v to %+v", r.group, before, after)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range replicas {
		r.mark = r.h.summary(len(r.h.entries))
		r.mark.Time = r.l.Head().Time
	}
}

// TestLedgersOfOneStore: several ledgers in one store, with Raft indexes far from one another, have
// their own entries, keys, rows, checkpoints and positions, through power failures and restarts.
func TestLedgersOfOneStore(t *testing.T) {
	t.Parallel()
	t.Run("memstore", func(t *testing.T) {
		t.Parallel()
		replicas := manyLedgers(t)
		rng := rand.New(rand.NewPCG(1, 1))
		store := memstore.New(memstore.Options{MemtableSize: 100 << 10, MaxUnflushed: 2})
		end := runMany(replicas, store, func() ledger.Store {
			store = store.PowerLoss(func(_, n int) int { return rng.IntN(n + 1) })
			return store
		})
		closeMany(t, replicas, end)
		for _, r := range replicas {
			r.open(store.Reopen())
		}
	})
	t.Run("badgerstore", func(t *testing.T) {
		t.Parallel()
		replicas := manyLedgers(t)
		o := badgerstore.Options{Dir: t.TempDir(), MemTableSize: 512 << 10, ValueThreshold: 4 << 10, ValueLogSize: 4 << 20}
		store := openBadgerWith(t, o)
		end := runMany(replicas, store, func() ledger.Store {
			o.Dir = image(t, o.Dir)
			_ = store.Close()
			store = openBadgerWith(t, o)
			return store
		})
		closeMany(t, replicas, end)
		store = openBadgerWith(t, o)
		defer store.Close()
		for _, r := range replicas {
			r.open(store.Shared())
		}
	})
}
