package ledger

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/merkle"
)

func size(n uint64) *uint64 { return &n }

func testBatches() []Batch {
	return []Batch{
		{Principal: "spiffe://example.org/svc/a", Entries: []NewEntry{{Kind: KindPayload, Key: []byte("k"), Body: []byte("payload")}, {Kind: KindPayload}}},
		{Principal: "b", Entries: []NewEntry{{Kind: KindPayload, Body: bytes.Repeat([]byte{7}, 300)}}, ExpectedSize: size(0)},
		{Principal: "c", Entries: []NewEntry{{Kind: KindPayload, Key: bytes.Repeat([]byte{1}, MaxKeySize)}}, ExpectedSize: size(math.MaxUint64)},
	}
}

func encode(t testing.TB, batches []Batch) []byte {
	t.Helper()
	raw, err := EncodeBlock(Anchor{Size: 3, Root: merkle.LeafHash(nil)}, 1234567, batches)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestBlockRoundTrip(t *testing.T) {
	t.Parallel()
	batches := testBatches()
	b, err := ParseBlock(encode(t, batches))
	if err != nil {
		t.Fatal(err)
	}
	if b.Anchor != (Anchor{3, merkle.LeafHash(nil)}) || b.Time != 1234567 || len(b.Batches) != len(batches) {
		t.Fatalf("got %+v", b)
	}
	for i, want := range batches {
		got := b.Batches[i]
		if !reflect.DeepEqual(got.ExpectedSize, want.ExpectedSize) || len(got.Entries) != len(want.Entries) {
			t.Fatalf("batch %d: got %+v", i, got)
		}
		for j, e := range want.Entries {
			entry, err := ParseLeaf(got.Entries[j].Encoded)
			if err != nil || entry.Principal != want.Principal || entry.Time != 1234567 || !bytes.Equal(entry.Key, e.Key) || !bytes.Equal(entry.Body, e.Body) {
				t.Fatalf("batch %d, entry %d: got %+v, %v", i, j, entry, err)
			}
			leaf := entry.AppendLeaf(nil)
			if !bytes.Equal(leaf, got.Entries[j].Encoded) || len(leaf) != entry.LeafSize() {
				t.Fatalf("batch %d, entry %d: leaf %x became %x", i, j, got.Entries[j].Encoded, leaf)
			}
		}
	}
}

// TestBlockDetectsEveryFlip flips every bit of a block.
func TestBlockDetectsEveryFlip(t *testing.T) {
	t.Parallel()
	raw := encode(t, testBatches())
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		if _, err := ParseBlock(raw); !errors.Is(err, ErrBadBlock) {
			t.Fatalf("bit %d: got %v, want %v", i, err, ErrBadBlock)
		}
		raw[i/8] ^= 1 << (i % 8)
	}
	for n := range raw {
		if _, err := ParseBlock(raw[:n]); !errors.Is(err, ErrBadBlock) {
			t.Fatalf("cut at %d: got %v, want %v", n, err, ErrBadBlock)
		}
	}
}

// anything is a program that understands every body.
type anything struct{ Log }

func (anything) MaxOutcome(Kind, []byte) (int, error) { return 0, nil }

func TestValidate(t *testing.T) {
	t.Parallel()
	payload := func(n int) []byte { return make([]byte, n) }
	limit := MaxBody("p", 3)
	for name, c := range map[string]struct {
		b    Batch
		want string
	}{
		"fine":                  {Batch{Principal: "p", Entries: []NewEntry{{Kind: KindPayload, Key: []byte("key"), Body: payload(limit)}}}, ""},
		"same key twice":        {Batch{Principal: "p", Entries: []NewEntry{{Kind: KindPayload, Key: []byte("key")}, {Kind: KindPayload, Key: []byte("key")}}}, ""},
		"no entries":            {Batch{Principal: "p"}, "no entries"},
		"no principal":          {Batch{Entries: []NewEntry{{Kind: KindPayload}}}, "principal"},
		"long principal":        {Batch{Principal: strings.Repeat("p", MaxPrincipalSize+1), Entries: []NewEntry{{Kind: KindPayload}}}, "principal"},
		"long key":              {Batch{Principal: "p", Entries: []NewEntry{{Kind: KindPayload, Key: payload(MaxKeySize + 1)}}}, "key of"},
		"long payload":          {Batch{Principal: "p", Entries: []NewEntry{{Kind: KindPayload, Key: []byte("key"), Body: payload(limit + 1)}}}, "payload of"},
		"key twice differently": {Batch{Principal: "p", Entries: []NewEntry{{Kind: KindPayload, Key: []byte("key")}, {Kind: KindPayload, Key: []byte("key"), Body: payload(1)}}}, "twice"},
		"too many entries":      {Batch{Principal: "p", Entries: slices.Repeat([]NewEntry{{Kind: KindPayload}}, MaxBlockEntries+1)}, "batch of"},
		"no kind":               {Batch{Principal: "p", Entries: []NewEntry{{}}}, "kind 0"},
		"unknown kind":          {Batch{Principal: "p", Entries: []NewEntry{{Kind: 4}}}, "kind 4"},
		"key twice, two kinds":  {Batch{Principal: "p", Entries: []NewEntry{{Kind: KindPayload, Key: []byte("key")}, {Kind: KindCommand, Key: []byte("key")}}}, "twice"},
		"too many bytes":        {Batch{Principal: "p", Entries: []NewEntry{{Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}, {Kind: KindPayload, Body: payload(60000)}}}, "batch of"},
	} {
		err := c.b.Validate(anything{})
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrBadBatch) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err == nil {
			if raw := encode(t, []Batch{c.b}); len(raw) > MaxBlockSize {
				t.Errorf("%s: a valid batch makes a block of %d bytes", name, len(raw))
			}
		}
	}
}

// TestSizeBoundsTheBlock: what is packed by Size up to 1 MiB fits into a block, and its commit into
// the store.
func TestSizeBoundsTheBlock(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]NewEntry{"tiny": {}, "keyed": {Key: []byte("k")}, "small": {Body: make([]byte, 40)}, "large": {Body: make([]byte, 60000)}} {
		e.Kind = KindPayload
		one := Batch{Principal: "p", Entries: []NewEntry{e}}
		var batches []Batch
		for total := 0; total+one.Size() <= 1<<20; total += one.Size() {
			batches = append(batches, one)
		}
		raw := encode(t, batches)
		if n := commitSize(raw); n > MaxCommitSize {
			t.Errorf("%s: %d entries make a commit of %d bytes, at most %d", name, len(batches), n, MaxCommitSize)
		}
	}
	if _, err := EncodeBlock(Anchor{}, 0, []Batch{{Principal: "p", Entries: make([]NewEntry, MaxBlockEntries+1)}}); !errors.Is(err, ErrBlockTooLarge) {
		t.Errorf("too many entries: %v", err)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	want := Summary{RaftIndex: 1, RaftTerm: 2, Size: 3, Root: merkle.LeafHash(nil), Time: -4}
	b := want.Marshal()
	if got, err := ParseSummary(b); err != nil || got != want {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, err := ParseSummary(b); err == nil {
			t.Fatalf("bit %d: no error", i)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

func FuzzParseLeaf(f *testing.F) {
	f.Add((&Entry{Kind: KindPayload, Time: 1, Principal: "p", Key: []byte("k"), Body: []byte("payload")}).AppendLeaf(nil))
	f.Add((&Entry{Kind: KindCommand, Time: 1, Principal: "p", Body: []byte("command"), Outcome: []byte("outcome")}).AppendLeaf(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseLeaf(b)
		if err != nil {
			return
		}
		if got := e.AppendLeaf(nil); !bytes.Equal(got, b) {
			t.Fatalf("leaf %x encodes to %x", b, got)
		}
	})
}

func FuzzParseBlock(f *testing.F) {
	f.Add(encode(f, testBatches()), true)
	f.Add(encode(f, nil), true)
	f.Fuzz(func(t *testing.T, raw []byte, fix bool) {
		if fix && len(raw) > blockCRCSize {
			putCRC(raw) // get behind the checksum
		}
		b, err := ParseBlock(raw)
		if err != nil {
			return
		}
		var batches []Batch
		for _, bb := range b.Batches {
			batch := Batch{Principal: string(bb.Entries[0].Principal), ExpectedSize: bb.ExpectedSize}
			for _, e := range bb.Entries {
				batch.Entries = append(batch.Entries, NewEntry{Kind: e.Kind, Key: e.Key, Body: e.Body})
			}
			batches = append(batches, batch)
		}
		if got, err := EncodeBlock(b.Anchor, b.Time, batches); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("block %x encodes to %x, %v", raw, got, err)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	raw := encode(f, testBatches())
	f.Add(encodeRecord(1, 2, 3, []uint32{77, 126}, raw, nil, nil, nil).encoded)
	f.Add(encodeRecord(1, 2, 3, []uint32{77, 126}, raw, [][]byte{nil, []byte("outcome")}, nil, nil).encoded)
	f.Add(encodeRecord(1, 2, 3, []uint32{77, 126}, raw, [][]byte{nil, []byte("outcome")}, []uint32{0, 6}, []byte("detail")).encoded)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRecord(b)
		if err != nil {
			return
		}
		for i := range uint64(r.count) {
			_, _ = r.leaf(r.first + i) // an error or a slice of the block, never a panic
			_, _ = r.detail(r.first + i)
		}
	})
}
