package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// misreading is a store whose value log lost a file, name and all: until a key is written again it
// reads as another one.
type misreading struct {
	ledger.Store
	as map[string][]byte // key -> the key whose value is returned
}

func (s *misreading) Get(key []byte) ([]byte, error) {
	if other, ok := s.as[string(key)]; ok {
		return s.Store.Get(other)
	}
	return s.Store.Get(key)
}

func (s *misreading) Commit(version uint64, pairs []ledger.Pair) error {
	for _, p := range pairs {
		delete(s.as, string(p.Key))
	}
	return s.Store.Commit(version, pairs)
}

// largeBlocks returns n blocks of one size, each of which needs a record and a part, and the
// ledger's sizes after them.
func largeBlocks(t *testing.T, n int) (entries []ledger.Committed, ends []uint64) {
	t.Helper()
	const each = 15
	for i := range n {
		b := ledger.Batch{Principal: "p"}
		for range each {
			b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: bytes.Repeat([]byte{byte(i)}, 60_000)})
		}
		raw, err := ledger.EncodeBlock(ledger.Anchor{Root: newModel().roots[0]}, int64(1000+i), []ledger.Batch{b})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, ledger.Committed{RaftIndex: uint64(i + 1), RaftTerm: 1, Block: raw})
		ends = append(ends, uint64((i+1)*each))
	}
	return entries, ends
}

func blockKey(kind byte, end uint64) []byte {
	k := append(binary.BigEndian.AppendUint64(nil, 1), kind)
	k = binary.BigEndian.AppendUint64(k, end)
	if kind == 'p' {
		k = binary.BigEndian.AppendUint16(k, 1)
	}
	return k
}

// TestReplayOfMisreadBlocks: a key that reads as another block's value has lost its own. It is no
// other history.
func TestReplayOfMisreadBlocks(t *testing.T) {
	t.Parallel()
	entries, ends := largeBlocks(t, 3)
	mem := memstore.New(memstore.Options{})
	l := open(t, mem, ledger.Summary{})
	if _, err := l.ApplyMany(entries); err != nil {
		t.Fatal(err)
	}
	want := l.Head()
	misread := map[string][]byte{}
	for _, kind := range []byte{'b', 'p'} {
		misread[string(blockKey(kind, ends[1]))] = blockKey(kind, ends[0])
		misread[string(blockKey(kind, ends[2]))] = blockKey(kind, ends[1])
	}
	s := &misreading{mem.ProcessCrash(), misread}
	l = open(t, s, ledger.Summary{})
	for i := range entries {
		if _, err := l.ApplyMany(entries[i : i+1]); err != nil {
			t.Fatalf("replay of block %d: %v", i, err)
		}
	}
	if got := l.Head(); got != want || len(s.as) != 0 {
		t.Fatalf("replay ends at %+v with %d values not written again, want %+v and 0", got, len(s.as), want)
	}
	leaves, err := l.Leaves(0, int(want.Size), 4<<20)
	if err != nil || len(leaves) != int(want.Size) {
		t.Fatalf("read everything: %d leaves of %d, %v", len(leaves), want.Size, err)
	}

	// A part alone that differs is another history: its record lies in the same file, and was read.
	s = &misreading{mem.ProcessCrash(), map[string][]byte{string(blockKey('p', ends[1])): blockKey('p', ends[0])}}
	l = open(t, s, ledger.Summary{})
	var d *ledger.DivergenceError
	if _, err := l.ApplyMany(entries); !errors.As(err, &d) {
		t.Fatalf("replay over another part: %v, want a *DivergenceError", err)
	}
}
