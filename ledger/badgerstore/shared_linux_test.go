package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/ledger"
)

// TestGroupsAtDistantVersions: versions are Raft indexes, and those of two groups may be far apart.
// Whatever the version up to which Badger may drop older ones, the newest value of every key of
// both groups stays, and a deleted key stays deleted: through compactions, clean stops and crashes.
func TestGroupsAtDistantVersions(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), MemTableSize: 64 << 10, ValueThreshold: 2000, ValueLogSize: 1 << 20}
	open := func() *Store {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	rng := rand.New(rand.NewPCG(1, 1))
	versions := map[uint64]uint64{1: 1_000_000, 2: 5}
	want := map[string][]byte{}
	groupKey := func(group, n uint64) string {
		return string(binary.BigEndian.AppendUint64(append(binary.BigEndian.AppendUint64(nil, group), 's'), n))
	}
	check := func(when string) {
		t.Helper()
		for group := range versions {
			found := 0
			for n := range uint64(60) {
				k := groupKey(group, n)
				v, ok := want[k]
				got, err := s.Get([]byte(k))
				if ok && (err != nil || !bytes.Equal(got, v)) {
					t.Fatalf("%s: group %d has %d bytes (%v) for key %d, want %d", when, group, len(got), err, n, len(v))
				}
				if !ok && !errors.Is(err, ledger.ErrKeyNotFound) {
					t.Fatalf("%s: group %d has %d bytes (%v) for key %d, which was deleted or never written", when, group, len(got), err, n)
				}
			}
			prefix := []byte(groupKey(group, 0)[:9])
			for at := prefix; ; found++ {
				p, err := s.Seek(at, prefix)
				if errors.Is(err, ledger.ErrKeyNotFound) {
					break
				}
				if err != nil || !bytes.Equal(want[string(p.Key)], p.Value) {
					t.Fatalf("%s: group %d: key %x, %v", when, group, p.Key, err)
				}
				at = append(p.Key, 0)
			}
			have := 0
			for k := range want {
				if k[:9] == string(prefix) {
					have++
				}
			}
			if found != have {
				t.Fatalf("%s: group %d has %d keys, want %d", when, group, found, have)
			}
		}
	}
	groups := slices.Sorted(maps.Keys(versions))
	for round := range 24 {
		for range 60 {
			group := groups[rng.IntN(2)]
			pairs := map[string][]byte{}
			for range 1 + rng.IntN(5) {
				k := groupKey(group, rng.Uint64N(60))
				pairs[k] = bytes.Repeat([]byte{byte(rng.Uint32())}, 1+rng.IntN(1500))
				switch rng.IntN(10) {
				case 0:
					pairs[k] = nil
				case 1:
					pairs[k] = bytes.Repeat([]byte{byte(rng.Uint32())}, 2500) // in the value log
				}
			}
			var all []ledger.Pair
			for _, k := range slices.Sorted(maps.Keys(pairs)) {
				all = append(all, ledger.Pair{Key: []byte(k), Value: pairs[k]})
				if want[k] = pairs[k]; pairs[k] == nil {
					delete(want, k)
				}
			}
			if err := s.Shared().Commit(versions[group], all); err != nil {
				t.Fatal(err)
			}
			versions[group]++
		}
		when := fmt.Sprintf("round %d", round)
		check(when)
		switch round % 4 {
		case 0:
			if err := s.db.Flatten(1); err != nil {
				t.Fatal(err)
			}
			check(when + ", compacted")
		case 1:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open()
			check(when + ", closed and opened")
		case 2:
			crashed := copyStore(t, o.Dir)
			_ = s.Close()
			o.Dir = crashed
			s = open()
			check(when + ", crashed")
		}
	}
	if err := s.Shared().Close(); err != nil {
		t.Fatal(err)
	}
	check("closed by one of several ledgers")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
