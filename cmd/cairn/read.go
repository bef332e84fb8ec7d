package main

import (
	"context"
	"strconv"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
)

func (a *app) getCommand() *cobra.Command {
	var raw, local bool
	cmd := &cobra.Command{
		Use:   "get INDEX",
		Short: "Print one entry",
		Long: `Print one entry, a command and its outcome in words. With --raw its payload,
byte for byte and nothing else, so not as JSON; of a command its bytes.

What a node says about an entry is proved only by its receipt (cairn receipt).`,
		Example: "  cairn get 0\n  cairn get 1 --raw > payload",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := parseIndex("INDEX", args[0])
			if err != nil {
				return err
			}
			if raw && a.json {
				return usagef("--raw prints bytes and --output json objects: they exclude each other")
			}
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				e, err := c.Get(ctx, index, readOptions(local)...)
				if err != nil {
					return errors.Wrapf(err, "get entry %d", index)
				}
				if raw {
					return a.emitBytes(e.Payload)
				}
				r := storedResult((&programFinder{c: c}).of(ctx, e), e)
				return a.emit(r, r.text)
			})
		},
	}
	cmd.Flags().BoolVar(&raw, "raw", false, "the payload's bytes and nothing else")
	cmd.Flags().BoolVar(&local, "local", false, "ask one node without a quorum: it may not have the newest entries")
	return cmd
}

func readOptions(local bool) []client.ReadOption {
	if local {
		return []client.ReadOption{client.Local()}
	}
	return nil
}

func (a *app) logCommand() *cobra.Command {
	var (
		from, limit uint64
		last        uint64
		follow      bool
		local       bool
	)
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Print entries in order, and with --follow every new one",
		Long: `Print entries in order, up to the end of the ledger as it is now. When no
entry has come for --timeout, the command gives up.

With --follow it then waits for new entries, without a limit of time, and says
on standard error whom it waits for.`,
		Example: `  cairn log --last 10
  cairn log --follow --output json | jq .payload`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("from") && cmd.Flags().Changed("last") {
				return usagef("--from and --last exclude each other")
			}
			return a.withClientContext(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				first := from
				if cmd.Flags().Changed("last") {
					hctx, cancel := context.WithTimeout(ctx, a.timeout)
					defer cancel()
					h, err := c.Head(hctx, readOptions(local)...)
					if err != nil {
						return errors.Wrap(err, "read head")
					}
					first = h.Size - min(h.Size, last)
				}
				return a.printLog(ctx, c, logRange{first: first, limit: limit, follow: follow, local: local})
			})
		},
	}
	f := cmd.Flags()
	numberFlag(f, &from, "from", "", 0, 0, maxIndex, "first `index`")
	numberFlag(f, &last, "last", "", 0, 0, maxIndex, "begin `n` entries before the end")
	numberFlag(f, &limit, "limit", "", 0, 0, maxIndex, "at most `n` entries (0: no limit)")
	f.BoolVarP(&follow, "follow", "f", false, "then wait for new entries")
	f.BoolVar(&local, "local", false, "ask one node without a quorum")
	return cmd
}

func (a *app) headCommand() *cobra.Command {
	var local bool
	cmd := &cobra.Command{
		Use:   "head",
		Short: "Print size and root of the ledger, and who leads",
		Long: `Print size and root of the ledger, and who leads. By default the answer is
linearizable: it includes everything that was acknowledged before. With --local
one node says what it has.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				h, err := c.Head(ctx, readOptions(local)...)
				if err != nil {
					return errors.Wrap(err, "read head")
				}
				r := struct {
					Size   uint64 `json:"size"`
					Root   string `json:"root"`
					Time   string `json:"time,omitempty"`
					Node   string `json:"node"`
					Leader string `json:"leader"`
				}{Size: h.Size, Root: h.Root.String(), Node: h.Node, Leader: h.Leader}
				if !h.Time.IsZero() {
					r.Time = timeString(h.Time.UnixMicro())
				}
				return a.emit(r, func(w *page) {
					pairs := []string{"size", strconv.FormatUint(h.Size, 10), "root", r.Root}
					if r.Time != "" {
						pairs = append(pairs, "newest", r.Time)
					}
					leader := h.Leader
					if leader == "" {
						leader = "(none known)"
					}
					fields(w, append(pairs, "leader", leader, "said by", h.Node)...)
				})
			})
		},
	}
	cmd.Flags().BoolVar(&local, "local", false, "what one node has, without asking a quorum")
	return cmd
}
