package main

import (
	"context"
	"fmt"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/cluster/local"
)

func (a *app) clusterAddCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "add",
		Short: "Add a node, and wait until it votes in every ledger",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.changeCluster(cmd, *dir, func(ctx context.Context, c *local.Cluster) (string, error) {
				n, err := c.Add(ctx, "")
				return fmt.Sprintf("added %s (%d)", n.Name, n.ID), err
			})
		},
	}
}

func (a *app) clusterReplaceCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "replace NAME",
		Short: "Put a new node in the place of another one, whose data are deleted",
		Long: `Put a new node in the place of one that is dead, or that is killed for it: the
directory of NAME is deleted, another node with a name and an id of its own
joins, catches up and votes, and NAME never comes back.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeCluster(cmd, *dir, func(ctx context.Context, c *local.Cluster) (string, error) {
				name, err := resolveNode(ctx, *dir, c, args[0])
				if err != nil {
					return "", err
				}
				n, err := c.Add(ctx, name)
				return fmt.Sprintf("replaced %s by %s (%d)", name, n.Name, n.ID), err
			})
		},
	}
}

func (a *app) clusterRemoveCommand(dir *string) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Have a node leave the cluster for ever, and delete its directory",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeCluster(cmd, *dir, func(ctx context.Context, c *local.Cluster) (string, error) {
				name, err := resolveNode(ctx, *dir, c, args[0])
				if err != nil {
					return "", err
				}
				return "removed " + name, c.Remove(ctx, name, force)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "although the cluster survives fewer failures then")
	return cmd
}

// changeCluster changes the nodes of a local cluster.
func (a *app) changeCluster(cmd *cobra.Command, dir string, do func(context.Context, *local.Cluster) (string, error)) error {
	c, err := openCluster(dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
	defer cancel()
	done, err := do(ctx, c)
	if err != nil {
		return begun(dir, errors.Wrap(err, "change the nodes"))
	}
	a.did(effect{text: done})
	return a.emit(map[string]any{"dir": c.Dir(), "nodes": c.Names(), "done": done}, func(w *page) { fmt.Fprintf(w, "%s\n", printable(done)) })
}
