package main

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
)

func (a *app) moveLeaderCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "move-leader [NODE]",
		Short: "Hand leadership to another node (role admin)",
		Long: `Hand leadership to a node by name, or without a name to the most advanced of the
others, and print who leads then. Appends wait meanwhile, for about one round
trip. It uses the profile of CAIRN_ADMIN_PROFILE unless --profile names another
one, whose certificate then needs the role admin.`,
		Example: "  cairn move-leader n2 --profile profiles/admin.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := ""
			if len(args) == 1 {
				to = args[0]
			}
			return a.withAdmin(cmd, func(ctx context.Context, c *client.Client) error {
				leader, err := c.TransferLeadership(ctx, to)
				if err != nil {
					f := classify(changeError(errors.Wrap(err, "move leadership"), "leadership may still move: `cairn status` shows who leads"))
					if f.code == exitNotFound {
						f.next = "`cairn status` shows the nodes and their names"
					}
					return f
				}
				a.did(effect{text: printable(leader) + " leads"})
				return a.emit(struct {
					Leader string `json:"leader"`
				}{leader}, func(w *page) { fmt.Fprintf(w, "%s leads\n", leader) })
			})
		},
	}
}
