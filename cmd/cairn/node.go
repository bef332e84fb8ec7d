package main

import (
	"context"
	"io"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/cluster/node"
)

func (a *app) nodeCommand() *cobra.Command {
	var (
		config   string
		check    bool
		lifeline bool
	)
	cmd := &cobra.Command{
		Use:   "node --config FILE",
		Short: "Run one member of a cluster",
		Long: `Run one member of a cluster until SIGINT or SIGTERM, which hand leadership over
and stop cleanly. SIGHUP makes it read certificates, their keys, trust roots,
the deny list and the log level again. The configuration file holds addresses,
members and the names of the key files; docs/operations.md explains every key.
Logs go to standard error, or to log_file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config == "" {
				return usagef("--config FILE is required")
			}
			c, err := node.LoadConfig(config)
			if err != nil {
				return fail(exitUsage, node.FilesAdvice, err)
			}
			if check {
				if err := node.Check(c); err != nil {
					return configError(err)
				}
				return a.emit(struct {
					OK   bool   `json:"ok"`
					Node string `json:"node"`
				}{true, c.Name}, func(w *page) {
					_, _ = io.WriteString(w, config+" is a valid configuration of "+c.Name+"; its keys, certificates and policy belong together\n")
				})
			}
			ctx := cmd.Context()
			if lifeline {
				var cancel context.CancelCauseFunc
				ctx, cancel = context.WithCancelCause(ctx)
				defer cancel(nil)
				go func() {
					// Nothing is ever written: this returns when the other end
					// closes, at the latest when its process dies.
					_, _ = io.Copy(io.Discard, a.in)
					cancel(errors.New("standard input has ended"))
				}()
			}
			node.Version = buildVersion().Version
			return errors.Wrapf(configError(node.Run(ctx, c)), "node %s", c.Name)
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "configuration `file`")
	cmd.Flags().BoolVar(&check, "check", false, "only check the configuration and the key, certificate and policy files that it names")
	cmd.Flags().BoolVar(&lifeline, "lifeline", false, "stop when standard input ends")
	_ = cmd.Flags().MarkHidden("lifeline")
	cmd.AddCommand(a.nodeKeysCommand(), a.nodeInitCommand())
	return cmd
}

// configError gives a wrong configuration its exit code.
func configError(err error) error {
	if errors.Is(err, node.ErrConfig) {
		return fail(exitUsage, node.FilesAdvice, err)
	}
	return err
}

// initError gives a refusal to make a data directory its exit code.
func initError(err error) error {
	switch {
	case errors.Is(err, node.ErrKnown):
		return fail(exitRefused, "docs/operations.md, \"A lost disk\", says what to do", err)
	case errors.Is(err, node.ErrNotAsked):
		return fail(exitDenied, "correct the node's certificates and members, or stop what answers at that address", err)
	}
	return configError(err)
}

func (a *app) nodeInitCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "init --config FILE",
		Short: "Make the data directory of a node of a new cluster, once",
		Long: `Make the data directory of a node: an empty ledger, and a Raft log whose members
are those of the configuration. Do this once for every node when a cluster is
made, and never again: a node whose data was lost has forgotten its votes and
the entries that it acknowledged.

The command first asks the other members whether they know the node, and makes
nothing if one does (exit code 3). Members that do not answer within two seconds
do not stop it. If one of them knows the node after all, that member refuses the
new directory when they meet.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if config == "" {
				return usagef("--config FILE is required")
			}
			c, err := node.LoadConfig(config)
			if err != nil {
				return fail(exitUsage, "docs/operations.md explains every key", err)
			}
			if err := node.Init(cmd.Context(), c); err != nil {
				return initError(err)
			}
			a.did(effect{text: "the data directory " + printable(c.DataDir) + " is made"})
			return a.emit(struct {
				Node string `json:"node"`
				Data string `json:"data"`
			}{c.Name, c.DataDir}, func(w *page) { _, _ = io.WriteString(w, "made the data directory of "+c.Name+": "+c.DataDir+"\n") })
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "configuration `file`")
	return cmd
}
