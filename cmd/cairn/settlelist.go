package main

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client/settle"
)

func (a *app) settleTransfersCommand() *cobra.Command {
	return a.readAt(&cobra.Command{
		Use:   "transfers PREFIX",
		Short: "List the transfers and sets whose ids begin alike",
		Long: `List the transfers and sets whose ids begin with PREFIX, of those that you may
read, in the order of their ids.`,
		Example: `  cairn settle transfers invoice-2027-`,
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, s *settle.Client, args []string, at settle.At) error {
		t := newTable("id", "status", "amount", "asset", "from", "to", "entry").alignRight(2, 6)
		err := s.Transfers(ctx, args[0], func(x *settle.Transfer) error {
			i := newTransferInfo(x, 0)
			t.row(printable(i.ID), i.Status, i.Amount, printable(i.Asset), printable(i.From), printable(i.To), fmt.Sprint(i.Index))
			return a.each(i)
		}, at)
		return a.table(t, errors.Wrap(err, "list the transfers"))
	})
}

// decidedInfo is what came of the command at an index, as far as the caller may read it.
type decidedInfo struct {
	Index   uint64       `json:"index"`
	Time    string       `json:"time"`
	Results []resultWord `json:"results"`
	Lines   []lineInfo   `json:"accounts"`
}

func (a *app) settleOutcomeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "outcome INDEX",
		Short: "Print what came of the command at an index",
		Long: `Print what came of the command at an index, and what the accounts that you may
read had after it. The results are left out when the command touched accounts
that you may not read and was not yours.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := parseIndex("INDEX", args[0])
			if err != nil {
				return err
			}
			return a.withSettle(cmd, func(ctx context.Context, s *settle.Client) error {
				o, err := s.Outcome(ctx, index)
				if err != nil {
					return errors.Wrap(err, "read the outcome")
				}
				info := decidedInfo{Index: o.Index, Time: timeString(o.Time.UnixMicro()), Results: []resultWord{}}
				for i := range o.Results {
					info.Results = append(info.Results, newResultWord(&o.Results[i]))
				}
				info.Lines = append([]lineInfo{}, lineInfos(&o)...)
				return a.emit(info, func(w *page) {
					fmt.Fprintf(w, "entry %d, decided at %s\n", info.Index, info.Time)
					for i := range info.Results {
						r := &info.Results[i]
						words := r.words()
						if r.ID != "" {
							words = printable(r.ID) + ": " + words
						}
						w.hang("  ", words)
					}
					if len(info.Results) == 0 {
						w.hang("  ", "what it was is not for you to read")
					}
					writeLines(w, info.Lines)
				})
			})
		},
	}
}
