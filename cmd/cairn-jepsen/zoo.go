package main

import (
	"fmt"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/jepsen/zoo"
)

func zooCommand() *cobra.Command {
	var o zoo.Options
	cmd := &cobra.Command{
		Use:   "zoo [BUG...]",
		Short: "Build the product with deliberate bugs, and see that each is caught",
		Long: `Build the product with deliberate bugs, one at a time, and run the checker that must
catch it. Without an argument all of them. One that gets away is a failure.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			o.Names = args
			o.Done = func(r zoo.Outcome) {
				switch {
				case r.Err != nil:
					fmt.Fprintf(out, "ERROR   %s: %v\n", r.Bug.Name, r.Err)
				case r.Caught:
					fmt.Fprintf(out, "caught  %s: %s (%s, seed %d, %d runs, %.1f s)\n        %s\n", r.Bug.Name, r.Bug.Title, r.By, r.Seed, r.Runs, r.Seconds, r.Evidence)
				default:
					fmt.Fprintf(out, "MISSED  %s: %s (%d runs, %.1f s)\n", r.Bug.Name, r.Bug.Title, r.Runs, r.Seconds)
				}
			}
			if !(o.Slack > 0) {
				return errors.Newf("--slack must be above 0, not %g", o.Slack)
			}
			all, err := zoo.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			caught, failed := 0, false
			for _, r := range all {
				if r.Caught {
					caught++
				}
				failed = failed || r.Err != nil || !r.Caught
			}
			fmt.Fprintf(out, "%d of %d bugs were caught\n", caught, len(all))
			if failed {
				return exitError(exitFail)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&o.Search, "search", false, "ignore the seeds that found the bugs last time")
	cmd.Flags().Float64Var(&o.Slack, "slack", 1, "factor for the time budgets, for a busy machine")
	return cmd
}
