package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client/settle"
	"github.com/cairnledger/cairn/settlement/iso20022/codes"
	camt "github.com/cairnledger/cairn/settlement/iso20022/report"
	"github.com/cairnledger/cairn/settlement/reconcile"
)

// camtInfo is what a statement that was written says.
type camtInfo struct {
	Account  string `json:"account"`
	From     string `json:"from"`
	To       string `json:"to"`
	Opening  string `json:"opening"`
	Closing  string `json:"closing"`
	Currency string `json:"currency"`
	Entries  int    `json:"entries"`
	Size     uint64 `json:"size"`
	Message  string `json:"message,omitempty"` // where it was written to no file
}

func (a *app) isoStatementCommand() *cobra.Command {
	var from, to reconcile.Day
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "statement ACCOUNT",
		Short: "Write the statement of an account as camt.053",
		Long: `Write what was booked on an account as camt.053.001.08: of all days, or of the
days from --from to --to, both included. Days are those of ledger time in UTC.
The reference of an entry is its index in the ledger. What is only reserved is
not in it.`,
		Example: `  cairn settle iso statement alice -o alice.xml
  cairn settle iso statement alice --from 2026-11-01 --to 2026-11-30
  cairn settle reconcile alice.xml --account alice`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from != 0 && to != 0 && from > to {
				return usagef("--from is %s, and --to is %s: give the earlier day first", from, to)
			}
			var file *target
			var err error
			if out != "" {
				if file, err = a.openTarget("--out", out, force); err != nil {
					return err
				}
			}
			return a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
				book, err := readBook(ctx, s, args[0], from, to, 0)
				if err != nil {
					return err
				}
				currency := book.Balances[0].Currency
				if _, known := codes.LookupCurrency(currency); !known {
					return usagef("%s holds %s, which is no currency of ISO 4217: a camt.053 is about money; use `cairn settle statement`", printable(args[0]), printable(currency))
				}
				x, err := statementOf(book, time.Now())
				if err != nil {
					return usagef("%v", err)
				}
				raw, err := camt.EncodeStatement(x.ID, x.Created, x)
				if err != nil {
					return err
				}
				i := camtInfo{
					Account: args[0], From: x.Balances[0].Date, To: x.Balances[1].Date, Opening: x.Balances[0].Amount, Closing: x.Balances[1].Amount,
					Currency: currency, Entries: len(x.Entries), Size: book.Size,
				}
				if !file.file() && !a.json {
					return a.emitBytes(raw)
				}
				if !file.file() {
					i.Message = string(raw)
					return a.emit(i, nil)
				}
				if err := file.write(raw); err != nil {
					return err
				}
				a.did(effect{text: "the statement is in " + printable(out)})
				return a.emit(i, func(w *page) {
					fmt.Fprintf(w, "%s: %s of %s, %s to %s\n", printable(out), plural(i.Entries, "entry", "entries"), printable(i.Account), i.From, i.To)
					fields(w, "  opening", i.Opening+" "+i.Currency, "  closing", i.Closing+" "+i.Currency, "  as of size", fmt.Sprint(i.Size))
				})
			})
		},
	}
	f := cmd.Flags()
	f.Var(dayFlag{&from}, "from", "first day, YYYY-MM-DD, UTC (default: that of the first booking)")
	f.Var(dayFlag{&to}, "to", "last day, YYYY-MM-DD, UTC (default: that of the last booking)")
	f.StringVarP(&out, "out", "o", "", "write to this new `file` instead of standard output, which is -")
	f.BoolVar(&force, "force", false, "with --out: replace the file if it exists")
	return cmd
}
