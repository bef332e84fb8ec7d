package settlement_test

import (
	"bytes"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

// rows is a state in memory. What Get and Range return is a copy, which forget overwrites.
type rows struct {
	rows  map[string][]byte
	lent  [][]byte
	keeps []byte
}

func (r *rows) lend(b []byte) []byte {
	b = bytes.Clone(b)
	r.lent = append(r.lent, b)
	return b
}

func (r *rows) Get(key []byte) ([]byte, bool) {
	v, found := r.rows[string(key)]
	return r.lend(v), found
}

func (r *rows) Range(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(k, v []byte) bool) {
		for _, k := range slices.Sorted(maps.Keys(r.rows)) {
			if k >= string(from) && (len(to) == 0 || k < string(to)) && !yield(r.lend([]byte(k)), r.lend(r.rows[k])) {
				return
			}
		}
	}
}

func (r *rows) Put(key, value []byte) { r.rows[string(key)] = bytes.Clone(value) }
func (r *rows) Keep(detail []byte)    { r.keeps = append(r.keeps, detail...) }

// forget overwrites all that the program was lent.
func (r *rows) forget() {
	for _, b := range r.lent {
		overwrite(b)
	}
	r.lent = nil
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = '!'
	}
}

// TestDecideKeepsNoMemory: the program reads the body of an entry and the values of rows where they
// lie. It keeps nothing of them: when all of it is overwritten after each Decide, every outcome, detail
// and row is the same.
func TestDecideKeepsNoMemory(t *testing.T) {
	for _, random := range []func(*rand.Rand) []byte{randomCommand, randomInstructionCommand} {
		rng := rand.New(rand.NewPCG(11, 12))
		kept, overwritten := &rows{rows: map[string][]byte{}}, &rows{rows: map[string][]byte{}}
		decide := func(view *rows, index uint64, body []byte, parse bool) []byte {
			in := &ledger.Input{Index: index, Kind: ledger.KindCommand, Time: int64(index) * 7, Principal: []byte(operatorID), Body: body, Encoded: body}
			if parse {
				var err error
				if in.Parsed, _, err = (settlement.Program{}).Parse(in.Kind, body); err != nil {
					t.Fatal(err)
				}
			}
			return settlement.Program{}.Decide(view, in)
		}
		for index := range uint64(4000) {
			body := random(rng)
			want := decide(kept, index, bytes.Clone(body), index%2 == 0)
			got := decide(overwritten, index, body, index%2 == 0)
			overwrite(body)
			overwritten.forget()
			if !bytes.Equal(got, want) || !bytes.Equal(kept.keeps, overwritten.keeps) {
				t.Fatalf("entry %d has the outcome %x, without overwritten memory it is %x", index, got, want)
			}
			kept.keeps, overwritten.keeps = nil, nil
		}
		if !maps.EqualFunc(kept.rows, overwritten.rows, bytes.Equal) {
			t.Error("the rows differ")
		}
		if len(kept.rows) < 100 {
			t.Errorf("%d rows show nothing", len(kept.rows))
		}
	}
}
