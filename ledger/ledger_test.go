package ledger_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/badgerstore"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
)

const origin = "example.org/ledger"

func open(t testing.TB, store ledger.Store, start ledger.Summary) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Start: start})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func openBadger(t testing.TB, dir string, memTable int64) *badgerstore.Store {
	t.Helper()
	return openBadgerWith(t, badgerstore.Options{Dir: dir, MemTableSize: memTable})
}

func openBadgerWith(t testing.TB, o badgerstore.Options) *badgerstore.Store {
	t.Helper()
	o.Logf = t.Logf
	s, err := badgerstore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func apply(t testing.TB, h *history, l *ledger.Ledger, from, to int) {
	t.Helper()
	results, err := l.ApplyMany(h.entries[from:to])
	if err != nil {
		t.Fatalf("%v: apply entries %d to %d: %v", h, from, to, err)
	}
	h.checkResults(t, from, results)
}

// TestDifferential applies one random history to the model, to memstore and to badgerstore, in
// random groups.
func TestDifferential(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		h := newHistory(seed)
		switch {
		case seed >= 6:
			h = newMapped(seed)
		case seed >= 4:
			h = newAccounts(seed)
		}
		h.grow(t, 400, 50)
		badgerStore := openBadger(t, t.TempDir(), 0)
		stores := map[string]ledger.Store{"memstore": memstore.New(memstore.Options{MemtableSize: 8 << 10}), "badgerstore": badgerStore}
		for name, store := range stores {
			l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Program: h.program()})
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(seed, 99))
			for n := 0; n < len(h.entries); {
				k := min(len(h.entries), n+1+rng.IntN(20))
				apply(t, h, l, n, k)
				n = k
				if rng.IntN(10) == 0 {
					h.checkState(t, l, n)
				}
			}
			h.checkState(t, l, len(h.entries))
			if err := l.Close(); err != nil {
				t.Fatalf("%s: close: %v", name, err)
			}
			if s, ok := l.Durable(); !ok || s.RaftIndex != h.entries[len(h.entries)-1].RaftIndex || s.Size != h.model.size() {
				t.Fatalf("%s: durable after close: %+v, %v", name, s, ok)
			}
		}
	}
}

func single(t testing.TB, l *ledger.Ledger, time int64, batches ...ledger.Batch) []byte {
	t.Helper()
	head := l.Head()
	block, err := ledger.EncodeBlock(ledger.Anchor{Size: head.Size, Root: head.Root}, time, batches)
	if err != nil {
		t.Fatal(err)
	}
	return block
}

func one(key, payload string) ledger.Batch {
	return ledger.Batch{Principal: "spiffe://example.org/svc/a", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Key: []byte(key), Body: []byte(payload)}}}
}

// applyOne applies one block.
func applyOne(l *ledger.Ledger, raftIndex, raftTerm uint64, block []byte) ([]ledger.Result, error) {
	results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: raftIndex, RaftTerm: raftTerm, Block: block}})
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

func mustApply(t testing.TB, l *ledger.Ledger, block []byte) []ledger.Result {
	t.Helper()
	results, err := applyOne(l, l.Head().RaftIndex+1, 1, block)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestExpectedSize(t *testing.T) {
	t.Parallel()
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	defer l.Close()
	at := func(b ledger.Batch, size uint64) ledger.Batch {
		b.ExpectedSize = &size
		return b
	}
	two := ledger.Batch{Principal: "spiffe://example.org/svc/a", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Key: []byte("k0"), Body: []byte("p0")}, {Kind: ledger.KindPayload, Key: []byte("k2"), Body: []byte("p2")}}}
	for i, c := range []struct {
		batch   ledger.Batch
		indexes []uint64 // nil: size mismatch
	}{
		{at(one("k0", "p0"), 1), nil},
		{at(one("k0", "p0"), 0), []uint64{0}},
		{at(one("k0", "p0"), 0), []uint64{0}}, // the retry
		{at(one("k0", "p0"), 1), []uint64{0}}, // the size is right
		{one("k1", "p1"), []uint64{1}},
		{at(one("k0", "p0"), 0), []uint64{0}}, // a late retry
		{at(one("k0", "p0"), 1), nil},         // never happened
		{at(two, 1), nil},
		{at(two, 2), []uint64{0, 2}},
		{at(two, 2), []uint64{0, 2}},
		{at(one("", "no key"), 2), nil},
		{at(one("", "no key"), 3), []uint64{3}},
		{at(one("", "no key"), 3), nil}, // without a key there is no retry
	} {
		r := mustApply(t, l, single(t, l, int64(i), c.batch))[0]
		var mismatch *ledger.SizeMismatchError
		if c.indexes == nil {
			if !errors.As(r.Err, &mismatch) || mismatch.Actual != l.Head().Size || mismatch.Expected != *c.batch.ExpectedSize {
				t.Fatalf("case %d: %+v, want a size mismatch", i, r)
			}
			continue
		}
		if r.Err != nil || len(r.Indexes) != len(c.indexes) || r.Indexes[0] != c.indexes[0] || r.Indexes[len(r.Indexes)-1] != c.indexes[len(c.indexes)-1] {
			t.Fatalf("case %d: %+v, want %d", i, r, c.indexes)
		}
	}
}

func TestConflictNamesKeyIndexAndDigests(t *testing.T) {
	t.Parallel()
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	defer l.Close()
	mustApply(t, l, single(t, l, 1, one("a", "1"), one("b", "2")))
	batch := one("new", "3")
	batch.Entries = append(batch.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Key: []byte("b"), Body: []byte("other")})
	results := mustApply(t, l, single(t, l, 2, batch, one("new", "4")))
	var c *ledger.ConflictError
	if !errors.As(results[0].Err, &c) || string(c.Key) != "b" || c.Index != 1 || c.InBatch || c.StoredDigest == c.OfferedDigest {
		t.Fatalf("got %v", results[0].Err)
	}
	if results[1].Err != nil || results[1].Indexes[0] != 2 {
		t.Fatalf("a refused batch left a trace: %+v", results[1])
	}
	// The same key of another principal is another key.
	other := one("b", "other")
	other.Principal = "spiffe://example.org/svc/b"
	if r := mustApply(t, l, single(t, l, 3, other))[0]; r.Err != nil || r.Duplicate[0] {
		t.Fatalf("another principal's key: %+v", r)
	}
}

// TestBlocksWithoutEffect: what a proposer gets committed that it must not have proposed changes
// nothing on any replica, is counted, and the ledger goes on. Only a block of a newer version stops
// it.
func TestBlocksWithoutEffect(t *testing.T) {
	t.Parallel()
	wrong := merkle.LeafHash([]byte("wrong"))
	anchored := func(anchor func(h ledger.Head) ledger.Anchor, time int64) func(ledger.Head) []byte {
		return func(h ledger.Head) []byte {
			block, err := ledger.EncodeBlock(anchor(h), time, []ledger.Batch{one("c", "3"), one("d", "4")})
			if err != nil {
				t.Fatal(err)
			}
			return block
		}
	}
	right := func(h ledger.Head) ledger.Anchor { return ledger.Anchor{Size: h.Size, Root: h.Root} }
	version := func(v byte, sum bool) func(ledger.Head) []byte {
		return func(h ledger.Head) []byte {
			block := anchored(right, 9)(h)
			block[4] = v
			if sum {
				end := len(block) - 4
				binary.BigEndian.PutUint32(block[end:], crc32.Checksum(block[:end], crc32.MakeTable(crc32.Castagnoli)))
			}
			return block
		}
	}
	for name, c := range map[string]struct {
		block func(h ledger.Head) []byte
		want  ledger.IgnoreReason
	}{
		"wrong root":            {anchored(func(h ledger.Head) ledger.Anchor { return ledger.Anchor{Size: h.Size, Root: wrong} }, 9), ledger.IgnoredAnchor},
		"wrong past root":       {anchored(func(ledger.Head) ledger.Anchor { return ledger.Anchor{Size: 1, Root: wrong} }, 9), ledger.IgnoredAnchor},
		"wrong empty root":      {anchored(func(ledger.Head) ledger.Anchor { return ledger.Anchor{Root: wrong} }, 9), ledger.IgnoredAnchor},
		"no root":               {anchored(func(ledger.Head) ledger.Anchor { return ledger.Anchor{} }, 9), ledger.IgnoredAnchor},
		"anchor ahead":          {anchored(func(h ledger.Head) ledger.Anchor { return ledger.Anchor{Size: h.Size + 1, Root: wrong} }, 9), ledger.IgnoredAnchor},
		"anchor far ahead":      {anchored(func(ledger.Head) ledger.Anchor { return ledger.Anchor{Size: math.MaxUint64, Root: wrong} }, 9), ledger.IgnoredAnchor},
		"time runs backwards":   {anchored(right, 4), ledger.IgnoredTime},
		"time before the epoch": {anchored(right, math.MinInt64), ledger.IgnoredTime},
		"no block":              {func(ledger.Head) []byte { return []byte("garbage") }, ledger.IgnoredMalformed},
		"one byte":              {func(ledger.Head) []byte { return []byte("C") }, ledger.IgnoredMalformed},
		"a block that is cut":   {func(h ledger.Head) []byte { return anchored(right, 9)(h)[:100] }, ledger.IgnoredMalformed},
		"too large":             {func(ledger.Head) []byte { return make([]byte, ledger.MaxBlockSize+1) }, ledger.IgnoredMalformed},
		"version 0":             {version(0, true), ledger.IgnoredMalformed},
		"damaged version":       {version(2, false), ledger.IgnoredMalformed},
		"a newer version":       {version(2, true), ""},
	} {
		l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
		mustApply(t, l, single(t, l, 5, one("a", "1")))
		mustApply(t, l, single(t, l, 5, one("b", "2")))
		before := l.Head()
		results, err := applyOne(l, before.RaftIndex+1, 1, c.block(before))
		if c.want == "" {
			if !errors.Is(err, ledger.ErrNewerBlock) || !strings.Contains(err.Error(), "upgrade this node") {
				t.Errorf("%s: %v, want an error that says to upgrade", name, err)
			}
			if _, again := applyOne(l, before.RaftIndex+2, 1, nil); !errors.Is(again, err) {
				t.Errorf("%s: afterwards: %v, want the same error", name, again)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v, want no error", name, err)
			continue
		}
		for _, r := range results {
			var ignored *ledger.IgnoredError
			if !errors.As(r.Err, &ignored) || ignored.Reason != c.want || r.Size != before.Size {
				t.Errorf("%s: result %+v, want an *IgnoredError because of %s", name, r, c.want)
			}
		}
		after := l.Head()
		if after.RaftIndex != before.RaftIndex+1 || after.Size != before.Size || after.Root != before.Root || after.Time != before.Time {
			t.Errorf("%s: the head moved from %+v to %+v", name, before, after)
		}
		for _, reason := range []ledger.IgnoreReason{ledger.IgnoredMalformed, ledger.IgnoredAnchor, ledger.IgnoredTime} {
			want := uint64(0)
			if reason == c.want {
				want = 1
			}
			if got := l.Ignored(reason); got != want {
				t.Errorf("%s: %d blocks ignored because of %s, want %d", name, got, reason, want)
			}
		}
		if got := l.Contradicted() != nil; got != (c.want == ledger.IgnoredAnchor) {
			t.Errorf("%s: an anchor is contradicted: %t", name, got)
		}
		// Nothing was staged: the same keys with other payloads are new.
		for i, r := range mustApply(t, l, single(t, l, 9, one("c", "other"))) {
			if r.Err != nil || r.Indexes[0] != before.Size+uint64(i) || r.Duplicate[0] {
				t.Errorf("%s: afterwards: %+v", name, r)
			}
		}
	}
}

// TestAnchor: a block names the newest sealed size, so that a proposer which has diverged since
// stops nobody else.
func TestAnchor(t *testing.T) {
	t.Parallel()
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	if a := l.Anchor(); a != (ledger.Anchor{Root: merkle.EmptyRoot()}) {
		t.Errorf("before any seal: %+v", a)
	}
	mustApply(t, l, single(t, l, 5, one("a", "1")))
	sealed := l.Head()
	mustApply(t, l, single(t, l, 5, one("b", "2")))
	if err := l.SetSealed(&ledger.Sealed{Size: sealed.Size, Root: sealed.Root, Note: []byte("note")}); err != nil {
		t.Fatal(err)
	}
	want := ledger.Anchor{Size: sealed.Size, Root: sealed.Root}
	if l.Anchor() != want {
		t.Errorf("sealed at %d: anchor %+v", sealed.Size, l.Anchor())
	}
	// Another ledger with the same beginning that has gone another way proposes the next blocks.
	other := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	mustApply(t, other, single(t, other, 5, one("a", "1")))
	mustApply(t, other, single(t, other, 5, one("b", "wrong")))
	if err := other.SetSealed(&ledger.Sealed{Size: sealed.Size, Root: sealed.Root, Note: []byte("note")}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // the same anchor again and again
		block, err := ledger.EncodeBlock(other.Anchor(), 6, []ledger.Batch{one(fmt.Sprint("c", i), "3")})
		if err != nil {
			t.Fatal(err)
		}
		mustApply(t, l, block)
	}
	// It has no effect on whoever has another root for what is sealed, and package seal hears of
	// the contradiction.
	far := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	mustApply(t, far, single(t, far, 5, one("a", "wrong")))
	block, err := ledger.EncodeBlock(l.Anchor(), 6, []ledger.Batch{one("c", "3")})
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, far, block)
	if c := far.Contradicted(); far.Head().Size != 1 || c == nil || *c != l.Anchor() {
		t.Errorf("a replica with another root for the anchor: size %d, contradicts %+v", far.Head().Size, c)
	}
}

func TestWaiters(t *testing.T) {
	t.Parallel()
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 3)
	go func() { errs <- l.WaitSize(ctx, 2) }()
	mustApply(t, l, single(t, l, 1, one("", "1"), one("", "2")))
	if err := <-errs; err != nil {
		t.Fatalf("wait for a reached size: %v", err)
	}
	go func() { errs <- l.WaitSize(ctx, 1000) }()
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled wait: %v", err)
	}
	go func() {
		_, err := l.WaitSealed(context.Background(), 1)
		errs <- err
	}()
	time.Sleep(time.Millisecond) // either side of Close is fine
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, ledger.ErrClosed) {
		t.Fatalf("wait across Close: %v", err)
	}
	if _, err := applyOne(l, 100, 1, nil); !errors.Is(err, ledger.ErrClosed) {
		t.Fatalf("apply after Close: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	mustApply(t, l, single(t, l, 1, one("a", "1")))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	store = store.Reopen()
	var id *ledger.IdentityError
	if _, err := ledger.Open(store, ledger.Config{Group: 1, Origin: "example.org/other"}); !errors.As(err, &id) || id.Field != "origin" {
		t.Fatalf("another origin: %v", err)
	}
	var corrupt *ledger.CorruptError
	ahead := ledger.Summary{RaftIndex: 9, RaftTerm: 1, Size: 5}
	if _, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Start: ahead}); !errors.As(err, &corrupt) {
		t.Fatalf("a store behind the start: %v", err)
	}
	if _, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: origin, Start: ahead}); !errors.As(err, &corrupt) {
		t.Fatalf("an empty store behind the start: %v", err)
	}
	s, _ := l.Durable()
	s.Root[0] ^= 1
	if _, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Start: s}); !errors.As(err, &corrupt) || corrupt.What != "tree" {
		t.Fatalf("another root: %v", err)
	}
	// Two ledgers in one store do not meet.
	other, err := ledger.Open(store, ledger.Config{Group: 2, Origin: "example.org/other"})
	if err != nil || other.Head().Size != 0 {
		t.Fatalf("another group: %v", err)
	}
}

// TestManySmallBlocks goes over several full tiles of two levels with reads from all over.
func TestManySmallBlocks(t *testing.T) {
	t.Parallel()
	h := newHistory(77)
	var batches []ledger.Batch
	for len(batches) < 220 {
		b := ledger.Batch{Principal: "p"}
		for range 320 {
			b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Body: []byte{byte(len(batches))}})
		}
		batches = append(batches, b)
	}
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	for i := range batches {
		root := h.model.roots[h.model.size()]
		block, err := ledger.EncodeBlock(ledger.Anchor{Size: h.model.size(), Root: root}, int64(i), batches[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		h.results = append(h.results, h.model.apply(int64(i), batches[i:i+1]))
		h.entries = append(h.entries, ledger.Committed{RaftIndex: uint64(i) + 1, RaftTerm: 1, Block: block})
		h.sizes, h.times = append(h.sizes, h.model.size()), append(h.times, h.model.time)
		apply(t, h, l, i, i+1)
	}
	if h.model.size() <= 256*256 {
		t.Fatalf("only %d entries: not more than a tile of level 1", h.model.size())
	}
	h.checkState(t, l, len(h.entries))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ := l.Durable()
	l = open(t, store.Reopen(), s)
	h.checkState(t, l, len(h.entries))
}
