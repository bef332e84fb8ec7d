package main

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/cairnv1"
	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/merkle/tlog"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/reconcile"
	"github.com/cairnledger/cairn/settlement/reconcile/statement"
)

func (a *app) demoSettlementCommand() *cobra.Command {
	var dir string
	var keep bool
	cmd := &cobra.Command{
		Use:   "settlement",
		Short: "Show a day of two banks: payments, a delivery, proofs",
		Long: `Start three nodes on this machine and let two banks settle a day on them: each
has a gateway that takes pacs.008 files and answers with pacs.002. The leader is
killed in the middle of the day, a file is given twice, and shares wait for
their money. In the evening each bank gets a camt.053, which is compared with
the ledger, and the proof of its balance, which is verified offline; forged ones
are refused. Exits with 0 only if every one of these held.

Nothing stays behind: no process, no file. With --keep the directory stays, with
all messages, statements and proofs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			t, err := newThrowaway(dir, 3)
			if err != nil {
				return err
			}
			d := &settleDemo{demoSteps: newDemoSteps(a), cluster: t, origin: t.Origin() + "/settlement", keep: keep}
			defer func() {
				d.close()
				if closeErr := t.close(keep); err == nil {
					err = closeErr
				}
			}()
			if err := d.run(cmd.Context()); err != nil {
				return err
			}
			return d.verdict()
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "", "`directory` for the cluster and the files (default: a temporary one)")
	f.BoolVar(&keep, "keep", false, "stop the nodes at the end, but keep the directory")
	return cmd
}

// settleDemo is a demonstration of settlement in progress. It keeps books of its own, by what it
// asked for and what the replies say, and compares the ledger, the statements and the proofs with
// them. A step that does not hold is an error.
type settleDemo struct {
	demoSteps
	cluster *throwaway
	origin  string
	keep    bool

	admin    *client.Client // of the ledger
	operator *settle.Client
	policy   *tlog.Policy
	banks    [2]*demoBank
	conns    []*client.Client
	killed   string

	// books has what each account should have.
	books map[string]reconcile.Amount
}

// The assets of the demonstration.
const (
	demoCurrency = "EUR"
	demoShare    = "DE0001234566" // an ISIN of nobody
)

// What there is in the morning.
const (
	demoFunds  = 1_000_000 // of each bank
	demoShares = 1_000     // of the second bank
)

func (d *settleDemo) run(ctx context.Context) error {
	if !d.json {
		fmt.Fprintf(d.out, "Cairn: two banks settle a day on three nodes, one of which is killed\n\n")
	}
	return d.all(ctx, d.startCluster, d.openAccounts, d.payments, d.retry, d.killLeader, d.restart,
		d.deliveryWaits, d.cashArrives, d.statements, d.proofs, d.forgeries, d.files)
}

func (d *settleDemo) close() {
	for _, b := range d.banks {
		if b != nil {
			b.close()
		}
	}
	for _, c := range d.conns {
		_ = c.Close()
	}
}

// dial connects to the settlement ledger.
func (d *settleDemo) dial(ctx context.Context, role string) (*client.Client, error) {
	c, err := d.cluster.DialLedger(ctx, d.origin, role, client.WithTimeout(d.timeout))
	if err != nil {
		return nil, errors.Wrap(err, "prepare client")
	}
	d.conns = append(d.conns, c)
	return c, nil
}

func (d *settleDemo) startCluster(ctx context.Context) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := d.cluster.Start(ctx); err != nil {
		return err
	}
	creator, err := d.cluster.Dial(ctx, "admin", client.WithTimeout(d.timeout))
	if err != nil {
		return errors.Wrap(err, "prepare client")
	}
	defer creator.Close()
	if _, _, err := creator.CreateLedger(ctx, d.origin, settlement.ProgramName); err != nil {
		return errors.Wrap(err, "create the settlement ledger")
	}
	if d.admin, err = d.dial(ctx, "admin"); err != nil {
		return err
	}
	operator, err := d.dial(ctx, "writer")
	if err != nil {
		return err
	}
	d.operator = settle.New(operator)
	p, err := readPolicy(d.cluster.PolicyPath())
	if err != nil {
		return err
	}
	if d.policy, err = p.For(d.origin); err != nil {
		return err
	}
	leader, err := d.leader(ctx)
	if err != nil {
		return err
	}
	took := time.Since(start)
	return d.step("cluster", map[string]any{"nodes": d.cluster.Names(), "leader": leader, "seconds": took.Seconds(), "dir": d.cluster.Dir(), "origin": d.origin},
		fmt.Sprintf("%s are ready in %s; %s leads the settlement ledger", words(d.cluster.Names()), latencyString(took), leader))
}

// words joins names: "a, b and c".
func words(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// leader returns the node that leads the settlement ledger; each ledger has a leader of its own.
func (d *settleDemo) leader(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	for {
		leader, term := "", uint64(0)
		for _, name := range d.cluster.Names() {
			if !d.cluster.Running(name) {
				continue
			}
			if s, err := d.admin.Status(ctx, name); err == nil && s.Role == "leader" && s.Term > term {
				leader, term = name, s.Term
			}
		}
		if leader != "" {
			return leader, nil
		}
		if wait(ctx, 20*time.Millisecond) != nil {
			return "", failf(exitUnavailable, "", "no node leads the settlement ledger after %s", d.timeout)
		}
	}
}

// openAccounts opens what the two banks have. Each account belongs to one bank; the other one may
// not debit it, which is tried.
func (d *settleDemo) openAccounts(ctx context.Context) error {
	for i, n := range []bankName{{"Alpha Bank", "ALPHDEFF", "bank-a"}, {"Beta Bank", "BETAFRPP", "bank-b"}} {
		b, err := d.newBank(ctx, n)
		if err != nil {
			return err
		}
		d.banks[i] = b
	}
	a, b := d.banks[0], d.banks[1]
	actions := []settlement.Action{
		&settlement.CreateAsset{ID: demoCurrency, Scale: 2}, &settlement.CreateAsset{ID: demoShare},
		&settlement.OpenAccount{ID: centralBank, Asset: demoCurrency}, &settlement.OpenAccount{ID: issuer, Asset: demoShare},
	}
	for _, bank := range d.banks {
		owners := []string{bank.bic, bank.principal}
		actions = append(actions,
			&settlement.OpenAccount{ID: bank.cash, Asset: demoCurrency, Flags: settlement.DebitsLimited, Owners: owners},
			&settlement.OpenAccount{ID: bank.shares, Asset: demoShare, Flags: settlement.DebitsLimited, Owners: owners})
	}
	transfer := func(id, debit, credit string, amount uint64) settlement.Transfer {
		return settlement.Transfer{ID: id, Debit: debit, Credit: credit, Amount: settlement.NewDecimal(settlement.AmountOf(amount), 0)}
	}
	actions = append(actions, &settlement.Submit{Transfers: []settlement.Transfer{
		transfer("morning-a", centralBank, a.cash, demoFunds), transfer("morning-b", centralBank, b.cash, demoFunds),
		transfer("issue", issuer, b.shares, demoShares),
	}})
	outcomes, err := d.operator.Execute(ctx, actions)
	if err != nil {
		return errors.Wrap(err, "open the accounts")
	}
	for i, o := range outcomes {
		for _, r := range o.Results {
			if r.Status != settlement.Done && r.Status != settlement.Posted {
				return failf(exitRefused, "", "%s is %s: %s", actions[i].Op(), r.Status, r.Reason)
			}
		}
	}
	d.books = map[string]reconcile.Amount{a.shares: pieces(0)}
	d.pays(centralBank, a.cash, euros(demoFunds))
	d.pays(centralBank, b.cash, euros(demoFunds))
	d.pays(issuer, b.shares, pieces(demoShares))
	theft, err := a.client.Execute(ctx, []settlement.Action{&settlement.Submit{Transfers: []settlement.Transfer{transfer("theft", b.cash, a.cash, 1)}}})
	if err != nil {
		return errors.Wrap(err, "ask for a transfer")
	}
	if r := theft[0].Results[0]; r.Status != settlement.Rejected || r.Reason != settlement.NotPermitted {
		return failf(exitRefused, "", "%s may debit the account of %s: %s %s", a.name, b.name, r.Status, r.Reason)
	}
	if err := d.checkBooks(ctx); err != nil {
		return err
	}
	return d.step("accounts", map[string]any{"accounts": slices.Sorted(maps.Keys(d.books)), "books": d.books, "theft": settlement.NotPermitted.String()},
		fmt.Sprintf("%s and %s have %s each, %s has %s shares; %s tried to debit %s, and was refused",
			a.name, b.name, demoMoney(euros(demoFunds)), b.name, count(demoShares), a.name, b.name))
}

// The accounts from which all money and all shares come. They have no limit.
const (
	centralBank = "central-bank"
	issuer      = "issuer"
)

// checkBooks compares every account of the ledger with the books, and demands that nothing is
// reserved and that each asset adds up to nothing.
func (d *settleDemo) checkBooks(ctx context.Context) error {
	found := map[string]bool{}
	sums := map[string]reconcile.Amount{}
	err := d.operator.Accounts(ctx, func(x *settle.Account) error {
		have, err := statement.ParseAmount(x.GetPosted())
		if err != nil {
			return err
		}
		want, known := d.books[x.GetId()]
		if !known || !have.Equal(want) {
			return failf(exitRefused, "", "the account %s has %s %s, and should have %s", x.GetId(), x.GetPosted(), x.GetAsset(), want)
		}
		for _, text := range []string{x.GetBalances().GetDebitsPending(), x.GetBalances().GetCreditsPending()} {
			if pending, err := statement.ParseAmount(text); err != nil || !pending.IsZero() {
				return failf(exitRefused, "", "the account %s has %s reserved, and nothing was", x.GetId(), text)
			}
		}
		found[x.GetId()] = true
		sums[x.GetAsset()] = sums[x.GetAsset()].Add(have)
		return nil
	})
	if err != nil {
		return errors.Wrap(err, "read the accounts")
	}
	for id := range d.books {
		if !found[id] {
			return failf(exitRefused, "", "the ledger has no account %s", id)
		}
	}
	for asset, sum := range sums {
		if !sum.IsZero() {
			return failf(exitRefused, "", "all accounts with %s together have %s, and not nothing", asset, sum)
		}
	}
	return nil
}

// pays moves an amount in the books.
func (d *settleDemo) pays(debit, credit string, amount reconcile.Amount) {
	d.books[debit], d.books[credit] = d.books[debit].Sub(amount), d.books[credit].Add(amount)
}

func pieces(n int64) reconcile.Amount { return statement.NewAmount(n, 0) }
func euros(n int64) reconcile.Amount  { return statement.NewAmount(n*100, 2) }

// demoMoney writes an amount for a person: "1,000,000.00 EUR".
func demoMoney(a reconcile.Amount) string {
	whole, rest, _ := strings.Cut(a.WithScale(2).Abs().String(), ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if a.Sign() < 0 {
		whole = "-" + whole
	}
	return whole + "." + rest + " " + demoCurrency
}

// restart starts the killed node again, and waits until all replicas have the same entries and the
// same root.
func (d *settleDemo) restart(ctx context.Context) error {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if err := d.cluster.Start(ctx, d.killed); err != nil {
		return err
	}
	took := time.Since(start)
	size, root, err := d.sameRoots(ctx)
	if err != nil {
		return err
	}
	return d.step("restart", map[string]any{"node": d.killed, "seconds": took.Seconds(), "size": size, "root": root},
		fmt.Sprintf("%s is back in %s, and has caught up: all three have the same %s entries and the same root", d.killed, latencyString(took), count(size)))
}

// sameRoots waits until every node has sealed what the leader has now, and compares their roots.
func (d *settleDemo) sameRoots(ctx context.Context) (size uint64, root string, err error) {
	head, err := d.admin.Head(ctx)
	if err != nil {
		return 0, "", errors.Wrap(err, "read head")
	}
	for {
		answers, missing := map[string]*cairnv1.StatusResponse{}, ""
		for _, name := range d.cluster.Names() {
			if s, err := d.admin.Status(ctx, name); err == nil && s.GetSealedSize() >= head.Size {
				answers[name] = s
			} else {
				missing = name
			}
		}
		if missing == "" {
			r := d.admin.CompareRoots(ctx, answers)
			switch {
			case len(r.Differing) > 0:
				return 0, "", failf(exitRefused, "", "%s has another root at size %d than the others", words(r.Differing), r.Size)
			case len(r.Roots) == len(answers):
				return r.Size, r.Root.String(), nil
			}
		}
		if wait(ctx, 20*time.Millisecond) != nil {
			return 0, "", failf(exitUnavailable, "", "%s has not sealed the %d entries of the leader within %s", missing, head.Size, d.timeout)
		}
	}
}

// files says what is left for the reader.
func (d *settleDemo) files(context.Context) error {
	if !d.keep {
		return nil
	}
	proof := filepath.Join(d.banks[0].id, proofFile)
	return d.step("files", map[string]any{"dir": d.cluster.Dir(), "banks": []string{d.banks[0].id, d.banks[1].id}, "proof": proof},
		fmt.Sprintf("each bank has its messages in in/done and in/rejected, the replies in out, its %s, %s and %s; try:", statementFile, proofFile, forgedFile),
		"cd "+d.cluster.Dir(), "cairn verify "+proof+" --policy policy \\", "    --ledger "+d.origin)
}
