package ledger_test

import (
	"bytes"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// TestBlockRecordsOfStrangers: a record that was changed anywhere is refused, or its leaves still
// belong to its block; and a record that is as it was comes back whole.
func TestBlockRecordsOfStrangers(t *testing.T) {
	t.Parallel()
	h := newHistory(3)
	h.grow(t, 5, 6)
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	apply(t, h, l, 0, len(h.entries))
	rec, err := l.BlockAt(0)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := ledger.ParseBlockRecord(rec.Encoded)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := whole.Leaves()
	if err != nil || whole.First != 0 || whole.End() != rec.End() || whole.RaftIndex != rec.RaftIndex || whole.RaftTerm != rec.RaftTerm || !bytes.Equal(whole.Block, rec.Block) {
		t.Fatalf("got %+v, %v; want %+v", whole, err, rec)
	}
	for i, leaf := range leaves {
		if want, err := l.Leaf(uint64(i)); err != nil || !bytes.Equal(leaf, want) {
			t.Errorf("leaf %d differs, %v", i, err)
		}
	}
	for n := range rec.Encoded {
		if _, err := ledger.ParseBlockRecord(rec.Encoded[:n]); err == nil {
			t.Fatalf("the first %d bytes were accepted", n)
		}
		changed := bytes.Clone(rec.Encoded)
		changed[n] ^= 1 << (n % 8)
		if _, err := ledger.ParseBlockRecord(changed); err == nil { // both checksums cover everything
			t.Fatalf("byte %d was changed and nobody saw it", n)
		}
	}
}

func FuzzParseBlockRecord(f *testing.F) {
	h := newHistory(4)
	h.grow(f, 5, 6)
	l := open(f, memstore.New(memstore.Options{}), ledger.Summary{})
	apply(f, h, l, 0, len(h.entries))
	for at := uint64(0); at < l.Head().Size; {
		rec, err := l.BlockAt(at)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(rec.Encoded)
		at = rec.End()
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		rec, err := ledger.ParseBlockRecord(encoded)
		if err != nil {
			return
		}
		if leaves, err := rec.Leaves(); err != nil || uint64(len(leaves)) != rec.Count || rec.Count == 0 {
			t.Errorf("%d leaves of %d, %v", len(leaves), rec.Count, err)
		}
	})
}
