package accounts_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/memstore"
	"github.com/cairnledger/cairn/ledger/programtest"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
	"github.com/cairnledger/cairn/merkle"
)

var options = programtest.Options{
	New: func() ledger.Program { return accounts.Program{} },
	Command: func(rng *rand.Rand) []byte {
		account := func() uint64 { return rng.Uint64N(10) }
		switch rng.IntN(8) {
		case 0:
			return accounts.Open(account(), rng.Uint64N(300))
		case 1:
			return accounts.Sum(account(), account())
		}
		return accounts.Transfer(account(), account(), rng.Uint64N(100))
	},
}

var holds = programtest.Options{
	New: func() ledger.Program { return accounts.WithHolds{} },
	Command: func(rng *rand.Rand) []byte {
		hold := rng.Uint64N(200)
		switch rng.IntN(8) {
		case 0, 1, 2:
			return accounts.Hold(hold, rng.Uint64N(10), rng.Uint64N(30), rng.Uint64N(1000))
		case 3:
			return accounts.Pay(hold, rng.Uint64N(10))
		case 4:
			return accounts.Expire(hold)
		}
		return options.Command(rng)
	},
}

func TestConformance(t *testing.T) {
	programtest.Run(t, options)
	t.Run("WithHolds", func(t *testing.T) { programtest.Run(t, holds) })
}

func mapped() programtest.Options {
	o := holds
	o.New = func() ledger.Program { return accounts.Mapped{} }
	return o
}

func TestConformanceOfMapped(t *testing.T) { programtest.Run(t, mapped()) }

func FuzzCommand(f *testing.F) {
	f.Add(accounts.Open(1, 2))
	f.Add(accounts.Transfer(1, 2, 3))
	f.Add(accounts.Sum(0, 1<<63))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, command []byte) {
		programtest.Fuzz(t, options, command)
		programtest.Fuzz(t, mapped(), command)
	})
}

func FuzzHolds(f *testing.F) {
	f.Add(accounts.Open(1, 2))
	f.Add(accounts.Hold(1, 2, 3, 4))
	f.Add(accounts.Pay(1, 2))
	f.Add(accounts.Expire(1))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, command []byte) { programtest.Fuzz(t, holds, command) })
}

// TestHoldsModel: the program and the model agree about the outcome of every command, and about
// accounts and holds in the end, whatever nodes and callers propose.
func TestHoldsModel(t *testing.T) {
	const node, caller = "spiffe://example.org/cluster/00000000000000c1/node/n1", "spiffe://example.org/svc/a"
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l, err := ledger.Open(memstore.New(memstore.Options{}), ledger.Config{Group: 1, Origin: "example.org/holds", Program: accounts.WithHolds{}})
		if err != nil {
			t.Fatal(err)
		}
		model, seen := accounts.NewHoldsModel(), map[byte]int{}
		for n := range 1000 {
			hold := uint64(n) / 4 // and those before
			hold -= min(hold, rng.Uint64N(8))
			command := options.Command(rng)
			switch rng.IntN(6) {
			case 0, 1:
				command = accounts.Hold(hold, rng.Uint64N(10), rng.Uint64N(30), rng.Uint64N(1000))
			case 2:
				command = accounts.Pay(hold, rng.Uint64N(10))
			case 3, 4:
				command = accounts.Expire(hold)
			}
			b := ledger.Batch{Principal: caller, Entries: []ledger.NewEntry{{Kind: ledger.KindCommand, Body: command}}}
			if rng.IntN(3) == 0 {
				b.Principal = node
			}
			block, err := ledger.EncodeBlock(ledger.Anchor{Root: merkle.EmptyRoot()}, int64(n)*20, []ledger.Batch{b})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.ApplyMany([]ledger.Committed{{RaftIndex: uint64(n + 1), RaftTerm: 1, Block: block}}); err != nil {
				t.Fatal(err)
			}
			leaf, err := l.Leaf(uint64(n))
			if err != nil {
				t.Fatal(err)
			}
			e, err := ledger.ParseLeaf(leaf)
			if err != nil {
				t.Fatal(err)
			}
			if want := model.Decide(&e); !bytes.Equal(e.Outcome, want) {
				t.Fatalf("seed %d: entry %d, %x by %s, has outcome %x, the model says %x", seed, n, e.Body, e.Principal, e.Outcome, want)
			}
			if e.Body[0] > 3 {
				seen[e.Outcome[0]]++
			}
		}
		got, err := accounts.ReadHolds(l.State())
		if err != nil || !got.Equal(model) {
			t.Errorf("seed %d: the rows say %v, %v; the model %v", seed, got, err, model)
		}
		for _, outcome := range []byte{accounts.Done, accounts.Exists, accounts.Missing, accounts.Early, accounts.Late, accounts.Closed, accounts.Caller} {
			if seen[outcome] == 0 {
				t.Errorf("seed %d: no outcome %d", seed, outcome)
			}
		}
	}
}
