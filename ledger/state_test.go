package ledger_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
)

// script is a program whose commands are functions of the test.
type script struct {
	most    int
	decides map[string]func(ledger.View, *ledger.Input) []byte
}

func (script) Name() string    { return "script" }
func (script) Version() uint32 { return 1 }

func (s script) MaxOutcome(kind ledger.Kind, body []byte) (int, error) {
	if _, ok := s.decides[string(body)]; kind == ledger.KindCommand && !ok {
		return 0, errors.Newf("no command: %q", body)
	}
	return s.most, nil
}

func (s script) Decide(v ledger.View, in *ledger.Input) []byte {
	if in.Kind != ledger.KindCommand {
		return nil
	}
	return s.decides[string(in.Body)](v, in)
}

func openProgram(t testing.TB, store ledger.Store, p ledger.Program, start ledger.Summary) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Start: start, Program: p})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// commands is a batch of commands without keys.
func commands(bodies ...string) ledger.Batch {
	b := ledger.Batch{Principal: "spiffe://example.org/svc/a"}
	for _, body := range bodies {
		b.Entries = append(b.Entries, ledger.NewEntry{Kind: ledger.KindCommand, Body: []byte(body)})
	}
	return b
}

// wantRows compares all rows of the program's state.
func wantRows(t testing.TB, l *ledger.Ledger, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	if err := l.State().Range(nil, nil, func(k, v []byte) bool {
		got[string(k)] = string(v)
		return true
	}); err != nil || !maps.Equal(got, want) {
		t.Fatalf("rows %q, %v; want %q", got, err, want)
	}
}

// TestStateKeys: rows are ordered as their keys are, and no key is taken for another one that
// begins with it, whatever bytes they have; in the rows that are staged, and in the store.
func TestStateKeys(t *testing.T) {
	t.Parallel()
	keys := []string{"a", "a\x00", "a\x00\x00", "a\x00\x01", "a\x00\xff", "a\x01", "ab", "a\xff", "\x00", "\x00\x01", "\x00\xff", "\xff",
		"\xff\xff", "a" + strings.Repeat("\xff", 8), "a\x00\x01" + strings.Repeat("\xff", 8), strings.Repeat("k", ledger.MaxStateKey)}
	var failures []string
	check := func(v ledger.View, _ *ledger.Input) []byte {
		sorted := slices.Sorted(slices.Values(keys))
		for i, from := range sorted {
			if value, found := v.Get([]byte(from)); !found || string(value) != "value of "+from {
				failures = append(failures, fmt.Sprintf("get %q: %q, %t", from, value, found))
			}
			if value, found := v.Get([]byte(from + "-")); found {
				failures = append(failures, fmt.Sprintf("get %q: %q", from+"-", value))
			}
			for j := i; j <= len(sorted); j++ {
				to := []byte(nil)
				if j < len(sorted) {
					to = []byte(sorted[j])
				}
				var got []string
				for k, value := range v.Range([]byte(from), to) {
					if got = append(got, string(k)); string(value) != "value of "+string(k) {
						failures = append(failures, fmt.Sprintf("range from %q: %q has %q", from, k, value))
					}
				}
				if len(to) > 0 && !slices.Equal(got, sorted[i:j]) || len(to) == 0 && !slices.Equal(got, sorted[i:]) {
					failures = append(failures, fmt.Sprintf("range from %q to %q: %q", from, to, got))
				}
			}
		}
		return nil
	}
	put := func(of string) func(v ledger.View, _ *ledger.Input) []byte {
		return func(v ledger.View, _ *ledger.Input) []byte {
			for _, k := range keys {
				v.Put([]byte(k), []byte(of+k))
			}
			return nil
		}
	}
	p := script{decides: map[string]func(ledger.View, *ledger.Input) []byte{"put": put("value of "), "old": put("old "), "check": check}}
	for _, blocks := range [][]ledger.Batch{{commands("old", "put", "check")}, {commands("old"), commands("put"), commands("check")}} {
		l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
		for i, b := range blocks {
			for _, r := range mustApply(t, l, single(t, l, int64(i), b)) {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
		}
	}
	for _, f := range failures {
		t.Error(f)
	}
}

// TestStateDifferential compares a program's view with a map: random puts, reads and ranges, in
// batches of which some are refused, in blocks that are applied in groups.
func TestStateDifferential(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	batch := map[string]string{} // put by the batch so far
	steps := func(v ledger.View, in *ledger.Input) []byte {
		at := rand.New(rand.NewPCG(in.Index, uint64(in.Time)))
		name := func() string { return string([]byte{'k', byte(at.IntN(8)) % 3, byte(at.IntN(6))}[:1+at.IntN(3)]) }
		for range at.IntN(6) {
			k := name()
			got, found := v.Get([]byte(k))
			value, ok := batch[k]
			if !ok {
				value, ok = want[k]
			}
			if found != ok || string(got) != value {
				t.Errorf("entry %d: get %q: %q, %t; want %q, %t", in.Index, k, got, found, value, ok)
			}
			batch[k] = fmt.Sprint(in.Index, at.Uint32())
			v.Put([]byte(k), []byte(batch[k]))
		}
		all := maps.Clone(want)
		maps.Copy(all, batch)
		from, to := name(), name()
		var keys []string
		for k := range all {
			if k >= from && k < to {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		limit := at.IntN(10)
		keys = keys[:min(limit+1, len(keys))]
		var got []string
		for k, value := range v.Range([]byte(from), []byte(to)) {
			if got = append(got, string(k)); string(value) != all[string(k)] {
				t.Errorf("entry %d: range: %q has %q, want %q", in.Index, k, value, all[string(k)])
			}
			if len(got) > limit {
				break
			}
		}
		if !slices.Equal(got, keys) {
			t.Errorf("entry %d: range from %q to %q: %q, want %q", in.Index, from, to, got, keys)
		}
		return nil
	}
	p := script{decides: map[string]func(ledger.View, *ledger.Input) []byte{
		"steps": steps,
		"begin": func(ledger.View, *ledger.Input) []byte { clear(batch); return nil },
		"keep":  func(ledger.View, *ledger.Input) []byte { maps.Copy(want, batch); return nil },
	}}
	l := openProgram(t, memstore.New(memstore.Options{MemtableSize: 4 << 10}), p, ledger.Summary{})
	raft := uint64(0)
	for time := range int64(150) {
		var group []ledger.Committed
		for range 1 + rng.IntN(4) {
			var batches []ledger.Batch
			for range 1 + rng.IntN(3) {
				last := "keep"
				if rng.IntN(4) == 0 {
					last = "nonsense"
				}
				batches = append(batches, commands("begin", "steps", "steps", "steps", last))
			}
			block, err := ledger.EncodeBlock(ledger.Anchor{Root: newModel().roots[0]}, time, batches)
			if err != nil {
				t.Fatal(err)
			}
			raft++
			group = append(group, ledger.Committed{RaftIndex: raft, RaftTerm: 1, Block: block})
		}
		if _, err := l.ApplyMany(group); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(3) == 0 {
			h := l.Head()
			l.Marked(ledger.Summary{RaftIndex: h.RaftIndex, Size: h.Size})
		}
		wantRows(t, l, want)
	}
	if n := l.Refused(ledger.RefusedNotUnderstood); n < 20 || len(want) < 10 {
		t.Errorf("%d batches were refused and %d rows are left: the test shows little", n, len(want))
	}
}

// TestRowsAreDeleted: once the mark has passed a row, older rows of its key leave the store, those
// of before a restart as well, and none before.
func TestRowsAreDeleted(t *testing.T) {
	t.Parallel()
	put := func(v ledger.View, in *ledger.Input) []byte {
		v.Put([]byte("hot"), binary.BigEndian.AppendUint64(nil, in.Index))
		v.Put(fmt.Appendf(nil, "cold %d", in.Index), nil)
		return nil
	}
	p := script{decides: map[string]func(ledger.View, *ledger.Input) []byte{"put": put}}
	store := memstore.New(memstore.Options{})
	rows := func(s ledger.Store) (hot int) {
		prefix := append(binary.BigEndian.AppendUint64(nil, 1), "s"...)
		for at := append(bytes.Clone(prefix), "hot\x00\x01"...); ; hot++ {
			pair, err := s.Seek(at, prefix)
			if err != nil || !bytes.HasPrefix(pair.Key[9:], []byte("hot\x00\x01")) {
				return hot
			}
			at = append(pair.Key, 0)
		}
	}
	l := openProgram(t, store, p, ledger.Summary{})
	apply := func(n int) {
		for range n {
			mustApply(t, l, single(t, l, 1, commands("put")))
		}
	}
	apply(50)
	if n := rows(store); n != 50 {
		t.Fatalf("%d rows of one key without a mark, want 50: a replay from the beginning reads them", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	start, _ := l.Durable()
	store = store.Reopen()
	l = openProgram(t, store, p, start)
	apply(1)
	if n := rows(store); n != 51 {
		t.Fatalf("%d rows of one key, want 51: the mark stands before the newest", n)
	}
	h := l.Head()
	l.Marked(ledger.Summary{RaftIndex: h.RaftIndex, Size: h.Size})
	apply(60)
	if n := rows(store); n != 61 {
		t.Fatalf("%d rows of one key, want the one below the mark and 60 above it", n)
	}
	if value, found, err := l.State().Get([]byte("hot")); err != nil || !found || binary.BigEndian.Uint64(value) != 110 {
		t.Errorf("the row is %x, %t, %v; want 110", value, found, err)
	}
}

// TestStateIsGone: a reader that is too late is told so instead of being shown rows of several
// sizes.
func TestStateIsGone(t *testing.T) {
	t.Parallel()
	l := openProgram(t, memstore.New(memstore.Options{}), accounts.Program{}, ledger.Summary{})
	mustApply(t, l, single(t, l, 1, commands(string(accounts.Open(1, 5)))))
	old := l.State()
	mustApply(t, l, single(t, l, 1, commands(string(accounts.Open(2, 5)))))
	each := func(_, _ []byte) bool { return true }
	if err := old.Range(nil, nil, each); err != nil {
		t.Errorf("a range before the mark: %v", err)
	}
	l.Marked(ledger.Summary{RaftIndex: 2, Size: 2})
	if _, _, err := old.Get([]byte("x")); !errors.Is(err, ledger.ErrStateGone) {
		t.Errorf("get after the mark: %v, want %v", err, ledger.ErrStateGone)
	}
	if err := old.Range(nil, nil, each); !errors.Is(err, ledger.ErrStateGone) {
		t.Errorf("a range after the mark: %v, want %v", err, ledger.ErrStateGone)
	}
}

// TestStateOfOneSize: a reader sees the rows of one size while entries are applied and old rows are
// deleted: the sum over all accounts is always what it was at the start.
func TestStateOfOneSize(t *testing.T) {
	t.Parallel()
	l := openProgram(t, memstore.New(memstore.Options{}), accounts.Program{}, ledger.Summary{})
	const n, balance = 8, 1000
	var opens []string
	for i := range uint64(n) {
		opens = append(opens, string(accounts.Open(i, balance)))
	}
	mustApply(t, l, single(t, l, 1, commands(opens...)))
	stop, done, sums := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			sum := uint64(0)
			err := l.State().Range([]byte("a"), []byte("b"), func(_, value []byte) bool {
				sum += binary.BigEndian.Uint64(value)
				return true
			})
			switch {
			case errors.Is(err, ledger.ErrStateGone):
			case err != nil || sum != n*balance:
				t.Errorf("the accounts hold %d, %v; want %d", sum, err, n*balance)
				return
			default:
				sums++
			}
		}
	}()
	rng := rand.New(rand.NewPCG(3, 4))
	for i := 0; i < 2000; i++ {
		mustApply(t, l, single(t, l, 1, commands(string(accounts.Transfer(rng.Uint64N(n), rng.Uint64N(n), rng.Uint64N(300))))))
		if i%10 == 0 {
			h := l.Head()
			l.Marked(ledger.Summary{RaftIndex: h.RaftIndex, Size: h.Size})
		}
	}
	close(stop)
	<-done
	if sums < 10 {
		t.Errorf("%d sums: the test shows little", sums)
	}
}
