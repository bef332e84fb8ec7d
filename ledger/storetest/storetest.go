// Package storetest is the conformance test of ledger.Store implementations.
package storetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/ledger"
)

// Opener opens an empty store, and opens it again after Close.
type Opener func(t *testing.T) (store ledger.Store, reopen func() ledger.Store)

// Run tests what ledger.Store promises.
func Run(t *testing.T, open Opener) {
	t.Run("GetAndVersions", func(t *testing.T) { getAndVersions(t, open) })
	t.Run("Seek", func(t *testing.T) { seek(t, open) })
	t.Run("Copies", func(t *testing.T) { copies(t, open) })
	t.Run("LargeCommit", func(t *testing.T) { largeCommit(t, open) })
	t.Run("CloseIsDurable", func(t *testing.T) { closeIsDurable(t, open) })
	t.Run("Tokens", func(t *testing.T) { tokens(t, open) })
	t.Run("Random", func(t *testing.T) { random(t, open) })
	t.Run("Scan", func(t *testing.T) { scan(t, open) })
}

func key(kind byte, n uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, 7)
	b = append(b, kind)
	return binary.BigEndian.AppendUint64(b, n)
}

func prefix(kind byte) []byte { return key(kind, 0)[:9] }

func commit(t *testing.T, s ledger.Store, version uint64, pairs ...ledger.Pair) {
	t.Helper()
	if err := s.Commit(version, pairs); err != nil {
		t.Fatalf("commit at version %d: %v", version, err)
	}
}

func wantValue(t *testing.T, s ledger.Store, k []byte, want string) {
	t.Helper()
	got, err := s.Get(k)
	if err != nil || string(got) != want {
		t.Fatalf("get %x: got %q, %v; want %q", k, got, err, want)
	}
}

func wantAbsent(t *testing.T, s ledger.Store, k []byte) {
	t.Helper()
	if got, err := s.Get(k); !errors.Is(err, ledger.ErrKeyNotFound) {
		t.Fatalf("get %x: got %q, %v; want %v", k, got, err, ledger.ErrKeyNotFound)
	}
}

func pair(k []byte, v string) ledger.Pair { return ledger.Pair{Key: k, Value: []byte(v)} }

func getAndVersions(t *testing.T, open Opener) {
	s, _ := open(t)
	defer s.Close()
	wantAbsent(t, s, key('k', 1))
	commit(t, s, 5, pair(key('k', 1), "five"), pair(key('k', 2), ""))
	wantValue(t, s, key('k', 1), "five")
	wantValue(t, s, key('k', 2), "")
	commit(t, s, 9, pair(key('k', 1), "nine"))
	wantValue(t, s, key('k', 1), "nine")
	commit(t, s, 7, pair(key('k', 1), "seven"), pair(key('k', 3), "seven"))
	wantValue(t, s, key('k', 1), "nine")
	wantValue(t, s, key('k', 3), "seven")
	commit(t, s, 9, pair(key('k', 1), "nine"))
	wantValue(t, s, key('k', 1), "nine")
	commit(t, s, 10, ledger.Pair{Key: key('k', 1)})
	wantAbsent(t, s, key('k', 1))
	commit(t, s, 8, pair(key('k', 1), "eight"))
	wantAbsent(t, s, key('k', 1))
	if err := s.Commit(0, []ledger.Pair{pair(key('k', 1), "x")}); err == nil {
		t.Fatal("a commit at version 0 succeeded")
	}
}

func seek(t *testing.T, open Opener) {
	s, _ := open(t)
	defer s.Close()
	if _, err := s.Seek(key('b', 0), prefix('b')); !errors.Is(err, ledger.ErrKeyNotFound) {
		t.Fatalf("seek in an empty store: %v", err)
	}
	commit(t, s, 1, pair(key('a', 9), "a9"), pair(key('b', 10), "b10"), pair(key('b', 30), "b30"), pair(key('b', 20), "b20"), pair(key('c', 1), "c1"))
	commit(t, s, 2, pair(key('b', 20), "b20 again"))
	commit(t, s, 3, ledger.Pair{Key: key('b', 30)})
	for _, c := range []struct {
		at          uint64
		first, last string
	}{{0, "b10", ""}, {10, "b10", "b10"}, {11, "b20 again", "b10"}, {20, "b20 again", "b20 again"}, {21, "", "b20 again"}, {30, "", "b20 again"}, {1 << 63, "", "b20 again"}} {
		for name, f := range map[string]func(k, p []byte) (ledger.Pair, error){"seek": s.Seek, "seek last": s.SeekLast} {
			want := c.first
			if name == "seek last" {
				want = c.last
			}
			p, err := f(key('b', c.at), prefix('b'))
			if want == "" {
				if !errors.Is(err, ledger.ErrKeyNotFound) {
					t.Fatalf("%s %d: got %q, %v; want %v", name, c.at, p.Value, err, ledger.ErrKeyNotFound)
				}
				continue
			}
			if err != nil || string(p.Value) != want || !bytes.HasPrefix(p.Key, prefix('b')) {
				t.Fatalf("%s %d: got %x %q, %v; want %q", name, c.at, p.Key, p.Value, err, want)
			}
		}
	}
}

func copies(t *testing.T, open Opener) {
	s, _ := open(t)
	defer s.Close()
	commit(t, s, 1, pair(key('b', 1), "value"))
	got, err := s.Get(key('b', 1))
	if err != nil {
		t.Fatal(err)
	}
	got[0] = 'X'
	p, err := s.Seek(key('b', 0), prefix('b'))
	if err != nil {
		t.Fatal(err)
	}
	p.Key[0], p.Value[0] = 'X', 'X'
	wantValue(t, s, key('b', 1), "value")
}

func largeCommit(t *testing.T, open Opener) {
	s, reopen := open(t)
	var pairs []ledger.Pair
	for i := range uint64(ledger.MaxBlockEntries) {
		k := append(binary.BigEndian.AppendUint64(prefix('k'), i*0x9e3779b97f4a7c15), make([]byte, 24)...)
		pairs = append(pairs, ledger.Pair{Key: k, Value: make([]byte, 40)})
	}
	for i := range uint64(5) {
		pairs = append(pairs, ledger.Pair{Key: key('b', i), Value: bytes.Repeat([]byte{byte(i)}, 512<<10)})
	}
	commit(t, s, 1, pairs...)
	check := func() {
		for _, p := range []ledger.Pair{pairs[0], pairs[9999], pairs[len(pairs)-1]} {
			wantValue(t, s, p.Key, string(p.Value))
		}
	}
	check()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen()
	defer s.Close()
	check()
}

func closeIsDurable(t *testing.T, open Opener) {
	s, reopen := open(t)
	for round := range uint64(3) {
		for i := range uint64(100) {
			commit(t, s, round*100+i+1, pair(key('b', round*100+i), fmt.Sprint("value ", round*100+i)), pair(key('a', 0), fmt.Sprint(round*100+i)))
		}
		if err := s.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		s = reopen()
		for i := range (round + 1) * 100 {
			wantValue(t, s, key('b', i), fmt.Sprint("value ", i))
		}
		wantValue(t, s, key('a', 0), fmt.Sprint(round*100+99))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(1000, []ledger.Pair{pair(key('b', 1), "x")}); err == nil {
		t.Fatal("a closed store took a commit")
	}
}

func tokens(t *testing.T, open Opener) {
	s, _ := open(t)
	defer s.Close()
	var last ledger.Token
	value := make([]byte, 100<<10)
	for i := range uint64(50) {
		commit(t, s, i+1, ledger.Pair{Key: key('b', i), Value: value})
		token, err := s.Token()
		if err != nil {
			t.Fatal(err)
		}
		flushed, err := s.Flushed()
		if err != nil {
			t.Fatal(err)
		}
		if token < last || flushed >= token {
			t.Fatalf("after commit %d: token %d after %d, flushed %d", i, token, last, flushed)
		}
		last = token
	}
}

// random compares the store with a map through commits, deletions and reopening.
func random(t *testing.T, open Opener) {
	seed := uint64(20260101)
	rng := rand.New(rand.NewPCG(seed, 1))
	s, reopen := open(t)
	defer func() { s.Close() }()
	model := map[uint64]string{}
	for version := uint64(1); version <= 300; version++ {
		var pairs []ledger.Pair
		for n := range rng.IntN(5) + 1 {
			k := rng.Uint64N(200)
			if _, dup := find(pairs, key('b', k)); dup {
				continue
			}
			if rng.IntN(4) == 0 {
				pairs = append(pairs, ledger.Pair{Key: key('b', k)})
				delete(model, k)
			} else {
				v := fmt.Sprint(version, " ", n)
				pairs = append(pairs, pair(key('b', k), v))
				model[k] = v
			}
		}
		commit(t, s, version, pairs...)
		at := rng.Uint64N(220)
		checkSeek(t, s, model, at, seed, version)
		if rng.IntN(60) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = reopen()
		}
	}
	for k := range uint64(200) {
		if v, ok := model[k]; ok {
			wantValue(t, s, key('b', k), v)
		} else {
			wantAbsent(t, s, key('b', k))
		}
	}
}

func checkSeek(t *testing.T, s ledger.Store, model map[uint64]string, at, seed, version uint64) {
	t.Helper()
	var first, last string
	for k := at; k < 220; k++ {
		if v, ok := model[k]; ok {
			first = v
			break
		}
	}
	for k := at + 1; k > 0; k-- {
		if v, ok := model[k-1]; ok {
			last = v
			break
		}
	}
	p, err := s.Seek(key('b', at), prefix('b'))
	if first == "" && !errors.Is(err, ledger.ErrKeyNotFound) || first != "" && string(p.Value) != first {
		t.Fatalf("seed %d, version %d: seek %d: got %q, %v; want %q", seed, version, at, p.Value, err, first)
	}
	p, err = s.SeekLast(key('b', at), prefix('b'))
	if last == "" && !errors.Is(err, ledger.ErrKeyNotFound) || last != "" && string(p.Value) != last {
		t.Fatalf("seed %d, version %d: seek last %d: got %q, %v; want %q", seed, version, at, p.Value, err, last)
	}
}

// scan compares Scan with a map: every limit, every prefix, and visits that leave pairs out, go far
// ahead, or end the scan.
func scan(t *testing.T, open Opener) {
	s, _ := open(t)
	defer s.Close()
	rng := rand.New(rand.NewPCG(20261130, 1))
	model := map[uint64]string{}
	for version := uint64(1); version <= 60; version++ {
		k := rng.Uint64N(100)
		if rng.IntN(3) == 0 {
			commit(t, s, version, ledger.Pair{Key: key('b', k)})
			delete(model, k)
		} else {
			commit(t, s, version, pair(key('b', k), fmt.Sprint("value ", version)), pair(key('a', k), ""), pair(key('c', k), ""))
			model[k] = fmt.Sprint("value ", version)
		}
	}
	for range 400 {
		from, limit, step, modulus, end := rng.Uint64N(110), 1+rng.IntN(40), rng.Uint64N(20), 1+rng.Uint64N(3), rng.Uint64N(400)
		number := func(k []byte) uint64 { return binary.BigEndian.Uint64(k[9:]) }
		visit := func(k []byte) (bool, []byte) {
			if number(k) >= end {
				return false, key('c', 0)
			}
			if step == 0 {
				return number(k)%modulus == 0, nil
			}
			return number(k)%modulus == 0, key('b', number(k)+step)
		}
		if modulus == 1 && step == 0 && end > 200 {
			visit = nil
		}
		var want []string
		for k := from; k < min(end, 110) && len(want) < limit; {
			v, ok := model[k]
			if ok && (visit == nil || k%modulus == 0) {
				want = append(want, fmt.Sprint(k, " ", v))
			}
			if ok && step > 0 && visit != nil {
				k += step
			} else {
				k++
			}
		}
		pairs, err := s.Scan(key('b', from), prefix('b'), limit, visit)
		var got []string
		for _, p := range pairs {
			got = append(got, fmt.Sprint(number(p.Key), " ", string(p.Value)))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("scan from %d, at most %d, every %d, one in %d, below %d: %q, %v; want %q", from, limit, step, modulus, end, got, err, want)
		}
	}
	if pairs, err := s.Scan(key('d', 0), prefix('d'), 10, nil); err != nil || len(pairs) > 0 {
		t.Errorf("scan of nothing: %v, %v", pairs, err)
	}
}

func find(pairs []ledger.Pair, k []byte) (ledger.Pair, bool) {
	for _, p := range pairs {
		if bytes.Equal(p.Key, k) {
			return p, true
		}
	}
	return ledger.Pair{}, false
}
