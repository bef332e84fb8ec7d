package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnledger/cairn/jepsen/nemesis"
	"github.com/cairnledger/cairn/jepsen/report"
	"github.com/cairnledger/cairn/jepsen/trial"
	"github.com/cairnledger/cairn/jepsen/zoo"
)

func runCommand() *cobra.Command {
	o := trial.Options{}
	var bug string
	var noDisks, verbose bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a cluster of real processes under faults",
		Long: `Run a cluster of real processes under faults, heal it, read the ledger from every
node and check everything that the clients were told. Without root there are faults
of processes and of the links between them; as root each node also has a disk (ext4
in a loop device) whose power can be cut.

Faults: swarm (all that are possible, in random order, overlapping), none, or a list
of names or their beginnings (kill, partition), separated by commas:
` + wrap(nemesis.Names(), 78),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				o.Seed = uint64(rand.Uint32())
			}
			if o.Dir == "" {
				o.Dir = "jepsen-" + time.Now().Format("20060102-150405")
			}
			if bug != "" {
				var err error
				if o.Bug, err = zoo.Find(bug); err != nil {
					return err
				}
			}
			o.Disks = !noDisks
			o.Command = fmt.Sprintf("go run ./cmd/cairn-jepsen run --nodes %d --time %s --nemesis %s --seed %d", o.Nodes, o.Time, o.Nemesis, o.Seed)
			for _, name := range []string{"clients", "rate", "timeout", "no-disks", "clocks", "bug", "tellers", "teller-rate"} {
				if f := cmd.Flags().Lookup(name); f.Changed {
					o.Command += " --" + name + "=" + f.Value.String()
				}
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "seed %d, results in %s\n", o.Seed, o.Dir)
			o.Progress = func(s string) { fmt.Fprintln(out, s) }
			if verbose {
				o.Logf = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
			}
			r, err := trial.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			summarise(out, r)
			return verdictError(r.Run.Verdict)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Nodes, "nodes", 5, "nodes, 1 to 9")
	f.DurationVar(&o.Time, "time", time.Minute, "how long clients work")
	f.StringVar(&o.Nemesis, "nemesis", "swarm", "faults, see above")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of the random choices; default random")
	f.StringVar(&o.Dir, "dir", "", "`directory` for the results, absent or empty")
	f.StringVar(&o.Executable, "cairn", "", "program of the nodes; default: build ./cmd/cairn")
	f.StringVar(&bug, "bug", "", "build the nodes with a deliberate bug, `name` as in the zoo: such a run has to fail")
	f.IntVar(&o.Workload.Clients, "clients", 16, "clients that speak to the nodes directly")
	f.Float64Var(&o.Workload.Rate, "rate", 0, "operations a second of all clients; 0: as many as they can")
	f.DurationVar(&o.Workload.Timeout, "timeout", 3*time.Second, "of one operation")
	f.IntVar(&o.Bank.Tellers, "tellers", 4, "clients of a settlement ledger beside the first one; -1: none")
	f.Float64Var(&o.Bank.Rate, "teller-rate", 100, "commands a second of all of them")
	f.BoolVar(&noDisks, "no-disks", false, "do not give each node a disk of its own, although this is root")
	f.BoolVar(&o.Clocks, "clocks", false, "build the nodes with clocks that can be moved; compiles the standard library anew")
	f.BoolVar(&o.Keep, "keep", false, "leave the nodes' directories behind, keys included")
	f.BoolVar(&verbose, "verbose", false, "say what the harness recovers from")
	return cmd
}

func recheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "recheck DIR",
		Short: "Give the verdict about a run again, from its files",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := trial.Recheck(args[0])
			if err != nil {
				return err
			}
			summarise(cmd.OutOrStdout(), r)
			return verdictError(r.Run.Verdict)
		},
	}
}

// summarise tells the verdict and the figures in a few lines.
func summarise(w io.Writer, r *trial.Result) {
	f := report.Measure(r.Run)
	fmt.Fprintf(w, "\n%s\n", r.Run.Verdict)
	for i, why := range r.Run.Reasons {
		if i == 20 {
			fmt.Fprintf(w, "  and %d more reasons\n", len(r.Run.Reasons)-i)
			break
		}
		fmt.Fprintf(w, "  %s\n", why)
	}
	fmt.Fprintf(w, "%d operations in %s (%.0f/s): %d ok, %d refused, %d unknown; %d entries in the ledger\n",
		f.Ops, f.Duration.Round(time.Second), r.Rate(), f.OK, f.Failed, f.Unknown, f.FinalSize)
	for _, k := range []struct {
		name string
		k    report.KindFigures
	}{{"appends", f.Appends}, {"reads", f.Reads}} {
		fmt.Fprintf(w, "%-8s p50 %s, p99 %s, longest silence %s\n", k.name+":", k.k.P50.Round(10*time.Microsecond), k.k.P99.Round(time.Millisecond), k.k.Quiet.Round(time.Millisecond))
	}
	counts, order := map[string]int{}, []string{}
	for _, x := range r.Run.Faults {
		if counts[x.Name]++; counts[x.Name] == 1 {
			order = append(order, x.Name)
		}
	}
	for i, name := range order {
		order[i] = fmt.Sprintf("%s %d", name, counts[name])
	}
	fmt.Fprintf(w, "faults: %d (%s); %d put off\n", len(r.Run.Faults), strings.Join(order, ", "), r.Skipped)
	fmt.Fprintf(w, "evidence: %d receipts and %d checkpoints verified offline, %d bad; %d local reads within sessions, %d deliveries of watches\n",
		r.Evidence.Receipts, r.Evidence.Notes, r.Evidence.BadReceipts, r.Sessions, r.Deliveries)
	if v := r.Bank; v != nil {
		fmt.Fprintf(w, "settlement: %d commands told, %d refused, %d unknown; %d entries with %d map roots agree with the model: %t\n",
			v.Answers, v.Refused, v.Unknown, v.Entries, v.Counts.Roots, len(v.Broken) == 0)
	}
	fmt.Fprintf(w, "checked in %s; report: %s/index.html\n", r.Checking.Round(time.Millisecond), r.Dir)
}

// wrap joins words into lines.
func wrap(words []string, width int) string {
	var b strings.Builder
	n := 0
	for i, word := range words {
		if n+len(word)+2 > width {
			b.WriteString("\n")
			n = 0
		}
		b.WriteString(word)
		if i < len(words)-1 {
			b.WriteString(", ")
		}
		n += len(word) + 2
	}
	return b.String()
}
