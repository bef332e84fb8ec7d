package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/cluster/backup"
	"github.com/cairnledger/cairn/cluster/local"
	"github.com/cairnledger/cairn/cluster/node"
	"github.com/cairnledger/cairn/ledger/seal"
)

func (a *app) restoreCommand() *cobra.Command {
	var dir, config, suite string
	var nodes, quorum int
	cmd := &cobra.Command{
		Use:   "restore BACKUP --dir NEW",
		Short: "Make a new cluster that continues the ledgers of a backup",
		Long: `Make a new cluster from a backup: with --dir NEW one on this machine, which
` + "`cairn cluster up --dir NEW`" + ` starts, and with --config FILE the data directory
of one node of a cluster on several machines, instead of ` + "`cairn node init`" + `:
do the same on each of them, with the same backup.

First every file of the backup is verified with the policy of --policy or
CAIRN_POLICY, the one of the cluster that was backed up. A backup with anything
wrong is refused (code 3), and the first bad entry is named. After an error
there is no NEW.

The new cluster has new keys and a new policy, and never signs with the old
ones. Each ledger goes on behind the backup with an entry that names the head it
had. Receipts up to that head stay valid under the old policy. Nobody who knows
the old policy alone accepts what comes later: give everybody NEW/policy, by the
way in which they got the old one. What was appended after the backup is not in
the new cluster; whoever kept a later receipt can prove that it was lost.`,
		Example: `  cairn restore /backup/cairn --policy old-policy --dir new
  cairn cluster up --dir new`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (dir == "") == (config == "") {
				return usagef("either --dir or --config is required")
			}
			if config != "" {
				for _, name := range []string{"nodes", "suite", "seal-quorum"} {
					if cmd.Flags().Changed(name) {
						return usagef("--%s does not go with --config, which says everything about the node", name)
					}
				}
			}
			if least, most := seal.QuorumRange(nodes); quorum != 0 && (quorum < least || quorum > most) {
				return usagef("--seal-quorum: %d is out of range: must be %d to %d for %s", quorum, least, most, plural(nodes, "node", "nodes"))
			}
			trusted, err := a.clusterPolicy()
			if err != nil {
				return err
			}
			b, err := openBackup(args[0])
			if err != nil {
				return err
			}
			entries, err := a.verifyBackup(cmd.Context(), b, trusted)
			if err != nil {
				return err
			}
			if config != "" {
				return a.restoreNode(cmd.Context(), b, config)
			}
			return a.restoreLocal(b, entries, local.Options{Dir: dir, Nodes: nodes, Suite: suite, SealQuorum: quorum, Restore: b})
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "", "new `directory` of a cluster on this machine")
	f.StringVar(&config, "config", "", "configuration `file` of a node of a new cluster")
	f.StringVar(&suite, "suite", "", "default or cat5 (ML-KEM-1024, ML-DSA-87)")
	numberFlag(f, &nodes, "nodes", "", defaultNodes, 1, local.MaxNodes, "`number` of nodes")
	numberFlag(f, &quorum, "seal-quorum", "", 0, 0, local.MaxNodes, "`number` of cosignatures that seal a checkpoint, at least a majority (0: a majority)")
	return cmd
}

func (a *app) restoreLocal(b *backup.Backup, entries uint64, o local.Options) (err error) {
	if err := o.Check(); err != nil {
		return fail(exitUsage, "use --config, on machines of the cluster", err)
	}
	if _, err := os.Lstat(o.Dir); err == nil {
		return fail(exitUsage, "choose another directory; nothing was changed", errors.Newf("%s is there already", o.Dir))
	}
	if o.Executable, err = os.Executable(); err != nil {
		return errors.Wrap(err, "find this program")
	}
	c, err := local.Create(o)
	if err != nil {
		return errors.CombineErrors(err, os.RemoveAll(o.Dir))
	}
	a.did(effect{text: "the cluster in " + printable(c.Dir()) + " is made"})
	v := struct {
		Dir     string   `json:"dir"`
		Nodes   []string `json:"nodes"`
		Ledgers int      `json:"ledgers"`
		Entries uint64   `json:"entries"`
		Policy  string   `json:"policy"`
	}{c.Dir(), c.Names(), len(b.Ledgers), entries, c.PolicyPath()}
	return a.emit(v, func(w *page) {
		fmt.Fprintf(w, "restored %s of %s\n", plural(v.Ledgers, "ledger", "ledgers"), plural(entries, "entry", "entries"))
		fields(w, "  directory", v.Dir, "  policy", v.Policy+", new: give it to everybody who verifies", "  next", "cairn cluster up --dir "+shellPath(c.Dir()))
	})
}

func (a *app) restoreNode(ctx context.Context, b *backup.Backup, config string) error {
	c, err := node.LoadConfig(config)
	if err != nil {
		return fail(exitUsage, "docs/operations.md explains every key", err)
	}
	_, absent := os.Lstat(c.DataDir)
	err = node.Restore(ctx, c, b)
	if errors.Is(err, node.ErrUsedID) {
		return fail(exitUsage, fmt.Sprintf("sign the nodes' requests with `cairn pki sign --new-cluster … --first-id %d`", b.HighestID()+1), err)
	}
	if err != nil {
		if errors.Is(absent, os.ErrNotExist) {
			err = errors.CombineErrors(err, os.RemoveAll(c.DataDir))
		}
		return initError(err)
	}
	a.did(effect{text: "the data directory " + printable(c.DataDir) + " is made"})
	return a.emit(struct {
		Node string `json:"node"`
		Data string `json:"data"`
	}{c.Name, c.DataDir}, func(w *page) {
		fmt.Fprintf(w, "made the data directory of %s from the backup: %s\n", c.Name, filepath.Clean(c.DataDir))
	})
}
