package memstore_test

import (
	"errors"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]memstore.Options{"default": {}, "small": {MemtableSize: 1 << 10, MaxUnflushed: 2}} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(*testing.T) (ledger.Store, func() ledger.Store) {
				s := memstore.New(opts)
				return s, func() ledger.Store {
					s = s.Reopen()
					return s
				}
			})
		})
	}
}

func k(n byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, 1, 'b', n} }

// fill makes one commit per memtable: three that are not flushed, after one that is.
func fill(t *testing.T) *memstore.Store {
	t.Helper()
	s := memstore.New(memstore.Options{MemtableSize: 1, MaxUnflushed: 2})
	for i := range byte(4) {
		if err := s.Commit(uint64(i)+1, []ledger.Pair{{Key: k(i), Value: []byte{i}}, {Key: k(100), Value: []byte{i}}}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func wantSurvivors(t *testing.T, s *memstore.Store, want string, newest int) {
	t.Helper()
	got := ""
	for i := range byte(4) {
		if _, err := s.Get(k(i)); err == nil {
			got += string(rune('0' + i))
		} else if !errors.Is(err, ledger.ErrKeyNotFound) {
			t.Fatal(err)
		}
	}
	v, err := s.Get(k(100))
	if err != nil || got != want || int(v[0]) != newest {
		t.Fatalf("commits %s survived, and the common key has %v, %v; want %s and %d", got, v, err, want, newest)
	}
}

func TestPowerLossKeepsWhatIsFlushed(t *testing.T) {
	t.Parallel()
	s := fill(t)
	if flushed, _ := s.Flushed(); flushed != 1 {
		t.Fatalf("flushed %d, want 1", flushed)
	}
	after := s.PowerLoss(func(_, _ int) int { return 0 })
	wantSurvivors(t, after, "0", 0)
	if _, err := s.Get(k(0)); !errors.Is(err, memstore.ErrClosed) {
		t.Fatalf("the crashed store still answers: %v", err)
	}
}

func TestPowerLossLeavesAHole(t *testing.T) {
	t.Parallel()
	after := fill(t).PowerLoss(func(memtable, commits int) int {
		if memtable == 1 {
			return 0
		}
		return commits
	})
	wantSurvivors(t, after, "013", 3)
	again := after.PowerLoss(func(_, _ int) int { return 0 })
	wantSurvivors(t, again, "0", 0)
}

func TestProcessCrashLosesNothing(t *testing.T) {
	t.Parallel()
	after := fill(t).ProcessCrash()
	wantSurvivors(t, after, "0123", 3)
	token, _ := after.Token()
	flushed, _ := after.Flushed()
	if token != 5 || flushed != 1 {
		t.Fatalf("token %d, flushed %d; want 5 and 1", token, flushed)
	}
	after.Flush()
	if flushed, _ = after.Flushed(); flushed != 5 {
		t.Fatalf("after Flush: flushed %d, want 5", flushed)
	}
	wantSurvivors(t, after.PowerLoss(func(_, _ int) int { return 0 }), "0123", 3)
}
