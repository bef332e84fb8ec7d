package ledger_test

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

// sealedRecord makes a stored checkpoint by hand, with a checksum that is right:
// docs/format-ledger.md.
func sealedRecord(size uint64, root merkle.Hash, note string) ledger.Pair {
	key := append(binary.BigEndian.AppendUint64(nil, 1), 'c')
	value := append([]byte{1}, make([]byte, 8)...)
	value = append(value, root[:]...)
	value = append(binary.BigEndian.AppendUint32(value, 0), note...)
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(value[:41], table), table, value[45:])
	binary.BigEndian.PutUint32(value[41:], sum)
	return ledger.Pair{Key: binary.BigEndian.AppendUint64(key, size), Value: value}
}

// TestStoredCheckpointWithAnotherRoot: a stored checkpoint with a valid checksum and a root that
// the entries do not have is never adopted: not at the start, and not when a replay reaches its
// size.
func TestStoredCheckpointWithAnotherRoot(t *testing.T) {
	t.Parallel()
	for name, replayed := range map[string]bool{"at the start": false, "after a replay": true} {
		for _, wrong := range []bool{true, false} {
			store := memstore.New(memstore.Options{})
			l := open(t, store, ledger.Summary{})
			blocks := [][]byte{single(t, l, 1, one("a", "1"), one("b", "2"))}
			mustApply(t, l, blocks[0])
			blocks = append(blocks, single(t, l, 2, one("c", "3")))
			mustApply(t, l, blocks[1])
			root := l.Head().Root
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			start, ok := l.Durable()
			if !ok {
				t.Fatal("nothing is durable after Close")
			}
			if replayed {
				start = ledger.Summary{}
			}
			made := store.Reopen()
			if wrong {
				root = merkle.LeafHash([]byte("another root"))
			}
			if err := made.Commit(100, []ledger.Pair{sealedRecord(3, root, "note\n")}); err != nil {
				t.Fatal(err)
			}
			again, err := ledger.Open(made, ledger.Config{Group: 1, Origin: origin, Start: start})
			for i := 0; replayed && err == nil && i < len(blocks); i++ {
				_, err = applyOne(again, uint64(i+1), 1, blocks[i])
			}
			var d *ledger.DivergenceError
			switch {
			case wrong && !errors.As(err, &d):
				t.Errorf("%s: a checkpoint with another root: %v, want a *DivergenceError", name, err)
			case wrong && again != nil && again.Sealed() != nil:
				t.Errorf("%s: a checkpoint with another root is the newest one", name)
			case !wrong && (err != nil || again.Sealed() == nil || again.Sealed().Size != 3):
				t.Errorf("%s: the same record with the right root: %v", name, err)
			}
		}
	}
}
