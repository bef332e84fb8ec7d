package ledger_test

import (
	"errors"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// vagueStore does not know what is durable for as long as err is set.
type vagueStore struct {
	ledger.Store
	err error
}

func (s *vagueStore) Token() (ledger.Token, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Store.Token()
}

// silentStore cannot say what is flushed for as long as err is set.
type silentStore struct {
	ledger.Store
	err error
}

func (s *silentStore) Flushed() (ledger.Token, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Store.Flushed()
}

// TestDurabilityProblemClears: a failed question about what is flushed is a problem until the next
// one succeeds, and the durable position stands still in between.
func TestDurabilityProblemClears(t *testing.T) {
	t.Parallel()
	h := newHistory(2)
	h.grow(t, 400, 3000)
	mem := memstore.New(memstore.Options{MemtableSize: 256 << 10})
	store := &silentStore{Store: mem}
	l := open(t, store, ledger.Summary{})
	defer l.Close()
	apply(t, h, l, 0, 200)
	before, ok := l.Durable()
	if !ok || l.DurabilityProblem() != nil {
		t.Fatalf("durable up to %+v, problem %v: the test shows nothing", before, l.DurabilityProblem())
	}
	apply(t, h, l, 200, 400)
	mem.Flush()
	store.err = errors.New("input/output error")
	if during, _ := l.Durable(); during != before {
		t.Errorf("the durable position went from %+v to %+v although the store could not say", before, during)
	}
	if !errors.Is(l.DurabilityProblem(), store.err) {
		t.Errorf("the problem is %v, want %v", l.DurabilityProblem(), store.err)
	}
	store.err = nil
	if after, _ := l.Durable(); after.RaftIndex <= before.RaftIndex {
		t.Errorf("the durable position stays at %+v although the store can say", after)
	}
	if err := l.DurabilityProblem(); err != nil {
		t.Errorf("the problem is still %v after the store could say", err)
	}
}

// TestDurabilityProblem: a store that cannot say what is durable stops nothing, and the problem is
// reported until the store can.
func TestDurabilityProblem(t *testing.T) {
	t.Parallel()
	h := newHistory(1)
	h.grow(t, 400, 50)
	store := &vagueStore{Store: memstore.New(memstore.Options{MemtableSize: 8 << 10}), err: errors.New("no file descriptors left")}
	l := open(t, store, ledger.Summary{})
	defer l.Close()
	n := 0
	for ; l.DurabilityProblem() == nil; n++ {
		apply(t, h, l, n, n+1)
	}
	if !errors.Is(l.DurabilityProblem(), store.err) {
		t.Errorf("the problem is %v, want %v", l.DurabilityProblem(), store.err)
	}
	store.err = nil
	for ; l.DurabilityProblem() != nil; n++ {
		apply(t, h, l, n, n+1)
	}
}

// TestQuietLedgerBecomesDurable: a ledger that commits little, and positions without entries,
// become durable when the memtables of the store are flushed for other reasons. Otherwise the
// ledger's mark would keep the Raft log of all ledgers.
func TestQuietLedgerBecomesDurable(t *testing.T) {
	t.Parallel()
	mem := memstore.New(memstore.Options{})
	l := open(t, mem, ledger.Summary{})
	defer l.Close()
	for i := uint64(1); i <= 3; i++ {
		if _, err := l.ApplyMany([]ledger.Committed{{RaftIndex: i, RaftTerm: 1}}); err != nil {
			t.Fatal(err)
		}
		if s, _ := l.Durable(); s.RaftIndex != i-1 {
			t.Errorf("durable up to raft index %d before the memtable of %d is flushed", s.RaftIndex, i)
		}
		mem.Flush()
		if s, ok := l.Durable(); !ok || s.RaftIndex != i {
			t.Errorf("durable up to raft index %d, %t; want %d", s.RaftIndex, ok, i)
		}
	}
}
