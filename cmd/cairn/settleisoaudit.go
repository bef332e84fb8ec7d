package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/api/client"
	"github.com/cairnledger/cairn/ledger"
	"github.com/cairnledger/cairn/settlement"
	"github.com/cairnledger/cairn/settlement/gateway"
)

// differenceInfo is something that a command says otherwise than its message.
type differenceInfo struct {
	Index    uint64 `json:"index"`
	Transfer string `json:"transfer,omitempty"`
	Field    string `json:"field"`
	Command  string `json:"command"`
	Message  string `json:"message"`
}

// isoAuditInfo is the last object that the audit prints.
type isoAuditInfo struct {
	OK          bool   `json:"ok"`
	Ledger      string `json:"ledger"`
	From        uint64 `json:"from"`
	Size        uint64 `json:"size"`
	Commands    int    `json:"commands"` // that name a message
	Compared    int    `json:"compared"` // of them, those whose message was at hand
	Differences int    `json:"differences"`
}

func (a *app) isoAuditCommand() *cobra.Command {
	flags := &gatewayFlags{}
	var from uint64
	cmd := &cobra.Command{
		Use:   "audit [FILE | DIRECTORY]...",
		Short: "Compare the commands of a ledger with their messages",
		Long: `Read every command of the ledger (role reader), decode the ISO 20022 message
that it was made of once more, and name every command that says something else
than its message: another amount, account, asset, original or reference.

The ledger holds a message itself, or its digest where it is too large for an
entry. The arguments are such messages, or folders with them. Accounts that were
configured for the gateway have to be configured here, too.

The exit code is 3 when a command differs. What the ledger holds is proved by
cairn audit, not by this command.`,
		Example: `  cairn settle iso audit
  cairn settle iso audit in/done --options gateway.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := flags.options()
			if err != nil {
				return err
			}
			files, err := a.readMessages(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.isoAudit(cmd.Context(), gateway.NewAudit(o, files), from)
		},
	}
	flags.mapping(cmd)
	cmd.Flags().StringVar(&flags.file, "options", "", "YAML `file` of options of the gateway: accounts and between_agents count")
	numberFlag(cmd.Flags(), &from, "from", "", 0, 0, maxIndex, "begin with the entry of this `index`")
	return cmd
}

func (a *app) isoAudit(ctx context.Context, audit *gateway.Audit, from uint64) error {
	profile, err := a.profile()
	if err != nil {
		return err
	}
	info := isoAuditInfo{Ledger: profile.Origin, From: from}
	err = a.withClientContext(ctx, func(ctx context.Context, c *client.Client) error {
		if err := a.wantSettlement(ctx, c); err != nil {
			return err
		}
		var err error
		info.Size, err = a.walk(ctx, c, from, func(e client.StoredEntry) error {
			if e.Kind != ledger.KindCommand {
				return nil
			}
			d, err := settlement.ParseLeaf(e.Index, e.Leaf)
			if err != nil {
				return errors.Wrap(err, "read a command; if a newer program wrote it, upgrade this one")
			}
			for _, x := range audit.Check(e.Index, d.Command) {
				info.Differences++
				one := differenceInfo(x)
				if err := a.emit(one, func(w *page) { w.hang("", onScreen(x.String())+"\n") }); err != nil {
					return err
				}
			}
			return nil
		})
		return errors.Wrap(err, "read the ledger")
	})
	if err != nil {
		return err
	}
	info.Commands, info.Compared, info.OK = audit.Commands, audit.Compared, info.Differences == 0
	err = a.emit(info, func(w *page) {
		verdict := "every command says what its message says"
		if !info.OK {
			verdict = plural(info.Differences, "difference", "differences")
		}
		fmt.Fprintf(w, "%s: %s\n", printable(info.Ledger), verdict)
		fields(w, "  entries", fmt.Sprintf("%d to %d", info.From, info.Size), "  of a message", plural(info.Commands, "command", "commands"),
			"  compared", plural(info.Compared, "command", "commands"))
	})
	if err != nil {
		return err
	}
	if left := info.Commands - info.Compared; left > 0 {
		a.note("%s hold a digest whose message is not at hand: give the files, such as the folder done of the gateway", plural(left, "command", "commands"))
	}
	if !info.OK {
		return failf(exitRefused, "look at each entry with `cairn get`: its source is the message; configured accounts are those of --options and --map",
			"%s between commands and their messages", plural(info.Differences, "difference", "differences"))
	}
	return nil
}

// wantSettlement refuses a ledger of another program.
func (a *app) wantSettlement(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	first, err := c.Get(ctx, 0)
	if err != nil {
		return errors.Wrap(err, "read the genesis of the ledger")
	}
	if g, err := ledger.GenesisOf(first.Leaf); err == nil && g.Program != settlement.ProgramName {
		return failf(exitUsage, "name a ledger of that program with --ledger; `cairn ledger list` shows the programs", "the ledger runs the program %s, not settlement", printable(g.Program))
	}
	return nil
}

// walk calls each with every entry from an index on, to the end of the ledger as it is now, and
// returns its size. It gives up when no entry has come for --timeout.
func (a *app) walk(ctx context.Context, c *client.Client, from uint64, each func(client.StoredEntry) error) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var gaveUp atomic.Bool
	silence := time.AfterFunc(a.timeout, func() { gaveUp.Store(true); cancel() })
	defer silence.Stop()
	h, err := c.Head(ctx)
	if err != nil {
		return 0, err
	}
	bar := a.progress(int64(h.Size-min(from, h.Size)), "read", "entries")
	defer bar.done()
	size, err := c.Range(ctx, from, 0, func(e client.StoredEntry) error {
		silence.Stop() // what each takes is no silence of the nodes
		defer silence.Reset(a.timeout)
		bar.add(1)
		return each(e)
	})
	if err != nil && gaveUp.Load() {
		err = errors.Wrapf(context.DeadlineExceeded, "no entry came for %v", a.timeout)
	}
	return size, err
}
