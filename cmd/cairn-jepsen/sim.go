package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/cockroachdb/errors"
	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/jepsen/sim"
)

func simCommand() *cobra.Command {
	var (
		o       sim.Options
		seeds   uint64
		limit   time.Duration
		shrink  bool
		failTo  string
		verbose bool
	)
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run simulated clusters, one for each seed",
		Long: `Run simulated clusters in virtual time: the state machines of the product, with
networks, disks and clocks that fail as the seed says. The same seed gives the same
run. The seeds are --seed, --seed + 1 and so on; the first that shows a contradiction
ends it, and is made smaller.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(400) // every seed leaves a small heap of garbage
			}
			out := cmd.OutOrStdout()
			begun, told := time.Now(), time.Now()
			var ops, entries, faults, crashes int
			var virtual time.Duration
			if seeds == 0 {
				return errors.New("--seeds must be 1 or more: a run of nothing proves nothing")
			}
			for n := uint64(0); n < seeds; n++ {
				if cmd.Context().Err() != nil {
					return errors.Wrap(cmd.Context().Err(), "stopped")
				}
				if n > 0 && limit > 0 && time.Since(begun) > limit {
					seeds = n
					break
				}
				this := o
				this.Seed += n
				r := sim.Run(this)
				someOps, someEntries := r.Size()
				ops, entries, faults, virtual = ops+someOps, entries+someEntries, faults+r.Faults, virtual+r.Stats.Virtual
				crashes += int(r.Stats.Crashes)
				if verbose || r.Failed() {
					fmt.Fprintln(out, r)
				}
				if r.Failed() {
					return failed(out, this, r, shrink, failTo)
				}
				if time.Since(told) > progressEvery {
					told = time.Now()
					fmt.Fprintf(out, "%d of %d seeds in %s: %d operations, %d faults, %.0f s of virtual time\n",
						n+1, seeds, time.Since(begun).Round(time.Second), ops, faults, virtual.Seconds())
				}
			}
			fmt.Fprintf(out, "PASS\n%d seeds from %d in %s: %d operations, %d entries, %d faults, %d crashes, %.0f s of virtual time\nagain: %s --seeds %d\n",
				seeds, o.Seed, time.Since(begun).Round(time.Millisecond), ops, entries, faults, crashes, virtual.Seconds(), sim.Command(o), seeds)
			return nil
		},
	}
	var fs flag.FlagSet
	o.Flags(&fs)
	cmd.Flags().AddGoFlagSet(&fs)
	cmd.Flags().Uint64Var(&seeds, "seeds", 1, "how many seeds to run")
	cmd.Flags().DurationVar(&limit, "limit", 0, "stop after so much true time; 0: never")
	cmd.Flags().BoolVar(&shrink, "shrink", true, "make a failing run smaller")
	cmd.Flags().StringVar(&failTo, "dir", "", "`directory` for what a failing run leaves; default: keep nothing")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "a line for each seed")
	return cmd
}

const progressEvery = 5 * time.Second

// failed tells about a run that must not be as it is, and makes it smaller.
func failed(out interface{ Write([]byte) (int, error) }, o sim.Options, r *sim.Result, shrink bool, dir string) error {
	if shrink && r.Err == nil {
		fmt.Fprintln(out, "making it smaller")
		if o, r = sim.Shrink(o, r); r.Failed() {
			fmt.Fprintln(out, r)
		}
	}
	fmt.Fprintf(out, "FAIL\nagain: %s\n", sim.Command(o))
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return errors.Wrap(err, "keep the failing run")
		}
		path := filepath.Join(dir, fmt.Sprintf("seed-%d.txt", o.Seed))
		if err := os.WriteFile(path, []byte(fmt.Sprintf("%s\n%s\n", sim.Command(o), r)), 0o644); err != nil {
			return errors.Wrap(err, "keep the failing run")
		}
		fmt.Fprintf(out, "kept in %s\n", path)
	}
	return exitError(exitFail)
}
