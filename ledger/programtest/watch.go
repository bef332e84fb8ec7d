package programtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/merkle"
	"github.com/cairnledger/cairn/merkle/accountmap"
)

// watch looks at what the program of one ledger does, over all restarts of the ledger.
type watch struct {
	t       testing.TB
	mapped  bool              // the program is a ledger.Mapped
	decided map[uint64]string // what Decide returned for each entry
	rooted  map[string]bool   // keys of the rows that RootOutcome has put
}

func newWatch(t testing.TB) *watch {
	return &watch{t: t, decided: map[uint64]string{}, rooted: map[string]bool{}}
}

// program returns the program, watched. It is a ledger.Mapped and a ledger.Timed when p is.
func (w *watch) program(p ledger.Program) ledger.Program {
	c := &checked{Program: p, w: w}
	m, mapped := p.(ledger.Mapped)
	timed, ok := p.(ledger.Timed)
	w.mapped = mapped
	switch {
	case mapped && ok:
		return struct {
			*checkedMapped
			worker
		}{&checkedMapped{c, m}, timed}
	case mapped:
		return &checkedMapped{c, m}
	case ok:
		return struct {
			*checked
			worker
		}{c, timed}
	}
	return c
}

// worker is what a ledger.Timed has more than a Program.
type worker interface {
	Work(state ledger.State) (at int64, command []byte, ok bool, err error)
}

// decisions returns what Decide returned, in the order of the entries.
func (w *watch) decisions() string {
	var b strings.Builder
	for _, index := range slices.Sorted(maps.Keys(w.decided)) {
		fmt.Fprintf(&b, "%d %x\n", index, w.decided[index])
	}
	return b.String()
}

// checked is a program whose slices are watched.
type checked struct {
	ledger.Program
	w *watch
}

// Parse implements ledger.Parsing.
func (c *checked) Parse(kind ledger.Kind, body []byte) (parsed any, most int, err error) {
	if p, ok := c.Program.(ledger.Parsing); ok {
		return p.Parse(kind, body)
	}
	most, err = c.Program.MaxOutcome(kind, body)
	return nil, most, err
}

// Decide implements ledger.Program.
func (c *checked) Decide(v ledger.View, in *ledger.Input) []byte {
	most, err := c.Program.MaxOutcome(in.Kind, in.Body)
	if _, parsed, _ := c.Parse(in.Kind, in.Body); parsed != most {
		c.w.t.Errorf("entry %d: Parse says %d, MaxOutcome says %d", in.Index, parsed, most)
	}
	fields := func() [][]byte { return [][]byte{in.Principal, in.Key, in.Body, in.Encoded} }
	var before [][]byte
	for _, f := range fields() {
		before = append(before, bytes.Clone(f))
	}
	genesis, _ := in.Genesis.Marshal()
	w := &watched{View: v}
	outcome := c.Program.Decide(w, in)
	if !slices.EqualFunc(fields(), before, bytes.Equal) {
		c.w.t.Errorf("entry %d: the program changes the entry", in.Index)
	}
	if after, err := in.Genesis.Marshal(); err != nil || !bytes.Equal(after, genesis) {
		c.w.t.Errorf("entry %d: the program changes the genesis", in.Index)
	}
	c.unchanged(in.Index, w)
	if fresh, _, _ := c.Parse(in.Kind, in.Body); !reflect.DeepEqual(fresh, in.Parsed) {
		c.w.t.Errorf("entry %d: the program changes what Parse has returned", in.Index)
	}
	if again, err2 := c.Program.MaxOutcome(in.Kind, before[2]); again != most || (err == nil) != (err2 == nil) {
		c.w.t.Errorf("entry %d: MaxOutcome says %d (%v), and after the decision %d (%v)", in.Index, most, err, again, err2)
	}
	c.w.decided[in.Index] = string(outcome)
	return outcome
}

// unchanged complains when the program has changed a slice that the view gave it.
func (c *checked) unchanged(index uint64, w *watched) {
	for i := range w.given {
		if !bytes.Equal(w.given[i], w.copies[i]) {
			c.w.t.Errorf("entry %d: the program changes a slice that it was given", index)
		}
	}
}

// checkedMapped is a ledger.Mapped that is watched. It compares every map root with the rows.
type checkedMapped struct {
	*checked
	mapped ledger.Mapped
}

// MapPrefix implements ledger.Mapped.
func (c *checkedMapped) MapPrefix() []byte { return c.mapped.MapPrefix() }

// RootOutcome implements ledger.Mapped.
func (c *checkedMapped) RootOutcome(v ledger.View, index uint64, outcome []byte, root merkle.Hash, accounts uint64) []byte {
	var leaves []accountmap.Leaf
	prefix := c.mapped.MapPrefix()
	for k, value := range v.Range(prefix, nil) {
		if !bytes.HasPrefix(k, prefix) {
			break
		}
		leaves = append(leaves, accountmap.Leaf{Key: accountmap.KeyOf(Origin, k[len(prefix):]), Record: sha256.Sum256(value)})
	}
	if want := accountmap.Build(leaves); want.Root() != root || uint64(want.Len()) != accounts {
		c.w.t.Errorf("entry %d: the map root is %s of %d accounts, the rows have %s of %d", index, root, accounts, want.Root(), want.Len())
	}
	if string(outcome) != c.w.decided[index] {
		c.w.t.Errorf("entry %d: RootOutcome gets %x, Decide returned %x", index, outcome, c.w.decided[index])
	}
	w := &watched{View: v, put: c.w.rooted}
	w.note(outcome)
	with := c.mapped.RootOutcome(w, index, outcome, root, accounts)
	c.unchanged(index, w)
	return with
}

// watched is a view that keeps copies of what it has given.
type watched struct {
	ledger.View
	given, copies [][]byte
	put           map[string]bool // keys that were put; may be nil
}

func (w *watched) note(b []byte) []byte {
	w.given, w.copies = append(w.given, b), append(w.copies, bytes.Clone(b))
	return b
}

// Get implements ledger.View.
func (w *watched) Get(key []byte) ([]byte, bool) {
	value, found := w.View.Get(key)
	return w.note(value), found
}

// Range implements ledger.View.
func (w *watched) Range(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for k, v := range w.View.Range(from, to) {
			if !yield(w.note(k), w.note(v)) {
				return
			}
		}
	}
}

// Put implements ledger.View.
func (w *watched) Put(key, value []byte) {
	if w.put != nil {
		w.put[string(key)] = true
	}
	w.View.Put(key, value)
}
