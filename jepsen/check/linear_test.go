package check_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/cairnledger/cairn/jepsen/check"
	"github.com/cairnledger/cairn/jepsen/history"
	"github.com/cairnledger/cairn/merkle"
)

var (
	histories = flag.Int("histories", 5000, "how many random histories to compare with porcupine")
	millions  = flag.Int("millions", 1_000_000, "operations of TestMillions")
	seed      = flag.Uint64("seed", 1, "seed of the first random history")
)

// ledgerState is porcupine's view: one list of entries.
type ledgerState []check.FinalEntry

// porcupineModel is the specification once more, as a porcupine model: it
// replays the operation on a copy and compares the answers. The ledger begins with first.
func porcupineModel(first ledgerState) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(state, input, output any) (bool, any) {
			m := newModel()
			m.entries = slices.Clone(state.(ledgerState))
			for i, e := range m.entries {
				m.keys[e.Key] = uint64(i)
			}
			asked, told := input.(history.Op), output.(history.Op)
			asked.Entries = slices.Clone(asked.Entries)
			if asked.Kind != history.Append {
				asked.Entries = nil
			}
			if brokenOff(&told) {
				return m.holds(&told), state
			}
			m.apply(&asked)
			if told.Outcome == history.Info {
				return true, ledgerState(m.entries)
			}
			return sameAnswer(asked, told), ledgerState(m.entries)
		},
		Equal: func(a, b any) bool { return slices.Equal(a.(ledgerState), b.(ledgerState)) },
	}
}

func sameAnswer(a, b history.Op) bool {
	if a.Outcome != b.Outcome || a.Reason != b.Reason || a.Seen != b.Seen {
		return false
	}
	if (a.Root == nil) != (b.Root == nil) || a.Root != nil && *a.Root != *b.Root || a.Size != b.Size {
		return false
	}
	if a.Outcome == history.Fail {
		return true
	}
	return slices.Equal(a.Entries, b.Entries)
}

// porcupineSays asks porcupine, with a last read that pins the final ledger.
func porcupineSays(ops []history.Op, final []check.FinalEntry) bool {
	var in []porcupine.Operation
	end := int64(0)
	for _, op := range ops {
		end = max(end, op.Call)
		if op.Return != history.Never {
			end = max(end, op.Return)
		}
	}
	add := func(op history.Op) {
		ret := op.Return
		if ret == history.Never {
			ret = end + 10
		}
		in = append(in, porcupine.Operation{ClientId: int(op.Process), Input: op, Call: op.Call, Output: op, Return: ret})
	}
	for _, op := range ops {
		if op.Outcome == history.Info && !appliedInFinal(op, final) {
			continue // never took effect, or had none
		}
		add(op)
	}
	last := history.Op{Process: 1 << 20, Kind: history.Range, Outcome: history.OK, Call: end + 11, Return: end + 12, Seen: uint64(len(final))}
	for i, e := range final {
		last.Entries = append(last.Entries, history.Entry{Key: e.Key, Body: e.Body, Index: uint64(i)})
	}
	add(last)
	var first ledgerState
	if len(final) > 0 && final[0].Genesis {
		first = final[:1:1]
	}
	return porcupine.CheckOperations(porcupineModel(first), in)
}

func appliedInFinal(op history.Op, final []check.FinalEntry) bool {
	for _, e := range op.Entries {
		for _, f := range final {
			if f.Key == e.Key {
				return true
			}
		}
	}
	return false
}

// TestAgreesWithPorcupine compares the verdicts on random histories, legal ones
// and mutated ones.
func TestAgreesWithPorcupine(t *testing.T) {
	legal, illegal := 0, 0
	for i := range *histories {
		s := *seed + uint64(i)
		rng := rand.New(rand.NewPCG(s, 7))
		ops, final := legalHistory(rng, 4+rng.IntN(6), 1+rng.IntN(4))
		kind := "none"
		if rng.IntN(2) == 0 {
			m := mutations[rng.IntN(len(mutations))]
			if ops2, final2, ok := m.mutate(rng, ops, final); ok {
				ops, final, kind = ops2, final2, m.name
			}
		}
		got := check.Linear(ops, final)
		want := porcupineSays(ops, final)
		if want {
			legal++
		} else {
			illegal++
		}
		if (len(got) == 0) != want {
			t.Fatalf("seed %d (mutation %s): linear says %v, porcupine says legal=%v\n%s\nagain: go test ./jepsen/check -run TestAgreesWithPorcupine -seed %d -histories 1",
				s, kind, got, want, dump(ops, final), s)
		}
	}
	t.Logf("%d legal, %d illegal, no disagreement", legal, illegal)
	if legal < *histories/4 || (*histories > 100 && illegal < *histories/10) {
		t.Errorf("the sample is lopsided: %d legal, %d illegal", legal, illegal)
	}
}

func dump(ops []history.Op, final []check.FinalEntry) string {
	s := ""
	for i, op := range ops {
		s += fmt.Sprintf("%d: %+v\n", i, op)
	}
	for i, f := range final {
		s += fmt.Sprintf("final %d: %x %x\n", i, f.Key[8:], f.Body[8:])
	}
	return s
}

type mutation struct {
	name   string
	mutate func(*rand.Rand, []history.Op, []check.FinalEntry) ([]history.Op, []check.FinalEntry, bool)
}

// pick returns a random operation that satisfies ok, or -1.
func pick(rng *rand.Rand, ops []history.Op, ok func(*history.Op) bool) int {
	for _, i := range rng.Perm(len(ops)) {
		if ok(&ops[i]) {
			return i
		}
	}
	return -1
}

// onOp makes a mutation of one operation that satisfies ok.
func onOp(name string, ok func(*history.Op) bool, change func(*rand.Rand, *history.Op, []check.FinalEntry)) mutation {
	return mutation{name, func(rng *rand.Rand, ops []history.Op, final []check.FinalEntry) ([]history.Op, []check.FinalEntry, bool) {
		i := pick(rng, ops, ok)
		if i < 0 {
			return nil, nil, false
		}
		ops = slices.Clone(ops)
		ops[i].Entries = slices.Clone(ops[i].Entries)
		change(rng, &ops[i], final)
		return ops, final, true
	}}
}

func is(kind history.Kind, outcome history.Outcome) func(*history.Op) bool {
	return func(o *history.Op) bool { return o.Kind == kind && o.Outcome == outcome }
}

// The ways in which a system may lie. Each must be caught when it matters, and
// the differential test decides when that is.
var mutations = []mutation{
	onOp("acknowledged elsewhere", is(history.Append, history.OK), func(rng *rand.Rand, o *history.Op, _ []check.FinalEntry) {
		o.Entries[rng.IntN(len(o.Entries))].Index++
	}),
	onOp("duplicate reported as new", func(o *history.Op) bool {
		return is(history.Append, history.OK)(o) && slices.ContainsFunc(o.Entries, func(e history.Entry) bool { return e.Duplicate })
	}, func(_ *rand.Rand, o *history.Op, _ []check.FinalEntry) {
		for k := range o.Entries {
			o.Entries[k].Duplicate = false
		}
	}),
	onOp("applied append reported as refused", is(history.Append, history.OK), func(_ *rand.Rand, o *history.Op, _ []check.FinalEntry) {
		o.Outcome, o.Reason, o.Seen = history.Fail, history.SizeMismatch, o.Entries[0].Index
	}),
	onOp("stale or future head", is(history.Head, history.OK), func(rng *rand.Rand, o *history.Op, final []check.FinalEntry) {
		o.Size = uint64(rng.IntN(len(final) + 2))
		r := newModelOf(final[:min(int(o.Size), len(final))]).root(min(o.Size, uint64(len(final))))
		o.Root = &r
	}),
	onOp("wrong root", is(history.Head, history.OK), func(rng *rand.Rand, o *history.Op, _ []check.FinalEntry) {
		r := merkle.Hash{byte(rng.IntN(256))}
		o.Root = &r
	}),
	onOp("get finds nothing", func(o *history.Op) bool {
		return o.Kind == history.Get && o.Reason == history.None && o.Outcome == history.OK
	},
		func(_ *rand.Rand, o *history.Op, _ []check.FinalEntry) {
			o.Reason, o.Entries = history.NotFound, nil
		}),
	onOp("get finds something too early", func(o *history.Op) bool { return o.Kind == history.Get && o.Reason == history.NotFound },
		func(_ *rand.Rand, o *history.Op, final []check.FinalEntry) {
			if o.First < uint64(len(final)) {
				o.Reason, o.Entries = history.None, newModelOf(final).read(o.First, o.First+1)
			}
		}),
	onOp("get finds another payload", func(o *history.Op) bool { return o.Kind == history.Get && len(o.Entries) == 1 },
		func(_ *rand.Rand, o *history.Op, _ []check.FinalEntry) { o.Entries[0].Body[0] ^= 1 }),
	onOp("range cut short", func(o *history.Op) bool { return o.Kind == history.Range && len(o.Entries) > 0 },
		func(_ *rand.Rand, o *history.Op, _ []check.FinalEntry) { o.Entries = o.Entries[:len(o.Entries)-1] }),
	onOp("range finds nothing", func(o *history.Op) bool { return is(history.Range, history.OK)(o) && o.Reason == history.None },
		func(_ *rand.Rand, o *history.Op, _ []check.FinalEntry) {
			o.Reason, o.Entries, o.Seen = history.NotFound, nil, 0
		}),
	onOp("range of another size", func(o *history.Op) bool { return is(history.Range, history.OK)(o) && o.Reason == history.None }, func(rng *rand.Rand, o *history.Op, final []check.FinalEntry) {
		o.Seen = uint64(rng.IntN(len(final) + 1))
		end := o.Seen
		if o.First < end && o.Limit > 0 {
			end = min(end, o.First+o.Limit)
		}
		o.Entries = nil
		if o.First < end {
			o.Entries = newModelOf(final).read(o.First, end)
		}
	}),
	onOp("answered too early", func(o *history.Op) bool { return o.Outcome == history.OK || brokenOff(o) }, func(rng *rand.Rand, o *history.Op, _ []check.FinalEntry) {
		d := rng.Int64N(40)
		o.Call, o.Return = o.Call-d, o.Return-d
	}),
	onOp("answered too late", func(o *history.Op) bool { return o.Outcome == history.OK }, func(rng *rand.Rand, o *history.Op, _ []check.FinalEntry) {
		d := rng.Int64N(40)
		o.Call, o.Return = o.Call+d, o.Return+d
	}),
	onOp("conflict that is none", is(history.Append, history.OK), func(rng *rand.Rand, o *history.Op, final []check.FinalEntry) {
		o.Outcome, o.Reason, o.Seen = history.Fail, history.Conflict, uint64(rng.IntN(len(final)+1))
	}),
	{"entry lost at the end", func(_ *rand.Rand, ops []history.Op, final []check.FinalEntry) ([]history.Op, []check.FinalEntry, bool) {
		if len(final) == 0 {
			return nil, nil, false
		}
		return ops, final[:len(final)-1], true
	}},
	{"two entries swapped", func(rng *rand.Rand, ops []history.Op, final []check.FinalEntry) ([]history.Op, []check.FinalEntry, bool) {
		if len(final) < 2 {
			return nil, nil, false
		}
		final = slices.Clone(final)
		i := rng.IntN(len(final) - 1)
		final[i], final[i+1] = final[i+1], final[i]
		return ops, final, true
	}},
	{"phantom entry", func(_ *rand.Rand, ops []history.Op, final []check.FinalEntry) ([]history.Op, []check.FinalEntry, bool) {
		k, b := digest('k', 1<<40), digest('b', 1<<40)
		return ops, append(slices.Clone(final), check.FinalEntry{Key: k, Body: b, Leaf: leafOf(k, b)}), true
	}},
}

func newModelOf(final []check.FinalEntry) *model {
	m := newModel()
	m.entries = final
	return m
}

// TestMutationsAreCaught shows that each kind of lie is caught at least sometimes,
// and that no legal history is accused.
func TestMutationsAreCaught(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			caught, applied := 0, 0
			for s := range uint64(600) {
				rng := rand.New(rand.NewPCG(s, 11))
				ops, final := legalHistory(rng, 12, 4)
				if v := check.Linear(ops, final); len(v) > 0 {
					t.Fatalf("seed %d: a legal history is accused: %v\n%s", s, v, dump(ops, final))
				}
				if ops, final, ok := m.mutate(rng, ops, final); ok {
					applied++
					if len(check.Linear(ops, final)) > 0 {
						caught++
					}
				}
			}
			if caught == 0 {
				t.Errorf("applied %d times, never caught", applied)
			}
			t.Logf("caught %d of %d (the others are still legal)", caught, applied)
		})
	}
}

// TestBrokenRange: a range that broke had shown something, and that was there by then.
func TestBrokenRange(t *testing.T) {
	m := newModel()
	put := history.Op{Process: 1, Kind: history.Append, Call: 10, Return: 20, Entries: []history.Entry{{Key: digest('k', 1), Body: digest('b', 1)}}}
	m.apply(&put)
	read := history.Op{Process: 2, Kind: history.Range, Outcome: history.Fail, Reason: history.Refused, Call: 12, Return: 18, Entries: m.read(0, 1)}
	early, other := read, read
	early.Call, early.Return = 1, 9
	other.Entries = []history.Entry{{Key: digest('k', 2), Body: digest('b', 2)}}
	for name, c := range map[string]struct {
		op   history.Op
		want string
	}{"in time": {read, ""}, "too early": {early, "stale"}, "another entry": {other, "mismatch"}} {
		got := ""
		if v := check.Linear([]history.Op{put, c.op}, m.entries); len(v) > 0 {
			got = v[0].Kind
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestGenesis: no append put the genesis there, and no linearizable answer is without it, however
// early it was. What a node knows locally may be without it.
func TestGenesis(t *testing.T) {
	m := newModel()
	m.begin()
	put := history.Op{Process: 1, Kind: history.Append, Call: 10, Return: 20, Entries: []history.Entry{{Key: digest('k', 1), Body: digest('b', 1)}}}
	m.apply(&put)
	at := func(op history.Op) history.Op {
		op.Process, op.Call, op.Return = 2, 1, 2
		if op.Outcome = history.OK; op.Reason == history.SizeMismatch {
			op.Outcome = history.Fail
		}
		return op
	}
	genesis := m.read(0, 1)
	for name, c := range map[string]struct {
		op   history.Op
		want string
	}{
		"get":              {history.Op{Kind: history.Get, Entries: genesis}, ""},
		"head":             {history.Op{Kind: history.Head, Size: 1}, ""},
		"range":            {history.Op{Kind: history.Range, Seen: 1, Entries: genesis}, ""},
		"local head of 0":  {history.Op{Kind: history.LocalHead}, ""},
		"head of 0":        {history.Op{Kind: history.Head}, "stale"},
		"range of 0":       {history.Op{Kind: history.Range}, "stale"},
		"get of nothing":   {history.Op{Kind: history.Get, Reason: history.NotFound}, "stale"},
		"range of nothing": {history.Op{Kind: history.Range, First: 1, Reason: history.NotFound}, "stale"},
		"size 0":           {history.Op{Kind: history.Append, Reason: history.SizeMismatch, Conditional: true, Size: 1}, "stale"},
		"its author":       {history.Op{Kind: history.Append, Entries: genesis}, "stale"},
		"another genesis":  {history.Op{Kind: history.Get, Entries: []history.Entry{{Key: digest('g', 0), Body: digest('g', 2)}}}, "mismatch"},
		"appended instead": {history.Op{Kind: history.Append, Entries: []history.Entry{{Key: digest('k', 1), Body: digest('b', 1)}}}, "moved"},
	} {
		got := ""
		if v := check.Linear([]history.Op{put, at(c.op)}, m.entries); len(v) > 0 {
			got = v[0].Kind
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	// The mark counts for entry 0 only: another entry needs somebody who appended it.
	second := m.entries[0]
	second.Key, second.Genesis = digest('g', 2), true
	if v := check.Linear([]history.Op{put}, append(slices.Clone(m.entries), second)); len(v) != 1 || v[0].Kind != "phantom" {
		t.Errorf("a genesis behind other entries: %v, want a phantom", v)
	}
}

// TestOwnEntries: nobody appended what a leader proposed in its own name. Reads are bound by it as
// by any other entry.
func TestOwnEntries(t *testing.T) {
	m := newModel()
	m.begin()
	put := history.Op{Process: 1, Kind: history.Append, Call: 10, Return: 20, Entries: []history.Entry{{Key: digest('k', 1), Body: digest('b', 1)}}}
	m.apply(&put)
	own := check.FinalEntry{Key: digest('o', 1), Body: digest('o', 1), Own: true}
	final := append(slices.Clone(m.entries), own)
	get := history.Op{Process: 2, Kind: history.Get, Outcome: history.OK, Call: 30, Return: 40, First: 2, Entries: []history.Entry{{Key: own.Key, Body: own.Body}}}
	head := history.Op{Process: 2, Kind: history.Head, Outcome: history.OK, Call: 50, Return: 60, Size: 2}
	if v := check.Linear([]history.Op{put, get}, final); len(v) > 0 {
		t.Errorf("a leader's own entry: %v", v)
	}
	if v := check.Linear([]history.Op{put, get, head}, final); len(v) != 1 || v[0].Kind != "stale" {
		t.Errorf("a head without a leader's own entry that was read before: %v, want stale", v)
	}
	final[2].Own = false
	if v := check.Linear([]history.Op{put, get}, final); len(v) != 1 || v[0].Kind != "phantom" {
		t.Errorf("an entry that nobody appended: %v, want a phantom", v)
	}
}

// TestMillions decides a large history. The figures are printed, not gated.
func TestMillions(t *testing.T) {
	ops, final := bigHistory(*millions, 64)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	if v := check.Linear(ops, final); len(v) > 0 {
		t.Fatalf("a legal history is accused: %v", v[0])
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	t.Logf("%d operations of 64 clients on %d entries decided in %v; allocated for it %d MiB, whole process %d MiB",
		len(ops), len(final), took, (after.TotalAlloc-before.TotalAlloc)>>20, after.Sys>>20)
	victim := -1
	for i := len(ops) / 2; victim < 0; i++ {
		if ops[i].Kind == history.Head && ops[i].Size > 1000 {
			victim = i
		}
	}
	ops[victim].Size -= 900 // a stale read in the middle
	ops[victim].Root = nil
	if len(check.Linear(ops, final)) == 0 {
		t.Error("a stale head among a million operations was not caught")
	}
}

// bigHistory is 64 clients that append, read and ask for the head all the time.
func bigHistory(n, clients int) ([]history.Op, []check.FinalEntry) {
	rng := rand.New(rand.NewPCG(1, 2))
	ops := make([]history.Op, 0, n)
	var final []check.FinalEntry
	for i := range n {
		at := int64(i) * 10
		op := history.Op{Process: uint32(i % clients), Call: at - rng.Int64N(300), Return: at + rng.Int64N(300), Outcome: history.OK}
		switch rng.IntN(4) {
		case 0, 1:
			k, b := digest('k', uint64(i)), digest('b', uint64(i))
			op.Kind = history.Append
			op.Entries = []history.Entry{{Key: k, Body: b, Index: uint64(len(final))}}
			final = append(final, check.FinalEntry{Key: k, Body: b})
		case 2:
			op.Kind, op.Size = history.Head, uint64(len(final))
		case 3:
			op.Kind, op.First = history.Get, uint64(rng.IntN(len(final)+100))
			if op.First < uint64(len(final)) {
				f := final[op.First]
				op.Entries = []history.Entry{{Key: f.Key, Body: f.Body}}
			} else {
				op.Reason = history.NotFound
			}
		}
		ops = append(ops, op)
	}
	return ops, final
}
