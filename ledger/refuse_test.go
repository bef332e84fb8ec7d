package ledger_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"testing"
	"time"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// TestRaftIndexesIncrease: the index of the block before, and any older index, is refused, and the
// ledger applies nothing afterwards.
func TestRaftIndexesIncrease(t *testing.T) {
	t.Parallel()
	for _, again := range []uint64{4, 5} {
		l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
		block := single(t, l, 1, one("", "x"))
		if _, err := applyOne(l, 5, 1, block); err != nil {
			t.Fatal(err)
		}
		if _, err := applyOne(l, again, 1, block); err == nil {
			t.Errorf("raft index %d was applied after 5", again)
		}
		if size := l.Head().Size; size != 1 {
			t.Errorf("size %d after raft index %d followed 5, want 1", size, again)
		}
		if _, err := applyOne(l, 6, 1, block); err == nil {
			t.Errorf("the ledger goes on after raft index %d followed 5", again)
		}
	}
}

// TestUnknownFormatVersion: a store that a later version wrote is refused as such, not as another
// ledger's.
func TestUnknownFormatVersion(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f := &flipper{Store: store.Reopen(), flip: func(key, v []byte) ([]byte, error) {
		if key[8] == 'm' {
			binary.BigEndian.PutUint16(v, 3)
			end := len(v) - 4
			binary.BigEndian.PutUint32(v[end:], crc32.Checksum(v[:end], crc32.MakeTable(crc32.Castagnoli)))
		}
		return v, nil
	}}
	var id *ledger.IdentityError
	_, err := ledger.Open(f, ledger.Config{Group: 1, Origin: origin})
	if !errors.As(err, &id) || id.Field != "format version" || id.Stored != "3" {
		t.Errorf("open a store of format version 3: %v, want an *IdentityError about the version", err)
	}
}

// TestOriginLimits: an origin has 1 to 1,024 bytes.
func TestOriginLimits(t *testing.T) {
	t.Parallel()
	for n, ok := range map[int]bool{0: false, 1: true, 1024: true, 1025: false} {
		_, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: string(make([]byte, n))})
		if (err == nil) != ok {
			t.Errorf("open a ledger with an origin of %d bytes: %v, want accepted: %t", n, err, ok)
		}
	}
}

// TestStoredPositionOfSmallerSize: the store's position has the mark's raft index, but a smaller
// size. The store does not hold what the mark calls durable.
func TestStoredPositionOfSmallerSize(t *testing.T) {
	t.Parallel()
	h := newHistory(45)
	h.grow(t, 60, 30)
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	apply(t, h, l, 0, len(h.entries))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mark, _ := l.Durable()
	smaller := mark
	smaller.Size--
	f := &flipper{Store: store.Reopen(), flip: func(key, v []byte) ([]byte, error) {
		if key[8] == 'a' {
			return smaller.Marshal(), nil
		}
		return v, nil
	}}
	var corrupt *ledger.CorruptError
	_, err := ledger.Open(f, ledger.Config{Group: 1, Origin: origin, Start: mark})
	if !errors.As(err, &corrupt) || corrupt.What != "applied position" {
		t.Errorf("open with a stored position of a smaller size: %v, want a corrupt applied position", err)
	}
}

// brokenStore refuses commits once err is set.
type brokenStore struct {
	ledger.Store
	err error
}

func (s *brokenStore) Commit(version uint64, pairs []ledger.Pair) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.Commit(version, pairs)
}

// TestStoppedLedgerReleasesWaiters: whoever waits for a size, sealed or not, learns why the ledger
// stopped, before and after.
func TestStoppedLedgerReleasesWaiters(t *testing.T) {
	t.Parallel()
	store := &brokenStore{Store: memstore.New(memstore.Options{})}
	l := open(t, store, ledger.Summary{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // reached only by a defect
	defer cancel()
	waits := map[string]func() error{
		"WaitSize":   func() error { return l.WaitSize(ctx, 100) },
		"WaitSealed": func() error { _, err := l.WaitSealed(ctx, 100); return err },
	}
	type result struct {
		name string
		err  error
	}
	results := make(chan result, 2*len(waits))
	for name, wait := range waits {
		go func() { results <- result{name + " before", wait()} }()
	}
	block := single(t, l, 1, one("", "x"))
	store.err = errors.New("input/output error")
	if _, err := applyOne(l, 1, 1, block); !errors.Is(err, store.err) {
		t.Fatalf("apply to a broken store: %v", err)
	}
	for name, wait := range waits {
		results <- result{name + " after", wait()}
	}
	for range cap(results) {
		if r := <-results; !errors.Is(r.err, store.err) {
			t.Errorf("%s the stop: %v, want %v", r.name, r.err, store.err)
		}
	}
}

// TestReadOnly: a ledger that is open for inspection writes nothing, not even an identity, shows
// what is stored, and keeps nobody waiting.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	h := newHistory(46)
	h.grow(t, 60, 30)
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	apply(t, h, l, 0, len(h.entries))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mark, _ := l.Durable()
	written := errors.New("the inspection wrote")
	for _, c := range []struct {
		store ledger.Store
		mark  ledger.Summary
	}{{store.Reopen(), mark}, {memstore.New(memstore.Options{}), ledger.Summary{}}} {
		l, err := ledger.Open(&brokenStore{c.store, written}, ledger.Config{Group: 1, Origin: origin, Start: c.mark, ReadOnly: true})
		if err != nil {
			t.Fatalf("size %d: %v", c.mark.Size, err)
		}
		head := l.Head()
		if head.Size != c.mark.Size {
			t.Errorf("size %d, want %d", head.Size, c.mark.Size)
		}
		for i := range head.Size {
			if leaf, err := l.Leaf(i); err != nil || l.CheckKey(i, leaf) != nil {
				t.Fatalf("entry %d: %v, %v", i, err, l.CheckKey(i, leaf))
			}
		}
		if _, err := applyOne(l, c.mark.RaftIndex+1, 1, nil); !errors.Is(err, ledger.ErrReadOnly) {
			t.Errorf("apply: %v, want ErrReadOnly", err)
		}
		if err := l.SetSealed(&ledger.Sealed{Size: head.Size + 1}); !errors.Is(err, ledger.ErrReadOnly) {
			t.Errorf("seal: %v, want ErrReadOnly", err)
		}
		if err := l.WaitSize(context.Background(), head.Size+1); !errors.Is(err, ledger.ErrReadOnly) {
			t.Errorf("wait: %v, want ErrReadOnly", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLeavesKeepToTheirBound: Leaves returns as many leaves as fit into maxBytes and no more, and
// at least one.
func TestLeavesKeepToTheirBound(t *testing.T) {
	t.Parallel()
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	mustApply(t, l, single(t, l, 1, one("", "a"), one("", "bb"), one("", "ccc"), one("", "dddd")))
	all, err := l.Leaves(0, 100, 1<<20)
	if err != nil || len(all) != 4 {
		t.Fatalf("%d leaves, %v", len(all), err)
	}
	bytes := 0
	for n, leaf := range all {
		bytes += len(leaf)
		for bound, want := range map[int]int{0: 1, bytes - 1: max(n, 1), bytes: n + 1} {
			if got, err := l.Leaves(0, 100, bound); err != nil || len(got) != want {
				t.Errorf("%d leaves within %d bytes, %v, want %d", len(got), bound, err, want)
			}
		}
	}
}

// TestBeyondTheSize: an index or a size that the ledger does not have is a *NotFoundError in every
// kind of read.
func TestBeyondTheSize(t *testing.T) {
	t.Parallel()
	l := open(t, memstore.New(memstore.Options{}), ledger.Summary{})
	mustApply(t, l, single(t, l, 1, one("", "a"), one("", "b"), one("", "c")))
	for what, read := range map[string]func() error{
		"leaf 3":                    func() error { _, err := l.Leaf(3); return err },
		"inclusion of 3 in 3":       func() error { _, err := l.InclusionProof(3, 3); return err },
		"inclusion of 2 in 2":       func() error { _, err := l.InclusionProof(2, 2); return err },
		"inclusion of 0 in 4":       func() error { _, err := l.InclusionProof(0, 4); return err },
		"consistency of 2 with 4":   func() error { _, err := l.ConsistencyProof(2, 4); return err },
		"consistency of 3 with 2":   func() error { _, err := l.ConsistencyProof(3, 2); return err },
		"root at 4":                 func() error { _, err := l.RootAt(4); return err },
		"tile of 4":                 func() error { _, err := l.Tile(0, 0, 4); return err },
		"tile 1":                    func() error { _, err := l.Tile(0, 1, 1); return err },
		"tile of level 1":           func() error { _, err := l.Tile(1, 0, 1); return err },
		"tile of level 63":          func() error { _, err := l.Tile(63, 0, 1); return err },
		"entry bundle of 4":         func() error { _, err := l.EntryBundle(0, 4); return err },
		"block at 3":                func() error { _, err := l.BlockAt(3); return err },
		"receipt of 3":              func() error { _, err := l.Receipt(3); return err },
		"leaf at the largest index": func() error { _, err := l.Leaf(math.MaxUint64); return err },
	} {
		var notFound *ledger.NotFoundError
		if err := read(); !errors.As(err, &notFound) {
			t.Errorf("%s of a ledger of size 3: %v, want a *NotFoundError", what, err)
		}
	}
}

// TestBlockRecordsAreChecked: no leaf covers the headers of a stored block record and of the block
// in it. Damage to them is found before the block is handed to a replica that catches up.
func TestBlockRecordsAreChecked(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	mustApply(t, l, single(t, l, 1, one("", "a")))
	mustApply(t, l, single(t, l, 2, one("", "b")))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mark, _ := l.Durable()
	const block = 33 + 4 + 4 // where the block begins in the record of one entry
	for what, change := range map[string]func(p *ledger.Pair){
		"Raft index":        func(p *ledger.Pair) { p.Value[8] ^= 1 },
		"Raft term":         func(p *ledger.Pair) { p.Value[16] ^= 1 },
		"first index":       func(p *ledger.Pair) { p.Value[24] ^= 1 },
		"offset of a leaf":  func(p *ledger.Pair) { p.Value[36] ^= 1 },
		"time of the block": func(p *ledger.Pair) { p.Value[block+15] ^= 1 },
		"anchor":            func(p *ledger.Pair) { p.Value[block+30] ^= 1 },
		"expected size":     func(p *ledger.Pair) { p.Value[block+64+5] ^= 1 },
		"checksum":          func(p *ledger.Pair) { p.Value[len(p.Value)-1] ^= 1 },
		"key":               func(p *ledger.Pair) { p.Key[len(p.Key)-1]++ },
		"nothing":           func(*ledger.Pair) {},
	} {
		s := &pairChanger{Store: store.Reopen(), change: func(*ledger.Pair) {}}
		l := open(t, s, mark)
		s.change = change
		b, err := l.BlockAt(0)
		var corrupt *ledger.CorruptError
		if what == "nothing" {
			if err != nil || b.RaftTerm != 1 || b.Count != 1 {
				t.Errorf("a sound block: %+v, %v", b, err)
			}
		} else if !errors.As(err, &corrupt) {
			t.Errorf("block with a damaged %s: %+v, %v, want a *CorruptError", what, b, err)
		}
	}
}

// pairChanger is a store whose answers to Seek are changed.
type pairChanger struct {
	ledger.Store
	change func(*ledger.Pair)
}

func (s *pairChanger) Seek(key, prefix []byte) (ledger.Pair, error) {
	p, err := s.Store.Seek(key, prefix)
	if err == nil {
		s.change(&p)
	}
	return p, err
}

// measuredStore records the size of the largest commit.
type measuredStore struct {
	ledger.Store
	largest, commits int
}

func (s *measuredStore) Commit(version uint64, pairs []ledger.Pair) error {
	n := 0
	for _, p := range pairs {
		n += len(p.Key) + len(p.Value) + 16
	}
	s.largest, s.commits = max(s.largest, n), s.commits+1
	return s.Store.Commit(version, pairs)
}

// TestCommitsAreBounded: however many blocks are applied at once, no commit is larger than
// MaxCommitSize.
func TestCommitsAreBounded(t *testing.T) {
	t.Parallel()
	store := &measuredStore{Store: memstore.New(memstore.Options{})}
	l := open(t, store, ledger.Summary{})
	var blocks []ledger.Committed
	for i := uint64(1); i <= 12; i++ {
		batch := ledger.Batch{Principal: "p"}
		for j := range uint64(8) {
			key := binary.BigEndian.AppendUint64(nil, i<<8|j)
			batch.Entries = append(batch.Entries, ledger.NewEntry{Kind: ledger.KindPayload, Key: key, Body: make([]byte, 60_000)})
		}
		block, err := ledger.EncodeBlock(l.Anchor(), 1, []ledger.Batch{batch, batch})
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, ledger.Committed{RaftIndex: i, RaftTerm: 1, Block: block})
	}
	if _, err := l.ApplyMany(blocks); err != nil {
		t.Fatal(err)
	}
	if store.largest > ledger.MaxCommitSize || store.commits < 3 {
		t.Errorf("%d commits of up to %d bytes, want several of at most %d", store.commits, store.largest, ledger.MaxCommitSize)
	}
}

// TestSealedCheckpointOfAnotherVersion is refused, although its checksum is right.
func TestSealedCheckpointOfAnotherVersion(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	mustApply(t, l, single(t, l, 1, one("", "x")))
	if err := l.SetSealed(&ledger.Sealed{Size: 1, Root: l.Head().Root, Note: []byte("note")}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mark, _ := l.Durable()
	f := &lastFlipper{Store: store.Reopen(), flip: func(v []byte) {
		v[0] = 2
		table := crc32.MakeTable(crc32.Castagnoli)
		binary.BigEndian.PutUint32(v[41:], crc32.Update(crc32.Checksum(v[:41], table), table, v[45:]))
	}}
	var corrupt *ledger.CorruptError
	_, err := ledger.Open(f, ledger.Config{Group: 1, Origin: origin, Start: mark})
	if !errors.As(err, &corrupt) || corrupt.What != "sealed checkpoint" {
		t.Errorf("open with a sealed checkpoint of version 2: %v, want a corrupt sealed checkpoint", err)
	}
	f.flip = func([]byte) {}
	if _, err := ledger.Open(f, ledger.Config{Group: 1, Origin: origin, Start: mark}); err != nil {
		t.Errorf("without the change: %v", err)
	}
}

// lastFlipper is a store whose answers to SeekLast are changed.
type lastFlipper struct {
	ledger.Store
	flip func([]byte)
}

func (f *lastFlipper) SeekLast(key, prefix []byte) (ledger.Pair, error) {
	p, err := f.Store.SeekLast(key, prefix)
	if err == nil {
		f.flip(p.Value)
	}
	return p, err
}

// TestSealedBeyondTheHead: after a crash the store holds a sealed checkpoint of a size that replay
// has not reached. No caller is shown that checkpoint until the ledger reaches its size.
func TestSealedBeyondTheHead(t *testing.T) {
	t.Parallel()
	store := memstore.New(memstore.Options{})
	l := open(t, store, ledger.Summary{})
	first := single(t, l, 1, one("", "x"))
	if _, err := applyOne(l, 1, 1, first); err != nil {
		t.Fatal(err)
	}
	head := l.Head()
	mark := ledger.Summary{RaftIndex: head.RaftIndex, RaftTerm: head.RaftTerm, Size: head.Size, Root: head.Root, Time: head.Time}
	second := single(t, l, 2, one("", "y"))
	if _, err := applyOne(l, 2, 1, second); err != nil {
		t.Fatal(err)
	}
	if err := l.SetSealed(&ledger.Sealed{Size: 2, Root: l.Head().Root, Note: []byte("note")}); err != nil {
		t.Fatal(err)
	}
	l = open(t, store.ProcessCrash(), mark)
	for _, size := range []uint64{1, 2, math.MaxUint64} {
		if s, err := l.SealedBefore(size); s != nil || err != nil {
			t.Errorf("checkpoint of at most %d on a ledger of size 1: %+v, %v, want none", size, s, err)
		}
	}
	if s := l.Sealed(); s != nil {
		t.Errorf("newest checkpoint %+v on a ledger of size 1, want none", s)
	}
	if _, err := applyOne(l, 2, 1, second); err != nil {
		t.Fatal(err)
	}
	if s, err := l.SealedBefore(math.MaxUint64); err != nil || s == nil || s.Size != 2 {
		t.Errorf("checkpoint after replay: %+v, %v, want that of size 2", s, err)
	}
}
