package ledger_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/merkle"
)

// TestSharedCaches: ledgers that share caches and have the same indexes, tiles and row keys never
// see each other's blocks, tiles or rows, and a ledger that is opened once more at an earlier state
// does not see the rows from before. Budgets: all of it, a part, next to nothing.
func TestSharedCaches(t *testing.T) {
	t.Parallel()
	for _, budget := range []int64{64 << 20, 100 << 10, 1} {
		t.Run(fmt.Sprint("budget=", budget), func(t *testing.T) {
			t.Parallel()
			testSharedCaches(t, budget)
		})
	}
}

func testSharedCaches(t *testing.T, budget int64) {
	store := memstore.New(memstore.Options{})
	caches := ledger.NewCaches(budget)
	rng := rand.New(rand.NewPCG(1, 1))
	type replica struct {
		l      *ledger.Ledger
		blocks []ledger.Committed
		leaves [][]byte // as the model has them
		model  accounts.Model
	}
	open := func(group uint64) *ledger.Ledger {
		l, err := ledger.Open(store, ledger.Config{Group: group, Origin: fmt.Sprint("example.org/", group), Program: accounts.Program{}, Caches: caches})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	replicas := make([]*replica, 3)
	for i := range replicas {
		replicas[i] = &replica{l: open(uint64(i + 1)), model: accounts.Model{}}
	}
	for n := range 40 {
		for _, r := range replicas {
			b := ledger.Batch{Principal: "p"}
			for range 20 {
				command := accounts.Open(rng.Uint64N(50), rng.Uint64N(1000))
				if n > 3 {
					command = accounts.Transfer(rng.Uint64N(50), rng.Uint64N(50), rng.Uint64N(100))
				}
				b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: command})
				e := ledger.Entry{Kind: ledger.KindCommand, Time: int64(n), Principal: "p", Body: command, Outcome: r.model.Decide(command)}
				r.leaves = append(r.leaves, e.AppendLeaf(nil))
			}
			block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, int64(n), []ledger.Batch{b})
			if err != nil {
				t.Fatal(err)
			}
			r.blocks = append(r.blocks, ledger.Committed{RaftIndex: uint64(n + 1), RaftTerm: 1, Block: block})
			mustApply(t, r.l, block)
		}
	}
	for group, r := range replicas {
		var hashes []merkle.Hash
		for i, want := range r.leaves {
			got, err := r.l.Leaf(uint64(i))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("ledger %d: leaf %d is %x, %v; want %x", group+1, i, got, err, want)
			}
			hashes = append(hashes, merkle.LeafHash(want))
		}
		for index := range len(hashes) / merkle.TileWidth {
			want := merkle.AppendTile(nil, hashes[index*merkle.TileWidth:][:merkle.TileWidth])
			if got, err := r.l.Tile(0, uint64(index), merkle.TileWidth); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("ledger %d: tile %d is another one, %v", group+1, index, err)
			}
		}
	}
	again := open(1)
	if _, err := again.ApplyMany(replicas[0].blocks); err != nil {
		t.Fatalf("replay with the caches of the first run: %v", err)
	}
	if got, want := again.Head().Root, replicas[0].l.Head().Root; got != want {
		t.Fatalf("replay with the caches of the first run: root %s, want %s", got, want)
	}
}

// TestIdleLedgersAreSmall: an open ledger that nobody uses costs a few KiB.
func TestIdleLedgersAreSmall(t *testing.T) {
	const ledgers, most = 500, 8 << 10
	store, caches := memstore.New(memstore.Options{}), ledger.NewCaches(1<<20)
	open := make([]*ledger.Ledger, ledgers)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range open {
		var err error
		if open[i], err = ledger.Open(store, ledger.Config{Group: uint64(i + 1), Origin: origin, Program: accounts.Program{}, Caches: caches}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / ledgers
	t.Logf("%d bytes for each ledger", each)
	if each > most {
		t.Errorf("an idle ledger takes %d bytes, at most %d", each, most)
	}
	runtime.KeepAlive(open)
}
