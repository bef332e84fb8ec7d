package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
)

// detailedScript is a script whose outcomes are the hashes of the details that it keeps.
type detailedScript struct{ script }

func (detailedScript) CheckDetail(_ uint64, leaf, detail []byte) error {
	e, err := ledger.ParseLeaf(leaf)
	if err != nil {
		return err
	}
	if h := sha256.Sum256(detail); len(detail) > 0 && !bytes.Equal(h[:], e.Outcome) || len(detail) == 0 && len(e.Outcome) > 0 {
		return errors.New("another detail")
	}
	return nil
}

// keeping returns a command that keeps a detail.
func keeping(detail []byte) func(ledger.View, *ledger.Input) []byte {
	return func(v ledger.View, _ *ledger.Input) []byte {
		if len(detail) == 0 {
			return nil
		}
		v.Keep(detail[:len(detail)/2])
		v.Keep(detail[len(detail)/2:])
		h := sha256.Sum256(detail)
		return h[:]
	}
}

// TestDetails: the ledger returns the detail of every entry, and no leaf has one. What a batch that
// is refused kept is gone.
func TestDetails(t *testing.T) {
	t.Parallel()
	p := detailedScript{script{most: 32, decides: map[string]func(ledger.View, *ledger.Input) []byte{
		"one": keeping([]byte("the first detail")), "none": keeping(nil), "two": keeping([]byte("another one")),
		"too long": keeping(make([]byte, 32*ledger.DetailFactor+1)),
		"panics": func(v ledger.View, _ *ledger.Input) []byte {
			v.Keep([]byte("of a refused batch"))
			panic("no")
		},
	}}}
	l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
	var refused []bool
	for _, r := range mustApply(t, l, single(t, l, 1, commands("one"), commands("two", "panics"), commands("none", "two"), commands("one", "too long"), commands("one"))) {
		refused = append(refused, r.Err != nil)
	}
	if want := []bool{false, true, false, true, false}; len(refused) != 5 || refused[1] != want[1] || refused[2] != want[2] || refused[3] != want[3] || refused[4] != want[4] {
		t.Fatalf("refused: %v, want %v", refused, want)
	}
	for i, want := range []string{"the first detail", "", "another one", "the first detail"} {
		leaf, detail, err := l.Detail(uint64(i))
		if err != nil || string(detail) != want || want != "" && bytes.Contains(leaf, []byte(want)) {
			t.Errorf("entry %d with the leaf %q has the detail %q, %v; want %q", i, leaf, detail, err, want)
		}
	}
	if damage := scrubAll(t, l); damage != nil {
		t.Errorf("scrubbing finds %v", damage)
	}
}

// TestDetailOfAProgramThatHasNone: a program that is not Detailed keeps none.
func TestDetailOfAProgramThatHasNone(t *testing.T) {
	t.Parallel()
	p := script{most: 32, decides: map[string]func(ledger.View, *ledger.Input) []byte{"one": keeping([]byte("a detail"))}}
	l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
	r := mustApply(t, l, single(t, l, 1, commands("one")))[0]
	var refused *ledger.RefusedError
	if !errors.As(r.Err, &refused) || refused.Reason != ledger.RefusedWrites {
		t.Errorf("apply: %v", r.Err)
	}
}

// TestDetailsOfABlockAreBounded: a block whose details would pass 5 MiB has the batches refused that
// pass them.
func TestDetailsOfABlockAreBounded(t *testing.T) {
	t.Parallel()
	const each = 250_000
	p := detailedScript{script{most: each / ledger.DetailFactor, decides: map[string]func(ledger.View, *ledger.Input) []byte{"long": keeping(make([]byte, each))}}}
	l := openProgram(t, memstore.New(memstore.Options{}), p, ledger.Summary{})
	var batches []ledger.Batch
	for range 30 {
		batches = append(batches, commands("long"))
	}
	fine := 0
	for _, r := range mustApply(t, l, single(t, l, 1, batches...)) {
		if r.Err == nil {
			fine++
		}
	}
	if want := ledger.MaxBlockDetails / each; fine != want || l.Refused(ledger.RefusedTooLarge) != uint64(30-want) {
		t.Errorf("%d batches have details, want %d", fine, want)
	}
	if _, detail, err := l.Detail(uint64(fine - 1)); err != nil || len(detail) != each {
		t.Errorf("the last detail has %d bytes, %v", len(detail), err)
	}
}

// TestDamagedDetail: a detail that the disk has changed is never returned, and scrubbing finds it.
func TestDamagedDetail(t *testing.T) {
	t.Parallel()
	p := detailedScript{script{most: 32, decides: map[string]func(ledger.View, *ledger.Input) []byte{"one": keeping([]byte("the first detail"))}}}
	store := &rotten{Store: memstore.New(memstore.Options{})}
	l, err := ledger.Open(store, ledger.Config{Group: 1, Origin: origin, Program: p, Caches: ledger.NewCaches(1)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(100) { // the cache is so small that only the newest blocks stay in it
		if r := mustApply(t, l, single(t, l, 1+i, commands("one")))[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	key := blockKey('b', 1)
	record, err := store.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	store.mu.Lock()
	store.key, store.wrong = key, bytes.Replace(record, []byte("the first detail"), []byte("the worst detail"), 1)
	store.mu.Unlock()
	var corrupt *ledger.CorruptError
	if damage := scrubAll(t, l); len(damage) != 1 || !errors.As(damage[0], &corrupt) || corrupt.What != "detail" {
		t.Errorf("scrubbing finds %v", damage)
	}
	if _, detail, err := l.Detail(0); !errors.As(err, &corrupt) || corrupt.What != "detail" {
		t.Errorf("the detail is %q, %v", detail, err)
	}
}
