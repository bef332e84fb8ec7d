package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cockroachdb/errors"

	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/reconcile"
	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

const (
	soldShares = 100
	shortOf    = 10_000 // how much the buyer has too little
	arrives    = 25_000 // and how much it gets
	buys       = "buy-100"
	sells      = "sell-100"
)

// price is what the buyer pays for the shares: more than it has.
func (d *settleDemo) price() reconcile.Amount { return d.books[d.banks[0].cash].Add(euros(shortOf)) }

// deliveryWaits has both banks instruct the exchange of shares against money that the buyer does not
// have: the instructions match, and wait. Nothing moves.
func (d *settleDemo) deliveryWaits(ctx context.Context) error {
	a, b := d.banks[0], d.banks[1]
	head, err := d.admin.Head(ctx)
	if err != nil {
		return errors.Wrap(err, "read head")
	}
	price, err := settlement.ParseDecimal(d.price().String())
	if err != nil {
		return err
	}
	money := settlement.Leg{Asset: demoCurrency, Amount: price}
	shares := settlement.Leg{Asset: demoShare, Amount: settlement.NewDecimal(settlement.AmountOf(soldShares), 0)}
	on := func(l settlement.Leg, account string) *settlement.Leg { l.Account = account; return &l }
	today := settlement.DateOf(head.Time.UnixMicro())
	for _, x := range []struct {
		bank     *demoBank
		instruct settlement.Instruct
		want     settlement.Status
	}{
		{b, settlement.Instruct{ID: sells, Party: b.bic, Counterparty: a.bic, SettlementDate: today, Delivers: on(shares, b.shares), Receives: on(money, b.cash)}, settlement.Unmatched},
		{a, settlement.Instruct{ID: buys, Party: a.bic, Counterparty: b.bic, SettlementDate: today, Delivers: on(money, a.cash), Receives: on(shares, a.shares)}, settlement.Queued},
	} {
		outcomes, err := x.bank.client.Execute(ctx, []settlement.Action{&x.instruct})
		if err != nil {
			return errors.Wrap(err, "instruct")
		}
		if r := outcomes[0].Results[0]; r.Status != x.want {
			return failf(exitRefused, "", "the instruction %s is %s %s, want %s", x.instruct.ID, r.Status, r.Reason, x.want)
		}
	}
	i, _, err := a.client.Instruction(ctx, buys)
	if err != nil {
		return errors.Wrap(err, "read an instruction")
	}
	if i.GetStatus() != settlement.Queued.String() || i.GetReason() != settlement.InsufficientFunds.String() || i.GetWaitsFor() != a.cash || i.GetMatch() != sells {
		return failf(exitRefused, "", "%s is %s (%s), waits for %q and has the match %q; want it to wait for %s", buys, i.GetStatus(), i.GetReason(), i.GetWaitsFor(), i.GetMatch(), a.cash)
	}
	if err := d.checkBooks(ctx); err != nil {
		return err
	}
	return d.step("delivery", map[string]any{"shares": soldShares, "price": d.price(), "short_of": euros(shortOf), "status": i.GetStatus()},
		fmt.Sprintf("%s sells %d shares for %s; %s has %s too little, so both instructions match and wait, and nothing moves",
			b.name, soldShares, demoMoney(d.price()), a.name, demoMoney(euros(shortOf))))
}

// cashArrives pays the buyer: the exchange settles by itself, both legs in one entry.
func (d *settleDemo) cashArrives(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, d.timeout)
	defer cancel()
	a, b := d.banks[0], d.banks[1]
	price := d.price()
	f := newPayments("B-cash", b, a, 1)
	f.payments[0].amount = statement.NewAmount(arrives*100, 2)
	n := b.answers()
	start := time.Now()
	if err := f.give(); err != nil {
		return err
	}
	if err := d.waitAnswered(ctx, b, n+1); err != nil {
		return err
	}
	if err := d.settled(f); err != nil {
		return err
	}
	index := uint64(0)
	for _, x := range []struct {
		bank *demoBank
		id   string
	}{{a, buys}, {b, sells}} {
		for {
			i, _, err := x.bank.client.Instruction(parent, x.id)
			if err != nil {
				return errors.Wrap(err, "read an instruction")
			}
			if i.GetStatus() == settlement.Settled.String() {
				if index != 0 && index != i.GetResolved() {
					return failf(exitRefused, "", "the two sides of one exchange settled in the entries %d and %d", index, i.GetResolved())
				}
				index = i.GetResolved()
				break
			}
			if wait(ctx, 2*time.Millisecond) != nil {
				return failf(exitUnavailable, "", "%s is still %s, %s after the money came", x.id, i.GetStatus(), d.timeout)
			}
		}
	}
	took := time.Since(start)
	d.pays(a.cash, b.cash, price)
	d.pays(b.shares, a.shares, pieces(soldShares))
	if err := d.checkBooks(ctx); err != nil {
		return err
	}
	for _, account := range []string{a.cash, b.cash, a.shares, b.shares} {
		if err := d.lastMoved(ctx, account, index); err != nil {
			return err
		}
	}
	return d.step("cash", map[string]any{"arrived": euros(arrives), "entry": index, "seconds": took.Seconds()},
		fmt.Sprintf("%s arrive by pacs.008; %s later shares and money have changed hands, both in entry %d", demoMoney(euros(arrives)), latencyString(took), index))
}

// lastMoved demands that the newest entry that touched an account is the one of an index.
func (d *settleDemo) lastMoved(ctx context.Context, account string, index uint64) error {
	enough := errors.New("enough")
	newest := uint64(0)
	_, _, err := d.operator.Statement(ctx, account, 0, 0, func(e *settle.StatementEntry) error {
		newest = e.GetIndex()
		return enough
	})
	if err != nil && !errors.Is(err, enough) {
		return errors.Wrap(err, "read the statement")
	}
	if newest != index {
		return failf(exitRefused, "", "the newest entry of %s is %d, and the exchange settled in %d", account, newest, index)
	}
	return nil
}
