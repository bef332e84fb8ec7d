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

// TestDurabilityProblem: a store that cannot say what is durable stops nothing, and is told about until it can.
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
