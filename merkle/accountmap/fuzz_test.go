package accountmap_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// FuzzParseProof: bytes are refused or encode back to themselves, and what they say about a real
// root is true.
func FuzzParseProof(f *testing.F) {
	leaves := accounts(40)
	tree := accountmap.Build(leaves[:30])
	want := map[accountmap.Key]merkle.Hash{}
	for _, l := range leaves[:30] {
		want[l.Key] = l.Record
	}
	for _, l := range leaves {
		f.Add(tree.Prove(l.Key).Append(nil))
	}
	f.Add(accountmap.New().Prove(accountmap.Key{}).Append(nil))
	f.Add([]byte{1, 2, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := accountmap.ParseProof(b)
		if err != nil {
			if !errors.Is(err, accountmap.ErrProof) {
				t.Fatalf("%x: %v", b, err)
			}
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x encodes back to %x", b, again)
		}
		if len(b) > accountmap.MaxProofSize {
			t.Fatalf("a proof of %d bytes", len(b))
		}
		for _, l := range leaves {
			record, present, err := p.Verify(tree.Root(), l.Key)
			if wantRecord, found := want[l.Key]; err == nil && (present != found || present && record != wantRecord) {
				t.Fatalf("%x shows %s, %t for key %s", b, record, present, l.Key)
			}
		}
	})
}
