package programtest

import (
	"bytes"
	"iter"
	"reflect"
	"slices"
	"testing"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/ledger"
)

// watch looks at what the program of one ledger does, over all restarts of the ledger.
type watch struct{ t testing.TB }

func newWatch(t testing.TB) *watch { return &watch{t: t} }

// program returns the program, watched. It is a ledger.Mapped and a ledger.Timed when p is.
func (w *watch) program(p ledger.Program) ledger.Program {
	c := &checked{Program: p, w: w}
	m, mapped := p.(ledger.Mapped)
	t, timed := p.(ledger.Timed)
	switch {
	case mapped && timed:
		return struct {
			*checked
			mapper
			worker
		}{c, m, t}
	case mapped:
		return struct {
			*checked
			mapper
		}{c, m}
	case timed:
		return struct {
			*checked
			worker
		}{c, t}
	}
	return c
}

// mapper is what a ledger.Mapped has more than a Program.
type mapper interface {
	MapPrefix() []byte
	MapRecord(value []byte) []byte
}

// worker is what a ledger.Timed has more than a Program.
type worker interface {
	Work(state ledger.State) (at int64, command []byte, ok bool, err error)
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

// CheckDetail implements ledger.Detailed. A program that is not Detailed has no details.
func (c *checked) CheckDetail(index uint64, leaf, detail []byte) error {
	if p, ok := c.Program.(ledger.Detailed); ok {
		return p.CheckDetail(index, leaf, detail)
	}
	if len(detail) > 0 {
		return errors.New("a program that is not Detailed keeps a detail")
	}
	return nil
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
	c.detail(in, outcome, w.detail)
	if fresh, _, _ := c.Parse(in.Kind, in.Body); !reflect.DeepEqual(fresh, in.Parsed) {
		c.w.t.Errorf("entry %d: the program changes what Parse has returned", in.Index)
	}
	if again, err2 := c.Program.MaxOutcome(in.Kind, before[2]); again != most || (err == nil) != (err2 == nil) {
		c.w.t.Errorf("entry %d: MaxOutcome says %d (%v), and after the decision %d (%v)", in.Index, most, err, again, err2)
	}
	return outcome
}

// detail complains when the program refuses its own detail, or takes another one for it.
func (c *checked) detail(in *ledger.Input, outcome, detail []byte) {
	leaf := append(bytes.Clone(in.Encoded), outcome...)
	if err := c.CheckDetail(in.Index, leaf, detail); err != nil {
		c.w.t.Errorf("entry %d: the program refuses the detail that it kept: %v", in.Index, err)
	}
	if len(detail) == 0 {
		return
	}
	other := bytes.Clone(detail)
	other[int(in.Index)%len(other)] ^= 1
	for _, d := range [][]byte{nil, detail[1:], append(bytes.Clone(detail), 0), other} {
		if c.CheckDetail(in.Index, leaf, d) == nil {
			c.w.t.Errorf("entry %d: the program takes another detail for the one that it kept: %x for %x", in.Index, d, detail)
		}
	}
}

// unchanged complains when the program has changed a slice that the view gave it.
func (c *checked) unchanged(index uint64, w *watched) {
	for i := range w.given {
		if !bytes.Equal(w.given[i], w.copies[i]) {
			c.w.t.Errorf("entry %d: the program changes a slice that it was given", index)
		}
	}
}

// watched is a view that keeps copies of what it has given.
type watched struct {
	ledger.View
	given, copies [][]byte
	detail        []byte // that was kept
}

// Keep implements ledger.View.
func (w *watched) Keep(detail []byte) {
	w.View.Keep(detail)
	w.detail = append(w.detail, detail...)
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
