package cluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
)

// BenchmarkTransfers makes transfers between 10,000 accounts: batches of 1,000 from eight clients
// to three nodes in one process, each transfer an entry, or 50 of them.
func BenchmarkTransfers(b *testing.B) {
	for _, pack := range []int{1, 50} {
		b.Run(fmt.Sprintf("pack=%d", pack), func(b *testing.B) { benchmarkTransfers(b, pack) })
	}
}

func benchmarkTransfers(b *testing.B, pack int) {
	const batch, accounts = 1000, 10_000
	ctx := context.Background()
	c := startInProcess(b, 3)
	admin, err := c.DialLedger(ctx, c.Directory(), "admin")
	if err != nil {
		b.Fatal(err)
	}
	defer admin.Close()
	origin := c.Origin() + "/settlement"
	if _, _, err := admin.CreateLedger(ctx, origin, settlement.ProgramName); err != nil {
		b.Fatal(err)
	}
	cl, err := c.DialLedger(ctx, origin, "writer")
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	s := settle.New(cl)
	execute := func(actions []settlement.Action) {
		outcomes, err := s.Execute(ctx, actions)
		if err != nil {
			b.Error(err)
			return
		}
		for _, o := range outcomes {
			if r := o.Results[0]; r.Status == settlement.Rejected {
				b.Errorf("a command is rejected: %s", r.Reason)
			}
		}
	}
	account := func(n int) string { return fmt.Sprintf("account-%07d", n) }
	actions := []settlement.Action{&settlement.CreateAsset{ID: "USD", Scale: 2}}
	for n := range accounts {
		actions = append(actions, &settlement.OpenAccount{
			ID: account(n), Asset: "USD", Flags: settlement.DebitsLimited, Limit: settlement.NewDecimal(settlement.AmountOf(1e15), 0),
		})
		if len(actions) == 2000 || n+1 == accounts {
			execute(actions)
			actions = nil
		}
	}
	work := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		rng := rand.New(rand.NewPCG(uint64(i), rand.Uint64()))
		wg.Go(func() {
			for range work {
				var actions []settlement.Action
				for range batch / pack {
					submit := &settlement.Submit{Transfers: make([]settlement.Transfer, pack)}
					for i := range submit.Transfers {
						from, to := rng.IntN(accounts), rng.IntN(accounts-1)
						if to >= from {
							to++
						}
						submit.Transfers[i] = settlement.Transfer{
							ID: fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()), Debit: account(from), Credit: account(to),
							Amount: settlement.NewDecimal(settlement.AmountOf(1+rng.Uint64N(1e6)), 2),
						}
					}
					actions = append(actions, submit)
				}
				execute(actions)
			}
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "transfers/s")
}
