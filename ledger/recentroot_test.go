package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

// TestRecentRoots: readers get the root of every past state while blocks are applied, those at or
// above the newest anchor without a hash computed, and no other size's.
func TestRecentRoots(t *testing.T) {
	const blocks = 1500 // more than the ledger remembers
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	defer l.Close()
	var roots [2*blocks + 1]merkle.Hash // of even sizes
	var size atomic.Uint64              // roots are known up to it
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for n := size.Load(); n < 2*blocks; n = size.Load() {
				if n == 0 {
					continue
				}
				at := 2 * (1 + rand.Uint64N(n/2))
				if got, err := l.RootAt(at); err != nil || got != roots[at] {
					t.Errorf("root at %d of %d is %s, %v, want %s", at, n, got, err, roots[at])
					return
				}
			}
		})
	}
	anchor := ledger.Anchor{Root: merkle.EmptyRoot()}
	for i := range blocks {
		if i%100 == 50 && i < blocks-200 {
			at := 2 * uint64(i-20)
			anchor = ledger.Anchor{Size: at, Root: roots[at]}
		}
		block, err := ledger.EncodeBlock(anchor, int64(i), []ledger.Batch{one("", fmt.Sprint(i)), one("", "x")})
		if err != nil {
			t.Fatal(err)
		}
		mustApply(t, l, block)
		head := l.Head()
		roots[head.Size] = head.Root
		size.Store(head.Size)
	}
	readers.Wait()
	for at := anchor.Size; at < 2*blocks; at++ {
		root, err := l.RootAt(at)
		if err != nil {
			t.Fatal(err)
		}
		computed := testing.AllocsPerRun(1, func() { _, _ = l.RootAt(at) }) > 0
		if even := at%2 == 0; even == computed || even != (root == roots[at]) {
			t.Errorf("the root at %d is %s, computed: %t; the state had root %s", at, root, computed, roots[at])
		}
	}
}
