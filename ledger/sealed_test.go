package ledger_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/pqcrypto"
)

func cosigner(t testing.TB, name string) *tlog.Cosigner {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	key, err := pqcrypto.NewSigningKey(pqcrypto.MLDSA44, seed[:])
	if err != nil {
		t.Fatal(err)
	}
	c, err := tlog.NewCosigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReceipt(t *testing.T) {
	t.Parallel()
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	defer l.Close()
	mustApply(t, l, single(t, l, 1, one("a", "1"), one("b", "2"), one("c", "3")))
	if _, err := l.Receipt(0); !errors.Is(err, ledger.ErrNotSealed) {
		t.Fatalf("receipt before any seal: %v", err)
	}
	head := l.Head()
	cp := tlog.Checkpoint{Origin: origin, Size: head.Size, Root: head.Root}
	log, node := cosigner(t, origin), cosigner(t, origin+"/n1")
	note := tlog.Note{Text: cp.Text()}
	for _, c := range []*tlog.Cosigner{log, node} {
		sig, err := c.Cosign(cp, 1)
		if err != nil {
			t.Fatal(err)
		}
		note.Signatures = append(note.Signatures, sig)
	}
	if err := l.SetSealed(&ledger.Sealed{Size: cp.Size, Root: cp.Root, Note: note.Marshal()}); err != nil {
		t.Fatal(err)
	}
	mustApply(t, l, single(t, l, 2, one("d", "4")))
	policy, err := tlog.NewPolicy([]*tlog.VerifierKey{log.Key()}, []*tlog.VerifierKey{node.Key()}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3) {
		r, err := l.Receipt(i)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = tlog.ParseReceipt(r.Marshal()); err != nil {
			t.Fatal(err)
		}
		if v, err := policy.VerifyReceipt(r); err != nil || v.Size != 3 {
			t.Fatalf("receipt %d: %+v, %v", i, v, err)
		}
	}
	if _, err := l.Receipt(3); !errors.Is(err, ledger.ErrNotSealed) {
		t.Fatalf("receipt beyond the seal: %v", err)
	}
	var notFound *ledger.NotFoundError
	if _, err := l.Receipt(4); !errors.As(err, &notFound) {
		t.Fatalf("receipt beyond the ledger: %v", err)
	}
	if s, err := l.WaitSealed(context.Background(), 2); err != nil || s.Size != 3 {
		t.Fatalf("wait for a sealed size: %+v, %v", s, err)
	}
}

// TestSealedHistory seals every second for ten minutes and wants the newest and about one a minute
// to stay.
func TestSealedHistory(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	const second = 1_000_000
	for i := range int64(600) {
		mustApply(t, l, single(t, l, i*second, one("", "x")))
		h := l.Head()
		if err := l.SetSealed(&ledger.Sealed{Size: h.Size, Root: h.Root, Note: []byte{byte(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	history := func(l *ledger.Ledger) (sizes []uint64) {
		for size := l.Head().Size; ; size = sizes[len(sizes)-1] - 1 {
			s, err := l.SealedBefore(size)
			if err != nil {
				t.Fatal(err)
			}
			if s == nil {
				return sizes
			}
			if root, err := l.RootAt(s.Size); err != nil || root != s.Root {
				t.Fatalf("sealed %d has root %v, want %v, %v", s.Size, s.Root, root, err)
			}
			sizes = append(sizes, s.Size)
		}
	}
	got := history(l)
	if len(got) != 11 || got[0] != 600 {
		t.Fatalf("checkpoints of sizes %d are kept, want the newest and one a minute", got)
	}
	for i := 1; i+1 < len(got); i++ {
		if got[i]-got[i+1] != 60 {
			t.Fatalf("checkpoints of sizes %d are kept, want one a minute", got)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mark, _ := l.Durable()
	if again := history(open(t, store.Reopen(), mark)); len(again) != len(got) || again[0] != 600 {
		t.Fatalf("after a restart %d, want %d", again, got)
	}
}

func TestSetSealedComparesRoots(t *testing.T) {
	t.Parallel()
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	mustApply(t, l, single(t, l, 1, one("a", "1"), one("b", "2")))
	h := l.Head()
	var notFound *ledger.NotFoundError
	if err := l.SetSealed(&ledger.Sealed{Size: 3, Root: h.Root}); !errors.As(err, &notFound) {
		t.Fatalf("sealed beyond the size: %v", err)
	}
	if err := l.SetSealed(&ledger.Sealed{Size: 2, Root: h.Root, Note: []byte("first")}); err != nil {
		t.Fatal(err)
	}
	// Older or equal ones change nothing, whatever they say.
	for size := range uint64(3) {
		if err := l.SetSealed(&ledger.Sealed{Size: size, Root: merkle.Hash{1}}); err != nil || string(l.Sealed().Note) != "first" {
			t.Fatalf("an old checkpoint: %v, newest %q", err, l.Sealed().Note)
		}
	}
	mustApply(t, l, single(t, l, 1, one("c", "3")))
	var d *ledger.DivergenceError
	if err := l.SetSealed(&ledger.Sealed{Size: 3, Root: h.Root}); !errors.As(err, &d) {
		t.Fatalf("another root: %v", err)
	}
	if _, err := applyOne(l, 100, 1, nil); !errors.As(err, &d) {
		t.Fatalf("apply after a divergence: %v", err)
	}
}

// TestBlockAt streams the blocks of one ledger into another, which must come out the same.
func TestBlockAt(t *testing.T) {
	t.Parallel()
	h := newHistory(9)
	h.grow(t, 150, 100)
	from, to := open(t, memstore.New(memstore.Options{}), ledger.Summary{}), open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	apply(t, h, from, 0, len(h.entries))
	for next := uint64(0); next < from.Head().Size; {
		b, err := from.BlockAt(next)
		if err != nil {
			t.Fatal(err)
		}
		if b.First != next {
			t.Fatalf("block at %d begins at %d", next, b.First)
		}
		if _, err := applyOne(to, b.RaftIndex, b.RaftTerm, b.Block); err != nil {
			t.Fatal(err)
		}
		if next += b.Count; to.Head().Size != next {
			t.Fatalf("size %d after the block that ends at %d", to.Head().Size, next)
		}
	}
	if to.Head().Root != from.Head().Root || to.Head().Time != from.Head().Time {
		t.Fatalf("got %+v, want %+v", to.Head(), from.Head())
	}
}
