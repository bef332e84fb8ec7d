package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/jepsen/damage"
	"github.com/cairnledger/cairn/jepsen/testbed"
)

func damageCommand() *cobra.Command {
	o := damage.Options{Patience: 2 * time.Minute}
	var kind string
	cmd := &cobra.Command{
		Use:   "damage",
		Short: "Damage the files of stopped nodes, and see them come back",
		Long: `Damage the files of a stopped node of a local cluster of three, start the node
alone, and ask that it comes back without a hand and serves every acknowledged
entry, or that the end of its log says what to do and that this helps. Once for
each trial. The kinds of damage: pages (1 % of the 4 KiB pages of all files are
overwritten), delete (a file is gone), flip (a bit), truncate (a file is cut).
The first trial that fails leaves the cluster's directory behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Kind = damage.Kind(kind); !slices.Contains(damage.Kinds, o.Kind) {
				return errors.Newf("--kind %s: want one of %v", kind, damage.Kinds)
			}
			if o.Dir == "" {
				o.Dir = "damage-" + time.Now().Format("20060102-150405")
			}
			if o.Executable == "" {
				o.Executable = filepath.Join(o.Dir+".bin", "cairn")
				if err := testbed.Build(cmd.Context(), "./cmd/cairn", o.Executable, nil); err != nil {
					return err
				}
			}
			out := cmd.OutOrStdout()
			o.Progress = func(s string) { fmt.Fprintln(out, s) }
			r, err := damage.Run(cmd.Context(), o)
			if err != nil {
				fmt.Fprintf(out, "FAIL\n%v\nthe cluster is in %s\n", err, o.Dir)
				return exitError(exitFail)
			}
			again := fmt.Sprintf("go run ./cmd/cairn-jepsen damage --kind %s --trials %d --first %d --seed %d --entries %d", o.Kind, o.Trials, o.First, o.Seed, o.Entries)
			if o.Under != "" {
				again += " --under " + o.Under
			}
			fmt.Fprintf(out, "PASS\n%s\nagain: %s\n", r, again)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "pages", "what happens to the files, see above")
	f.StringVar(&o.Under, "under", "", "damage only what is below this `part` of a node's directory, such as data/ledger")
	f.IntVar(&o.Trials, "trials", 10, "how many")
	f.IntVar(&o.First, "first", 0, "`number` of the first one")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the random choices")
	f.IntVar(&o.Entries, "entries", 3000, "entries before the first trial")
	f.StringVar(&o.Dir, "dir", "", "`directory` of the cluster, absent or empty; it stays")
	f.StringVar(&o.Executable, "cairn", "", "program of the nodes; default: build ./cmd/cairn")
	return cmd
}
