package ledger

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

// checkCaches demands that weights, rings, maps and stamps agree.
func checkCaches(t *testing.T, c *Caches) {
	t.Helper()
	total := int64(0)
	for i := range c.shards {
		s := &c.shards[i]
		ring, held := 0, len(s.items)
		for item := s.ring.next; item != &s.ring; item = item.next {
			ring++
			total += item.weight
			if item.used < item.next.used && item.next != &s.ring {
				t.Errorf("shard %d: an item that was used at %d stands before one of %d", i, item.used, item.next.used)
			}
		}
		for ledger, blocks := range s.blocks {
			held += len(blocks)
			if len(blocks) == 0 || !slices.IsSortedFunc(blocks, func(a, b *cached) int { return int(a.key.index) - int(b.key.index) }) {
				t.Errorf("shard %d: ledger %d has %d blocks, or not in order", i, ledger, len(blocks))
			}
		}
		if ring != held {
			t.Errorf("shard %d: %d items in the ring, %d by key", i, ring, held)
		}
		if got := s.oldest.Load(); got != s.ring.prev.used {
			t.Errorf("shard %d: the oldest stamp is %d, published as %d", i, s.ring.prev.used, got)
		}
	}
	if total != c.Bytes() {
		t.Errorf("the items weigh %d, the caches say %d", total, c.Bytes())
	}
}

func testBlock(first uint64, count, size int) *record {
	return &record{first: first, count: count, encoded: make([]byte, size)}
}

func rowKey(i uint64) []byte { return binary.BigEndian.AppendUint64(nil, i) }

// TestCachesAreBounded: whatever several ledgers put, the items stay within the budget, and what is
// used after every put stays.
func TestCachesAreBounded(t *testing.T) {
	t.Parallel()
	const limit = 256 << 10
	c := NewCaches(limit)
	ledgers := []ledgerCache{c.of(), c.of(), c.of()}
	rng := rand.New(rand.NewPCG(1, 1))
	hot := ledgers[0]
	hot.putRow("hot", &row{index: 7})
	for i := range 20_000 {
		l := ledgers[rng.IntN(len(ledgers))]
		switch n := rng.Uint64N(2000); rng.IntN(4) {
		case 0:
			l.putBlock(testBlock(n*10, 10, rng.IntN(20_000)))
		case 1:
			l.putTile(tileID{uint8(n % 3), n}, make([]merkle.Hash, 1))
		case 2:
			l.dropBlock(n * 10)
		default:
			l.putRow(string(rowKey(n)), &row{value: make([]byte, rng.IntN(1000))})
		}
		if c.Bytes() > limit {
			t.Fatalf("%d bytes after %d puts, at most %d", c.Bytes(), i+1, limit)
		}
		if r, ok := hot.row([]byte("hot")); !ok || r.index != 7 {
			t.Fatalf("a row that is used after every put is gone after %d", i+1)
		}
	}
	checkCaches(t, c)
	ledgers[1].putRow("heavy", &row{value: make([]byte, limit)})
	if _, ok := ledgers[1].row([]byte("heavy")); !ok || c.Bytes() > limit+cacheOverhead+5 {
		t.Errorf("an item above the budget: held %t, %d bytes in all", ok, c.Bytes())
	}
	checkCaches(t, c)
}

// TestCachesForgetIdleLedgers: a ledger that is not used holds nothing once the others have filled
// the budget.
func TestCachesForgetIdleLedgers(t *testing.T) {
	t.Parallel()
	c := NewCaches(1 << 20)
	idle := c.of()
	for i := range uint64(100) {
		idle.putBlock(testBlock(i, 1, 100))
		idle.putTile(tileID{0, i}, nil)
		idle.putRow(string(rowKey(i)), &row{})
	}
	busy := c.of()
	for i := range uint64(300) {
		busy.putBlock(testBlock(i, 1, 4<<10))
	}
	for i := range uint64(100) {
		_, block := idle.block(i)
		_, tile := idle.tile(tileID{0, i})
		_, r := idle.row(rowKey(i))
		if block || tile || r {
			t.Fatalf("of number %d the idle ledger still holds: block %t, tile %t, row %t", i, block, tile, r)
		}
	}
	if _, ok := busy.block(299); !ok || c.Bytes() < 900<<10 {
		t.Errorf("the busy ledger has its newest block: %t; %d bytes are held", ok, c.Bytes())
	}
	checkCaches(t, c)
}

// TestCachedBlocks: a block is found by each of its entries, and by no other index.
func TestCachedBlocks(t *testing.T) {
	t.Parallel()
	l := NewCaches(1 << 20).of()
	for _, first := range []uint64{50, 10, 30} {
		l.putBlock(testBlock(first, 5, 10))
	}
	for index := range uint64(60) {
		want := index/5 == 2 || index/5 == 6 || index/5 == 10
		if r, ok := l.block(index); ok != want || ok && r.first != index/5*5 {
			t.Errorf("block of entry %d: found %t, want %t", index, ok, want)
		}
	}
	l.dropBlock(32)
	if _, ok := l.block(30); ok {
		t.Error("a block is found after it was dropped")
	}
	checkCaches(t, l.c)
}

// TestCachesAtOnce: many goroutines of several ledgers use one budget.
func TestCachesAtOnce(t *testing.T) {
	t.Parallel()
	c := NewCaches(128 << 10)
	ledgers := []ledgerCache{c.of(), c.of()}
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			l := ledgers[g%2]
			for range 5000 {
				switch n := rng.Uint64N(100); rng.IntN(6) {
				case 0:
					l.putBlock(testBlock(n*2, 2, 100))
				case 1:
					l.putTile(tileID{0, n}, nil)
				case 2:
					l.putRow(string(rowKey(n)), &row{index: n})
				case 3:
					if r, ok := l.block(n); ok && !r.holds(n) {
						t.Errorf("entry %d: the block from %d", n, r.first)
					}
				case 4:
					if r, ok := l.row(rowKey(n)); ok && r.index != n {
						t.Errorf("row %d: that of %d", n, r.index)
					}
				default:
					l.dropBlock(n)
				}
			}
		})
	}
	wait.Wait()
	checkCaches(t, c)
}
