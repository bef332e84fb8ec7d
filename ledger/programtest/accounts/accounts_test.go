package accounts_test

import (
	"math/rand/v2"
	"testing"

	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/ledger/programtest"
	"github.com/cairnledger/cairn/ledger/programtest/accounts"
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

func TestConformance(t *testing.T) { programtest.Run(t, options) }

func FuzzCommand(f *testing.F) {
	f.Add(accounts.Open(1, 2))
	f.Add(accounts.Transfer(1, 2, 3))
	f.Add(accounts.Sum(0, 1<<63))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, command []byte) { programtest.Fuzz(t, options, command) })
}
