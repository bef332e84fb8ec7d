package ledger_test

import (
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// levels applies blocks, each with one batch, to the ledger of a program that knows level 3.
type levels struct {
	t     *testing.T
	store *memstore.Store
	*ledger.Ledger
	index uint64
}

func openLevels(t *testing.T, known uint32) *levels {
	l := &levels{t: t, store: memstore.New(memstore.Options{})}
	l.open(known, ledger.Summary{})
	raw, err := ledger.EncodeGenesis(testGenesis(), "creator", 5)
	if err != nil {
		t.Fatal(err)
	}
	l.apply(raw)
	return l
}

func (l *levels) open(known uint32, start ledger.Summary) {
	l.t.Helper()
	opened, err := ledger.Open(l.store, ledger.Config{Group: 1, Origin: genesisOrigin, KnownLevel: known, Start: start})
	if err != nil {
		l.t.Fatal(err)
	}
	l.Ledger, l.index = opened, start.RaftIndex
}

func (l *levels) apply(raw []byte) (ledger.Result, error) {
	l.t.Helper()
	l.index++
	results, err := l.ApplyMany([]ledger.Committed{{RaftIndex: l.index, RaftTerm: 1, Block: raw}})
	if err != nil {
		return ledger.Result{}, err
	}
	return results[0][0], nil
}

func (l *levels) block(b ledger.Batch) []byte {
	l.t.Helper()
	raw, err := ledger.EncodeBlock(l.Anchor(), 6, []ledger.Batch{b})
	if err != nil {
		l.t.Fatal(err)
	}
	return raw
}

func (l *levels) raise(level uint32) (ledger.Result, error) {
	return l.apply(l.block(ledger.LevelBatch("n1", level)))
}

// TestLevelIsRaised: a record raises the feature level, for good and never down; it is part of the
// state at every position from which the ledger is opened.
func TestLevelIsRaised(t *testing.T) {
	l := openLevels(t, 3)
	if l.Level() != 1 {
		t.Fatalf("the ledger begins with level %d, its genesis says 1", l.Level())
	}
	before := l.summary()
	if res, err := l.raise(3); err != nil || res.Err != nil || l.Level() != 3 {
		t.Fatalf("raise to 3: %v, %v, level %d", res.Err, err, l.Level())
	}
	var refused *ledger.RefusedError
	for _, level := range []uint32{3, 2, 0} {
		if res, err := l.raise(level); err != nil || !errors.As(res.Err, &refused) || l.Level() != 3 {
			t.Errorf("from 3 to %d: %v, %v, level %d; want a refusal", level, res.Err, err, l.Level())
		}
	}
	two := ledger.LevelBatch("n1", 3)
	two.Entries = append(two.Entries, two.Entries...)
	if res, err := l.apply(l.block(two)); err != nil || !errors.As(res.Err, &refused) {
		t.Errorf("two records in a batch: %v, %v; want a refusal", res.Err, err)
	}
	after := l.summary()
	for want, start := range map[uint32]ledger.Summary{1: before, 3: after} {
		l.open(3, start)
		if l.Level() != want {
			t.Errorf("opened at size %d: level %d, want %d", start.Size, l.Level(), want)
		}
	}
	if _, err := ledger.Open(l.store, ledger.Config{Group: 1, Origin: genesisOrigin, KnownLevel: 2, Start: after}); !errors.Is(err, ledger.ErrNewerLevel) {
		t.Errorf("an older program opens the ledger: %v, want ErrNewerLevel", err)
	}
}

func (l *levels) summary() ledger.Summary {
	h := l.Head()
	return ledger.Summary{RaftIndex: h.RaftIndex, RaftTerm: h.RaftTerm, Size: h.Size, Root: h.Root, Time: h.Time}
}

// TestNewerLevelStops: a program that does not know a committed feature level stops. It can tell
// from the block before it stores it.
func TestNewerLevelStops(t *testing.T) {
	l := openLevels(t, 2)
	raw := l.block(ledger.LevelBatch("n1", 3))
	if level := ledger.NewestLevel(raw); level != 3 {
		t.Errorf("the block asks for level %d, want 3", level)
	}
	for _, other := range [][]byte{nil, raw[:20], l.block(payload("x"))} {
		if level := ledger.NewestLevel(other); level != 0 {
			t.Errorf("a block of %d bytes asks for level %d, want 0", len(other), level)
		}
	}
	size := l.Head().Size
	if _, err := l.apply(raw); !errors.Is(err, ledger.ErrNewerLevel) || l.Head().Size != size {
		t.Errorf("apply: %v, size %d; want ErrNewerLevel and %d", err, l.Head().Size, size)
	}
}

func payload(text string) ledger.Batch {
	return ledger.Batch{Principal: "writer", Entries: []ledger.NewEntry{{Kind: ledger.KindPayload, Body: []byte(text)}}}
}

// TestBlockFlagOfRecords: the flag and the entries of a block agree, or the block is malformed:
// whoever looks at the flag alone overlooks no record.
func TestBlockFlagOfRecords(t *testing.T) {
	l := openLevels(t, 2)
	for name, raw := range map[string][]byte{
		"a hidden record": l.block(ledger.LevelBatch("n1", 2)), "no record": l.block(payload("x")),
		"a map root, which nobody looks for": l.block(rootRecord(1)),
	} {
		if _, err := ledger.ParseBlock(raw); err != nil {
			t.Fatal(err)
		}
		raw[5] ^= 1
		ledger.PutCRC(raw)
		if _, err := ledger.ParseBlock(raw); !errors.Is(err, ledger.ErrBadBlock) {
			t.Errorf("%s: %v, want ErrBadBlock", name, err)
		}
	}
}
