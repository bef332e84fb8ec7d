package main

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// TestVerifyMissesKeys: a ledger in which only the record of an idempotency key is gone is not
// called intact.
func TestVerifyMissesKeys(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: "example.org/ledger"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	block, err := ledger.EncodeBlock(l.Anchor(), 1, []ledger.Batch{{Principal: "p", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Key: []byte("k"), Body: []byte("x")}}}})
	if err == nil {
		_, err = l.ApplyMany([]ledger.Committed{{RaftIndex: 1, RaftTerm: 1, Block: block}})
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &app{streams: streams{out: io.Discard, err: io.Discard}, quiet: true}
	at := ledger.Summary{RaftIndex: 1, RaftTerm: 1, Size: 1, Root: l.Head().Root}
	if err := a.verifyLedger(l, at); err != nil {
		t.Fatalf("a sound ledger: %v", err)
	}
	prefix := append(binary.BigEndian.AppendUint64(nil, 1), 'k')
	record, err := store.Seek(prefix, prefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Commit(2, []ledger.Pair{{Key: record.Key}}); err != nil {
		t.Fatal(err)
	}
	var corrupt *ledger.CorruptError
	if err := a.verifyLedger(l, at); !errors.As(err, &corrupt) || corrupt.What != "idempotency record" {
		t.Errorf("without the record of a key: %v, want corruption", err)
	}
}
