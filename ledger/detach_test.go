package ledger_test

import (
	"testing"
	"unsafe"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

// TestLeavesKeepNoBlock: a small leaf of a large block does not keep the block in memory; leaves
// that are most of their block are not copied.
func TestLeavesKeepNoBlock(t *testing.T) {
	t.Parallel()
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	defer l.Close()
	batch := ledger.Batch{Principal: "spiffe://example.org/svc/a", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte("small")}}}
	for range 15 {
		batch.Entries = append(batch.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: make([]byte, 60_000)})
	}
	anchor := ledger.Anchor{Root: merkle.EmptyRoot()}
	for index := uint64(1); index <= 2; index++ {
		block, err := ledger.EncodeBlock(anchor, 1, []ledger.Batch{batch})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := applyOne(l, index, 1, block); err != nil {
			t.Fatal(err)
		}
		anchor = ledger.Anchor{Size: l.Head().Size, Root: l.Head().Root}
	}
	for _, tc := range []struct {
		first  uint64
		count  int
		copied bool
	}{{0, 1, true}, {16, 1, true}, {0, 2, true}, {0, 16, false}, {0, 32, false}} {
		leaves, err := l.Leaves(tc.first, tc.count, 1<<30)
		if err != nil || len(leaves) != tc.count {
			t.Fatalf("%d leaves, %v", len(leaves), err)
		}
		for i, leaf := range leaves {
			index := tc.first + uint64(i)
			block, err := ledger.BlockOf(l, index)
			if err != nil {
				t.Fatal(err)
			}
			if got := !within(leaf, block); got != tc.copied {
				t.Errorf("%d leaves from %d: leaf %d copied: %t, want %t", tc.count, tc.first, index, got, tc.copied)
			}
		}
	}
	// The last leaf of a range that is alone in its block is copied, the others are not.
	leaves, err := l.Leaves(0, 17, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ledger.BlockOf(l, 16)
	if err != nil {
		t.Fatal(err)
	}
	if within(leaves[16], block) {
		t.Error("the leaf of another block keeps that block")
	}
}

// within says whether a slice is part of a buffer.
func within(part, whole []byte) bool {
	at, start := uintptr(unsafe.Pointer(unsafe.SliceData(part))), uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	return at >= start && at < start+uintptr(len(whole))
}
