package settle_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/cairnledger/cairn/jepsen/settle"
	"github.com/cairnledger/cairn/jepsen/settle/load"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
)

// someLeaves are the leaves of a short history, with every kind of command and outcome.
func someLeaves(t testing.TB) (leaves [][]byte) {
	t.Helper()
	b := newBank(t)
	rng := rand.New(rand.NewPCG(1, 3))
	l := &load.Load{Owners: owners, Timeout: 2000, Grain: 20, Now: func() int64 { return b.now }}
	for b.l.Head().Size < 400 {
		b.submit(owners[rng.IntN(2)], l.Next(rng), l.Next(rng))
		b.now += 20 * rng.Int64N(20)
		b.work()
	}
	for i := range b.l.Head().Size {
		leaf, err := b.l.Leaf(i)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, bytes.Clone(leaf))
	}
	return leaves
}

// eachEntry calls f for the command and the outcome of every entry that has one.
func eachEntry(t testing.TB, f func(command, outcome []byte)) {
	t.Helper()
	for i, leaf := range someLeaves(t) {
		e, err := ledger.ParseLeaf(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != ledger.KindCommand {
			continue
		}
		d, err := settlement.ParseLeaf(uint64(i), leaf)
		if err != nil {
			t.Fatal(err)
		}
		f(bytes.Clone(e.Body), d.Outcome.Marshal())
	}
}

// FuzzCommand: model and program take the same commands.
func FuzzCommand(f *testing.F) {
	eachEntry(f, func(command, _ []byte) { f.Add(command) })
	f.Fuzz(func(t *testing.T, b []byte) {
		_, want := settlement.ParseCommand(b)
		if err := settle.DecodeCommand(b); (err == nil) != (want == nil) {
			t.Errorf("the model says %v, the program %v", err, want)
		}
	})
}

// FuzzOutcome: what the model takes for an outcome, the program does, and it encodes to itself. The
// model is the stricter one: it knows which reason goes with which status.
func FuzzOutcome(f *testing.F) {
	eachEntry(f, func(_, outcome []byte) { f.Add(outcome) })
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := settle.DecodeOutcome(b)
		if err != nil {
			return
		}
		if _, err := settlement.ParseOutcome(b); err != nil {
			t.Errorf("the model takes it, and the program says %v", err)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("read and encoded again it is %x", again)
		}
	})
}

// FuzzLeaf: model and program take the same leaves, and whatever a leaf is, the model says what is
// wrong with it, and goes on.
func FuzzLeaf(f *testing.F) {
	leaves := someLeaves(f)
	for _, leaf := range leaves {
		f.Add(leaf)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, want := ledger.ParseLeaf(b)
		if err := settle.DecodeLeaf(b); (err == nil) != (want == nil) {
			t.Errorf("the model says %v, the program %v", err, want)
		}
		m := settle.New(origin)
		for _, leaf := range leaves[:24] {
			m.Leaf(leaf)
		}
		if problems := m.Leaf(b); want != nil && len(problems) == 0 {
			t.Error("the model finds nothing wrong with it")
		}
		for _, leaf := range leaves[24:32] {
			m.Leaf(leaf)
		}
	})
}

// TestStrictOutcome: an outcome that no rule gives is refused where it is read, whatever the rules
// say about the command.
func TestStrictOutcome(t *testing.T) {
	touched := settlement.Touched{Account: "a"}
	with := func(change func(o *settlement.Outcome)) []byte {
		o := &settlement.Outcome{
			Results: []settlement.Result{{Status: settlement.Rejected, Reason: settlement.SetMemberRejected, Member: 3, Cause: settlement.InsufficientFunds}},
			Touched: []settlement.Touched{touched},
		}
		change(o)
		return o.Marshal()
	}
	if _, err := settle.DecodeOutcome(with(func(*settlement.Outcome) {})); err != nil {
		t.Errorf("a good outcome: %v", err)
	}
	for name, change := range map[string]func(o *settlement.Outcome){
		"no status":                    func(o *settlement.Outcome) { o.Results[0].Status = 0 },
		"an unknown status":            func(o *settlement.Outcome) { o.Results[0].Status = 17 },
		"an unknown reason":            func(o *settlement.Outcome) { o.Results[0].Reason, o.Results[0].Cause = 50, 0 },
		"an unknown cause":             func(o *settlement.Outcome) { o.Results[0].Cause = 50 },
		"a rejection without a reason": func(o *settlement.Outcome) { o.Results[0] = settlement.Result{Status: settlement.Rejected} },
		"posted for a reason":          func(o *settlement.Outcome) { o.Results[0] = settlement.Result{Status: settlement.Posted, Reason: 1} },
		"no cause":                     func(o *settlement.Outcome) { o.Results[0].Cause = 0 },
		"a cause of nothing":           func(o *settlement.Outcome) { o.Results[0].Reason = settlement.AmountZero; o.Results[0].Member = 0 },
		"a member of nothing":          func(o *settlement.Outcome) { o.Results[0].Reason, o.Results[0].Cause = settlement.AmountZero, 0 },
		"an account twice":             func(o *settlement.Outcome) { o.Touched = append(o.Touched, touched) },
	} {
		if _, err := settle.DecodeOutcome(with(change)); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}
