package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// app is one run of the binary: its streams and the flags that every command has.
type app struct {
	streams
	format      string // --output
	json        bool   // format == "json"
	quiet       bool
	profilePath string
	policyPath  string
	timeout     time.Duration

	started bool // a command's own code has begun: from here on errors are not about usage
}

const (
	groupLedger  = "ledger"
	groupVerify  = "verify"
	groupOperate = "operate"
)

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	f := classify(err)
	if !a.started && f.code == exitFailed {
		f = &failure{code: exitUsage, reason: exitReason(exitUsage), err: err, next: "see `cairn --help`"}
	}
	report(s.err, a.json, f)
	return f.code
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "cairn",
		Short: "A replicated, tamper-evident ledger with post-quantum receipts",
		Long: `Cairn is a replicated, tamper-evident ledger: append an entry and get a receipt
that is durable on a quorum, included in an RFC 6962 Merkle tree, cosigned with
ML-DSA by a majority of the replicas, and verifiable offline.

Try it:            cairn demo
A local cluster:   cairn cluster up && . ./.cairn/env
Append and prove:  echo hello | cairn append - && cairn receipt 0 -o r.tlog-proof
Verify offline:    cairn verify r.tlog-proof`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			switch a.format {
			case "text":
			case "json":
				a.json = true
			default:
				return usagef("--output must be text or json, not %q", a.format)
			}
			a.started = true
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.format, "output", "text", "`format` of results: text or json (one object per line)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no remarks on standard error")
	f.StringVar(&a.profilePath, "profile", os.Getenv("CAIRN_PROFILE"), "client profile `file` [$CAIRN_PROFILE]")
	f.StringVar(&a.policyPath, "policy", os.Getenv("CAIRN_POLICY"), "tlog-policy `file` that receipts and checkpoints must meet [$CAIRN_POLICY]")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "give up after this `duration`")
	// The defaults above come from the environment: help shows the variable, not the value.
	f.Lookup("profile").DefValue, f.Lookup("policy").DefValue = "", ""

	root.AddGroup(
		&cobra.Group{ID: groupLedger, Title: "Write and read:"},
		&cobra.Group{ID: groupVerify, Title: "Verify:"},
		&cobra.Group{ID: groupOperate, Title: "Operate:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	a.addCommands(add)
	root.AddCommand(a.versionCommand(), &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long:  exitCodesHelp,
	})
	return root
}
