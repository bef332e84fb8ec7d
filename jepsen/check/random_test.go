package check_test

import (
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/merkle"
)

// model is the specification of a ledger, executed one operation at a time.
type model struct {
	entries []check.FinalEntry
	keys    map[history.Digest]uint64
}

func newModel() *model { return &model{keys: map[history.Digest]uint64{}} }

// begin makes the model's first entry a genesis.
func (m *model) begin() {
	k, b := digest('g', 0), digest('g', 1)
	m.entries = []check.FinalEntry{{Key: k, Body: b, Leaf: leafOf(k, b), Genesis: true}}
	m.keys[k] = 0
}

func digest(kind byte, n uint64) (d history.Digest) {
	d[0] = kind
	binary.BigEndian.PutUint64(d[8:], n)
	return d
}

func leafOf(key, body history.Digest) merkle.Hash { return merkle.LeafHash(append(key[:], body[:]...)) }

func (m *model) size() uint64 { return uint64(len(m.entries)) }

func (m *model) root(size uint64) merkle.Hash {
	t := merkle.NewTree()
	for _, e := range m.entries[:size] {
		t.Append([]merkle.Hash{e.Leaf})
	}
	return t.Root()
}

// apply executes op on the model and fills in the answer.
func (m *model) apply(op *history.Op) {
	op.Outcome, op.Reason = history.OK, history.None
	switch op.Kind {
	case history.Append:
		m.append(op)
	case history.Get:
		if op.First >= m.size() {
			op.Reason = history.NotFound
			return
		}
		op.Entries = m.read(op.First, op.First+1)
	case history.Head:
		op.Size = m.size()
		r := m.root(op.Size)
		op.Root = &r
	case history.Range:
		if op.First > m.size() {
			op.Reason = history.NotFound
			return
		}
		op.Seen = m.size()
		end := op.Seen
		if op.First < end && op.Limit > 0 {
			end = min(end, op.First+op.Limit)
		}
		if op.First < end {
			op.Entries = m.read(op.First, end)
		}
	}
}

func (m *model) read(from, to uint64) []history.Entry {
	var out []history.Entry
	for i := from; i < to; i++ {
		out = append(out, history.Entry{Key: m.entries[i].Key, Body: m.entries[i].Body, Index: i})
	}
	return out
}

func (m *model) append(op *history.Op) {
	all, atExpected := true, false
	for _, e := range op.Entries {
		i, ok := m.keys[e.Key]
		if ok && m.entries[i].Body != e.Body {
			op.Outcome, op.Reason, op.Seen = history.Fail, history.Conflict, i
			return
		}
		all = all && ok
		atExpected = atExpected || ok && i == op.Size
	}
	if op.Conditional && !(all && atExpected) && m.size() != op.Size {
		op.Outcome, op.Reason, op.Seen = history.Fail, history.SizeMismatch, m.size()
		return
	}
	for k := range op.Entries {
		e := &op.Entries[k]
		i, ok := m.keys[e.Key]
		if !ok {
			i = m.size()
			m.keys[e.Key] = i
			m.entries = append(m.entries, check.FinalEntry{Key: e.Key, Body: e.Body, Leaf: leafOf(e.Key, e.Body)})
		}
		e.Index, e.Duplicate = i, ok
	}
}

// planned is an operation with the moment at which it takes effect.
type planned struct {
	op      history.Op
	effect  int64
	unknown bool // the client never learns the outcome
	lost    bool // and it never takes effect
}

// legalHistory draws a linearizable history of n operations and the ledger that it leaves, which
// as often as not begins with a genesis: each operation takes effect at one moment between call
// and return, and those with unknown outcome at any moment after the call, or never.
func legalHistory(rng *rand.Rand, n, processes int) ([]history.Op, []check.FinalEntry) {
	plans := make([]planned, n)
	free := make([]int64, processes) // when each client can call again
	ids := make([]uint32, processes)
	for p := range ids {
		ids[p] = uint32(p)
	}
	next := uint32(processes)
	for i := range plans {
		p, pl := rng.IntN(processes), &plans[i]
		unknown := rng.IntN(6) == 0
		pl.op = randomOp(rng, n, unknown)
		pl.op.Process = ids[p]
		pl.op.Call = free[p] + 1 + rng.Int64N(8)
		pl.effect = pl.op.Call + rng.Int64N(12)
		pl.op.Return = pl.effect + rng.Int64N(12)
		free[p] = pl.op.Return
		if pl.op.Kind == history.Append && unknown {
			pl.unknown, pl.lost = true, rng.IntN(2) == 0
			pl.effect += rng.Int64N(60) // perhaps long after the client gave up
			ids[p], next = next, next+1
		}
	}
	order := rng.Perm(n) // ties in random order: any is legal
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(plans[a].effect, plans[b].effect) })
	m := newModel()
	if rng.IntN(2) == 0 {
		m.begin()
	}
	ops := make([]history.Op, n)
	for _, i := range order {
		pl := &plans[i]
		if !pl.lost {
			asked := slices.Clone(pl.op.Entries)
			m.apply(&pl.op)
			if pl.unknown {
				pl.op.Entries = asked
			}
			if pl.op.Call%4 == 0 {
				breakOff(&pl.op)
			}
		}
		if pl.unknown {
			pl.op.Outcome, pl.op.Reason, pl.op.Seen, pl.op.Return = history.Info, history.None, 0, history.Never
		}
		ops[i] = pl.op
	}
	return ops, m.entries
}

// breakOff lets a range end early, after it showed something.
func breakOff(op *history.Op) {
	if n := int64(len(op.Entries)); op.Kind == history.Range && n > 0 {
		op.Outcome, op.Reason, op.Seen, op.Entries = history.Fail, history.Refused, 0, op.Entries[:1+op.Call%n]
	}
}

// brokenOff: what it showed before is all that is known of it.
func brokenOff(op *history.Op) bool {
	return op.Kind == history.Range && op.Outcome == history.Fail
}

// holds says whether the ledger has what an operation showed.
func (m *model) holds(op *history.Op) bool {
	for k, e := range op.Entries {
		if i := op.First + uint64(k); i >= m.size() || m.entries[i].Key != e.Key || m.entries[i].Body != e.Body {
			return false
		}
	}
	return true
}

// randomOp draws a request. Keys below n are asked for alone or in any batch;
// from n on they come in families of three that are always asked for together:
// only those may be batches of unknown outcome.
func randomOp(rng *rand.Rand, n int, unknown bool) history.Op {
	switch rng.IntN(10) {
	case 0, 1, 2, 3:
		op := history.Op{Kind: history.Append}
		keys := rng.Perm(n)[:1+rng.IntN(3)]
		if f := n + 3*rng.IntN(2); rng.IntN(3) == 0 {
			keys = []int{f, f + 1, f + 2}
		} else if unknown {
			keys = keys[:1]
		}
		for _, key := range keys {
			body := uint64(key)
			if rng.IntN(8) == 0 {
				body += 1000 // another payload for a key that may be in use
			}
			op.Entries = append(op.Entries, history.Entry{Key: digest('k', uint64(key)), Body: digest('b', body)})
		}
		if rng.IntN(3) == 0 {
			op.Conditional, op.Size = true, uint64(rng.IntN(n/2+1))
		}
		return op
	case 4, 5:
		return history.Op{Kind: history.Get, First: uint64(rng.IntN(n))}
	case 6, 7:
		return history.Op{Kind: history.Head}
	default:
		return history.Op{Kind: history.Range, First: uint64(rng.IntN(n/2 + 1)), Limit: uint64(rng.IntN(4))}
	}
}
