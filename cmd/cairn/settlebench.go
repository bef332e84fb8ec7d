package main

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
)

// benchLimit is the limit of the accounts of a measurement: their debits are checked against it, and
// never reach it.
var benchLimit = settlement.NewDecimal(settlement.AmountOf(1_000_000_000_000_000), 0)

func benchAccount(n int) string { return fmt.Sprintf("account-%07d", n) }

// openBenchAccounts prepares a settlement ledger for transfers.
func openBenchAccounts(ctx context.Context, c *client.Client, accounts int) error {
	s := settle.New(c)
	actions := []settlement.Action{&settlement.CreateAsset{ID: "USD", Scale: 2}}
	for n := range accounts {
		actions = append(actions, &settlement.OpenAccount{ID: benchAccount(n), Asset: "USD", Flags: settlement.DebitsLimited, Limit: benchLimit})
		if len(actions) < 2000 && n+1 < accounts {
			continue
		}
		if _, err := s.Execute(ctx, actions); err != nil {
			return errors.Wrap(err, "open the accounts of the measurement")
		}
		actions = actions[:0]
	}
	return nil
}

// transfers makes transfers between random accounts: --batch of them a request, --pack of them an
// entry.
func (w *worker) transfers(ctx context.Context) {
	s := settle.New(w.c)
	var opts []settle.Option
	if w.b.opts.Sealed {
		opts = append(opts, settle.Sealed())
	}
	for n := w.batch(ctx); n > 0; n = w.batch(ctx) {
		actions := w.actions(n)
		start := w.due(ctx)
		outcomes, err := s.Execute(ctx, actions, opts...)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = allPosted(outcomes)
		}
		w.done(start, n, err)
		if err != nil {
			pauseAfterError(ctx)
		}
	}
}

func (w *worker) actions(n int) []settlement.Action {
	o := w.b.opts
	var actions []settlement.Action
	for n > 0 {
		submit := &settlement.Submit{Transfers: make([]settlement.Transfer, min(n, o.Pack))}
		for i := range submit.Transfers {
			from, to := w.rng.IntN(o.Accounts), w.rng.IntN(o.Accounts-1)
			if to >= from {
				to++
			}
			submit.Transfers[i] = settlement.Transfer{
				ID: fmt.Sprintf("%016x%016x", w.rng.Uint64(), w.rng.Uint64()), Debit: benchAccount(from), Credit: benchAccount(to),
				Amount: settlement.NewDecimal(settlement.AmountOf(1+w.rng.Uint64N(1_000_000)), 2),
			}
		}
		n -= len(submit.Transfers)
		actions = append(actions, submit)
	}
	return actions
}

func allPosted(outcomes []settle.Outcome) error {
	for i := range outcomes {
		for _, r := range outcomes[i].Results {
			if r.Status != settlement.Posted {
				return errors.Newf("a transfer was %s (%s)", r.Status, r.Reason)
			}
		}
	}
	return nil
}
