package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement"
)

func (a *app) settleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "settle",
		Short: "Move amounts between accounts, and read and prove balances",
		Long: `Commands for a ledger of the program settlement: --ledger ORIGIN, or
CAIRN_LEDGER, names it, and cairn ledger create ORIGIN --program settlement
creates one.

Every command is an entry of the ledger with its outcome, a rejection included.
A transfer, a set and an instruction have an id that is decided once: the same
command given again returns the first outcome, and another one under this id is
a conflict (exit code 5). A rejection has the exit code 12.

Amounts are decimal numbers such as 12.34.`,
		Example: `  cairn settle asset create USD --scale 2
  cairn settle account open alice --asset USD
  cairn settle account open bob --asset USD --no-overdraft
  cairn settle transfer --id t-1 --from alice --to bob --amount 12.34`,
		RunE: needsSubcommand,
	}
	cmd.AddCommand(
		a.settleAssetCommand(), a.settleAccountCommand(), a.settleTransferCommand(), a.settleBatchCommand(),
		a.settlePostCommand(), a.settleVoidCommand(), a.settleReturnCommand(),
		a.settleInstructCommand(), a.settleInstructionsCommand(),
		a.settleBalanceCommand(), a.settleShowCommand(), a.settleStatementCommand(), a.settleHoldsCommand(), a.settleTransfersCommand(), a.settleOutcomeCommand(), a.settleProofCommand(), a.settleReconcileCommand(),
		a.settleISOCommand(), a.settleGatewayCommand(),
	)
	cmd.AddCommand(a.settleManageCommands()...)
	return cmd
}

// resultInfo is what came of one thing that a command asked for.
type resultInfo struct {
	ID     string `json:"id"`
	Index  uint64 `json:"index"`
	Time   string `json:"time"`
	Status string `json:"status"`
	Reason string `json:"reason"`
	ISO    string `json:"iso_code,omitempty"`
	Text   string `json:"text,omitempty"`
	// Member and Cause say which transfer of a set was rejected and why, or which condition failed.
	Member *uint16 `json:"member,omitempty"`
	Cause  string  `json:"cause,omitempty"`
	// First is the entry that decided the id before.
	First *uint64 `json:"first,omitempty"`
	// Match is the counterparty's instruction. Delivered and Received are what the entry moved.
	Match     string     `json:"match,omitempty"`
	Delivered string     `json:"delivered,omitempty"`
	Received  string     `json:"received,omitempty"`
	Existed   bool       `json:"existed"`
	Lines     []lineInfo `json:"accounts,omitempty"`
}

type lineInfo struct {
	Account        string `json:"account"`
	DebitsPending  string `json:"debits_pending"`
	DebitsPosted   string `json:"debits_posted"`
	CreditsPending string `json:"credits_pending"`
	CreditsPosted  string `json:"credits_posted"`
}

func newResultInfo(id string, o *settle.Outcome, i int) resultInfo {
	r := o.Results[i]
	info := resultInfo{
		ID: id, Index: o.Index, Time: timeString(o.Time.UnixMicro()), Status: r.Status.String(), Reason: r.Reason.String(), ISO: r.Reason.ISO(), Text: r.Reason.Text(), Existed: o.Existed,
	}
	if r.Reason == settlement.SetMemberRejected || r.Reason == settlement.ConditionFailed {
		info.Member, info.Cause = &r.Member, r.Cause.String()
	}
	if r.Status == settlement.Exists || r.Status == settlement.Conflict {
		info.First = &r.Index
	}
	if r.ID == id && len(o.Results) == 2 {
		info.Match = o.Results[1].ID // the results of an instruction and of its match
	}
	info.Delivered, info.Received = o.Moved[i].Delivered, o.Moved[i].Received
	info.Lines = lineInfos(o)
	return info
}

func lineInfos(o *settle.Outcome) (lines []lineInfo) {
	for _, l := range o.Lines {
		lines = append(lines, lineInfo{l.Account, l.DebitsPending, l.DebitsPosted, l.CreditsPending, l.CreditsPosted})
	}
	return lines
}

// words says the result in a line.
func (r *resultInfo) words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Status, printable(r.ID))
	if r.Existed {
		b.WriteString(" (decided before)")
	}
	if r.First != nil {
		fmt.Fprintf(&b, ", first asked for in entry %d", *r.First)
	}
	if r.Match != "" {
		fmt.Fprintf(&b, ", matched with %s", printable(r.Match))
	}
	if r.Reason != "" {
		fmt.Fprintf(&b, ": %s", r.Text)
	}
	return b.String()
}

// refused is the error of a result that changed nothing; nil if the result did what was asked.
func (r *resultInfo) refused() error {
	switch r.Status {
	case settlement.Rejected.String():
		next := ""
		if r.Cause != "" {
			next = fmt.Sprintf("transfer %d of the set, counted from 0, was rejected: %s", *r.Member, r.Cause)
		}
		f := fail(exitRejected, next, errors.Newf("%s was rejected (%s): %s", printable(r.ID), r.Reason, r.Text)).(*failure)
		f.reason, f.index = r.Reason, &r.Index
		return f
	case settlement.Conflict.String():
		f := fail(exitConflict, "take another id, or repeat the command of that entry exactly", errors.Newf("entry %d decided something else about %s", *r.First, printable(r.ID))).(*failure)
		f.reason, f.index = "CONFLICT", &r.Index
		return f
	}
	return nil
}

// withSettle runs f with a client of the settlement ledger, within --timeout.
func (a *app) withSettle(cmd *cobra.Command, f func(ctx context.Context, s *settle.Client) error) error {
	return a.withClient(cmd, func(ctx context.Context, c *client.Client) error { return f(ctx, settle.New(c)) })
}

// settle asks for one action about id, and prints what came of it.
func (a *app) settle(cmd *cobra.Command, id string, action settlement.Action) error {
	var refused error
	err := a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
		outcomes, err := s.Execute(ctx, []settlement.Action{action})
		if err != nil {
			return changeError(errors.Wrap(err, "settle"), retryAdvice(action))
		}
		info := newResultInfo(id, &outcomes[0], 0)
		if m, ok := action.(*settlement.Manage); ok && info.Status == settlement.Conflict.String() {
			info.ID = m.Request // what was used for something else
		}
		if refused = info.refused(); refused == nil {
			a.did(effect{text: fmt.Sprintf("entry %d says: %s %s", info.Index, info.Status, printable(info.ID))})
		}
		return a.emit(info, func(w *page) {
			fmt.Fprintln(w, info.words())
			pairs := []string{"  entry", fmt.Sprint(info.Index), "  time", info.Time}
			if info.Reason != "" {
				pairs = append(pairs, "  reason", info.Reason+" ("+info.ISO+")")
			}
			for _, moved := range []struct{ name, amount string }{{"  delivered", info.Delivered}, {"  received", info.Received}} {
				if moved.amount != "" {
					pairs = append(pairs, moved.name, moved.amount)
				}
			}
			fields(w, pairs...)
			writeLines(w, info.Lines)
		})
	})
	if err != nil {
		return err
	}
	return refused
}

// retryAdvice says what to do when the outcome of an action is not known.
func retryAdvice(action settlement.Action) string {
	switch x := action.(type) {
	case *settlement.ChangeAccount:
		return "look at the account with `cairn settle balance`, then repeat the command if it must be"
	case *settlement.Manage:
		if x.Request == "" {
			return "look at the instruction with `cairn settle show`, then repeat the command if it must be"
		}
	}
	return "repeat the command: what was decided under an id is decided once"
}

func writeLines(w *page, lines []lineInfo) {
	if len(lines) == 0 {
		return
	}
	t := newTable("  account", "debits pending", "debits posted", "credits pending", "credits posted").alignRight(1, 2, 3, 4)
	for _, l := range lines {
		t.row("  "+printable(l.Account), l.DebitsPending, l.DebitsPosted, l.CreditsPending, l.CreditsPosted)
	}
	t.write(w)
}

// decimalFlag is a flag with an amount.
type decimalFlag struct {
	d   *settlement.Decimal
	set bool // an amount of zero is one, too
}

func (f *decimalFlag) String() string {
	if !f.set {
		return ""
	}
	return f.d.String()
}

func (f *decimalFlag) Set(s string) (err error) {
	*f.d, err = settlement.ParseDecimal(s)
	f.set = err == nil
	return err
}

func (*decimalFlag) Type() string { return "amount" }

func (a *app) settleAssetCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "asset", Short: "Create assets, and list them", RunE: needsSubcommand}
	var scale int
	create := &cobra.Command{
		Use:   "create ID",
		Short: "Create an asset (role operator)",
		Long: `Create an asset: a currency by its ISO 4217 code, a security by its ISIN, or
anything else that is counted. The scale is the number of digits behind the
decimal point; it never changes.`,
		Example: "  cairn settle asset create USD --scale 2\n  cairn settle asset create US0378331005",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.settle(cmd, args[0], &settlement.CreateAsset{ID: args[0], Scale: uint8(scale)})
		},
	}
	numberFlag(create.Flags(), &scale, "scale", "", 0, 0, settlement.MaxScale, "`digits` behind the decimal point")
	list := &cobra.Command{
		Use:   "list",
		Short: "List the assets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
				t := newTable("asset", "scale", "entry").alignRight(1, 2)
				err := s.Assets(ctx, func(x *settle.Asset) error {
					t.row(printable(x.GetId()), fmt.Sprint(x.GetScale()), fmt.Sprint(x.GetIndex()))
					return a.each(struct {
						ID    string `json:"id"`
						Scale uint32 `json:"scale"`
						Index uint64 `json:"index"`
					}{x.GetId(), x.GetScale(), x.GetIndex()})
				})
				return a.table(t, errors.Wrap(err, "list the assets"))
			})
		},
	}
	cmd.AddCommand(create, list)
	return cmd
}

// each prints one of several results, of which the text is a table.
func (a *app) each(v any) error {
	if !a.json {
		return nil
	}
	return a.emit(v, nil)
}

// table prints the table of several results.
func (a *app) table(t *table, err error) error {
	if err != nil || a.json {
		return err
	}
	return a.emit(nil, func(w *page) { t.write(w) })
}
